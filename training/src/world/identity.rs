//! Who a person is: how they look and how they sound, the same in every scene.
//!
//! A random generator goes in, a person comes out. INVARIANT: a named person wears the colours of the name,
//! and two sampled identities are told apart by look and by voice.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use super::Name;
use super::look::{Colour, Rgb, Skin};

/// How a person looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appearance {
    pub complexion: Rgb,
    pub hair: Rgb,
    pub hair_style: HairStyle,
    pub shirt: Skin,
    pub trousers: Rgb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HairStyle {
    /// A cap of hair over the brow.
    Short,
    /// Down to the chin on both sides.
    Long,
    /// A round tuft on top.
    Bun,
    None,
}

/// How a person sounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Voice {
    /// Mean fundamental frequency, 80 to 300 Hz.
    pub pitch_hz: f32,
    /// Formant frequencies relative to an adult's neutral vocal tract, 0.82 to 1.25.
    pub tract: f32,
    /// Share of breath in the voiced sound, 0 to 0.5.
    pub breath: f32,
    /// Slope of the glottal spectrum in dB an octave, -14 (soft) to -4 (bright).
    pub tilt_db: f32,
}

/// Someone who appears in a scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Role {
    pub(super) name: Name,
    pub(super) identity: Identity,
}

/// Look and voice together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub appearance: Appearance,
    pub voice: Voice,
}

impl HairStyle {
    const ALL: [Self; 4] = [Self::Short, Self::Long, Self::Bun, Self::None];
}

const LIGHT_COMPLEXION: [f32; 3] = [250.0, 220.0, 196.0];
const DARK_COMPLEXION: [f32; 3] = [88.0, 54.0, 38.0];
const HAIR: [Rgb; 7] = [
    [24, 20, 22],
    [70, 44, 28],
    [122, 78, 42],
    [226, 190, 108],
    [186, 74, 34],
    [150, 150, 154],
    [236, 234, 228],
];
/// What keeps two colours apart in a small portrait.
const DISTINCT: f32 = 110.0;

impl Appearance {
    /// A person in clothes of palette colours, so that a caption can name them; the shirt may have a pattern.
    pub fn sample_named(rng: &mut impl Rng, shirt: Colour, trousers: Colour) -> Self {
        let second = Colour::ALL.choose(rng).copied().filter(|&second| second != shirt);
        let second = if rng.random_bool(0.3) { second } else { None };
        Self {
            complexion: sample_complexion(rng),
            hair: HAIR.choose(rng).map_or([24, 20, 22], |&hair| near(rng, hair)),
            hair_style: sample_hair_style(rng),
            shirt: Skin::sample_named(rng, shirt, second),
            trousers: Skin::sample_named(rng, trousers, None).base,
        }
    }

    /// A person for a cameo: a pattern in any two clearly different colours, and hair and trousers in others.
    pub fn sample_identity(rng: &mut impl Rng) -> Self {
        let complexion = sample_complexion(rng);
        let shirt = Skin::sample_identity(rng);
        Self {
            complexion,
            hair: sample_apart(rng, complexion),
            hair_style: sample_hair_style(rng),
            shirt,
            trousers: sample_apart(rng, shirt.base),
        }
    }
}

impl Voice {
    /// Any voice: low and high, large and small, breathy and clear, soft and bright.
    pub fn sample(rng: &mut impl Rng) -> Self {
        // Pitch is heard in ratios. High voices tend to come from short tracts.
        let height: f32 = rng.random();
        let smallness = f32::midpoint(height, rng.random());
        Self {
            pitch_hz: 80.0 * (300.0_f32 / 80.0).powf(height),
            tract: 0.82 + 0.43 * smallness,
            breath: rng.random_range(0.0..0.5),
            tilt_db: rng.random_range(-14.0..-4.0),
        }
    }
}

impl Identity {
    /// A person whom only a reference can name.
    pub fn sample(rng: &mut impl Rng) -> Self {
        Self { appearance: Appearance::sample_identity(rng), voice: Voice::sample(rng) }
    }
}

/// People whom a caption can tell apart by their shirts; the first is a cameo in a quarter of the casts.
pub(super) fn sample_cast(rng: &mut impl Rng, count: usize) -> Vec<Role> {
    let with_cameo = rng.random_bool(0.25);
    let mut shirts = Colour::ALL;
    shirts.shuffle(rng);
    shirts
        .into_iter()
        .take(count)
        .enumerate()
        .map(|(index, shirt)| {
            if index == 0 && with_cameo {
                return Role { name: Name::Cameo, identity: Identity::sample(rng) };
            }
            let others: Vec<Colour> = Colour::ALL.into_iter().filter(|&colour| colour != shirt).collect();
            let trousers = others.choose(rng).copied().unwrap_or(shirt);
            let appearance = Appearance::sample_named(rng, shirt, trousers);
            let identity = Identity { appearance, voice: Voice::sample(rng) };
            Role { name: Name::Colours(shirt, Some(trousers)), identity }
        })
        .collect()
}

fn sample_complexion(rng: &mut impl Rng) -> Rgb {
    let dark: f32 = rng.random();
    let mut complexion = [0; 3];
    for ((channel, light), deep) in complexion.iter_mut().zip(LIGHT_COMPLEXION).zip(DARK_COMPLEXION) {
        *channel = (light + dark * (deep - light)) as u8;
    }
    near(rng, complexion)
}

fn sample_hair_style(rng: &mut impl Rng) -> HairStyle {
    HairStyle::ALL.choose(rng).copied().unwrap_or(HairStyle::Short)
}

fn near(rng: &mut impl Rng, colour: Rgb) -> Rgb {
    colour.map(|channel| channel.saturating_add_signed(rng.random_range(-8..=8)))
}

/// Any colour that is clearly not `other`.
fn sample_apart(rng: &mut impl Rng, other: Rgb) -> Rgb {
    let distance = |colour: Rgb| -> f32 {
        colour.iter().zip(other).map(|(&a, b)| (f32::from(a) - f32::from(b)).powi(2)).sum::<f32>().sqrt()
    };
    let colour: Rgb = rng.random();
    // The channel-wise opposite of a colour too near lies far away.
    if distance(colour) < DISTINCT { colour.map(|channel| channel.wrapping_add(128)) } else { colour }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn colours(appearance: &Appearance) -> Vec<u8> {
        let accent = appearance.shirt.accent.map_or([0; 3], |(_, colour)| colour);
        [appearance.shirt.base, accent, appearance.trousers, appearance.hair].concat()
    }

    #[test]
    fn no_two_of_a_thousand_people_look_alike() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let crowd: Vec<_> = (0..1000).map(|_| colours(&Appearance::sample_identity(&mut rng))).collect();
        for (index, one) in crowd.iter().enumerate() {
            for other in &crowd[..index] {
                assert!(one.iter().zip(other).any(|(a, b)| a.abs_diff(*b) > 40), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_person_wears_what_the_caption_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for shirt in Colour::ALL {
            for trousers in Colour::ALL {
                let person = Appearance::sample_named(&mut rng, shirt, trousers);
                assert_eq!(Colour::nearest(person.shirt.base), shirt);
                assert_eq!(Colour::nearest(person.trousers), trousers);
                let accent = person.shirt.accent.map(|(_, colour)| Colour::nearest(colour));
                assert_ne!(accent, Some(shirt));
            }
        }
    }

    #[test]
    fn voices_fill_their_ranges() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let voices: Vec<_> = (0..2000).map(|_| Voice::sample(&mut rng)).collect();
        let spread = |value: fn(&Voice) -> f32, low: f32, high: f32| {
            let (least, most) = voices
                .iter()
                .map(value)
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
            let slack = 0.05 * (high - low);
            assert!(low <= least && least < low + slack, "{least} of {low}");
            assert!(high - slack < most && most <= high, "{most} of {high}");
        };
        spread(|voice| voice.pitch_hz, 80.0, 300.0);
        spread(|voice| voice.tract, 0.82, 1.25);
        spread(|voice| voice.breath, 0.0, 0.5);
        spread(|voice| voice.tilt_db, -14.0, -4.0);
    }
}
