//! Reads a portrait exactly: first guesses of a look and the portrait enter, the look that draws it leaves.
//!
//! What is drawn is nearly linear in the look's colours. So for each pattern and hair style the colours are
//! those of least squares, and of all these looks the one is taken whose drawing is most like the portrait.
//! INVARIANT: the look that leaves draws the portrait at least as well as any guess.

use crate::cholesky::solve;
use crate::model::looks::PORTRAIT_SIDE;
use crate::performance::STYLES;
use crate::world::draw::portrait;
use crate::world::{Appearance, Look, Pattern, Rgb, Skin};

/// Level of a colour in the drawings that tell where it shows: light adds to it without saturating.
const LEVEL: u8 = 128;
/// Pull towards the guess of a colour that hardly shows, in squared shares of pixels.
const PULL: f32 = 1e-3;
/// Turns of finding the colours and what is too bright to tell them.
const TURNS: usize = 4;

/// The look that draws `pixels`, RGB8 of 32 x 32: a ball's or a person's, whichever is more like them.
pub(crate) fn read_portrait(pixels: &[u8], guesses: (Skin, Appearance)) -> Look {
    let [ball, person] =
        [Look::Skin(guesses.0), Look::Person(guesses.1)].map(|guess| read_as(pixels, &guess));
    if distance(&person, pixels) < distance(&ball, pixels) { person } else { ball }
}

/// The same of the guess's kind.
fn read_as(pixels: &[u8], guess: &Look) -> Look {
    let patterns = || std::iter::once(None).chain(Pattern::ALL.map(Some));
    let looks: Vec<Look> = match *guess {
        Look::Skin(skin) => patterns().map(|pattern| Look::Skin(with_pattern(skin, pattern))).collect(),
        Look::Person(person) => STYLES
            .into_iter()
            .flat_map(|hair_style| {
                patterns().map(move |pattern| {
                    let shirt = with_pattern(person.shirt, pattern);
                    Look::Person(Appearance { hair_style, shirt, ..person })
                })
            })
            .collect(),
    };
    looks
        .into_iter()
        .map(|look| coloured(&look, pixels))
        .chain([*guess])
        .min_by_key(|look| distance(look, pixels))
        .unwrap_or(*guess)
}

fn with_pattern(skin: Skin, pattern: Option<Pattern>) -> Skin {
    let second = skin.accent.map_or(skin.base, |(_, colour)| colour);
    Skin { accent: pattern.map(|pattern| (pattern, second)), ..skin }
}

/// Sum of squared differences between what a look draws and a portrait.
fn distance(look: &Look, pixels: &[u8]) -> u64 {
    let drawn = portrait(look, PORTRAIT_SIDE);
    drawn.iter().zip(pixels).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
}

/// The look with the colours that draw a portrait best.
fn coloured(look: &Look, pixels: &[u8]) -> Look {
    let colours = colours(look);
    let black = vec![[0; 3]; colours.len()];
    let ground = portrait(&with_colours(look, &black), PORTRAIT_SIDE);
    // How much of each colour each pixel shows.
    let shares: Vec<Vec<f32>> = (0..colours.len())
        .map(|at| {
            let mut lit = black.clone();
            lit[at] = [LEVEL; 3];
            let drawn = portrait(&with_colours(look, &lit), PORTRAIT_SIDE);
            drawn
                .iter()
                .zip(&ground)
                .map(|(&lit, &dark)| (f32::from(lit) - f32::from(dark)) / f32::from(LEVEL))
                .collect()
        })
        .collect();
    let mut found = colours.clone();
    for channel in 0..3 {
        let of_channel =
            |values: &[f32]| values.iter().skip(channel).step_by(3).copied().collect::<Vec<f32>>();
        let shares: Vec<Vec<f32>> = shares.iter().map(|share| of_channel(share)).collect();
        let seen: Vec<u8> = pixels.iter().skip(channel).step_by(3).copied().collect();
        let ground: Vec<u8> = ground.iter().skip(channel).step_by(3).copied().collect();
        let guess: Vec<f32> = colours.iter().map(|colour| f32::from(colour[channel])).collect();
        if let Some(levels) = levels(&shares, &seen, &ground, &guess) {
            for (colour, level) in found.iter_mut().zip(levels) {
                colour[channel] = level.clamp(0.0, 255.0).round() as u8;
            }
        }
    }
    with_colours(look, &found)
}

/// Levels of one channel, one a colour, that draw best what is seen of it over `ground`.
fn levels(shares: &[Vec<f32>], seen: &[u8], ground: &[u8], guess: &[f32]) -> Option<Vec<f32>> {
    let drawn = |levels: &[f32], at: usize| {
        f32::from(ground[at]) + shares.iter().zip(levels).map(|(share, level)| share[at] * level).sum::<f32>()
    };
    // What is as bright as can be may have been meant brighter: it tells nothing where that is so.
    let mut tells = vec![true; seen.len()];
    let mut levels = None;
    for _ in 0..TURNS {
        let told = || (0..seen.len()).filter(|&at| tells[at]);
        let product =
            |of: &dyn Fn(usize) -> f32, share: &[f32]| told().map(|at| of(at) * share[at]).sum::<f32>();
        let matrix = (0..shares.len())
            .map(|i| {
                let pull = |j: usize| if i == j { PULL } else { 0.0 };
                (0..shares.len()).map(|j| product(&|at| shares[i][at], &shares[j]) + pull(j)).collect()
            })
            .collect();
        let right = shares.iter().zip(guess).map(|(share, guess)| {
            product(&|at| f32::from(seen[at]) - f32::from(ground[at]), share) + PULL * guess
        });
        let found = solve(matrix, right.collect())?;
        for (at, tells) in tells.iter_mut().enumerate() {
            *tells = seen[at] < u8::MAX || drawn(&found, at) < f32::from(u8::MAX);
        }
        levels = Some(found);
    }
    levels
}

/// A skin's colours, or a shirt's, then a person's complexion, hair and trousers.
fn colours(look: &Look) -> Vec<Rgb> {
    let of_skin = |skin: &Skin| std::iter::once(skin.base).chain(skin.accent.map(|(_, colour)| colour));
    match look {
        Look::Skin(skin) => of_skin(skin).collect(),
        Look::Person(person) => {
            of_skin(&person.shirt).chain([person.complexion, person.hair, person.trousers]).collect()
        }
    }
}

/// The inverse of [`colours`].
fn with_colours(look: &Look, colours: &[Rgb]) -> Look {
    let mut colours = colours.iter().copied();
    let mut next = |old: Rgb| colours.next().unwrap_or(old);
    let mut of_skin = |skin: Skin| Skin {
        base: next(skin.base),
        accent: skin.accent.map(|(pattern, colour)| (pattern, next(colour))),
    };
    match *look {
        Look::Skin(skin) => Look::Skin(of_skin(skin)),
        Look::Person(person) => {
            let shirt = of_skin(person.shirt);
            let [complexion, hair, trousers] = [person.complexion, person.hair, person.trousers].map(next);
            Look::Person(Appearance { complexion, hair, shirt, trousers, ..person })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn apart(one: &Look, other: &Look) -> u8 {
        let pairs = colours(one).into_iter().zip(colours(other));
        pairs.flat_map(|(a, b)| (0..3).map(move |channel| a[channel].abs_diff(b[channel]))).max().unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_look_comes_back_from_its_portrait(seed in any::<u64>(), is_person in any::<bool>()) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut sample = || if is_person {
                Look::Person(Appearance::sample_identity(&mut rng))
            } else {
                Look::Skin(Skin::sample_identity(&mut rng))
            };
            let look = sample();
            let guesses = (Skin::sample_identity(&mut rng), Appearance::sample_identity(&mut rng));
            let pixels = portrait(&look, PORTRAIT_SIDE);
            let read = read_portrait(&pixels, guesses);
            let guessed = [Look::Skin(guesses.0), Look::Person(guesses.1)];
            prop_assert!(guessed.iter().all(|guess| distance(&read, &pixels) <= distance(guess, &pixels)));
            prop_assert_eq!(matches!(read, Look::Person(_)), is_person);
            let bald = matches!(look, Look::Person(person) if person.hair_style == crate::world::identity::HairStyle::None);
            prop_assert!(bald || apart(&read, &look) <= 6, "{look:?} was read as {read:?}");
        }
    }
}
