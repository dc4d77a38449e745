//! Looks and voices as numbers.

use super::row::{flag, likeliest};
use crate::model::latents::{LOOK, SKIN};
use crate::world::identity::HairStyle;
use crate::world::{Appearance, Look, Pattern, Rgb, Skin, Voice};

/// In the order of a look's last numbers.
pub(crate) const STYLES: [HairStyle; 4] =
    [HairStyle::Short, HairStyle::Long, HairStyle::Bun, HairStyle::None];

/// A look as numbers in [-1, 1], and which of them mean something: a skin, or a person's shirt, comes first.
pub(crate) fn look_numbers(look: &Look) -> ([f32; LOOK], [bool; LOOK]) {
    let (mut numbers, mut present) = ([0.0; LOOK], [false; LOOK]);
    let skin = match look {
        Look::Skin(skin) => skin,
        Look::Person(person) => {
            let rest = &mut numbers[SKIN..];
            put_colour(&mut rest[..3], person.complexion);
            put_colour(&mut rest[3..6], person.hair);
            put_colour(&mut rest[6..9], person.trousers);
            for (number, style) in rest[9..].iter_mut().zip(STYLES) {
                *number = flag(style == person.hair_style);
            }
            present[SKIN..].fill(true);
            &person.shirt
        }
    };
    put_colour(&mut numbers[..3], skin.base);
    let pattern = skin.accent.map(|(pattern, _)| pattern);
    for (number, other) in numbers[6..SKIN].iter_mut().zip(Pattern::ALL) {
        *number = flag(pattern == Some(other));
    }
    present[..3].fill(true);
    present[6..SKIN].fill(true);
    if let Some((_, second)) = skin.accent {
        put_colour(&mut numbers[3..6], second);
        present[3..6].fill(true);
    }
    (numbers, present)
}

fn put_colour(numbers: &mut [f32], colour: Rgb) {
    for (number, channel) in numbers.iter_mut().zip(colour) {
        *number = f32::from(channel) / 127.5 - 1.0;
    }
}

fn colour_of(numbers: &[f32]) -> Rgb {
    std::array::from_fn(|channel| ((numbers[channel] + 1.0) * 127.5).clamp(0.0, 255.0).round() as u8)
}

/// The inverse of [`look_numbers`] of a ball.
pub(crate) fn skin_of(numbers: &[f32]) -> Skin {
    let patterns = &numbers[6..SKIN];
    let likeliest = likeliest(patterns);
    let accent = (patterns[likeliest] > 0.0).then(|| (Pattern::ALL[likeliest], colour_of(&numbers[3..6])));
    Skin { base: colour_of(numbers), accent }
}

/// The inverse of [`look_numbers`] of a person.
pub(crate) fn appearance_of(numbers: &[f32]) -> Appearance {
    let rest = &numbers[SKIN..];
    Appearance {
        shirt: skin_of(numbers),
        complexion: colour_of(rest),
        hair: colour_of(&rest[3..]),
        trousers: colour_of(&rest[6..]),
        hair_style: STYLES[likeliest(&rest[9..])],
    }
}

/// A voice as numbers of about the same range.
pub(crate) fn voice_numbers(voice: &Voice) -> [f32; 4] {
    [
        (voice.pitch_hz / 150.0).log2(),
        4.0 * voice.tract.log2(),
        4.0 * voice.breath - 1.0,
        (voice.tilt_db + 9.0) / 4.0,
    ]
}

/// The inverse of [`voice_numbers`], within what can be heard.
pub(crate) fn voice_of(numbers: &[f32]) -> Voice {
    Voice {
        pitch_hz: (150.0 * numbers[0].exp2()).clamp(60.0, 400.0),
        tract: (numbers[1] / 4.0).exp2().clamp(0.75, 1.35),
        breath: ((numbers[2] + 1.0) / 4.0).clamp(0.0, 0.7),
        tilt_db: (4.0 * numbers[3] - 9.0).clamp(-18.0, -2.0),
    }
}
