//! Captions of what the world hardly or never shows: a family enters, how the model's clips of them move and
//! sound leaves.
//!
//! There is no truth to set beside them, but the laws hold there as well. INVARIANT: every word is one that the
//! model has read, so that what is asked for is new and not how it is said.

use kinora_harness::seed::derive;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::flight::Setting;
use super::physics::{Figures, Judged, Known};
use super::track::Wanted;
use super::{EvaluateError, EvaluateOptions, SIDE, perform, request};
use crate::generate::{BATCH, GenerationRequest, Generator};
use crate::world::draw::render_stage;
use crate::world::{Colour, Family, Shot};

/// Judges captions of what the world hardly or never shows.
pub(super) fn evaluate(
    generator: &Generator,
    family: Family,
    options: &EvaluateOptions,
) -> Result<Option<Figures>, EvaluateError> {
    let mut rng = ChaCha8Rng::seed_from_u64(derive(options.seed, "unusual"));
    let asked: Vec<(String, Known)> =
        (0..options.unusual_clips).filter_map(|index| unusual(family, index, &mut rng)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let mut judged = Vec::with_capacity(asked.len());
    for (asked, first) in asked.chunks(BATCH).zip((1 << 32_u64..).step_by(BATCH)) {
        let requests: Vec<GenerationRequest> = asked
            .iter()
            .zip(first..)
            .map(|((caption, _), index)| request(caption.clone(), options, index))
            .collect();
        let drawn = perform(generator, &requests, options)?;
        judged.par_extend(drawn.into_par_iter().zip(asked).map(|(drawn, (_, known))| {
            let clip = generator.painter().clip(&drawn, SIDE, SIDE);
            Judged::of(&clip, &render_stage(&drawn.scene(), SIDE, SIDE), known)
        }));
    }
    Ok(Some(Figures::of(&judged, derive(options.seed, "interval"))))
}

/// A caption of what the world hardly or never shows: more bounces, balls too large for the hoop, and balls in
/// the air that are as large as they come.
fn unusual(family: Family, index: u64, rng: &mut ChaCha8Rng) -> Option<(String, Known)> {
    let mut colours = Colour::ALL;
    colours.shuffle(rng);
    let [one, other] = [colours[0].word(), colours[1].word()];
    let ball = |size: &str, colour: &str| {
        let article = if size.is_empty() && colour.starts_with('o') { "an" } else { "a" };
        format!("{article} {size}{colour} ball")
    };
    let plain = Known {
        shot: Shot::Medium,
        wanted: Wanted::Balls(1),
        setting: Setting::default(),
        restitution: None,
        sounds: true,
        free: true,
    };
    match family {
        Family::Bounce => Some(match index % 3 {
            0 => (format!("{} bounces five times", ball("", one)), plain),
            1 => (format!("{} bounces six times", ball("", one)), plain),
            _ => {
                let caption = format!("close-up of {} that bounces once", ball("", one));
                (caption, Known { shot: Shot::Close, ..plain })
            }
        }),
        Family::Hoop => {
            let hoop = Known { setting: Setting { fixtures: true, net: false }, ..plain };
            let ball = ball("big ", one);
            Some(if index.is_multiple_of(2) {
                (format!("{ball} bounces off the rim"), hoop)
            } else {
                (format!("{ball} misses the hoop"), hoop)
            })
        }
        Family::Collision => {
            let size = if index.is_multiple_of(2) { "big " } else { "small " };
            let caption = format!("{} and {} collide in the air", ball(size, one), ball(size, other));
            Some((caption, Known { wanted: Wanted::Balls(2), ..plain }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_an_unusual_caption_is_of_the_corpus() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let known: Vec<String> = (0..600)
            .flat_map(|index| crate::train::latents::tell(3, index).sentences)
            .flat_map(|sentence| sentence.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        for family in Family::ALL {
            for (caption, _) in (0..12).filter_map(|index| unusual(family, index, &mut rng)) {
                for word in caption.split(' ') {
                    // The largest row of blocks has seven: a count is a word of the corpus whatever it counts.
                    assert!(known.iter().any(|other| other == word), "`{word}` in `{caption}`");
                }
            }
        }
    }
}
