//! Opus: mono sound at 48 kHz goes in, packets of 20 ms come out.
//!
//! INVARIANT: played with the pre-skip that the container announces (312 samples), the sound starts exactly
//! with the picture.

use opus_rs::{Application, OpusEncoder};

use super::{ENCODED_SAMPLE_RATE, MediaError};

/// Samples in one packet: 20 ms.
pub(super) const PACKET_SAMPLES: usize = 960;
/// What muxide writes into every Opus track.
const ANNOUNCED_PRE_SKIP: usize = 312;
/// What the encoder in its low-delay mode really adds.
const ENCODER_DELAY: usize = 120;
const BITRATE_BPS: i32 = 64_000;
/// The longest packet that Opus allows.
const PACKET_BYTES: usize = 1276;

pub(super) fn encode(sound: &[f32]) -> Result<Vec<Vec<u8>>, MediaError> {
    let failed = |reason| MediaError::Sound { reason };
    let mut encoder =
        OpusEncoder::new(ENCODED_SAMPLE_RATE as i32, 1, Application::RestrictedLowDelay).map_err(failed)?;
    encoder.bitrate_bps = BITRATE_BPS;
    let mut padded = vec![0.0; ANNOUNCED_PRE_SKIP - ENCODER_DELAY];
    padded.extend_from_slice(sound);
    // As many packets as the sound is long: the track then ends with the picture, at the price of the last
    // 6.5 ms, which the pre-skip pushes out.
    let packets = sound.len().div_ceil(PACKET_SAMPLES);
    padded.resize(packets * PACKET_SAMPLES, 0.0);
    let mut packet = [0_u8; PACKET_BYTES];
    padded
        .chunks_exact(PACKET_SAMPLES)
        .map(|samples| {
            let length = encoder.encode(samples, PACKET_SAMPLES, &mut packet).map_err(failed)?;
            Ok(packet[..length].to_vec())
        })
        .collect()
}
