//! Captions: one sentence from a closed vocabulary that says what happens in a scene.
//!
//! A scene goes in, a sentence comes out in varied wording. INVARIANT: every word is in [`VOCABULARY`], every
//! statement (colour, count, event) is true of the scene, and what is not a medium shot says so.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Actor, Body, Name, Scene, Shot};

/// Every word that a caption can contain, in alphabetical order.
pub const VOCABULARY: &[&str] = &[
    "a", "air", "all", "an", "and", "another", "at", "away", "ball", "basket", "big", "black", "block",
    "blocks", "blue", "board", "bounce", "bounces", "brown", "but", "bye", "cameo", "catch", "catches",
    "close", "collide", "comes", "crash", "crashes", "down", "dropped", "drops", "each", "fall", "falls",
    "five", "flies", "floor", "four", "fro", "from", "go", "goes", "green", "hangs", "hello", "hits", "hoop",
    "hopping", "hops", "in", "into", "is", "it", "jumping", "jumps", "knocks", "left", "meet", "misses",
    "no", "of", "off", "on", "once", "one", "only", "orange", "other", "over", "person", "pink", "purple",
    "ramp", "red", "rest", "right", "rim", "rod", "rolls", "row", "saying", "says", "scores", "seven",
    "shirt", "shot", "side", "six", "small", "stand", "standing", "stands", "still", "stops", "swings",
    "that", "the", "them", "then", "they", "three", "through", "thrown", "throws", "time", "times", "to",
    "tossed", "tosses", "trousers", "twice", "two", "up", "walking", "walks", "waves", "waving", "while",
    "white", "who", "wide", "wow", "yellow", "yes",
];

/// Words of which names are made; the first other word of a sentence is its verb.
const NAMES: [&str; 35] = [
    "a", "an", "the", "and", "in", "one", "two", "three", "four", "five", "six", "seven", "big", "small",
    "ball", "block", "blocks", "cameo", "person", "another", "shirt", "trousers", "on", "rod", "row", "red",
    "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "brown",
];

/// A sentence for `scene`; the wording is drawn from `rng`.
pub fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let sentence = scene.family.caption(scene, rng);
    match scene.shot {
        Shot::Medium | Shot::Lab => sentence,
        Shot::Close => framed("close-up of", &sentence),
        Shot::Wide => framed("wide shot of", &sentence),
    }
}

/// "A red ball bounces" as what a shot is of: "a red ball that bounces".
fn framed(shot: &str, sentence: &str) -> String {
    let words: Vec<&str> = sentence.split(' ').collect();
    let verb = words.iter().position(|word| !NAMES.contains(word)).unwrap_or(words.len());
    let (subject, predicate) = words.split_at(verb);
    let thing = subject.iter().any(|word| matches!(*word, "ball" | "block" | "blocks"));
    let which = if thing { "that" } else { "who" };
    format!("{shot} {} {which} {}", subject.join(" "), predicate.join(" "))
}

/// What a caption calls an actor: "a big red and white ball", "five blue blocks", "the cameo".
pub(super) fn name(actor: &Actor, rng: &mut impl Rng) -> String {
    let (first, second) = match (actor.name, actor.body) {
        (Name::Cameo, Body::Person { .. }) => return "the cameo".to_owned(),
        (Name::Cameo, Body::Blocks { count: 1, .. }) => return "the cameo block".to_owned(),
        (Name::Cameo, Body::Blocks { .. }) => return "the cameo blocks".to_owned(),
        (Name::Cameo, Body::Ball { .. } | Body::Pendulum { .. }) => return "the cameo ball".to_owned(),
        (Name::Colours(first, second), _) => (first.word(), second.map(super::Colour::word)),
    };
    let both = second.map_or_else(|| first.to_owned(), |second| format!("{first} and {second}"));
    match actor.body {
        Body::Ball { radius_m } | Body::Pendulum { radius_m, .. } => {
            let size = match radius_m {
                r if r > 0.75 && rng.random_bool(0.4) => "big ",
                r if r < 0.42 && rng.random_bool(0.25) => "small ",
                _ => "",
            };
            let article = if size.is_empty() { article(&both) } else { "a" };
            format!("{article} {size}{both} ball")
        }
        Body::Blocks { count: 1, .. } => format!("{} {both} block", article(&both)),
        Body::Blocks { count: blocks, .. } => format!("{} {both} blocks", count(blocks as u32)),
        Body::Person { .. } => {
            let trousers = second.map(|colour| format!(" and {colour} trousers")).unwrap_or_default();
            format!("a person in {} {first} shirt{trousers}", article(first))
        }
    }
}

fn article(next: &str) -> &'static str {
    if next.starts_with('o') { "an" } else { "a" }
}

/// A small number as a word.
pub(super) fn count(number: u32) -> &'static str {
    let words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"];
    words.get(number as usize).copied().unwrap_or("many")
}

pub(super) fn pick<'a>(options: &[&'a str], rng: &mut impl Rng) -> &'a str {
    options.choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;
    use crate::model::text::PROMPT_WORDS;
    use crate::world::{Colour, Family};

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
    }

    #[test]
    fn every_caption_is_short_and_made_of_the_vocabulary() {
        assert!(VOCABULARY.is_sorted());
        let mut said = BTreeSet::new();
        for seed in 0..400 {
            let mut scene = Scene::sample(seed);
            for wording in 0..24 {
                scene.shot = [Shot::Close, Shot::Medium, Shot::Wide][wording as usize % 3];
                let text = caption(&scene, &mut ChaCha8Rng::seed_from_u64(wording));
                assert!(words(&text).count() <= PROMPT_WORDS, "{text}");
                for word in words(&text) {
                    assert!(VOCABULARY.contains(&word), "`{word}` in `{text}`");
                    said.insert(word.to_owned());
                }
                assert_eq!(text.starts_with("close-up of "), scene.shot == Shot::Close, "{text}");
                assert_eq!(text.starts_with("wide shot of "), scene.shot == Shot::Wide, "{text}");
                assert!(!text.contains("  ") && text.trim() == text, "`{text}`");
            }
        }
        assert!(said.len() > 60, "{said:?}");
    }

    #[test]
    fn the_colours_are_the_actors() {
        // People may be called "another", without colours.
        let nameless = [Family::Walk, Family::Throw];
        for seed in (0..200).filter(|&seed| !nameless.contains(&Family::of(seed))) {
            let scene = Scene::sample(seed);
            let worn: Vec<&str> = scene
                .actors
                .iter()
                .filter_map(|actor| match actor.name {
                    Name::Colours(first, second) => Some(std::iter::once(first).chain(second)),
                    Name::Cameo => None,
                })
                .flatten()
                .map(Colour::word)
                .collect();
            let cameo = scene.actors.iter().any(|actor| actor.name == Name::Cameo);
            for wording in 0..6 {
                let text = caption(&scene, &mut ChaCha8Rng::seed_from_u64(wording));
                let named: Vec<&str> = words(&text)
                    .filter(|word| Colour::ALL.iter().any(|colour| colour.word() == *word))
                    .collect();
                assert_eq!(named, worn, "{text}");
                assert_eq!(words(&text).any(|word| word == "cameo"), cameo, "{text}");
            }
        }
    }

    #[test]
    fn a_shot_is_of_what_does_something() {
        let framed = |text| framed("close-up of", text);
        assert_eq!(framed("a red ball bounces twice"), "close-up of a red ball that bounces twice");
        assert_eq!(framed("the cameo says hello"), "close-up of the cameo who says hello");
    }
}
