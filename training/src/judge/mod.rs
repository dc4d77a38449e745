//! Judges: small networks, trained apart from the generator, that say whether clips show and sound like what
//! was asked for.
//!
//! Clips enter as pixels and samples, with what was asked of each; plain figures leave. The judges share no
//! weights, no features and no seeds with the generator, and what they say of ground truth they have not seen
//! stands beside what they say of generated clips: a figure is worth what its judge is worth.
//!
//! - [`Judges::meet`] and [`Judges::likeness`]: does a cameo look and sound like its reference?
//! - [`Judges::verdict`] and [`Agreement::of`]: are the colour, the event and the count the caption's?
//! - [`distance`]: how far is a set of clips from another, as the Frechet distance of features?
//!
//! Clips are met one by one, so that nobody must hold many of them; what is kept of each is small.
//!
//! INVARIANT: the same weights and clips give the same figures.

mod colour;
mod count;
pub(crate) mod figure;
mod frechet;
pub(crate) mod hearing;
mod identity;
mod pose;
mod probe;
mod tones;
mod train;
mod voice;

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use burn::tensor::activation::sigmoid;
use kinora_harness::publish::{FileError, write_file};
use kinora_harness::seed::{derive, seeded};
use kinora_harness::weights::{self, Precision, load_weights_from_bytes, save_weights};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::colour::Namer;
use self::figure::{Kind, crops, portrait_crop, spots};
use self::identity::{Candidate, EMBEDDING, Memory, best_third, recognise, rows, unit};
use self::probe::{Glance, Probe, highest, scene_colours};
use self::voice::Ear;
use crate::clip::Clip;
use crate::world::speech::{frames, synthesise};
use crate::world::{Appearance, Body, Colour, Event, Look, Phrase, SAMPLE_RATE, Scene, Skin, Voice};

pub use self::frechet::distance;
pub use self::identity::{Match, Recognised};
pub use self::probe::EventKind;
pub use self::train::{JudgePlan, train_judges};

const WEIGHTS_FILE: &str = "weights.safetensors";
const CARD_FILE: &str = "config.json";

/// Why there is no judge.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JudgeError {
    #[error("there are no judges in `{}`: `{file}` is missing", directory.display())]
    Missing { directory: PathBuf, file: &'static str },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tensors(#[from] weights::WeightsError),
    #[error("`{}` is no configuration of judges: {source}", path.display())]
    Card { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is of format {found}, which this version does not read", path.display())]
    Format { path: PathBuf, found: u32 },
    #[error("the training of the judges was stopped in stage `{stage}`; it begins again from the start")]
    Interrupted { stage: &'static str },
    #[error("the loss of stage `{stage}` is no number any more at step {step}: lower the learning rate")]
    Diverged { stage: &'static str, step: u64 },
}

impl JudgeError {
    /// True where somebody asked for the end.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}

/// How judges were made, and what they are worth on ground truth that they have not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeCard {
    format: u32,
    pub plan: JudgePlan,
    pub seed: u64,
    pub code_version: String,
    pub worth: Worth,
}

impl JudgeCard {
    const FORMAT: u32 = 1;
}

/// The judges' own accuracy on held-out ground truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worth {
    pub likeness: Likeness,
    pub captions: Agreement,
    /// Frechet distance of two halves of the held-out scenes: what no generator can go below.
    pub distance: Option<f64>,
}

/// A clip that should show and sound like references.
#[derive(Clone, Copy, Debug)]
pub struct CameoClip<'a> {
    pub clip: &'a Clip,
    /// Whose portrait was given: a person's, or a ball's.
    pub look: Look,
    /// Whose voice was given, where the clip should be spoken in.
    pub voice: Option<Voice>,
}

/// How well cameos are recognised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likeness {
    pub people: Recognised,
    pub balls: Recognised,
    pub voices: Recognised,
}

/// A clip and what its caption says.
#[derive(Clone, Debug)]
pub struct AskedClip<'a> {
    pub clip: &'a Clip,
    pub event: Event,
    /// The first actor's named colour; `None` for a cameo.
    pub colour: Option<Colour>,
    /// How many different colours the caption names.
    pub colours: usize,
    /// Whether the first actor is a person.
    pub person: bool,
}

impl<'a> AskedClip<'a> {
    /// What a caption of `scene` asks of `clip`, which may be the scene's own or a generator's.
    pub fn of(clip: &'a Clip, scene: &Scene) -> Self {
        let first = scene.actors.first();
        let named = first.is_some_and(|actor| actor.name != crate::world::Name::Cameo);
        let colours = scene_colours(scene);
        Self {
            clip,
            event: scene.event,
            colour: colours.first().copied().filter(|_| named),
            colours: colours.len(),
            person: first.is_some_and(|actor| matches!(actor.body, Body::Person { .. })),
        }
    }
}

/// Hits among trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub hits: usize,
    pub of: usize,
}

impl Share {
    fn count(&mut self, hit: bool) {
        self.of += 1;
        self.hits += usize::from(hit);
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { hits: self.hits + other.hits, of: self.of + other.of }
    }

    /// Hits by trials; `None` without a trial.
    pub fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// Wilson's 95% interval of the share; `None` without a trial.
    pub fn interval(self) -> Option<[f64; 2]> {
        const Z: f64 = 1.959_964;
        let (share, count) = (self.value()?, self.of as f64);
        let middle = share + Z * Z / (2.0 * count);
        let reach = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
        let scale = 1.0 + Z * Z / count;
        Some([((middle - reach) / scale).max(0.0), ((middle + reach) / scale).min(1.0)])
    }
}

/// How often clips do what their captions say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The first actor's colour is among as many seen as the caption names.
    pub colour: Share,
    pub event: Share,
    /// The ball bounces as often as asked, by its places.
    pub bounces_seen: Share,
    /// The same by what is heard.
    pub bounces_heard: Share,
    /// The person jumps as often as asked, by their places.
    pub jumps_seen: Share,
    /// Asked event, seen event and how many clips, where the two differ.
    pub mistaken: Vec<(EventKind, EventKind, usize)>,
}

/// One clip's agreement; `None` where the caption says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipAgreement {
    pub asked: EventKind,
    pub seen: EventKind,
    pub colour: Option<bool>,
    pub count_seen: Option<bool>,
    pub count_heard: Option<bool>,
}

/// What the judges make of one clip beside its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub agreement: ClipAgreement,
    /// What sets of clips are compared by.
    pub features: Vec<f32>,
}

/// What the judges remember of one clip with a cameo.
#[derive(Clone, Debug, PartialEq)]
pub struct Impression {
    kind: Kind,
    /// `None` where the reference itself cannot be seen.
    look: Option<Candidate>,
    /// `None` where no voice was given.
    voice: Option<Candidate>,
}

/// Every network that judges.
#[derive(Module, Debug)]
struct Networks {
    /// Embeddings of looks.
    looks: Memory,
    /// Which of the ten colours a figure is called.
    colours: Namer,
    voices: Ear,
    probe: Probe,
}

impl Networks {
    fn new(seed: u64, device: &Device) -> Self {
        seeded(device, seed, || Self {
            looks: Memory::new(device),
            colours: Namer::new(device),
            voices: Ear::new(device),
            probe: Probe::new(device),
        })
    }
}

/// Loaded judges, on the CPU.
#[derive(Debug)]
pub struct Judges {
    networks: Networks,
    card: JudgeCard,
    device: Device,
}

impl Judges {
    /// Reads the judges in `directory`.
    pub fn load(directory: &Path) -> Result<Self, JudgeError> {
        let read = |file: &'static str| {
            let path = directory.join(file);
            if !path.is_file() {
                return Err(JudgeError::Missing { directory: directory.to_owned(), file });
            }
            Ok(fs::read(&path).map_err(FileError::at("read", &path))?)
        };
        let (card, tensors) = (read(CARD_FILE)?, read(WEIGHTS_FILE)?);
        Self::from_bytes(&card, tensors, &directory.join(CARD_FILE))
    }

    /// The judges that are built into the program.
    pub fn shipped() -> Result<Self, JudgeError> {
        Self::from_bytes(
            include_bytes!("../../weights/judges/config.json"),
            include_bytes!("../../weights/judges/weights.safetensors").to_vec(),
            Path::new("built-in judges/config.json"),
        )
    }

    /// Reads judges from bytes; `path` is what errors call the configuration.
    pub fn from_bytes(card: &[u8], tensors: Vec<u8>, path: &Path) -> Result<Self, JudgeError> {
        let card: JudgeCard = serde_json::from_slice(card)
            .map_err(|source| JudgeError::Card { path: path.to_owned(), source })?;
        if card.format != JudgeCard::FORMAT {
            return Err(JudgeError::Format { path: path.to_owned(), found: card.format });
        }
        let device = Device::flex();
        let networks = load_weights_from_bytes(Networks::new(card.seed, &device), tensors)?;
        Ok(Self { networks, card, device })
    }

    /// Writes the judges. The weights go first: a configuration without them is no judge.
    fn save(&self, directory: &Path) -> Result<(), JudgeError> {
        fs::create_dir_all(directory).map_err(FileError::at("create", directory))?;
        let scratch = directory.join(".weights.tmp");
        save_weights(&self.networks, &scratch, Precision::F16)?;
        let tensors = fs::read(&scratch).map_err(FileError::at("read", &scratch))?;
        write_file(&directory.join(WEIGHTS_FILE), &tensors)?;
        fs::remove_file(&scratch).map_err(FileError::at("remove", &scratch))?;
        let path = directory.join(CARD_FILE);
        let json = serde_json::to_vec_pretty(&self.card)
            .map_err(|source| JudgeError::Card { path: path.clone(), source })?;
        Ok(write_file(&path, &json)?)
    }

    /// How these judges were made and what they are worth.
    pub fn card(&self) -> &JudgeCard {
        &self.card
    }

    /// What is kept of a clip with a cameo.
    pub fn meet(&self, cameo: &CameoClip<'_>) -> Impression {
        let kind = Kind::of(&cameo.look);
        let look = self.look_reference(&cameo.look).map(|reference| {
            let seen: Vec<Vec<f32>> = crops(cameo.clip, kind).iter().map(tones::count).collect();
            Candidate { clip: 0, seen: self.look_embeddings(&seen), reference }
        });
        let voice = cameo.voice.map(|voice| {
            let heard = voice::listen(&cameo.clip.samples, cameo.clip.sample_rate);
            let seen = heard.map_or_else(Vec::new, |heard| self.voice_embeddings(&[heard]));
            Candidate { clip: 0, seen, reference: self.voice_reference(&voice) }
        });
        Impression { kind, look, voice }
    }

    /// Whether cameos look and sound like their references: each clip is compared with its own reference, with
    /// those of the other clips, and with strangers drawn from `seed` until there are `gallery` of them, by
    /// custom a hundred.
    ///
    /// A clip in which nobody is found counts as not recognised.
    pub fn likeness(&self, clips: &[Impression], gallery: usize, seed: u64) -> Likeness {
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "strangers"));
        let candidates = |of: &dyn Fn(&Impression) -> Option<&Candidate>| -> Vec<Candidate> {
            let found = clips
                .iter()
                .enumerate()
                .filter_map(|(clip, impression)| Some(Candidate { clip, ..of(impression)?.clone() }));
            found.collect()
        };
        let mut by_look = |kind: Kind| {
            let shown = candidates(&|impression: &Impression| {
                impression.look.as_ref().filter(|_| impression.kind == kind)
            });
            let looks: Vec<Look> = (0..if shown.is_empty() { 0 } else { gallery })
                .map(|_| match kind {
                    Kind::Thing => Look::Skin(Skin::sample_identity(&mut rng)),
                    Kind::Person => Look::Person(Appearance::sample_identity(&mut rng)),
                })
                .collect();
            let strangers: Vec<Vec<f32>> =
                looks.par_iter().filter_map(|look| self.look_reference(look)).collect();
            recognise(&shown, &strangers, gallery, &mut rng)
        };
        let (people, balls) = (by_look(Kind::Person), by_look(Kind::Thing));
        let spoken = candidates(&|impression: &Impression| impression.voice.as_ref());
        let voices: Vec<Voice> =
            (0..if spoken.is_empty() { 0 } else { gallery }).map(|_| Voice::sample(&mut rng)).collect();
        let strangers: Vec<Vec<f32>> = voices.par_iter().map(|voice| self.voice_reference(voice)).collect();
        Likeness { people, balls, voices: recognise(&spoken, &strangers, gallery, &mut rng) }
    }

    /// Whether a clip does what its caption says.
    pub fn verdict(&self, asked: &AskedClip<'_>) -> Verdict {
        let kind = if asked.person { Kind::Person } else { Kind::Thing };
        let colour = asked.colour.map(|colour| self.shows(asked, colour, kind));
        let places = || spots(asked.clip, kind);
        let (count_seen, count_heard) = match asked.event {
            Event::Bounces(times) => {
                let heard = hearing::onsets(&asked.clip.samples, asked.clip.sample_rate).len();
                (Some(count::bounces(&places()) == times as usize), Some(heard == times as usize))
            }
            Event::Jumps(times) => (Some(count::jumps(&places()) == times as usize), None),
            _ => (None, None),
        };
        let (pictures, sounds) = probe::batch(&[Glance::at(asked.clip)], &self.device);
        let verdict = self.networks.probe.forward(pictures, sounds);
        let asked = EventKind::of(asked.event);
        let events = rows(verdict.events).pop().unwrap_or_default();
        let seen = highest(&events).and_then(|index| EventKind::ALL.get(index).copied()).unwrap_or(asked);
        Verdict {
            agreement: ClipAgreement { asked, seen, colour, count_seen, count_heard },
            features: rows(verdict.features).pop().unwrap_or_default(),
        }
    }

    /// Whether a colour is among as many as the caption names.
    fn shows(&self, asked: &AskedClip<'_>, colour: Colour, kind: Kind) -> bool {
        let counts: Vec<Vec<f32>> = crops(asked.clip, kind).iter().map(tones::count).collect();
        if counts.is_empty() {
            return false;
        }
        let counts = tones::batch(counts.iter().map(Vec::as_slice), &self.device);
        let named = rows(sigmoid(self.networks.colours.forward(counts)));
        let share = |index: usize| best_third(named.iter().map(|row| row[index]).collect()).unwrap_or(0.0);
        let shares: Vec<f32> = (0..Colour::ALL.len()).map(share).collect();
        let Some(own) = Colour::ALL.iter().position(|other| *other == colour) else { return false };
        let before = shares.iter().filter(|share| **share > shares[own]).count();
        before < asked.colours
    }

    fn look_reference(&self, look: &Look) -> Option<Vec<f32>> {
        self.look_embeddings(&[tones::count(&portrait_crop(look)?)]).pop()
    }

    fn look_embeddings(&self, counts: &[Vec<f32>]) -> Vec<Vec<f32>> {
        if counts.is_empty() {
            return Vec::new();
        }
        let counts = tones::batch(counts.iter().map(Vec::as_slice), &self.device);
        rows(unit(self.networks.looks.forward(counts)))
    }

    fn voice_embeddings(&self, heard: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let heard = voice::batch(heard.iter().map(Vec::as_slice), &self.device);
        rows(unit(self.networks.voices.forward(heard).embedding))
    }

    /// The mean of what a voice is heard as in a few phrases, of length one.
    fn voice_reference(&self, voice: &Voice) -> Vec<f32> {
        let phrases = [Phrase::Hello, Phrase::Bye, Phrase::Go, Phrase::OneTwoThree];
        let phrases = phrases
            .par_iter()
            .filter_map(|&phrase| voice::listen(&synthesise(&frames(phrase), voice, 0), SAMPLE_RATE));
        let heard: Vec<Vec<f32>> = phrases.collect();
        let mut mean = vec![0.0; EMBEDDING];
        if heard.is_empty() {
            return mean;
        }
        for embedding in self.voice_embeddings(&heard) {
            for (sum, value) in mean.iter_mut().zip(embedding) {
                *sum += value;
            }
        }
        let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
        mean.into_iter().map(|value| value / length).collect()
    }
}

impl ClipAgreement {
    /// Whether the event is the caption's.
    pub fn event(self) -> bool {
        self.asked == self.seen
    }
}

impl Agreement {
    /// What some clips come to.
    pub fn of(clips: &[ClipAgreement]) -> Self {
        let mut agreement = Self::default();
        for clip in clips {
            agreement.event.count(clip.event());
            if let Some(hit) = clip.colour {
                agreement.colour.count(hit);
            }
            if let Some(hit) = clip.count_seen {
                if clip.asked == EventKind::Jumps {
                    agreement.jumps_seen.count(hit);
                } else {
                    agreement.bounces_seen.count(hit);
                }
            }
            if let Some(hit) = clip.count_heard {
                agreement.bounces_heard.count(hit);
            }
            if clip.event() {
                continue;
            }
            let mistake = (clip.asked, clip.seen);
            match agreement.mistaken.iter_mut().find(|(asked, seen, _)| (*asked, *seen) == mistake) {
                Some((_, _, count)) => *count += 1,
                None => agreement.mistaken.push((clip.asked, clip.seen, 1)),
            }
        }
        agreement
    }
}

#[cfg(test)]
mod tests;
