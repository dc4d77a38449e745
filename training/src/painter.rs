//! Draws a performance: what the model imagined enters, frames and samples leave.
//!
//! Pictures are drawn by the world's own renderer; impacts are mixed from the sound autoencoder's atoms, and
//! speech is synthesised. INVARIANT: the same performance gives the same clip, whatever the number of threads.

use burn::tensor::{Device, Tensor, TensorData};

use crate::clip::Clip;
use crate::model::Model;
use crate::model::sound::Atoms;
use crate::performance::Performance;
use crate::world::draw::render;
use crate::world::sound::limit;
use crate::world::speech::synthesise;
use crate::world::{FPS, SAMPLE_RATE, SAMPLES_PER_FRAME};

/// Decodes performances with one model.
#[derive(Debug)]
pub(crate) struct Painter<'a> {
    pub(crate) model: &'a Model,
    pub(crate) atoms: &'a Atoms,
    pub(crate) device: &'a Device,
}

impl Painter<'_> {
    /// The whole clip, `width` x `height`.
    pub(crate) fn clip(&self, performance: &Performance, width: usize, height: usize) -> Clip {
        Clip {
            width,
            height,
            fps: FPS,
            frames: render(&performance.scene(), width, height),
            sample_rate: SAMPLE_RATE,
            samples: self.samples(performance),
        }
    }

    fn samples(&self, performance: &Performance) -> Vec<f32> {
        let mut samples = vec![0.0_f32; performance.frames * SAMPLES_PER_FRAME];
        self.add_impacts(performance, &mut samples);
        if let Some(utterance) = &performance.utterance {
            let spoken = synthesise(&utterance.frames, &utterance.voice, VOICE_SEED);
            for (sample, value) in samples.iter_mut().zip(spoken) {
                *sample += value;
            }
        }
        limit(&mut samples);
        samples
    }

    fn add_impacts(&self, performance: &Performance, samples: &mut [f32]) {
        let impacts = &performance.impacts;
        if impacts.is_empty() {
            return;
        }
        let codes: Vec<f32> = impacts.iter().flat_map(|impact| impact.timbre.iter().copied()).collect();
        let width = codes.len() / impacts.len();
        let codes = Tensor::<2>::from_data(TensorData::new(codes, [impacts.len(), width]), self.device);
        // The devices hold f32 here by construction.
        let amplitudes: Vec<f32> =
            self.model.sound.decode(codes).try_into_vec_as::<f32>().unwrap_or_default();
        for (impact, amplitudes) in impacts.iter().zip(amplitudes.chunks_exact(Atoms::COUNT)) {
            let onset = (impact.time_s * SAMPLE_RATE as f32).round() as usize;
            if let Some(rest) = samples.get_mut(onset..) {
                self.atoms.play(amplitudes, impact.loudness.exp(), rest);
            }
        }
    }
}

/// Breath is noise, the same in every clip.
const VOICE_SEED: u64 = 0x5eec;
