//! Containers: the bytes of an MP4 or WebM go in; its first picture track and first sound track come out,
//! packet by packet, with times in seconds.
//!
//! INVARIANT: the time of a sound packet is that of its first decoded sample, before the pre-skip is dropped.

use std::fs::File;
use std::io::{Cursor, Read, Seek};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known as audio;
use symphonia::core::codecs::video::well_known as video;
use symphonia::core::formats::probe::{Hint, Probe};
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::{TimeBase, Timestamp};
use symphonia::default::formats::{IsoMp4Reader, MkvReader};

use super::index::{self, TrackFacts};
use super::{DecodeError, MAX_SIDE, Source};
use crate::media::ENCODED_SAMPLE_RATE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mp4,
    Matroska,
}

pub(super) enum Packet {
    Picture { time_s: f64, duration_s: f64, data: Box<[u8]> },
    Sound { time_s: f64, data: Box<[u8]> },
}

/// What an Opus track says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OpusHead {
    pub(super) channels: usize,
    pub(super) pre_skip: usize,
    pub(super) gain: f32,
}

struct PictureTrack {
    id: u32,
    time_base: TimeBase,
    shift_s: f64,
    /// The name of a codec that has no decoder here.
    codec: Option<&'static str>,
}

pub(super) struct SoundTrack {
    id: u32,
    time_base: TimeBase,
    shift_s: f64,
    codec: Option<&'static str>,
    pub(super) opus: OpusHead,
}

pub(super) struct Container<'s> {
    pub(super) kind: Kind,
    reader: Box<dyn FormatReader + 's>,
    picture: PictureTrack,
    pub(super) sound: Option<SoundTrack>,
}

impl<'s> Container<'s> {
    pub(super) fn open(source: Source<'s>) -> Result<Self, DecodeError> {
        let mut media: Box<dyn MediaSource + 's> = match source {
            Source::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Source::File(path) => {
                let read = |source| DecodeError::Read { path: path.to_owned(), source };
                let file = File::open(path).map_err(read)?;
                // A pipe or a device would block, or never end.
                if !file.metadata().map_err(read)?.is_file() {
                    return Err(read(std::io::Error::other("not a regular file")));
                }
                Box::new(file)
            }
        };
        let kind = sniff(&mut *media)?;
        let index = match kind {
            Kind::Mp4 => index::read(&mut *media).map_err(DecodeError::Index)?,
            Kind::Matroska => Vec::new(),
        };
        let mut probe = Probe::new();
        match kind {
            Kind::Mp4 => probe.register_format::<IsoMp4Reader<'_>>(),
            Kind::Matroska => probe.register_format::<MkvReader<'_>>(),
        }
        let stream = MediaSourceStream::new(media, MediaSourceStreamOptions::default());
        let reader = probe
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(DecodeError::Container)?;
        let (picture, sound) = tracks(kind, &index, &*reader)?;
        Ok(Self { kind, reader, picture, sound })
    }

    /// The first codec that has no decoder here.
    pub(super) fn foreign_codec(&self) -> Option<&'static str> {
        self.picture.codec.or_else(|| self.sound.as_ref().and_then(|sound| sound.codec))
    }

    /// The next packet of either track.
    pub(super) fn next_packet(&mut self) -> Result<Option<Packet>, DecodeError> {
        while let Some(packet) = self.reader.next_packet().map_err(DecodeError::Container)? {
            if packet.data.is_empty() {
                continue;
            }
            let data = packet.data;
            if packet.track_id == self.picture.id {
                let time_s = seconds(self.picture.time_base, packet.pts)? + self.picture.shift_s;
                let duration = Timestamp::new(packet.dur.get().min(i64::MAX as u64) as i64);
                let duration_s = seconds(self.picture.time_base, duration)?;
                return Ok(Some(Packet::Picture { time_s, duration_s, data }));
            }
            if let Some(sound) = self.sound.as_ref().filter(|sound| sound.id == packet.track_id) {
                let time_s = seconds(sound.time_base, packet.pts)? + sound.shift_s;
                return Ok(Some(Packet::Sound { time_s, data }));
            }
        }
        Ok(None)
    }
}

fn sniff(media: &mut (impl Read + Seek + ?Sized)) -> Result<Kind, DecodeError> {
    let mut start = [0; 8];
    let read = media.read_exact(&mut start).and_then(|()| media.rewind());
    match (read, &start) {
        (Ok(()), [_, _, _, _, b'f', b't', b'y', b'p']) => Ok(Kind::Mp4),
        (Ok(()), [0x1a, 0x45, 0xdf, 0xa3, ..]) => Ok(Kind::Matroska),
        _ => Err(DecodeError::Format),
    }
}

fn tracks(
    kind: Kind,
    index: &[TrackFacts],
    reader: &dyn FormatReader,
) -> Result<(PictureTrack, Option<SoundTrack>), DecodeError> {
    let (mut picture, mut sound) = (None, None);
    for track in reader.tracks() {
        let (id, Some(time_base)) = (track.id, track.time_base) else { continue };
        let facts = index.iter().find(|facts| facts.id == id);
        let edit = facts.map(|facts| facts.edit).unwrap_or_default();
        match &track.codec_params {
            Some(CodecParameters::Video(found)) if picture.is_none() => {
                let side = |side: Option<u16>| side.map_or(0, u32::from);
                let (width, height) = (side(found.width), side(found.height));
                if width.max(height) > MAX_SIDE {
                    return Err(DecodeError::Size { width, height });
                }
                let codec = match (facts.map(|facts| facts.codec), found.codec) {
                    (Some([b'a', b'v', b'0', b'1']), _) | (None, video::CODEC_ID_AV1) => None,
                    (Some([b'v', b'p', b'0', b'9']), _) | (None, video::CODEC_ID_VP9) => Some("VP9"),
                    (Some([b'v', b'p', b'0', b'8']), _) | (None, video::CODEC_ID_VP8) => Some("VP8"),
                    (_, video::CODEC_ID_H264) => Some("H.264"),
                    (_, video::CODEC_ID_HEVC) => Some("HEVC"),
                    (_, video::CODEC_ID_MPEG4) => Some("MPEG-4 video"),
                    _ => Some("unrecognised video"),
                };
                picture = Some(PictureTrack { id, time_base, shift_s: edit.delay_s - edit.trim_s, codec });
            }
            Some(CodecParameters::Audio(found)) if sound.is_none() => {
                let head = found.extra_data.as_deref().and_then(|head| opus_head(kind, head));
                let codec = match found.codec {
                    audio::CODEC_ID_OPUS if head.is_some() => None,
                    audio::CODEC_ID_OPUS => Some("surround Opus"),
                    audio::CODEC_ID_AAC => Some("AAC"),
                    audio::CODEC_ID_VORBIS => Some("Vorbis"),
                    audio::CODEC_ID_MP3 => Some("MP3"),
                    _ => Some("unrecognised sound"),
                };
                let opus = head.unwrap_or_default();
                let pre_skip_s = opus.pre_skip as f64 / f64::from(ENCODED_SAMPLE_RATE);
                let shift_s = match kind {
                    // The sound starts after the pre-skip, which many edit lists do not count.
                    Kind::Mp4 => edit.delay_s - edit.trim_s.max(pre_skip_s),
                    // The demuxer has taken the codec's delay off.
                    Kind::Matroska => 0.0,
                };
                sound = Some(SoundTrack { id, time_base, shift_s, codec, opus });
            }
            _ => {}
        }
    }
    picture.map(|picture| (picture, sound)).ok_or(DecodeError::NoPicture)
}

/// Reads the header of one stream of one or two channels.
fn opus_head(kind: Kind, head: &[u8]) -> Option<OpusHead> {
    let number = |at: usize| {
        let bytes = [*head.get(at)?, *head.get(at + 1)?];
        // MP4 writes the same fields in its own byte order.
        Some(match kind {
            Kind::Mp4 => u16::from_be_bytes(bytes),
            Kind::Matroska => u16::from_le_bytes(bytes),
        })
    };
    let channels = usize::from(*head.get(9)?);
    let gain_db = f32::from(number(16)? as i16) / 256.0;
    let is_plain = head.get(18) == Some(&0) && (1..=2).contains(&channels);
    is_plain.then_some(OpusHead {
        channels,
        pre_skip: usize::from(number(10)?),
        gain: 10.0_f32.powf(gain_db / 20.0),
    })
}

fn seconds(time_base: TimeBase, time: Timestamp) -> Result<f64, DecodeError> {
    let time = time_base.calc_time(time).ok_or(symphonia::core::errors::Error::DecodeError("absurd time"));
    time.map(|time| time.as_secs_f64()).map_err(DecodeError::Container)
}

#[cfg(test)]
mod tests {
    use super::{Kind, OpusHead, opus_head};

    #[test]
    fn an_opus_header_is_read_in_either_byte_order() {
        let plain = OpusHead { channels: 2, pre_skip: 312, gain: 1.0 };
        let mp4 = b"OpusHead\x00\x02\x01\x38\x00\x00\xbb\x80\x00\x00\x00";
        let matroska = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        assert_eq!(opus_head(Kind::Mp4, mp4), Some(plain));
        assert_eq!(opus_head(Kind::Matroska, matroska), Some(plain));
        let surround = b"OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01";
        assert_eq!(opus_head(Kind::Matroska, surround), None);
        assert_eq!(opus_head(Kind::Mp4, b"OpusHead"), None);
    }
}
