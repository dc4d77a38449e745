//! The MP4 container: encoded packets go in, a file with its index in front comes out; and the few facts
//! that such a file states about itself can be read back.

use muxide::api::{AudioCodec, MuxerConfig, VideoCodec};

use super::av1::Packet;
use super::opus::PACKET_SAMPLES;
use super::{ENCODED_SAMPLE_RATE, MediaError};

pub(super) fn write(
    fps: u32,
    size: (u32, u32),
    packets: &[Packet],
    sound: &[Vec<u8>],
) -> Result<Vec<u8>, MediaError> {
    let mut config = MuxerConfig::new(size.0, size.1, f64::from(fps));
    if !sound.is_empty() {
        config = config.with_audio(AudioCodec::Opus, ENCODED_SAMPLE_RATE, 1);
    }
    let mut muxer = config.into_builder(Vec::new(), VideoCodec::Av1).build()?;
    let mut blocks = sound.iter().enumerate().peekable();
    for (index, packet) in packets.iter().enumerate() {
        let start_s = index as f64 / f64::from(fps);
        muxer.write_video(start_s, &packet.data, packet.keyframe)?;
        // Sound follows the frame during which it begins, so a player never reads far ahead.
        let end_s = (index + 1) as f64 / f64::from(fps);
        while let Some((block, data)) = blocks.next_if(|(block, _)| block_start_s(*block) < end_s) {
            muxer.write_audio(block_start_s(block), data)?;
        }
    }
    for (block, data) in blocks {
        muxer.write_audio(block_start_s(block), data)?;
    }
    muxer.finish_in_place()?;
    Ok(muxer.into_writer())
}

fn block_start_s(block: usize) -> f64 {
    (block * PACKET_SAMPLES) as f64 / f64::from(ENCODED_SAMPLE_RATE)
}

/// What an MP4 states about itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MediaInfo {
    pub width: u32,
    pub height: u32,
    pub duration_ms: u64,
    pub has_sound: bool,
}

/// Reads the header of an MP4 that this crate wrote.
///
/// For files from elsewhere this only says what they claim; [`super::decode`] reads them.
pub fn probe(mp4: &[u8]) -> Result<MediaInfo, MediaError> {
    let unreadable = |reason| MediaError::Unreadable { reason };
    let moov = find(mp4, *b"moov").ok_or(unreadable("no `moov` box"))?;
    let header = find(moov, *b"mvhd").ok_or(unreadable("no `mvhd` box"))?;
    let (timescale, duration) = match header.first() {
        Some(0) => (number(header, 12, 4), number(header, 16, 4)),
        Some(1) => (number(header, 20, 4), number(header, 24, 8)),
        _ => (None, None),
    };
    let (Some(timescale @ 1..), Some(duration)) = (timescale, duration) else {
        return Err(unreadable("a broken `mvhd` box"));
    };
    let mut info = MediaInfo {
        width: 0,
        height: 0,
        duration_ms: (u128::from(duration) * 1000 / u128::from(timescale)) as u64,
        has_sound: false,
    };
    for (_, track) in boxes(moov).filter(|(kind, _)| kind == b"trak") {
        let handler = find(track, *b"mdia").and_then(|media| find(media, *b"hdlr"));
        match handler.and_then(|handler| handler.get(8..12)) {
            Some(b"soun") => info.has_sound = true,
            Some(b"vide") => {
                let header = find(track, *b"tkhd").ok_or(unreadable("no `tkhd` box"))?;
                // The last two fields, as 16.16 fixed point.
                let side = |back: usize| number(header, header.len().checked_sub(back)?, 4);
                let (Some(width), Some(height)) = (side(8), side(4)) else {
                    return Err(unreadable("a broken `tkhd` box"));
                };
                (info.width, info.height) = ((width >> 16) as u32, (height >> 16) as u32);
            }
            _ => {}
        }
    }
    Ok(info)
}

/// The boxes directly inside `bytes`; stops at the first that does not fit.
pub(super) fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let kind: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        let (head, length) = match number(bytes, 0, 4)? {
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(number(bytes, 8, 8)?).ok()?),
            length => (8, length as usize),
        };
        let content = bytes.get(head..length)?;
        bytes = bytes.get(length..)?;
        Some((kind, content))
    })
}

pub(super) fn find(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

pub(super) fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(field.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}
