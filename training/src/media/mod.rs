//! Media files: a [`Clip`] goes in; an MP4, a PNG or a WAV comes out, as bytes. And back: a file of anyone's
//! goes in, a [`Clip`] comes out ([`decode`]).
//!
//! The MP4 holds AV1 (BT.709, limited range, 4:2:0) and Opus (48 kHz, mono), which browsers play without a
//! licence.

mod av1;
pub mod decode;
mod mp4;
mod opus;
pub(crate) mod resample;
pub(crate) mod resize;
mod still;
mod wav;

pub use mp4::{MediaInfo, probe};
pub use still::{contact_sheet_png, picture_png, portrait, spritesheet_png, still, thumbnail_png};
pub use wav::write_wav;

use std::ops::ControlFlow;

use crate::clip::Clip;

/// Sound samples a second in encoded files.
pub const ENCODED_SAMPLE_RATE: u32 = 48_000;

/// How an MP4 is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// rav1e's speed preset, 0 (best) to 10 (fastest).
    pub speed: u8,
    /// AV1 base quantizer, 0 (lossless) to 255 (coarsest).
    pub quantizer: u8,
    /// Width and height of the encoded picture; both even, 16 to 4096.
    pub size: (u32, u32),
    /// Encoder threads.
    pub threads: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { speed: 10, quantizer: 90, size: (256, 256), threads: 2 }
    }
}

/// Why a clip could not become a file.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("cannot encode a picture of {width}x{height}: both sides must be even and from 16 to 4096")]
    Size { width: u32, height: u32 },
    #[error("the encoding was stopped")]
    Stopped,
    #[error("the picture cannot be read: give a PNG or JPEG of at most 8192 pixels a side")]
    Picture { source: image::ImageError },
    #[error("the clip has no frames")]
    Empty,
    #[error("the clip's {bytes} bytes of pixels do not fill whole frames of {width}x{height}")]
    Frames { bytes: usize, width: usize, height: usize },
    #[error("the clip has no frame {frame}: it has {count}")]
    NoFrame { frame: usize, count: usize },
    #[error("a clip of {fps} frames and {sample_rate} samples a second cannot be encoded")]
    Rate { fps: u32, sample_rate: u32 },
    #[error("the AV1 encoder refused its configuration")]
    VideoConfig(#[source] rav1e::InvalidConfig),
    #[error("the AV1 encoder failed")]
    Video(#[source] rav1e::EncoderStatus),
    #[error("the Opus encoder failed: {reason}")]
    Sound { reason: &'static str },
    #[error("the MP4 could not be written")]
    Container(#[from] muxide::api::MuxerError),
    #[error("the PNG could not be written")]
    Png(#[from] image::ImageError),
    #[error("not a readable MP4: {reason}")]
    Unreadable { reason: &'static str },
}

/// Encodes a clip as AV1 and Opus in an MP4 that starts playing before it is fully loaded.
///
/// The picture is scaled to fit `options.size`; where the shape differs its edges are continued.
pub fn encode_mp4(clip: &Clip, options: EncodeOptions) -> Result<Vec<u8>, MediaError> {
    encode_mp4_watched(clip, options, &mut |_, _| ControlFlow::Continue(()))
}

/// [`encode_mp4`] that says how many of how many frames are done, and may be stopped between two.
pub fn encode_mp4_watched(
    clip: &Clip,
    options: EncodeOptions,
    on_frame: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<u8>, MediaError> {
    check(clip, options)?;
    let fit = resize::Fit::new((clip.width, clip.height), options.size);
    let packets = av1::encode(clip, &fit, options, on_frame)?;
    let sound = resample::resample(&clip.samples, clip.sample_rate, ENCODED_SAMPLE_RATE);
    let blocks = if sound.is_empty() { Vec::new() } else { opus::encode(&sound)? };
    mp4::write(clip.fps, options.size, &packets, &blocks)
}

fn check(clip: &Clip, options: EncodeOptions) -> Result<(), MediaError> {
    let (width, height) = options.size;
    let side_fits = |side: u32| side.is_multiple_of(2) && (16..=4096).contains(&side);
    if !side_fits(width) || !side_fits(height) {
        return Err(MediaError::Size { width, height });
    }
    if clip.frame_count() == 0 {
        return Err(MediaError::Empty);
    }
    if !clip.frames.len().is_multiple_of(clip.frame_len()) {
        return Err(MediaError::Frames { bytes: clip.frames.len(), width: clip.width, height: clip.height });
    }
    if !(1..=240).contains(&clip.fps) || !(1_000..=192_000).contains(&clip.sample_rate) {
        return Err(MediaError::Rate { fps: clip.fps, sample_rate: clip.sample_rate });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
