//! The index of an MP4: the codec and the start of each of its tracks, which the demuxer does not tell.
//!
//! INVARIANT: a file that ends before one of its boxes does is refused, whoever would decode it.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use crate::media::mp4::{boxes, find, number};

/// The largest index that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrackFacts {
    pub(super) id: u32,
    /// The four letters of the codec.
    pub(super) codec: [u8; 4],
    pub(super) edit: Edit,
}

/// What an edit list does to the beginning of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Edit {
    /// How long nothing is shown.
    pub(super) delay_s: f64,
    /// How much of the track is then left out.
    pub(super) trim_s: f64,
}

pub(super) fn read(media: &mut (impl Read + Seek + ?Sized)) -> io::Result<Vec<TrackFacts>> {
    let moov = read_moov(media)?;
    let movie_scale = find(&moov, *b"mvhd").and_then(time_scale).unwrap_or(0.0);
    let tracks = boxes(&moov).filter(|(kind, _)| kind == b"trak");
    Ok(tracks.filter_map(|(_, track)| facts(track, movie_scale)).collect())
}

/// Walks over the boxes of the file, and keeps the content of the one that describes it.
fn read_moov(media: &mut (impl Read + Seek + ?Sized)) -> io::Result<Vec<u8>> {
    let cut = || io::Error::new(ErrorKind::UnexpectedEof, "the file ends before its content does");
    let length = media.seek(SeekFrom::End(0))?;
    let mut moov = None;
    let mut start = 0;
    while start < length {
        media.seek(SeekFrom::Start(start))?;
        let mut head = Vec::new();
        media.take(16).read_to_end(&mut head)?;
        let kind = head.get(4..8).ok_or_else(cut)?;
        let (content, size) = match number(&head, 0, 4).ok_or_else(cut)? {
            0 => (8, length - start),
            1 => (16, number(&head, 8, 8).ok_or_else(cut)?),
            size => (8, size),
        };
        let end = start.checked_add(size).filter(|&end| end <= length).ok_or_else(cut)?;
        if size < content {
            return Err(io::Error::new(ErrorKind::InvalidData, "a box is smaller than its own header"));
        }
        if kind == b"moov" && moov.is_none() {
            if size > MAX_INDEX_BYTES {
                return Err(io::Error::new(ErrorKind::InvalidData, "the index is larger than 64 MiB"));
            }
            media.seek(SeekFrom::Start(start + content))?;
            let mut bytes = Vec::new();
            media.take(size - content).read_to_end(&mut bytes)?;
            moov = Some(bytes);
        }
        start = end;
    }
    media.rewind()?;
    moov.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the file has no index: was it finished?"))
}

fn facts(track: &[u8], movie_scale: f64) -> Option<TrackFacts> {
    let header = find(track, *b"tkhd")?;
    let id = number(header, if header.first() == Some(&1) { 20 } else { 12 }, 4)? as u32;
    let media = find(track, *b"mdia")?;
    let samples = find(find(media, *b"minf")?, *b"stbl")?;
    let codec = find(samples, *b"stsd")?.get(12..16)?.try_into().ok()?;
    let edits = find(track, *b"edts").and_then(|edits| find(edits, *b"elst"));
    let media_scale = find(media, *b"mdhd").and_then(time_scale);
    let edit = edits.zip(media_scale).and_then(|(edits, scale)| edit(edits, movie_scale, scale));
    Some(TrackFacts { id, codec, edit: edit.unwrap_or_default() })
}

/// Ticks a second, from either header that states them.
fn time_scale(header: &[u8]) -> Option<f64> {
    let at = if header.first() == Some(&1) { 20 } else { 12 };
    number(header, at, 4).filter(|&scale| scale > 0).map(|scale| scale as f64)
}

/// The leading empty edits and the first other one.
fn edit(edits: &[u8], movie_scale: f64, media_scale: f64) -> Option<Edit> {
    let width = if edits.first() == Some(&1) { 8 } else { 4 };
    let mut delay_s = 0.0;
    for entry in edits.get(8..)?.chunks_exact(2 * width + 4) {
        let duration = number(entry, 0, width)?;
        let start = number(entry, width, width)?;
        let start = if width == 4 { i64::from(start as u32 as i32) } else { start as i64 };
        if start >= 0 {
            return Some(Edit { delay_s, trim_s: start as f64 / media_scale });
        }
        if movie_scale > 0.0 {
            delay_s += duration as f64 / movie_scale;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{Edit, edit, read};

    #[test]
    fn an_edit_list_moves_a_track() {
        let edits = |entries: &[[i32; 3]]| -> Vec<u8> {
            let numbers = [0, entries.len() as i32].into_iter().chain(entries.iter().flatten().copied());
            numbers.flat_map(i32::to_be_bytes).collect()
        };
        let edit = |entries| edit(&edits(entries), 1000.0, 48_000.0);
        assert_eq!(edit(&[[99, 480, 0]]), Some(Edit { delay_s: 0.0, trim_s: 0.01 }));
        assert_eq!(edit(&[[250, -1, 0], [99, 480, 0]]), Some(Edit { delay_s: 0.25, trim_s: 0.01 }));
        assert_eq!(edit(&[]), None);
    }

    #[test]
    fn boxes_that_do_not_fit_are_refused() {
        let read = |bytes: &[u8]| read(&mut Cursor::new(bytes)).unwrap_err().to_string();
        assert!(read(b"\x00\x00\x00\x09moov").contains("ends before"));
        assert!(read(b"\x00\x00\x00\x04moov").contains("smaller"));
        assert!(read(b"\x00\x00\x00\x01moov\xff\xff\xff\xff\xff\xff\xff\xff").contains("ends before"));
        assert!(read(b"\x00\x00\x00\x08mdat").contains("no index"));
        assert!(read(b"\x00\x00\x00\x00moo").contains("ends before"));
    }
}
