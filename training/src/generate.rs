//! Generation: a prompt enters, a clip with sound leaves.
//!
//! Steps of the sampler report their progress and may be cancelled. INVARIANT: the same model, request and
//! seed give the same clip on the same kind of device; a [`Generator`] is shared freely between threads.

mod lab;
mod source;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::device::{DeviceChoice, DeviceError, resolve};
use kinora_harness::seed::derive;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

pub(crate) use self::lab::LabSettings;
use self::source::Begun;
pub use self::source::Source;
use crate::articulate::articulate;
use crate::clip::Clip;
use crate::encoder::{EncodeError, Encoder, Floors, frames_at_world_rate, read_portrait};
use crate::model::Model;
use crate::model::flow::{Guide, Likeness, Sampling, sample};
use crate::model::latents::{FRAMES_PER_TOKEN, LOOK, Latents, Layout, VOICE_CODE};
use crate::model::looks::{PORTRAIT_SIDE, seen};
use crate::model::sound::Atoms;
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::{Known, Prompts};
use crate::model::voice::{HEARD, hear};
use crate::painter::Painter;
use crate::performance::{Performance, appearance_of, look_numbers, skin_of};
use crate::takes::faults;
use crate::train::normal;
use crate::weights::{ModelCard, WeightsError, load_model, load_model_from_bytes};
use crate::words::Vocabulary;
use crate::world::{ACTORS, CLIP_S, FPS, FRAMES};

/// Lengths of a clip in seconds.
const LENGTHS_S: [u32; 3] = [4, 8, 12];
/// Tokens at the end of a window that the next one begins with: a second says how everything moves.
const OVERLAP: usize = 6;
/// Takes that a clip is chosen from unless it says otherwise.
pub const TAKES: usize = 4;
/// Takes that may be asked for.
const MOST_TAKES: std::ops::RangeInclusive<usize> = 1..=64;
/// Clips that the sampler draws at once.
pub(crate) const BATCH: usize = 32;
/// Steps that the sampler may take.
const STEPS: std::ops::RangeInclusive<usize> = 1..=200;
/// Sides of the picture that can be drawn, in pixels.
const SIDES: std::ops::RangeInclusive<usize> = 16..=1024;
/// Side of a cameo's reference picture in pixels.
pub const REFERENCE_SIDE: usize = PORTRAIT_SIDE;

/// What is to be generated.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRequest {
    pub prompt: String,
    pub seed: u64,
    /// Takes that may be drawn: the first without a fault is kept, else the one with the fewest. What begins with
    /// a picture or a clip is drawn once.
    pub takes: usize,
    /// 4, 8 or 12. A longer clip goes on from its own last second, window after window.
    pub seconds: u32,
    /// Steps of the sampler; `None` as the model is best drawn with.
    pub steps: Option<usize>,
    /// How strongly the prompt is followed, where 1 is as learned; `None` as the model is best drawn with.
    pub guidance: Option<f32>,
    /// The same of the references.
    pub likeness: Option<f32>,
    /// Pictures of cameos, RGB8 of 32 x 32 pixels: the first is of the first actor, and so on.
    pub references: Vec<Vec<u8>>,
    /// A recording of who speaks, mono at 12 kHz.
    pub voice: Option<Vec<f32>>,
    /// What the clip begins with beside its prompt.
    pub source: Option<Source>,
    /// Width and height of the frames in pixels.
    pub width: usize,
    pub height: usize,
}

impl GenerationRequest {
    /// A four-second clip of `prompt` with the usual settings.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            seed,
            takes: TAKES,
            seconds: CLIP_S as u32,
            steps: None,
            guidance: None,
            likeness: None,
            references: Vec::new(),
            voice: None,
            source: None,
            width: 256,
            height: 256,
        }
    }

    /// Whether the sampler can draw both clips at once.
    fn is_alike(&self, other: &Self) -> bool {
        let settings = |request: &Self| {
            let bits = |number: Option<f32>| number.map(f32::to_bits);
            (request.steps, bits(request.guidance), bits(request.likeness), request.seconds)
        };
        settings(self) == settings(other) && self.source.is_none() && other.source.is_none()
    }

    /// Takes that may be drawn of it.
    fn most_takes(&self) -> usize {
        // What begins with something is measured by that, not by its prompt alone.
        if self.source.is_some() { 1 } else { self.takes }
    }

    /// The same from other noise, but for the first take.
    fn of_take(&self, take: usize) -> Self {
        let seed = if take == 0 { self.seed } else { derive(self.seed, &format!("take {take}")) };
        Self { seed, ..self.clone() }
    }

    /// Frames that are drawn, and the windows that they are drawn in.
    fn extent(&self) -> Result<(usize, usize), GenerateError> {
        if !LENGTHS_S.contains(&self.seconds) {
            return Err(GenerateError::Seconds { seconds: self.seconds });
        }
        let frames = (self.seconds * FPS) as usize;
        let fresh = FRAMES - OVERLAP * FRAMES_PER_TOKEN;
        let windows = |frames: usize| 1 + frames.saturating_sub(FRAMES).div_ceil(fresh);
        Ok(match &self.source {
            // The first window begins with the end of what is there.
            Some(Source::Extend(_)) => (frames, frames.div_ceil(fresh)),
            // As long as what is changed.
            Some(Source::Edit { clip, .. }) => {
                let longest = (LENGTHS_S[LENGTHS_S.len() - 1] * FPS) as usize;
                let frames = frames_at_world_rate(clip).min(longest);
                (frames, windows(frames))
            }
            _ => (frames, windows(frames)),
        })
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
    #[error("{takes} takes cannot be drawn: use 1 to 64")]
    Takes { takes: usize },
    #[error("guidance and likeness must lie between 0 and 10")]
    Guidance,
    #[error("this model was distilled with its guidance: leave guidance and likeness away")]
    Distilled,
    #[error("a picture of {width}x{height} pixels cannot be drawn: use 16 to 1024 for each")]
    Size { width: usize, height: usize },
    #[error("a reference picture must be RGB of 32 x 32 pixels: {expected} bytes, not {found}")]
    Reference { expected: usize, found: usize },
    #[error("the voice reference is silent: give at least a quarter of a second of speech")]
    Voice,
    #[error("{found} cameos were given: a clip can show {ACTORS}")]
    References { found: usize },
    #[error(
        "the picture or clip shows nothing that this model draws: give one that it drew, or that looks alike"
    )]
    Foreign,
    #[error("the clip is too short to go on from: give at least a sixth of a second")]
    TooShort,
    #[error("the strength of an edit must lie between 0 and 1")]
    Strength,
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("the generation was cancelled")]
    Cancelled,
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A loaded model, ready to generate.
pub struct Generator {
    model: Model,
    card: ModelCard,
    atoms: Atoms,
    device: Device,
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Millions of weights say nothing.
        f.debug_struct("Generator").field("model", &self.card.model).finish_non_exhaustive()
    }
}

impl Generator {
    /// Loads the model in `directory`.
    pub fn load(directory: &Path, device: DeviceChoice) -> Result<Self, GenerateError> {
        let device = resolve(device)?;
        let (model, card) = load_model(directory, &device)?;
        Ok(Self::of(model, card, device))
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
        Ok(Self::of(model, card, device))
    }

    pub(crate) fn of(model: Model, card: ModelCard, device: Device) -> Self {
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
        let performance = self.perform(request, on_step)?;
        Ok(self.painter().clip(&performance, request.width, request.height))
    }

    /// What the encoder reads of a clip, painted again: what is lost on the way into the latents and back.
    pub fn reconstruct(&self, clip: &Clip) -> Result<Clip, EncodeError> {
        let reading = self.encoder().read(clip)?;
        Ok(self.painter().clip(&reading.performance, clip.width, clip.height))
    }

    /// What the encoder is worth on `scenes` held-out scenes of each family.
    pub fn floors(&self, scenes: u64, seed: u64) -> Floors {
        self.encoder().floors(scenes, seed)
    }

    pub(crate) fn encoder(&self) -> Encoder<'_> {
        Encoder { model: &self.model, card: &self.card, atoms: &self.atoms, device: &self.device }
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

    /// What happens in the clip.
    pub(crate) fn perform(
        &self,
        request: &GenerationRequest,
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Performance, GenerateError> {
        let mut performed = self.perform_batch(std::slice::from_ref(request), on_step)?;
        performed.pop().ok_or(GenerateError::Seconds { seconds: request.seconds })
    }

    /// What happens in many clips, each in the best of its takes. Neighbours of the same settings are drawn
    /// together, which takes far less time than one after another and gives the same takes, but for rounding.
    pub(crate) fn perform_batch(
        &self,
        requests: &[GenerationRequest],
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<Performance>, GenerateError> {
        for request in requests {
            check(request)?;
            self.sampling(request)?;
        }
        let takes = requests.iter().map(GenerationRequest::most_takes).max().unwrap_or(1);
        // Steps of each take that is left, were no clip good before.
        let mut left = Vec::with_capacity(takes);
        for take in 0..takes {
            let drawn = requests.iter().filter(|request| request.most_takes() > take);
            left.push(self.steps(&drawn.cloned().collect::<Vec<_>>())?);
        }
        let total: usize = left.iter().sum();
        let mut best: Vec<Option<(usize, Performance)>> = vec![None; requests.len()];
        let mut before = 0;
        for (take, steps) in left.into_iter().enumerate() {
            let poor = |index: &usize| {
                take < requests[*index].most_takes()
                    && best[*index].as_ref().is_none_or(|(faults, _)| *faults > 0)
            };
            let poor: Vec<usize> = (0..requests.len()).filter(poor).collect();
            let again: Vec<GenerationRequest> =
                poor.iter().map(|&index| requests[index].of_take(take)).collect();
            let mut on_take_step = |done: usize| on_step(before + done, total);
            let drawn = self.perform_takes(&again, &mut on_take_step)?;
            for (index, performance) in poor.into_iter().zip(drawn) {
                let faults = faults(&requests[index].prompt, &performance);
                if best[index].as_ref().is_none_or(|(fewest, _)| faults < *fewest) {
                    best[index] = Some((faults, performance));
                }
            }
            before += steps;
        }
        // All clips may have been good before the last take.
        if total > 0 && on_step(total, total).is_break() {
            return Err(GenerateError::Cancelled);
        }
        Ok(best.into_iter().flatten().map(|(_, performance)| performance).collect())
    }

    /// Requests that the sampler can draw at once.
    fn batches(requests: &[GenerationRequest]) -> impl Iterator<Item = &[GenerationRequest]> {
        requests.chunk_by(GenerationRequest::is_alike).flat_map(|alike| alike.chunks(BATCH))
    }

    /// Steps that one take of each of the requests needs.
    fn steps(&self, requests: &[GenerationRequest]) -> Result<usize, GenerateError> {
        Self::batches(requests).map(|batch| Ok(self.sampling(&batch[0])?.steps * batch[0].extent()?.1)).sum()
    }

    /// One take of each of many clips. `on_step` learns how many steps are done.
    fn perform_takes(
        &self,
        requests: &[GenerationRequest],
        on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Performance>, GenerateError> {
        let mut performed = Vec::with_capacity(requests.len());
        let mut before = 0;
        for batch in Self::batches(requests) {
            let mut on_batch_step = |done: usize, _: usize| on_step(before + done);
            performed.extend(self.perform_together(batch, &mut on_batch_step)?);
            before += self.steps(batch)?;
        }
        Ok(performed)
    }

    /// Clips of the same settings; the sampler sees them as one batch.
    fn perform_together(
        &self,
        requests: &[GenerationRequest],
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<Performance>, GenerateError> {
        let layout = self.card.model.layout();
        let mut guide = self.guide(requests, layout)?;
        let steps = guide.sampling.steps;
        let (mut frames, windows) = requests[0].extent()?;
        let mut performed: Vec<Performance> = Vec::new();
        let begun = match &requests[0].source {
            Some(source) => Some(self.begin(source, &requests[0].prompt)?),
            None => None,
        };
        let mut overlap = OVERLAP * FRAMES_PER_TOKEN;
        match &begun {
            Some(Begun::Picture(performance)) => guide.known = self.known(performance, 1, false),
            Some(Begun::Extend(performance)) => {
                overlap = overlap.min(performance.frames / FRAMES_PER_TOKEN * FRAMES_PER_TOKEN);
                let end = performance.span(performance.frames - overlap, overlap);
                guide.known = self.known(&end, overlap, true);
                frames += performance.frames;
                performed.push(performance.clone());
            }
            Some(Begun::Edit { .. }) | None => {}
        }
        for window in 0..windows {
            let start = match &begun {
                Some(Begun::Edit { performance, strength }) => {
                    let first = window * (FRAMES - OVERLAP * FRAMES_PER_TOKEN);
                    Some(self.start(&performance.span(first, FRAMES), *strength))
                }
                _ => None,
            };
            let noise: Vec<f32> =
                requests.iter().flat_map(|request| noise(request.seed, window, layout)).collect();
            let noise = Latents::from_rows(&noise, layout, &self.device);
            let before = window * steps;
            let mut on_window_step = |done: usize, total: usize| on_step(before + done, total);
            let drawn = sample(&self.model.flow, &noise, start.as_ref(), &guide, &mut on_window_step)
                .ok_or(GenerateError::Cancelled)?;
            guide.known = Known::end_of(&drawn, OVERLAP);
            let read = self.read(drawn);
            performed = if performed.is_empty() {
                read.collect()
            } else {
                performed.into_iter().zip(read).map(|(long, next)| long.followed_by(next, overlap)).collect()
            };
            overlap = OVERLAP * FRAMES_PER_TOKEN;
        }
        // What began with something moves and sounds as that was read to.
        let finish = |(performance, request): (Performance, &GenerationRequest)| {
            let performance = performance.cut(frames);
            match begun {
                Some(Begun::Extend(_) | Begun::Edit { .. }) => performance.steadied(),
                Some(Begun::Picture(_)) => articulate(performance.steadied(), &request.prompt),
                None => articulate(performance.settled(), &request.prompt),
            }
        };
        Ok(performed.into_iter().zip(requests).map(finish).collect())
    }

    /// What drawn latents say happens, one a clip.
    fn read(&self, drawn: Latents) -> impl Iterator<Item = Performance> {
        let layout = self.card.model.layout();
        drawn.into_rows().into_iter().map(move |mut row| {
            self.card.normalisation.undo(&mut row, layout);
            // Weights that overflow break a clip, not the program.
            row.iter_mut().filter(|number| !number.is_finite()).for_each(|number| *number = 0.0);
            Performance::from_row(&row, &self.card.model)
        })
    }

    fn guide(&self, requests: &[GenerationRequest], layout: Layout) -> Result<Guide, GenerateError> {
        let mut prompts = Vec::with_capacity(requests.len());
        for request in requests {
            let words = if request.references.is_empty() {
                self.card.vocabulary.numbers(&request.prompt)
            } else {
                self.card.vocabulary.numbers(&naming_the_cameo(&request.prompt))
            };
            let voice = request.voice.as_deref().map(|samples| self.read_voice(samples)).transpose()?;
            let looks = request.references.iter().map(|pixels| self.read_look(pixels)).collect();
            prompts.push(Prompt { words, looks, voice });
        }
        Ok(self.guide_to(&prompts, layout, self.sampling(&requests[0])?))
    }

    /// How a request is drawn: as it says, else as the model is best drawn with.
    fn sampling(&self, request: &GenerationRequest) -> Result<Sampling, GenerateError> {
        let usual = self.card.sampling;
        if self.card.distilled && (request.guidance.is_some() || request.likeness.is_some()) {
            return Err(GenerateError::Distilled);
        }
        Ok(Sampling {
            steps: request.steps.unwrap_or(usual.steps),
            guidance: request.guidance.unwrap_or(usual.guidance),
            likeness: request.likeness.unwrap_or(usual.likeness),
            ..usual
        })
    }

    fn guide_to(&self, prompts: &[Prompt], layout: Layout, sampling: Sampling) -> Guide {
        let flow = &self.model.flow;
        let referred = prompts.iter().any(|prompt| !prompt.looks.is_empty() || prompt.voice.is_some());
        let text: Vec<Prompt> = prompts.iter().map(|prompt| Prompt::of_words(prompt.words)).collect();
        let silence = vec![Prompt::of_words(Vocabulary::silence()); prompts.len()];
        let nothing = Latents::from_rows(&vec![0.0; prompts.len() * layout.total()], layout, &self.device);
        Guide {
            whole: flow.context(self.prompts(prompts)),
            text: referred.then(|| flow.context(self.prompts(&text))),
            nothing: flow.context(self.prompts(&silence)),
            known: Known::nothing(&nothing),
            likeness: referred.then(|| self.likeness(prompts)),
            sampling,
        }
    }

    /// What the references of some prompts say of their clips.
    fn likeness(&self, prompts: &[Prompt]) -> Likeness {
        let Prompts { looks, voice, has_voice, .. } = self.prompts(prompts);
        let shown = prompts.iter().flat_map(|prompt| {
            let mut shown: Vec<f32> = prompt.looks.iter().flat_map(|look| look.shown).collect();
            shown.resize(ACTORS * LOOK, 0.0);
            shown
        });
        let shown = TensorData::new(shown.collect::<Vec<f32>>(), [prompts.len(), ACTORS, LOOK]);
        Likeness { looks, shown: Tensor::from_data(shown, &self.device), voices: voice, heard: has_voice }
    }

    /// The words, with the normalised looks and voices of cameos.
    fn prompts(&self, prompts: &[Prompt]) -> Prompts {
        let (device, batch) = (&self.device, prompts.len());
        let cube = |values: Vec<f32>, tokens: usize| {
            let width = values.len() / (batch * tokens);
            Tensor::<3>::from_data(TensorData::new(values, [batch, tokens, width]), device)
        };
        let given = |given: bool| if given { 1.0 } else { 0.0 };
        let looks = prompts.iter().flat_map(|prompt| {
            let mut looks: Vec<f32> = prompt.looks.iter().flat_map(|look| look.numbers).collect();
            looks.resize(ACTORS * LOOK, 0.0);
            looks
        });
        let has_look =
            prompts.iter().flat_map(|prompt| (0..ACTORS).map(|actor| given(actor < prompt.looks.len())));
        let words: Vec<i32> = prompts.iter().flat_map(|prompt| prompt.words).collect();
        Prompts {
            words: Tensor::<2, Int>::from_data(TensorData::new(words, [batch, PROMPT_WORDS]), device),
            looks: cube(looks.collect(), ACTORS),
            has_look: cube(has_look.collect(), ACTORS),
            voice: cube(prompts.iter().flat_map(|prompt| prompt.voice.unwrap_or_default()).collect(), 1),
            has_voice: cube(prompts.iter().map(|prompt| given(prompt.voice.is_some())).collect(), 1),
        }
    }

    /// The normalised voice of a recording.
    fn read_voice(&self, samples: &[f32]) -> Result<[f32; VOICE_CODE], GenerateError> {
        let heard = hear(samples).ok_or(GenerateError::Voice)?;
        let heard = Tensor::<2>::from_data(TensorData::new(heard, [1, HEARD]), &self.device);
        let mut voice = fixed(self.model.voices.forward(heard));
        self.card.normalisation.apply_to_voice(&mut voice);
        Ok(voice)
    }

    fn read_look(&self, portrait: &[u8]) -> Portrayed {
        let pixels: Vec<f32> = seen(portrait).collect();
        let width = pixels.len();
        let pixels = Tensor::<2>::from_data(TensorData::new(pixels, [1, width]), &self.device);
        let guess = fixed::<LOOK>(self.model.looks.forward(pixels));
        let look = read_portrait(portrait, (skin_of(&guess), appearance_of(&guess)));
        let (mut numbers, shown) = look_numbers(&look);
        let shown = shown.map(|shown| if shown { 1.0 } else { 0.0 });
        self.card.normalisation.apply_to_look(&mut numbers);
        Portrayed { numbers, shown }
    }
}

/// A portrait as the model reads it.
#[derive(Clone)]
struct Portrayed {
    /// A normalised look.
    numbers: [f32; LOOK],
    /// 1 for each of them that the portrait shows.
    shown: [f32; LOOK],
}

/// What one clip is made from.
#[derive(Clone)]
struct Prompt {
    words: [i32; PROMPT_WORDS],
    /// Looks of cameos.
    looks: Vec<Portrayed>,
    voice: Option<[f32; VOICE_CODE]>,
}

impl Prompt {
    fn of_words(words: [i32; PROMPT_WORDS]) -> Self {
        Self { words, looks: Vec::new(), voice: None }
    }
}

/// Noise of one window of one clip.
fn noise(seed: u64, window: usize, layout: Layout) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "generate"));
    rng.set_stream(window as u64);
    (0..layout.total()).map(|_| normal(&mut rng)).collect()
}

/// The first numbers of a tensor. The devices hold f32 here by construction.
fn fixed<const N: usize>(row: Tensor<2>) -> [f32; N] {
    let mut numbers = [0.0; N];
    let values: Vec<f32> = row.try_into_vec_as::<f32>().unwrap_or_default();
    for (number, value) in numbers.iter_mut().zip(values) {
        *number = value;
    }
    numbers
}

fn check(request: &GenerationRequest) -> Result<(), GenerateError> {
    if request.prompt.trim().is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    if let Some(steps) = request.steps.filter(|steps| !STEPS.contains(steps)) {
        return Err(GenerateError::Steps { steps });
    }
    if !MOST_TAKES.contains(&request.takes) {
        return Err(GenerateError::Takes { takes: request.takes });
    }
    let within = |strength: Option<f32>| strength.is_none_or(|number| (0.0..=10.0).contains(&number));
    if !within(request.guidance) || !within(request.likeness) {
        return Err(GenerateError::Guidance);
    }
    let (width, height) = (request.width, request.height);
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return Err(GenerateError::Size { width, height });
    }
    if request.references.len() > ACTORS {
        return Err(GenerateError::References { found: request.references.len() });
    }
    let expected = REFERENCE_SIDE * REFERENCE_SIDE * 3;
    match request.references.iter().find(|pixels| pixels.len() != expected) {
        Some(pixels) => Err(GenerateError::Reference { expected, found: pixels.len() }),
        None => Ok(()),
    }
}

/// The prompt with its first actor called the cameo, which is how the corpus speaks of a reference.
fn naming_the_cameo(prompt: &str) -> String {
    let words: Vec<&str> = prompt.split_whitespace().collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let named: Vec<String> = words.iter().map(|word| bare(word)).collect();
    if named.iter().any(|word| word == "cameo") {
        return prompt.to_owned();
    }
    let Some(actor) = named.iter().position(|word| matches!(word.as_str(), "ball" | "person")) else {
        return format!("the cameo ball {prompt}");
    };
    // From the article on, what described the actor is replaced by its name.
    let article = named[..actor].iter().rposition(|word| matches!(word.as_str(), "a" | "an" | "the"));
    let from = article.unwrap_or(actor);
    if named[actor] == "ball" {
        return [&words[..from], &["the", "cameo", "ball"], &words[actor + 1..]].concat().join(" ");
    }
    // A person's clothes may be said after them: "a person in a red shirt and blue trousers".
    let mut rest = actor + 1;
    while let Some(clothes) = clothes(&named[rest..]) {
        rest += clothes;
    }
    [&words[..from], &["the", "cameo"], &words[rest..]].concat().join(" ")
}

/// How many words at the start speak of clothes: a preposition or "and", and all up to a garment.
fn clothes(words: &[String]) -> Option<usize> {
    let joined = matches!(words.first()?.as_str(), "in" | "with" | "and");
    let garment =
        words.iter().take(LONGEST_GARMENT).position(|word| matches!(word.as_str(), "shirt" | "trousers"));
    garment.filter(|_| joined).map(|at| at + 1)
}

/// Words from "in" to the garment at most: "in a red and white shirt".
const LONGEST_GARMENT: usize = 7;

/// A model that has learned nothing, with random numbers where training starts from zeros.
#[cfg(test)]
pub(crate) fn untrained() -> Generator {
    use burn::module::{ModuleMapper, Param};
    use burn::tensor::Distribution;

    use crate::model::latents::Measure;
    use crate::train::TrainPlan;
    use crate::train::latents::{Encoders, tell};

    struct Stir;
    impl ModuleMapper for Stir {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|values| {
                let (shape, device) = (values.shape(), values.device());
                values.add(Tensor::random(shape, Distribution::Normal(0.0, 0.05), &device))
            })
        }
    }

    let device = Device::flex();
    let config = crate::size::ModelSize::Nano.config();
    let vocabulary = Vocabulary::of_corpus();
    let model = kinora_harness::seed::seeded(&device, 5, || {
        Model::new(&config, vocabulary.len(), &device).map(&mut Stir)
    });
    let told: Vec<_> = (0..48).map(|index| tell(5, index).scene).collect();
    let encoders = Encoders { config: &config, sound: &model.sound, device: &device };
    let mut measure = Measure::new(config.layout());
    for performance in encoders.perform(&told.iter().collect::<Vec<_>>()) {
        let row = performance.to_row(&config);
        measure.add(&row.values, &row.weights);
    }
    let card = ModelCard {
        format: ModelCard::FORMAT,
        model: config,
        vocabulary,
        normalisation: measure.finish(),
        plan: TrainPlan::smoke(),
        seed: 5,
        sampling: Sampling::default(),
        distilled: false,
        code_version: String::new(),
    };
    Generator::of(model, card, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_on(_: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn quick(prompt: &str) -> GenerationRequest {
        GenerationRequest {
            steps: Some(4),
            takes: 1,
            width: 32,
            height: 32,
            ..GenerationRequest::new(prompt, 7)
        }
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
        assert_eq!(naming_the_cameo("A person waves"), "the cameo waves");
        let dressed = "a person in a red shirt and blue trousers walks to the right and says hello";
        assert_eq!(naming_the_cameo(dressed), "the cameo walks to the right and says hello");
    }

    #[test]
    fn the_seed_decides_the_clip() {
        let generator = untrained();
        let clip = generator.generate(&quick("a red ball bounces twice"), &mut go_on).unwrap();
        assert_eq!((clip.width, clip.frame_count(), clip.samples.len()), (32, 96, 48_000));
        let again = generator.generate(&quick("a red ball bounces twice"), &mut go_on).unwrap();
        assert_eq!(clip, again);
        let other = GenerationRequest { seed: 8, ..quick("a red ball bounces twice") };
        assert_ne!(clip, generator.generate(&other, &mut go_on).unwrap());
    }

    #[test]
    fn the_best_of_several_takes_is_kept() {
        let generator = untrained();
        for seed in 0..4 {
            let once = GenerationRequest { seed, ..quick("a red ball bounces twice") };
            let take = |take| generator.perform(&once.of_take(take), &mut go_on).unwrap();
            let fewest = (0..3).map(|number| faults(&once.prompt, &take(number))).min();
            let best =
                generator.perform(&GenerationRequest { takes: 3, ..once.clone() }, &mut go_on).unwrap();
            assert_eq!(Some(faults(&once.prompt, &best)), fewest);
            assert!((0..3).any(|number| take(number) == best));
        }
    }

    #[test]
    fn a_longer_clip_goes_on_where_its_window_ends() {
        let generator = untrained();
        let request = GenerationRequest { seconds: 8, ..quick("a blue ball misses the hoop") };
        let long = generator.perform(&request, &mut go_on).unwrap();
        assert_eq!(long.frames, 192);
        let short = generator.perform(&quick("a blue ball misses the hoop"), &mut go_on).unwrap();
        let looks = |performance: &Performance| {
            performance.actors.iter().flatten().map(|figure| figure.look).collect::<Vec<_>>()
        };
        assert_eq!(looks(&long), looks(&short));
        assert_eq!(long.stage, short.stage);
        let clip = generator.generate(&request, &mut go_on).unwrap();
        assert_eq!((clip.frame_count(), clip.samples.len()), (192, 96_000));
    }

    #[test]
    fn clips_that_are_drawn_together_are_those_drawn_alone() {
        let generator = untrained();
        let portrait = vec![90; REFERENCE_SIDE * REFERENCE_SIDE * 3];
        let requests = [
            quick("a red ball bounces twice"),
            GenerationRequest { seed: 8, ..quick("a blue ball misses the hoop") },
            GenerationRequest { references: vec![portrait], ..quick("the cameo ball drops") },
            GenerationRequest { seconds: 8, ..quick("a red ball drops") },
            GenerationRequest { guidance: Some(2.5), ..quick("a red ball drops") },
        ];
        let mut last = (0, 0);
        let together = generator
            .perform_batch(&requests, &mut |done, total| {
                last = (done, total);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(last, (20, 20));
        let row = |drawn: &Performance| drawn.to_row(&generator.card.model).values;
        for (request, drawn) in requests.iter().zip(&together) {
            let alone = generator.perform(request, &mut go_on).unwrap();
            assert_eq!(alone.frames, drawn.frames);
            let off = row(&alone).iter().zip(row(drawn)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-3, "`{}` differs by {off}", request.prompt);
        }
        assert_ne!(together[0], together[1]);
    }

    /// A clip that the generator draws, of a ball.
    fn original(generator: &Generator) -> Clip {
        let scene = crate::train::latents::tell_family(crate::world::Family::Bounce, 5).scene;
        let encoders = crate::train::latents::Encoders {
            config: &generator.card.model,
            sound: &generator.model.sound,
            device: &generator.device,
        };
        generator.painter().clip(&encoders.perform(&[&scene])[0], 96, 96)
    }

    #[test]
    fn what_is_begun_is_read_before_it_goes_on() {
        let generator = untrained();
        let clip = original(&generator);
        let request = |source| GenerationRequest {
            source: Some(source),
            width: 96,
            height: 96,
            steps: Some(1),
            ..GenerationRequest::new("a red ball bounces", 3)
        };
        let longer = match generator.generate(&request(Source::Extend(clip.clone())), &mut go_on) {
            Ok(longer) => longer,
            // An eye that was never trained may not find the ball; what it does not understand is refused.
            Err(error) => return assert!(matches!(error, GenerateError::Foreign), "{error}"),
        };
        assert_eq!(longer.frame_count(), 192);
        let same =
            |frame: usize| crate::encoder::psnr_db(clip.frame(frame).unwrap(), longer.frame(frame).unwrap());
        assert!((0..96).all(|frame| same(frame) > 30.0));
        let begun = generator.generate(&request(Source::Picture(clip.clone())), &mut go_on).unwrap();
        assert!(crate::encoder::psnr_db(clip.frame(0).unwrap(), begun.frame(0).unwrap()) > 25.0);
        let changed = Source::Edit { clip, strength: 0.5 };
        assert_eq!(generator.generate(&request(changed), &mut go_on).unwrap().frame_count(), 96);
    }

    #[test]
    fn what_is_not_of_the_world_is_refused() {
        let generator = untrained();
        let noise = Clip {
            width: 64,
            height: 64,
            fps: 24,
            frames: (0..64 * 64 * 3 * 6_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            sample_rate: 12_000,
            samples: Vec::new(),
        };
        let empty = Clip { frames: Vec::new(), ..noise.clone() };
        let refused = [
            Source::Picture(noise.clone()),
            Source::Extend(noise.clone()),
            Source::Edit { clip: noise.clone(), strength: 0.5 },
            Source::Edit { clip: noise.clone(), strength: 0.0 },
            Source::Edit { clip: noise, strength: f32::NAN },
            Source::Picture(empty.clone()),
            Source::Extend(empty.clone()),
            Source::Edit { clip: empty, strength: 0.5 },
        ];
        for source in refused {
            let request = GenerationRequest { source: Some(source), ..quick("a ball") };
            let error = generator.generate(&request, &mut go_on).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() > 10, "{error}");
        }
    }

    #[test]
    fn a_cancelled_generation_stops_at_the_next_step() {
        let generator = untrained();
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
        let generator = untrained();
        let request = quick("a ball");
        let refused = [
            GenerationRequest { prompt: "  ".into(), ..request.clone() },
            GenerationRequest { seconds: 5, ..request.clone() },
            GenerationRequest { seconds: 16, ..request.clone() },
            GenerationRequest { steps: Some(0), ..request.clone() },
            GenerationRequest { takes: 0, ..request.clone() },
            GenerationRequest { guidance: Some(f32::NAN), ..request.clone() },
            GenerationRequest { width: 4, ..request.clone() },
            GenerationRequest { height: 2000, ..request.clone() },
            GenerationRequest { voice: Some(vec![0.0; 9000]), ..request.clone() },
            GenerationRequest { references: vec![vec![0; 5]], ..request.clone() },
            GenerationRequest { references: vec![vec![0; 3072]; 4], ..request },
        ];
        for request in refused {
            let error = generator.generate(&request, &mut go_on).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() > 10, "{error}");
        }
    }
}
