//! What a clip begins with beside its prompt: a picture, a clip to go on from, or a clip to change.
//!
//! Pixels and samples enter, are read by the [encoder](crate::encoder), and leave as what the sampler knows of
//! a window, and where on the way from noise to data it begins. INVARIANT: what the encoder does not
//! understand is refused, never guessed at.

use std::mem::discriminant;

use burn::tensor::{Device, Tensor, TensorData};

use super::{GenerateError, Generator};
use crate::clip::Clip;
use crate::model::flow::Start;
use crate::model::latents::{FRAMES_PER_TOKEN, Latents, TOKENS};
use crate::model::transformer::{Known, Mask};
use crate::performance::{Figure, Performance};
use crate::world::{Colour, FRAMES, Look};

/// A reading that is drawn less like what was given than this is of another world.
const UNDERSTOOD_DB: f32 = 24.0;

/// What a clip is made from beside its prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The picture that the clip begins with: the first frame of this clip.
    Picture(Clip),
    /// A clip to go on from: it and what follows leave, as many seconds longer as are asked for.
    Extend(Clip),
    /// A clip to change, and how far: 1 keeps nothing but its length.
    Edit { clip: Clip, strength: f32 },
}

/// A source, read.
#[derive(Debug)]
pub(super) enum Begun {
    Picture(Performance),
    Extend(Performance),
    Edit { performance: Performance, strength: f32 },
}

impl Generator {
    /// Reads what a clip begins with.
    pub(super) fn begin(&self, source: &Source, prompt: &str) -> Result<Begun, GenerateError> {
        Ok(match source {
            Source::Picture(clip) => {
                let first = Clip {
                    frames: clip.frame(0).unwrap_or_default().to_vec(),
                    samples: Vec::new(),
                    ..clip.clone()
                };
                let reading = self.understand(&first)?;
                Begun::Picture(named_first(reading, prompt))
            }
            Source::Extend(clip) => {
                let performance = self.understand(clip)?;
                if performance.frames < FRAMES_PER_TOKEN {
                    return Err(GenerateError::TooShort);
                }
                Begun::Extend(performance)
            }
            Source::Edit { clip, strength } => {
                if !(*strength > 0.0 && *strength <= 1.0) {
                    return Err(GenerateError::Strength);
                }
                Begun::Edit { performance: self.understand(clip)?, strength: *strength }
            }
        })
    }

    /// Reads a clip that shows the model's world.
    fn understand(&self, clip: &Clip) -> Result<Performance, GenerateError> {
        let reading = self.encoder().read(clip)?;
        let mean = reading.likeness_db.iter().sum::<f32>() / reading.likeness_db.len().max(1) as f32;
        if mean < UNDERSTOOD_DB {
            return Err(GenerateError::Foreign);
        }
        Ok(reading.performance)
    }

    /// What is known of a window that begins with the first `frames` frames of a performance.
    pub(super) fn known(&self, performance: &Performance, frames: usize, sounds: bool) -> Known {
        let device = &self.device;
        let shown = frames.min(performance.frames).min(FRAMES);
        let frames: Vec<f32> = (0..FRAMES).map(|frame| if frame < shown { 1.0 } else { 0.0 }).collect();
        let heard = if sounds { shown / FRAMES_PER_TOKEN } else { 0 };
        let sound: Vec<f32> = (0..TOKENS).map(|token| if token < heard { 1.0 } else { 0.0 }).collect();
        let nothing = Mask::nothing(1, device);
        let speaks = sounds && performance.utterance.is_some();
        Known {
            values: self.latents(performance),
            mask: Mask {
                frames: cube(frames, FRAMES_PER_TOKEN, device),
                actors: nothing.actors.ones_like(),
                stage: nothing.stage.ones_like(),
                sound: cube(sound, 1, device),
                voice: if speaks { nothing.voice.ones_like() } else { nothing.voice },
            },
        }
    }

    /// Where the sampler begins to change a performance.
    pub(super) fn start(&self, performance: &Performance, strength: f32) -> Start {
        Start { clean: self.latents(performance), t: 1.0 - strength }
    }

    fn latents(&self, performance: &Performance) -> Latents {
        let layout = self.card.model.layout();
        let mut row = performance.to_row(&self.card.model);
        self.card.normalisation.apply(&mut row.values, &row.weights, layout);
        Latents::from_rows(&row.values, layout, &self.device)
    }
}

fn cube(values: Vec<f32>, width: usize, device: &Device) -> Tensor<3> {
    let tokens = values.len() / width;
    Tensor::from_data(TensorData::new(values, [1, tokens, width]), device)
}

/// The first two actors in the order in which the prompt names their colours: a picture does not say which of
/// two balls is the first.
fn named_first(mut performance: Performance, prompt: &str) -> Performance {
    let words: Vec<String> = prompt.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
    let named: Vec<Colour> = words
        .iter()
        .filter_map(|word| Colour::ALL.into_iter().find(|colour| colour.word() == word))
        .collect();
    if let ([first, second, ..], [Some(one), Some(other), _]) = (named.as_slice(), &performance.actors)
        && discriminant(&one.body) == discriminant(&other.body)
    {
        let off = |figure: &Figure, colour: Colour| {
            let skin = match &figure.look {
                Look::Skin(skin) => skin,
                Look::Person(person) => &person.shirt,
            };
            let channels = skin.base.iter().zip(colour.rgb());
            channels.map(|(a, b)| f32::from(a.abs_diff(b)).powi(2)).sum::<f32>()
        };
        if off(one, *second) + off(other, *first) < off(one, *first) + off(other, *second) {
            performance.actors.swap(0, 1);
        }
    }
    performance
}
