//! Generation: a prompt enters, a clip with sound leaves.
//!
//! Steps of the sampler report their progress and may be cancelled. INVARIANT: the same model, request and
//! seed give the same clip on the same kind of device; a [`Generator`] is shared freely between threads.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::device::{DeviceChoice, DeviceError, resolve};
use kinora_harness::seed::derive;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::clip::Clip;
use crate::corpus::{CLIP_S, REFERENCE_SIDE};
use crate::model::Model;
use crate::model::flow::{Guide, Sampling, sample};
use crate::model::latents::{LatentWidths, Latents};
use crate::model::picture::{PORTRAIT_SIDE, shrink};
use crate::model::sound::Atoms;
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::Prompts;
use crate::painter::Painter;
use crate::performance::Performance;
use crate::train::normal;
use crate::weights::{ModelCard, WeightsError, load_model, load_model_from_bytes};
use crate::words::Vocabulary;

/// Clips can be this many takes long at most.
const MOST_TAKES: u32 = 3;
/// Steps that the sampler may take.
const STEPS: std::ops::RangeInclusive<usize> = 1..=200;
/// Sides of the picture that can be drawn, in pixels.
const SIDES: std::ops::RangeInclusive<usize> = 16..=1024;

/// What is to be generated.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRequest {
    pub prompt: String,
    pub seed: u64,
    /// 4, 8 or 12. Longer clips are takes of the same scene, cut after each other.
    pub seconds: u32,
    /// Steps of the sampler.
    pub steps: usize,
    /// How strongly the prompt is followed; 1 is as learned.
    pub guidance: f32,
    /// A cameo's picture, RGB8 of 32 x 32 pixels.
    pub reference: Option<Vec<u8>>,
    /// Width and height of the frames in pixels.
    pub side: usize,
}

impl GenerationRequest {
    /// A four-second clip of `prompt` with the usual settings.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            seed,
            seconds: CLIP_S as u32,
            // More are slower and, measured, no better: the last, long step takes out what trembles.
            steps: 16,
            guidance: 1.5,
            reference: None,
            side: 256,
        }
    }

    fn takes(&self) -> Result<u32, GenerateError> {
        let take_s = CLIP_S as u32;
        let takes = self.seconds / take_s;
        if self.seconds.is_multiple_of(take_s) && (1..=MOST_TAKES).contains(&takes) {
            Ok(takes)
        } else {
            Err(GenerateError::Seconds { seconds: self.seconds })
        }
    }
}

/// Why there is no clip.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    #[error("the prompt is empty")]
    EmptyPrompt,
    #[error("a clip of {seconds} seconds cannot be generated: use 4, 8 or 12")]
    Seconds { seconds: u32 },
    #[error("{steps} steps cannot be taken: use 1 to 200")]
    Steps { steps: usize },
    #[error("guidance must lie between 0 and 10")]
    Guidance,
    #[error("a picture of {side} pixels cannot be drawn: use 16 to 1024")]
    Side { side: usize },
    #[error("a reference picture must be RGB of 32 x 32 pixels: {expected} bytes, not {found}")]
    Reference { expected: usize, found: usize },
    #[error("the generation was cancelled")]
    Cancelled,
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A loaded model, ready to generate.
#[derive(Debug)]
pub struct Generator {
    model: Model,
    card: ModelCard,
    atoms: Atoms,
    device: Device,
}

impl Generator {
    /// Loads the model in `directory`.
    pub fn load(directory: &Path, device: DeviceChoice) -> Result<Self, GenerateError> {
        let device = resolve(device)?;
        let (model, card) = load_model(directory, &device)?;
        Ok(Self::new(model, card, device))
    }

    /// The `nano` model that is built into the program.
    pub fn shipped(device: DeviceChoice) -> Result<Self, GenerateError> {
        let device = resolve(device)?;
        let (model, card) = load_model_from_bytes(
            include_bytes!("../weights/nano/config.json"),
            include_bytes!("../weights/nano/weights.safetensors").to_vec(),
            Path::new("built-in config.json"),
            &device,
        )?;
        Ok(Self::new(model, card, device))
    }

    fn new(model: Model, card: ModelCard, device: Device) -> Self {
        Self { model, card, atoms: Atoms::new(), device }
    }

    /// Numbers in the model.
    pub fn parameters(&self) -> usize {
        self.model.num_params()
    }

    /// The words of a prompt that the model does not know and will ignore.
    pub fn unknown_words(&self, prompt: &str) -> Vec<String> {
        self.card.vocabulary.unknown(prompt)
    }

    /// Generates a clip. `on_step` learns how many of how many steps are done, and may cancel.
    pub fn generate(
        &self,
        request: &GenerationRequest,
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Clip, GenerateError> {
        let mut clip: Option<Clip> = None;
        for performance in self.perform(request, on_step)? {
            let take = self.painter().clip(&performance, request.side);
            match &mut clip {
                None => clip = Some(take),
                Some(clip) => {
                    clip.frames.extend(take.frames);
                    clip.samples.extend(take.samples);
                }
            }
        }
        clip.ok_or(GenerateError::Seconds { seconds: request.seconds })
    }

    pub(crate) fn painter(&self) -> Painter<'_> {
        Painter { model: &self.model, atoms: &self.atoms, device: &self.device }
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn card(&self) -> &ModelCard {
        &self.card
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// What happens in each take of the clip.
    pub(crate) fn perform(
        &self,
        request: &GenerationRequest,
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<Performance>, GenerateError> {
        let takes = request.takes()?;
        check(request)?;
        let widths = self.card.model.latent_widths();
        let context = self.context(request);
        let unconditional = self.model.flow.context(self.prompts(Vocabulary::silence(), None));
        let sampling = Sampling { steps: request.steps, guidance: request.guidance, shift: 2.0 };
        let total = request.steps * takes as usize;
        let mut looks: Option<Latents> = None;
        let mut performances = Vec::with_capacity(takes as usize);
        for take in 0..takes {
            let noise = self.noise(request.seed, take, widths);
            let before = take as usize * request.steps;
            let mut on_take_step = |done: usize, _| on_step(before + done, total);
            let guide =
                Guide { context: &context, unconditional: &unconditional, looks: looks.as_ref(), sampling };
            let drawn =
                sample(&self.model.flow, &noise, guide, &mut on_take_step).ok_or(GenerateError::Cancelled)?;
            looks.get_or_insert_with(|| drawn.clone());
            let mut row = drawn.into_rows().concat();
            self.card.normalisation.undo(&mut row, widths);
            performances.push(Performance::from_row(&row, &self.card.model).steadied());
        }
        Ok(performances)
    }

    fn context(&self, request: &GenerationRequest) -> Tensor<3> {
        let words = match &request.reference {
            Some(_) => self.card.vocabulary.numbers(&naming_the_cameo(&request.prompt)),
            None => self.card.vocabulary.numbers(&request.prompt),
        };
        let reference = request.reference.as_deref().map(|pixels| {
            let portrait = shrink(pixels, REFERENCE_SIDE, PORTRAIT_SIDE);
            let width = portrait.len();
            let portrait = Tensor::from_data(TensorData::new(portrait, [1, width]), &self.device);
            let mut code: Vec<f32> =
                self.model.picture.encode_skins(portrait).try_into_vec_as::<f32>().unwrap_or_default();
            self.card.normalisation.apply_to_skin(&mut code);
            code
        });
        self.model.flow.context(self.prompts(words, reference))
    }

    fn prompts(&self, words: [i32; PROMPT_WORDS], reference: Option<Vec<f32>>) -> Prompts {
        let present = if reference.is_some() { 1.0 } else { 0.0 };
        let width = self.card.model.skin_code;
        let mut code = reference.unwrap_or_default();
        code.resize(width, 0.0);
        Prompts {
            words: Tensor::<2, Int>::from_data(
                TensorData::new(words.to_vec(), [1, PROMPT_WORDS]),
                &self.device,
            ),
            references: Tensor::from_data(TensorData::new(code, [1, width]), &self.device),
            has_reference: Tensor::from_data(TensorData::new(vec![present], [1, 1]), &self.device),
        }
    }

    fn noise(&self, seed: u64, take: u32, widths: LatentWidths) -> Latents {
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "generate"));
        rng.set_stream(u64::from(take));
        let noise: Vec<f32> = (0..widths.total()).map(|_| normal(&mut rng)).collect();
        Latents::from_rows(&noise, widths, &self.device)
    }
}

fn check(request: &GenerationRequest) -> Result<(), GenerateError> {
    if request.prompt.trim().is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    if !STEPS.contains(&request.steps) {
        return Err(GenerateError::Steps { steps: request.steps });
    }
    if !(0.0..=10.0).contains(&request.guidance) {
        return Err(GenerateError::Guidance);
    }
    if !SIDES.contains(&request.side) {
        return Err(GenerateError::Side { side: request.side });
    }
    let expected = REFERENCE_SIDE * REFERENCE_SIDE * 3;
    match &request.reference {
        Some(pixels) if pixels.len() != expected => {
            Err(GenerateError::Reference { expected, found: pixels.len() })
        }
        _ => Ok(()),
    }
}

/// The prompt with its first ball called the cameo, which is how the corpus speaks of a reference.
fn naming_the_cameo(prompt: &str) -> String {
    let words: Vec<&str> = prompt.split_whitespace().collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    if words.iter().any(|word| bare(word) == "cameo") {
        return prompt.to_owned();
    }
    let Some(ball) = words.iter().position(|word| bare(word) == "ball") else {
        return format!("the cameo ball {prompt}");
    };
    // From the article on, what described the ball is replaced by its name.
    let article = words[..ball].iter().rposition(|word| matches!(bare(word).as_str(), "a" | "an" | "the"));
    let from = article.unwrap_or(ball);
    [&words[..from], &["the", "cameo", "ball"], &words[ball + 1..]].concat().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_on(_: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn quick(prompt: &str) -> GenerationRequest {
        GenerationRequest { steps: 4, side: 32, ..GenerationRequest::new(prompt, 7) }
    }

    #[test]
    fn a_generator_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Generator>();
    }

    #[test]
    fn the_first_ball_becomes_the_cameo() {
        assert_eq!(naming_the_cameo("a red ball bounces twice"), "the cameo ball bounces twice");
        assert_eq!(naming_the_cameo("the cameo ball drops"), "the cameo ball drops");
        assert_eq!(naming_the_cameo("a big red ball hits a blue ball"), "the cameo ball hits a blue ball");
        assert_eq!(naming_the_cameo("bounces"), "the cameo ball bounces");
    }

    #[test]
    fn the_seed_decides_the_clip() {
        let generator = Generator::shipped(DeviceChoice::Cpu).unwrap();
        let clip = generator.generate(&quick("a red ball bounces twice"), &mut go_on).unwrap();
        assert_eq!((clip.width, clip.frame_count(), clip.samples.len()), (32, 96, 48_000));
        let again = generator.generate(&quick("a red ball bounces twice"), &mut go_on).unwrap();
        assert_eq!(clip, again);
        let other = GenerationRequest { seed: 8, ..quick("a red ball bounces twice") };
        assert_ne!(clip, generator.generate(&other, &mut go_on).unwrap());
    }

    #[test]
    fn longer_clips_are_takes_of_one_scene() {
        let generator = Generator::shipped(DeviceChoice::Cpu).unwrap();
        let request = GenerationRequest { seconds: 8, ..quick("a blue ball misses the hoop") };
        let takes = generator.perform(&request, &mut go_on).unwrap();
        assert_eq!(takes.len(), 2);
        assert_eq!(takes[0].balls, takes[1].balls);
        assert_eq!(takes[0].scene, takes[1].scene);
        assert_ne!(takes[0].poses, takes[1].poses);
    }

    #[test]
    fn a_cancelled_generation_stops_at_the_next_step() {
        let generator = Generator::shipped(DeviceChoice::Cpu).unwrap();
        let mut steps = 0;
        let mut cancel = |done: usize, total: usize| {
            assert_eq!(total, 4);
            steps = done;
            if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = generator.generate(&quick("a red ball drops"), &mut cancel);
        assert!(matches!(outcome, Err(GenerateError::Cancelled)));
        assert_eq!(steps, 2);
    }

    #[test]
    fn what_cannot_be_generated_is_one_clear_line() {
        let generator = Generator::shipped(DeviceChoice::Cpu).unwrap();
        let request = quick("a ball");
        let refused = [
            GenerationRequest { prompt: "  ".into(), ..request.clone() },
            GenerationRequest { seconds: 5, ..request.clone() },
            GenerationRequest { seconds: 16, ..request.clone() },
            GenerationRequest { steps: 0, ..request.clone() },
            GenerationRequest { guidance: f32::NAN, ..request.clone() },
            GenerationRequest { side: 4, ..request.clone() },
            GenerationRequest { reference: Some(vec![0; 5]), ..request },
        ];
        for request in refused {
            let error = generator.generate(&request, &mut go_on).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() > 10, "{error}");
        }
    }
}
