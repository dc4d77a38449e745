//! The causal sound autoencoder: a waveform at 12 kHz enters, 25 latents a second leave, and back.
//!
//! Short frames of samples become channels, which ever coarser levels gather; the decoder goes the same way
//! back to the waveform. INVARIANT: no latent depends on later samples and no sample on later latents, so
//! sound is worked through in chunks: what comes out is what one pass over the whole would give.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};

use super::causal::{ChannelNorm, PAST, Posterior, with_past};
use super::config::{SAMPLES_PER_LATENT, SoundConfig};
use super::stft::Stft;
use crate::model::memory::Memory;

/// Samples in the frames of the finest level.
const FRAME: usize = 20;
/// How many frames of each level make one of the next.
const STEPS: [usize; 3] = [2, 3, 4];
/// Windows at which spectrograms are compared.
const WINDOWS: [usize; 3] = [64, 256, 1024];
/// Weights of the loss.
const WAVEFORM_WEIGHT: f32 = 4.0;
const DIVERGENCE_WEIGHT: f32 = 1e-5;
/// How loud a bin must be for its logarithm to count.
const QUIET: f32 = 20.0;

const _: () = assert!(FRAME * STEPS[0] * STEPS[1] * STEPS[2] == SAMPLES_PER_LATENT);

#[derive(Module, Debug)]
struct ResidualBlock {
    norm_in: ChannelNorm,
    over_time: Linear,
    norm_out: ChannelNorm,
    out: Linear,
}

impl ResidualBlock {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            norm_in: ChannelNorm::new(width, device),
            over_time: LinearConfig::new((PAST + 1) * width, width).init(device),
            norm_out: ChannelNorm::new(width, device),
            out: LinearConfig::new(width, width).init(device),
        }
    }

    fn forward(&self, frames: Tensor<3>, memory: &mut Memory<3>) -> Tensor<3> {
        let seen = with_past(silu(self.norm_in.forward(frames.clone())), memory);
        let hidden = self.over_time.forward(seen);
        frames.add(self.out.forward(silu(self.norm_out.forward(hidden))))
    }
}

/// The frames of one level, gathered to those of the next, or the other way.
#[derive(Module, Debug)]
struct Level {
    blocks: Vec<ResidualBlock>,
    step: Linear,
}

impl Level {
    fn new(config: &SoundConfig, [d_in, d_out]: [usize; 2], device: &Device) -> Self {
        Self {
            blocks: (0..config.blocks).map(|_| ResidualBlock::new(config.width, device)).collect(),
            step: LinearConfig::new(d_in, d_out).init(device),
        }
    }

    fn blocks(&self, frames: Tensor<3>, memory: &mut Memory<3>) -> Tensor<3> {
        self.blocks.iter().fold(frames, |frames, block| block.forward(frames, memory))
    }
}

/// `[batch, frames, width]` with `count` frames in one, or with one in `1 / count`.
fn gathered(frames: Tensor<3>, count: usize) -> Tensor<3> {
    let [batch, times, width] = frames.dims();
    frames.reshape([batch, times / count, width * count])
}

fn spread(frames: Tensor<3>, count: usize) -> Tensor<3> {
    let [batch, times, width] = frames.dims();
    frames.reshape([batch, times * count, width / count])
}

/// The autoencoder.
#[derive(Module, Debug)]
pub(crate) struct SoundAutoencoder {
    stem: Linear,
    down: Vec<Level>,
    norm_latents: ChannelNorm,
    to_latents: Linear,
    from_latents: Linear,
    up: Vec<Level>,
    norm_out: ChannelNorm,
    out: Linear,
}

impl SoundAutoencoder {
    pub(crate) fn new(config: &SoundConfig, device: &Device) -> Self {
        let SoundConfig { width, channels, .. } = *config;
        let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).init(device);
        Self {
            stem: linear((PAST + 1) * FRAME, width),
            down: STEPS.iter().map(|step| Level::new(config, [step * width, width], device)).collect(),
            norm_latents: ChannelNorm::new(width, device),
            to_latents: linear(width, 2 * channels),
            from_latents: linear(channels, width),
            up: STEPS.iter().rev().map(|step| Level::new(config, [width, step * width], device)).collect(),
            norm_out: ChannelNorm::new(width, device),
            out: linear((PAST + 1) * width, FRAME),
        }
    }

    /// # Shapes
    /// - samples: `[batch, 480 n]` in [-1, 1]; output: `[batch, n, channels]`.
    pub(crate) fn encode(&self, samples: Tensor<2>) -> Posterior<3> {
        self.encode_next(samples, &mut Memory::default())
    }

    /// Encodes the next samples of a sound.
    pub(crate) fn encode_next(&self, samples: Tensor<2>, memory: &mut Memory<3>) -> Posterior<3> {
        memory.begin_chunk();
        let [batch, length] = samples.dims();
        let frames = samples.reshape([batch, length / FRAME, FRAME]);
        let mut frames = self.stem.forward(with_past(frames, memory));
        for (level, step) in self.down.iter().zip(STEPS) {
            frames = level.step.forward(gathered(level.blocks(frames, memory), step));
        }
        Posterior::of(self.to_latents.forward(silu(self.norm_latents.forward(frames))))
    }

    /// # Shapes
    /// - latents: `[batch, n, channels]`; output: `[batch, 480 n]`, about [-1, 1].
    pub(crate) fn decode(&self, latents: Tensor<3>) -> Tensor<2> {
        self.decode_next(latents, &mut Memory::default())
    }

    /// Decodes the next latents of a sound.
    pub(crate) fn decode_next(&self, latents: Tensor<3>, memory: &mut Memory<3>) -> Tensor<2> {
        memory.begin_chunk();
        let [batch, times, _] = latents.dims();
        let mut frames = self.from_latents.forward(latents);
        for (level, step) in self.up.iter().zip(STEPS.iter().rev()) {
            frames = level.blocks(spread(level.step.forward(frames), *step), memory);
        }
        let seen = with_past(silu(self.norm_out.forward(frames)), memory);
        self.out.forward(seen).reshape([batch, times * SAMPLES_PER_LATENT])
    }

    /// How far decoded latents are from the sound that they were encoded from. `noise` is of the latents'
    /// shape and unit variance.
    pub(crate) fn loss(&self, samples: &Tensor<2>, noise: Tensor<3>, ear: &Ear) -> Tensor<1> {
        let posterior = self.encode(samples.clone());
        let decoded = self.decode(posterior.sample(noise));
        let waveform = decoded.clone().sub(samples.clone()).abs().mean().mul_scalar(WAVEFORM_WEIGHT);
        ear.difference(&decoded, samples)
            .add(waveform)
            .add(posterior.divergence().mul_scalar(DIVERGENCE_WEIGHT))
    }
}

/// Compares sounds by their spectrograms at several window lengths.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    stfts: [Stft; WINDOWS.len()],
}

impl Ear {
    pub(crate) fn new(device: &Device) -> Self {
        Self { stfts: WINDOWS.map(|window| Stft::new(window, device)) }
    }

    /// Mean difference of magnitudes and, for the quiet tails, of their logarithms.
    fn difference(&self, one: &Tensor<2>, two: &Tensor<2>) -> Tensor<1> {
        let differences = self.stfts.iter().map(|stft| {
            let (one, two) = (stft.magnitudes(one.clone()), stft.magnitudes(two.clone()));
            let loud = one.clone().sub(two.clone()).abs().mean().mul_scalar(2.0);
            let quiet = one.mul_scalar(QUIET).log1p().sub(two.mul_scalar(QUIET).log1p()).abs().mean();
            loud.add(quiet)
        });
        let sum = Tensor::cat(differences.collect(), 0).mean();
        sum.mul_scalar(0.5)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use kinora_harness::seed::seeded;

    use super::*;
    use crate::grid::config::tests::tiny;

    fn autoencoder() -> SoundAutoencoder {
        let device = Device::flex();
        seeded(&device, 3, || SoundAutoencoder::new(&tiny().sound.unwrap(), &device))
    }

    fn sound(latents: usize) -> Tensor<2> {
        Tensor::random([2, latents * SAMPLES_PER_LATENT], Distribution::Uniform(-1.0, 1.0), &Device::flex())
    }

    fn furthest<const D: usize>(one: Tensor<D>, two: Tensor<D>) -> f32 {
        one.sub(two).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn chunks_give_what_the_whole_sound_gives() {
        let autoencoder = autoencoder();
        let samples = sound(6);
        let whole = autoencoder.encode(samples.clone()).mean;
        assert_eq!(whole.dims(), [2, 6, 4]);
        let decoded = autoencoder.decode(whole.clone());
        assert_eq!(decoded.dims(), samples.dims());
        for cuts in [vec![1; 6], vec![2, 4], vec![5, 1]] {
            let (mut memory, mut start, mut parts) = (Memory::default(), 0, Vec::new());
            let (mut back, mut played) = (Memory::default(), Vec::new());
            for length in cuts {
                let chunk =
                    samples.clone().narrow(1, start * SAMPLES_PER_LATENT, length * SAMPLES_PER_LATENT);
                let latents = autoencoder.encode_next(chunk, &mut memory).mean;
                played.push(autoencoder.decode_next(latents.clone(), &mut back));
                parts.push(latents);
                start += length;
            }
            assert!(furthest(whole.clone(), Tensor::cat(parts, 1)) < 1e-5);
            assert!(furthest(decoded.clone(), Tensor::cat(played, 1)) < 1e-5);
        }
    }

    #[test]
    fn later_samples_change_no_earlier_latent() {
        let autoencoder = autoencoder();
        let (one, other) = (sound(6), sound(6));
        let kept = 4 * SAMPLES_PER_LATENT;
        let rest = 2 * SAMPLES_PER_LATENT;
        let mixed = Tensor::cat(vec![one.clone().narrow(1, 0, kept), other.narrow(1, kept, rest)], 1);
        let (a, b) = (autoencoder.encode(one).mean, autoencoder.encode(mixed).mean);
        assert!(furthest(a.clone().narrow(1, 0, 4), b.clone().narrow(1, 0, 4)) < 1e-6);
        assert!(furthest(a, b) > 1e-4);
    }

    #[test]
    fn equal_sounds_differ_by_nothing_and_gradients_reach_the_encoder() {
        let device = Device::flex().autodiff();
        let ear = Ear::new(&device);
        let samples = Tensor::<2>::random([1, 960], Distribution::Uniform(-0.5, 0.5), &device);
        let same = ear.difference(&samples, &samples).into_scalar::<f32>();
        assert!(same.abs() < 1e-6);
        let autoencoder: SoundAutoencoder =
            seeded(&device, 1, || SoundAutoencoder::new(&tiny().sound.unwrap(), &device));
        let loss = autoencoder.loss(&samples, Tensor::zeros([1, 2, 4], &device), &ear);
        let gradients = loss.backward();
        let gradient = autoencoder.stem.weight.val().grad(&gradients).unwrap();
        assert!(gradient.abs().max().into_scalar::<f32>() > 0.0);
    }
}
