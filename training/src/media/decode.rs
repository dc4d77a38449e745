//! Clips from files: an MP4 or WebM goes in, a [`Clip`] at the asked size and rates comes out.
//!
//! AV1 with Opus is read here, in Rust; whatever else the container holds is read by the `ffmpeg` program.
//! INVARIANT: whatever the bytes are, the answer is a clip within the asked limits or one line that says
//! why not; memory is bounded by the limits, never by what a file claims.

mod av1;
mod container;
mod ffmpeg;
mod index;
mod sound;
mod timeline;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use self::av1::VideoDecoder;
use self::container::{Container, Packet};
use self::sound::SoundDecoder;
use self::timeline::{Frames, Timeline};
use crate::clip::Clip;

/// The longest side of a picture that is read.
pub const MAX_SIDE: u32 = 4096;
/// The most pictures a second that are read.
const MAX_SOURCE_FPS: f64 = 240.0;

/// What a clip is decoded to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeOptions {
    /// Width of the frames in pixels; the picture is cropped about its centre to fit.
    pub width: u32,
    /// Height of the frames in pixels.
    pub height: u32,
    /// Frames per second; each is the source's nearest in time.
    pub fps: u32,
    /// Sound samples per second.
    pub sample_rate: u32,
    /// Only the first so many seconds are read.
    pub max_seconds: f64,
}

/// Where the bytes of a clip are.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

impl<'a> From<&'a Path> for Source<'a> {
    fn from(path: &'a Path) -> Self {
        Self::File(path)
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

/// Why a file could not become a clip.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(
        "cannot decode to {width}x{height} at {fps} frames and {sample_rate} samples a second for \
         {max_seconds} s: sides go to 4096, frames to 240, samples from 1000 to 192000, seconds to 3600",
        width = .0.width, height = .0.height, fps = .0.fps, sample_rate = .0.sample_rate,
        max_seconds = .0.max_seconds
    )]
    Options(DecodeOptions),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("neither an MP4 nor a WebM file")]
    Format,
    #[error("a damaged or unfinished file")]
    Container(#[source] symphonia::core::errors::Error),
    #[error("a damaged or unfinished file")]
    Index(#[source] io::Error),
    #[error("the file has no picture track")]
    NoPicture,
    #[error("the file has a picture track without pictures")]
    Empty,
    #[error("a picture of {width}x{height} is too large: sides go to 4096")]
    Size { width: u32, height: u32 },
    #[error("more than 240 pictures a second")]
    SourceRate,
    #[error("the AV1 picture track is damaged")]
    Picture(#[source] re_rav1d::Error),
    #[error("the AV1 pictures are of a kind that cannot be shown: {reason}")]
    PictureKind { reason: &'static str },
    #[error("the Opus sound track is damaged: {reason}")]
    Sound { reason: &'static str },
    #[error("a damaged file: its decoder gave up")]
    Crashed,
    #[error(
        "reading {codec} needs the `ffmpeg` program on the PATH: install ffmpeg, or save the clip as AV1 with Opus"
    )]
    NeedsFfmpeg { codec: &'static str },
    #[error("cannot run the `ffmpeg` program")]
    FfmpegStart(#[source] io::Error),
    #[error("ffmpeg could not read the {codec} in the file: {reason}")]
    Ffmpeg { codec: &'static str, reason: String },
    #[error("ffmpeg did not finish reading the file within {seconds} s")]
    FfmpegTime { seconds: u64 },
}

/// Decodes the beginning of a file.
///
/// The clip starts with the first picture. Its sound is as long as its picture; a file without a sound track
/// gives a clip without samples.
pub fn decode<'a>(source: impl Into<Source<'a>>, options: DecodeOptions) -> Result<Clip, DecodeError> {
    check(options)?;
    let source = source.into();
    // The formats are parsed by code that counts with what the file says; where that overflows, the file is
    // at fault and only that file is lost.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let container = Container::open(source)?;
        if let Some(codec) = container.foreign_codec() {
            return Ok(Err((codec, container.kind, container.sound.is_some())));
        }
        native(container, options).map(Ok)
    }));
    match read.unwrap_or(Err(DecodeError::Crashed))? {
        Ok(clip) => Ok(clip),
        Err((codec, kind, has_sound)) => ffmpeg::decode(source, codec, kind, has_sound, options),
    }
}

fn check(options: DecodeOptions) -> Result<(), DecodeError> {
    let sides_fit = [options.width, options.height].iter().all(|side| (1..=MAX_SIDE).contains(side));
    let rates_fit = (1..=240).contains(&options.fps) && (1_000..=192_000).contains(&options.sample_rate);
    let length_fits = options.max_seconds > 0.0 && options.max_seconds <= 3600.0;
    if sides_fit && rates_fit && length_fits { Ok(()) } else { Err(DecodeError::Options(options)) }
}

impl DecodeOptions {
    fn max_frames(&self) -> usize {
        ((self.max_seconds * f64::from(self.fps)).round() as usize).max(1)
    }

    /// Sound samples that are as long as so many frames.
    fn samples_in(&self, frames: usize) -> usize {
        (frames as u64 * u64::from(self.sample_rate) / u64::from(self.fps)) as usize
    }
}

fn native(mut container: Container<'_>, options: DecodeOptions) -> Result<Clip, DecodeError> {
    let mut decoder = VideoDecoder::new()?;
    let mut frames = Frames::new(options);
    let mut timeline = Timeline::new(f64::from(options.fps), options.max_frames());
    let mut sound = match &container.sound {
        Some(track) => Some(SoundDecoder::new(track.opus, options.max_seconds)?),
        None => None,
    };
    let mut last_duration_s = 0.0;
    let mut pictures = 0_u64;
    while !(timeline.is_full() && sound.as_ref().is_none_or(SoundDecoder::is_full)) {
        match container.next_packet()? {
            None => break,
            Some(Packet::Picture { time_s, duration_s, data }) if !timeline.is_full() => {
                last_duration_s = duration_s;
                pictures += 1;
                if pictures as f64 > (options.max_seconds + 1.0) * MAX_SOURCE_FPS {
                    return Err(DecodeError::SourceRate);
                }
                decoder.push(data, time_s, &mut |time_s, picture| {
                    timeline.push(time_s, picture, &mut |picture, copies| frames.add(picture, copies))
                })?;
            }
            Some(Packet::Sound { time_s, data }) => {
                if let Some(sound) = &mut sound {
                    sound.push(time_s, &data)?;
                }
            }
            Some(Packet::Picture { .. }) => {}
        }
    }
    decoder.finish(&mut |time_s, picture| {
        timeline.push(time_s, picture, &mut |picture, copies| frames.add(picture, copies))
    })?;
    let start_s = timeline.finish(last_duration_s, &mut |picture, copies| frames.add(picture, copies))?;
    let mut clip = frames.into_clip();
    if let (Some(sound), Some(start_s)) = (sound, start_s) {
        let length = options.samples_in(clip.frame_count());
        clip.samples = sound.finish(start_s, options.sample_rate, length);
    }
    if clip.frame_count() == 0 { Err(DecodeError::Empty) } else { Ok(clip) }
}

#[cfg(test)]
mod tests;
