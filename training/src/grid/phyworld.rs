//! `PhyWorld` for pixel models: three frames enter, the other 29 leave.
//!
//! The videos have 32 frames, the autoencoder's clips 1 + 4 n, and what is shown has to end where a latent
//! ends. So the first frame stands still for two frames, which makes the shown part the first two latents
//! exactly, and the last frame is held for three.

use std::collections::VecDeque;

use kinora_harness::seed::derive;

use super::generate::{Beginning, GridGenerateError, GridGenerator};
use crate::phyworld::{
    CONDITIONED, Conditioning, Domain, FRAMES, PhyWorldError, Protocol, Report, Task, evaluate,
    evaluate_codec,
};
use crate::train::latents::phyworld_caption;

/// Videos that are drawn at once.
const AT_ONCE: usize = 16;
/// Frames that the first one stands still for.
const LEAD: usize = 2;
/// Frames that the last one is held for.
const TAIL: usize = 3;
/// Frames of a video as a model sees it.
pub const SHOWN_FRAMES: usize = LEAD + FRAMES + TAIL;
/// Latent frames that are known: those of the lead and of the three frames that a predictor is shown.
pub(crate) const SHOWN_LATENTS: usize = (LEAD + CONDITIONED).div_ceil(4);

const _: () = assert!(SHOWN_FRAMES % 4 == 1 && (LEAD + CONDITIONED) % 4 == 1);

/// Frames of a video between a lead and a tail, `frames` in all.
pub(crate) fn shown(video: &[u8], side: usize, frames: usize) -> Vec<u8> {
    let frame = side * side * 3;
    let mut all: Vec<u8> = video.get(..frame).unwrap_or_default().repeat(LEAD);
    all.extend_from_slice(video);
    let last = all.len().saturating_sub(frame);
    while all.len() < frames * frame && last < all.len() {
        all.extend_from_within(last..last + frame);
    }
    all
}

/// How a model predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhyWorldSampling {
    pub seed: u64,
    pub steps: usize,
    pub guidance: f32,
}

impl Default for PhyWorldSampling {
    fn default() -> Self {
        Self { seed: 0, steps: 32, guidance: 1.0 }
    }
}

/// Why a model was not judged.
#[derive(Debug, thiserror::Error)]
pub enum PhyWorldModelError {
    #[error(
        "this model draws clips of {frames} frames, where PhyWorld's need {SHOWN_FRAMES}: judge one that was trained \
         with `kinora train clips --footage phyworld`"
    )]
    Frames { frames: usize },
    #[error(transparent)]
    Generate(#[from] GridGenerateError),
    #[error(transparent)]
    PhyWorld(#[from] PhyWorldError),
}

/// Refuses a model whose clips are too short for the videos.
fn check(generator: &GridGenerator) -> Result<(), PhyWorldModelError> {
    let frames = generator.config().clip.frames;
    if frames < SHOWN_FRAMES { Err(PhyWorldModelError::Frames { frames }) } else { Ok(()) }
}

/// Judges a model on its predictions.
pub fn evaluate_model(
    generator: &GridGenerator,
    protocol: &Protocol,
    sampling: PhyWorldSampling,
) -> Result<Report, PhyWorldModelError> {
    check(generator)?;
    // In the order in which the protocol asks for them, so that several are drawn at once.
    let mut upcoming = Task::ALL
        .into_iter()
        .flat_map(|task| Domain::ALL.map(|domain| (task, domain)))
        .flat_map(|(task, domain)| protocol.split(task, domain))
        .map(|episode| Conditioning::of(&episode, protocol.side));
    let (mut drawn, mut failed, mut first) = (VecDeque::new(), None, derive(sampling.seed, "phyworld"));
    let report = evaluate(protocol, |_| {
        if drawn.is_empty() && failed.is_none() {
            let seen: Vec<Conditioning> = upcoming.by_ref().take(AT_ONCE).collect();
            match predict(generator, &seen, PhyWorldSampling { seed: first, ..sampling }) {
                Ok(predicted) => drawn.extend(predicted),
                Err(error) => failed = Some(error),
            }
            first = first.wrapping_add(seen.len() as u64);
        }
        drawn.pop_front().unwrap_or_default()
    });
    // Why a prediction failed says more than that it is missing.
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(report?),
    }
}

/// Judges what the model's autoencoder leaves of the true videos: no prediction can be better.
pub fn evaluate_autoencoder(
    generator: &GridGenerator,
    protocol: &Protocol,
) -> Result<Report, PhyWorldModelError> {
    check(generator)?;
    let side = protocol.side;
    let mut failed = None;
    let report = evaluate_codec(protocol, |video| {
        reconstruct(generator, &video, side).unwrap_or_else(|error| {
            failed = Some(error);
            Vec::new()
        })
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(report?),
    }
}

/// The frames that follow the shown ones, of videos of one size. Each is drawn with a seed of its own, from
/// the sampling's on.
pub fn predict(
    generator: &GridGenerator,
    seen: &[Conditioning],
    sampling: PhyWorldSampling,
) -> Result<Vec<Vec<u8>>, GridGenerateError> {
    let side = seen.first().map_or(0, |seen| seen.side);
    let beginnings: Vec<Beginning> = seen
        .iter()
        .zip(0..)
        .map(|(seen, index)| Beginning {
            frames: shown(&seen.frames, side, LEAD + CONDITIONED),
            prompt: phyworld_caption(seen.task),
            seed: sampling.seed.wrapping_add(index),
        })
        .collect();
    let drawn = generator.follow(&beginnings, [side, side], sampling)?;
    let rest = |frames: &Vec<u8>| cut(frames, side, LEAD + CONDITIONED, FRAMES - CONDITIONED);
    Ok(drawn.iter().map(rest).collect())
}

/// A true video after the autoencoder.
pub fn reconstruct(
    generator: &GridGenerator,
    video: &[u8],
    side: usize,
) -> Result<Vec<u8>, GridGenerateError> {
    let back = generator.reconstruct(&shown(video, side, SHOWN_FRAMES), [side, side])?;
    Ok(cut(&back, side, LEAD, FRAMES))
}

fn cut(frames: &[u8], side: usize, first: usize, count: usize) -> Vec<u8> {
    let frame = side * side * 3;
    frames.iter().skip(first * frame).take(count * frame).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_video_ends_its_beginning_with_a_latent() {
        let side = 2;
        let video: Vec<u8> = (0..FRAMES as u8).flat_map(|frame| [frame; 12]).collect();
        let all = shown(&video, side, SHOWN_FRAMES);
        let frames: Vec<u8> = all.chunks_exact(12).map(|frame| frame[0]).collect();
        assert_eq!(frames.len(), SHOWN_FRAMES);
        assert_eq!(frames[..6], [0, 0, 0, 1, 2, 3]);
        assert_eq!(frames[33..], [31, 31, 31, 31]);
        assert_eq!(SHOWN_LATENTS, 2);
        assert_eq!(cut(&all, side, LEAD, FRAMES), video);
    }
}
