//! Opus: packets go in with their times, mono sound at the asked rate comes out, on the picture's clock.
//!
//! INVARIANT: what the encoder put before the sound is dropped, gaps between packets are silent, and never
//! more is kept than was asked for.

use opus_rs::OpusDecoder;

use super::DecodeError;
use super::container::OpusHead;
use crate::media::ENCODED_SAMPLE_RATE;
use crate::media::resample::resample;

/// Samples in the longest packet: 120 ms.
const MAX_PACKET_SAMPLES: usize = 5760;
/// Times are rounded to a millisecond in WebM; only more than this is a gap.
const GAP_S: f64 = 0.02;

pub(super) struct SoundDecoder {
    decoder: OpusDecoder,
    head: OpusHead,
    max_samples: usize,
    /// When the first decoded sample is due.
    start_s: Option<f64>,
    samples: Vec<f32>,
    block: Vec<f32>,
}

impl SoundDecoder {
    pub(super) fn new(head: OpusHead, max_seconds: f64) -> Result<Self, DecodeError> {
        let decoder = OpusDecoder::new(ENCODED_SAMPLE_RATE as i32, head.channels)
            .map_err(|reason| DecodeError::Sound { reason })?;
        let max_samples = (max_seconds * f64::from(ENCODED_SAMPLE_RATE)).ceil() as usize + head.pre_skip;
        let block = vec![0.0; MAX_PACKET_SAMPLES * head.channels];
        Ok(Self { decoder, head, max_samples, start_s: None, samples: Vec::new(), block })
    }

    pub(super) fn is_full(&self) -> bool {
        self.samples.len() >= self.max_samples
    }

    pub(super) fn push(&mut self, time_s: f64, packet: &[u8]) -> Result<(), DecodeError> {
        if self.is_full() {
            return Ok(());
        }
        let start_s = *self.start_s.get_or_insert(time_s);
        let due = (time_s - start_s) * f64::from(ENCODED_SAMPLE_RATE);
        if due - self.samples.len() as f64 > GAP_S * f64::from(ENCODED_SAMPLE_RATE) {
            self.samples.resize((due.round() as usize).min(self.max_samples), 0.0);
        }
        let length = self
            .decoder
            .decode(packet, MAX_PACKET_SAMPLES, &mut self.block)
            .map_err(|reason| DecodeError::Sound { reason })?;
        let scale = self.head.gain / self.head.channels as f32;
        let block = self.block.chunks_exact(self.head.channels).take(length);
        self.samples.extend(block.map(|channels| {
            let sample = channels.iter().sum::<f32>() * scale;
            if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
        }));
        Ok(())
    }

    /// `length` samples that start at `start_s`.
    pub(super) fn finish(mut self, start_s: f64, sample_rate: u32, length: usize) -> Vec<f32> {
        let pre_skip = self.head.pre_skip.min(self.samples.len());
        self.samples.drain(..pre_skip);
        // How much later than the picture the sound begins.
        let late_s = self.start_s.unwrap_or(start_s) - start_s
            + self.head.pre_skip as f64 / f64::from(ENCODED_SAMPLE_RATE);
        let late = (late_s * f64::from(ENCODED_SAMPLE_RATE)).round();
        if late < 0.0 {
            self.samples.drain(..(-late as usize).min(self.samples.len()));
        } else {
            let silence = (late as usize).min(self.max_samples);
            self.samples.splice(..0, std::iter::repeat_n(0.0, silence));
        }
        let mut sound = resample(&self.samples, ENCODED_SAMPLE_RATE, sample_rate);
        sound.resize(length, 0.0);
        // The filter may overshoot.
        for sample in &mut sound {
            *sample = sample.clamp(-1.0, 1.0);
        }
        sound
    }
}
