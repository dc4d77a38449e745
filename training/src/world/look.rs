//! What a surface looks like: a base colour and, for two-tone ones, a pattern in a second colour.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

/// An sRGB colour.
pub type Rgb = [u8; 3];

/// A colour that captions can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    White,
    Black,
    Brown,
}

impl Colour {
    /// Every colour, in a fixed order.
    pub const ALL: [Self; 10] = [
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::Pink,
        Self::White,
        Self::Black,
        Self::Brown,
    ];

    /// The word that captions use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::White => "white",
            Self::Black => "black",
            Self::Brown => "brown",
        }
    }

    /// The colour's centre; drawn balls vary a little around it.
    pub fn rgb(self) -> Rgb {
        match self {
            Self::Red => [220, 42, 48],
            Self::Orange => [245, 140, 30],
            Self::Yellow => [252, 214, 46],
            Self::Green => [38, 158, 70],
            Self::Blue => [38, 98, 222],
            Self::Purple => [128, 58, 190],
            Self::Pink => [250, 122, 182],
            Self::White => [250, 250, 248],
            Self::Black => [34, 34, 40],
            Self::Brown => [128, 80, 44],
        }
    }

    /// The palette colour nearest to `rgb`.
    pub fn nearest(rgb: Rgb) -> Self {
        let distance = |colour: &Self| -> i32 {
            colour.rgb().iter().zip(rgb).map(|(&a, b)| (i32::from(a) - i32::from(b)).pow(2)).sum()
        };
        Self::ALL.into_iter().min_by_key(distance).unwrap_or(Self::White)
    }
}

/// How the second colour lies on the ball.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// A band across the middle.
    Stripe,
    /// One half.
    Halves,
    /// Opposite quarters.
    Quarters,
    /// A round spot off the centre.
    Spot,
}

impl Pattern {
    pub const ALL: [Self; 4] = [Self::Stripe, Self::Halves, Self::Quarters, Self::Spot];

    /// Signed distance, in ball radii, to the second colour's edge: positive inside it.
    pub(super) fn inside(self, u: f32, v: f32) -> f32 {
        match self {
            Self::Stripe => 0.3 - v.abs(),
            Self::Halves => v,
            Self::Quarters => u.abs().min(v.abs()) * (u * v).signum(),
            Self::Spot => 0.42 - (u - 0.35).hypot(v),
        }
    }
}

/// The look of one ball.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skin {
    pub base: Rgb,
    /// Pattern and its colour, for a two-tone ball.
    pub accent: Option<(Pattern, Rgb)>,
}

impl Skin {
    /// A ball in a palette colour, and in a second one when `two_tone`.
    pub fn sample_named(rng: &mut impl Rng, base: Colour, two_tone: Option<Colour>) -> Self {
        let accent = two_tone.map(|colour| (sample_pattern(rng), vary(rng, colour)));
        Self { base: vary(rng, base), accent }
    }

    /// An identity for a cameo: any two clearly different colours and a pattern.
    pub fn sample_identity(rng: &mut impl Rng) -> Self {
        let base: Rgb = rng.random();
        let mut second: Rgb = rng.random();
        for (channel, &other) in second.iter_mut().zip(&base) {
            // Half the range away in at least one channel keeps the two tones apart.
            if channel.abs_diff(other) < 48 {
                *channel = other.wrapping_add(128);
            }
        }
        Self { base, accent: Some((sample_pattern(rng), second)) }
    }
}

fn sample_pattern(rng: &mut impl Rng) -> Pattern {
    Pattern::ALL.choose(rng).copied().unwrap_or(Pattern::Stripe)
}

fn vary(rng: &mut impl Rng, colour: Colour) -> Rgb {
    colour.rgb().map(|channel| channel.saturating_add_signed(rng.random_range(-8..=8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_named_skin_keeps_its_name() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for colour in Colour::ALL {
            for _ in 0..20 {
                assert_eq!(Colour::nearest(Skin::sample_named(&mut rng, colour, None).base), colour);
            }
        }
    }
}
