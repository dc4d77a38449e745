//! Captions: one sentence from a closed vocabulary that says what happens in a scene.
//!
//! A scene goes in, a sentence comes out in varied wording. INVARIANT: every word is in [`VOCABULARY`], and
//! every statement (colour, count, outcome) is true of the scene.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::scene::{Outcome, Scene};

/// Every word that a caption can contain.
pub const VOCABULARY: [&str; 61] = [
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "brown", "a", "air",
    "an", "and", "at", "ball", "basket", "big", "board", "bounce", "bounces", "bouncing", "but", "cameo",
    "collide", "crash", "crashes", "dropped", "drops", "each", "falls", "floor", "four", "goes", "hits",
    "hoop", "in", "into", "is", "meet", "misses", "off", "on", "once", "one", "other", "rim", "rolls",
    "scores", "shot", "small", "the", "three", "through", "thrown", "time", "times", "tossed", "twice",
    "two", "up",
];

/// A sentence for `scene`; the wording is drawn from `rng`.
pub fn caption(scene: &Scene, rng: &mut impl Rng) -> String {
    let first = name(scene, 0, rng);
    match scene.outcome {
        Outcome::Bounces(count) => {
            let tossed = scene.balls.first().is_some_and(|ball| ball.vy_m_s > 1.0);
            bounce(&first, count, tossed, rng)
        }
        Outcome::Scores { banked } => score(&first, banked, rng),
        Outcome::Misses { rim } => miss(&first, rim, rng),
        Outcome::Collides { airborne } => {
            let second = name(scene, 1, rng);
            collision(&first, &second, airborne, rng)
        }
    }
}

fn name(scene: &Scene, index: usize, rng: &mut impl Rng) -> String {
    let Some(ball) = scene.balls.get(index) else { return String::new() };
    let Some((colour, second)) = ball.colours else { return "the cameo ball".to_owned() };
    let size = match ball.radius_m {
        r if r > 0.78 && rng.random_bool(0.4) => "big ",
        r if r < 0.52 && rng.random_bool(0.25) => "small ",
        _ => "",
    };
    let colours = second.map_or_else(
        || colour.word().to_owned(),
        |second| format!("{} and {}", colour.word(), second.word()),
    );
    let article = if size.is_empty() && colours.starts_with('o') { "an" } else { "a" };
    format!("{article} {size}{colours} ball")
}

fn pick<'a>(options: &[&'a str], rng: &mut impl Rng) -> &'a str {
    options.choose(rng).copied().unwrap_or_default()
}

fn bounce(ball: &str, count: u32, tossed: bool, rng: &mut impl Rng) -> String {
    let times = match count {
        1 => pick(&["once", "once", "one time"], rng),
        2 => pick(&["twice", "twice", "two times"], rng),
        3 => "three times",
        _ => "four times",
    };
    let verb = pick(&["bounces", "bounces", "bounces", "bouncing"], rng);
    let floor = pick(&["", "", " on the floor"], rng);
    if verb == "bounces" && rng.random_bool(0.3) {
        let start = if tossed { "is tossed up" } else { pick(&["is dropped", "drops", "falls"], rng) };
        return format!("{ball} {start} and bounces {times}");
    }
    format!("{ball} {verb} {times}{floor}")
}

fn score(ball: &str, banked: bool, rng: &mut impl Rng) -> String {
    if banked && rng.random_bool(0.6) {
        let tail = pick(&["goes in", "goes into the hoop", "goes through the hoop"], rng);
        return format!("{ball} hits the board and {tail}");
    }
    let what = pick(
        &[
            "is thrown into the hoop",
            "is thrown into the hoop",
            "goes into the hoop",
            "goes through the hoop",
            "is thrown into the basket",
            "is shot into the basket",
            "is thrown at the hoop and goes in",
            "scores",
        ],
        rng,
    );
    format!("{ball} {what}")
}

fn miss(ball: &str, rim: bool, rng: &mut impl Rng) -> String {
    if rim && rng.random_bool(0.6) {
        return format!("{ball} {}", pick(&["bounces off the rim", "hits the rim and misses"], rng));
    }
    let what = pick(
        &[
            "misses the hoop",
            "misses the hoop",
            "is thrown at the hoop but misses",
            "is thrown at the hoop and misses",
            "misses the basket",
        ],
        rng,
    );
    format!("{ball} {what}")
}

fn collision(first: &str, second: &str, airborne: bool, rng: &mut impl Rng) -> String {
    let place =
        if airborne { pick(&["", " in the air"], rng) } else { pick(&["", "", " on the floor"], rng) };
    match rng.random_range(0..6) {
        0 | 1 => format!("{first} and {second} collide{place}"),
        2 => format!("{first} and {second} crash into each other{place}"),
        3 => format!("{first} hits {second}{place}"),
        4 if airborne => format!("{first} and {second} meet in the air"),
        4 => format!("{first} and {second} bounce off each other"),
        _ if !airborne && second.starts_with('a') => format!("{first} rolls into {second}"),
        _ => format!("{first} crashes into {second}{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Colour, Family};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_word_is_in_the_vocabulary_and_the_colours_are_the_balls() {
        for seed in 0..60 {
            let scene = Scene::sample(Family::ALL[seed as usize % 3], seed);
            for wording in 0..40 {
                let text = caption(&scene, &mut ChaCha8Rng::seed_from_u64(wording));
                for word in text.split(' ') {
                    assert!(VOCABULARY.contains(&word), "`{word}` in `{text}`");
                }
                let named: Vec<&str> = text
                    .split(' ')
                    .filter(|word| Colour::ALL.iter().any(|colour| colour.word() == *word))
                    .collect();
                let worn: Vec<&str> = scene
                    .balls
                    .iter()
                    .filter_map(|ball| ball.colours)
                    .flat_map(|(first, second)| std::iter::once(first).chain(second))
                    .map(Colour::word)
                    .collect();
                assert_eq!(named, worn, "{text}");
                assert_eq!(text.contains("cameo"), scene.balls[0].is_cameo(), "{text}");
            }
        }
    }
}
