//! Words to numbers: a prompt enters, the numbers that the text encoder reads leave.
//!
//! The vocabulary is the corpus's and is saved with the weights. A word that it lacks becomes "unknown",
//! which training shows the model too, so that no prompt is refused for its wording.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::text::PROMPT_WORDS;
use crate::world::caption::VOCABULARY;

const PADDING: i32 = 0;
pub(crate) const UNKNOWN: i32 = 1;
/// Numbers below this are no words.
const RESERVED: usize = 2;

/// What people write for words of the corpus. A word that the vocabulary has is never replaced.
const SYNONYMS: [(&str, &str); 98] = [
    ("1", "one"),
    ("2", "two"),
    ("3", "three"),
    ("4", "four"),
    ("5", "five"),
    ("6", "six"),
    ("7", "seven"),
    ("backboard", "board"),
    ("balls", "ball"),
    ("basketball", "ball"),
    ("baskets", "basket"),
    ("bouncing", "bounces"),
    ("bouncy", "bounces"),
    ("box", "block"),
    ("boxes", "blocks"),
    ("boy", "person"),
    ("brick", "block"),
    ("bricks", "blocks"),
    ("bumps", "crashes"),
    ("catching", "catches"),
    ("character", "person"),
    ("collides", "collide"),
    ("colliding", "collide"),
    ("collision", "collide"),
    ("crashing", "crashes"),
    ("crimson", "red"),
    ("domino", "block"),
    ("dominoes", "blocks"),
    ("dominos", "blocks"),
    ("drop", "drops"),
    ("dropping", "dropped"),
    ("enormous", "big"),
    ("enters", "goes"),
    ("falling", "falls"),
    ("giant", "big"),
    ("girl", "person"),
    ("goodbye", "bye"),
    ("ground", "floor"),
    ("guy", "person"),
    ("hey", "hello"),
    ("hi", "hello"),
    ("hit", "hits"),
    ("hitting", "hits"),
    ("hoops", "hoop"),
    ("hop", "hops"),
    ("huge", "big"),
    ("human", "person"),
    ("jeans", "trousers"),
    ("jump", "jumps"),
    ("jumper", "shirt"),
    ("lands", "falls"),
    ("large", "big"),
    ("leaps", "jumps"),
    ("leftwards", "left"),
    ("little", "small"),
    ("magenta", "pink"),
    ("man", "person"),
    ("meets", "meet"),
    ("miss", "misses"),
    ("missing", "misses"),
    ("navy", "blue"),
    ("onto", "on"),
    ("pants", "trousers"),
    ("pendulum", "rod"),
    ("people", "person"),
    ("pushes", "knocks"),
    ("rightwards", "right"),
    ("ring", "rim"),
    ("roll", "rolls"),
    ("rolling", "rolls"),
    ("say", "says"),
    ("scarlet", "red"),
    ("score", "scores"),
    ("scoring", "scores"),
    ("shoots", "shot"),
    ("slope", "ramp"),
    ("somebody", "person"),
    ("someone", "person"),
    ("speaks", "says"),
    ("strikes", "hits"),
    ("striking", "hits"),
    ("sweater", "shirt"),
    ("swing", "swings"),
    ("swinging", "swings"),
    ("tee", "shirt"),
    ("thrice", "three"),
    ("throughout", "through"),
    ("throw", "thrown"),
    ("throwing", "throws"),
    ("tiny", "small"),
    ("tips", "knocks"),
    ("top", "shirt"),
    ("topple", "fall"),
    ("topples", "knocks"),
    ("violet", "purple"),
    ("walk", "walks"),
    ("wave", "waves"),
    ("woman", "person"),
];

/// Words of the `PhyWorld` tasks.
const PHYWORLD: [&str; 3] = ["parabola", "phyworld", "uniform"];

/// The words that a model knows, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary {
    words: Vec<String>,
}

impl Vocabulary {
    /// The words of the corpus's captions.
    pub fn of_corpus() -> Self {
        Self { words: VOCABULARY.iter().chain(&PHYWORLD).map(|word| (*word).to_owned()).collect() }
    }

    /// The `most` frequent words of `captions`, in any language.
    pub(crate) fn of_captions<'a>(captions: impl IntoIterator<Item = &'a str>, most: usize) -> Self {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for word in captions.into_iter().flat_map(split) {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
        // Stable: words that are equally frequent stay in alphabetical order.
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts.truncate(most);
        let mut words: Vec<String> = counts.into_iter().map(|(word, _)| word).collect();
        words.sort_unstable();
        Self { words }
    }

    /// Numbers that [`Vocabulary::numbers`] may return.
    pub(crate) fn len(&self) -> usize {
        self.words.len() + RESERVED
    }

    /// The numbers of a prompt's words, padded or cut to what the model reads.
    pub(crate) fn numbers(&self, prompt: &str) -> [i32; PROMPT_WORDS] {
        let mut numbers = [PADDING; PROMPT_WORDS];
        self.fill(prompt, &mut numbers);
        numbers
    }

    /// The same for a model that reads `length` words.
    pub(crate) fn numbers_of(&self, prompt: &str, length: usize) -> Vec<i32> {
        let mut numbers = vec![PADDING; length];
        self.fill(prompt, &mut numbers);
        numbers
    }

    fn fill(&self, prompt: &str, numbers: &mut [i32]) {
        for (number, word) in numbers.iter_mut().zip(split(prompt)) {
            *number = self.number(&word);
        }
    }

    /// The words of a prompt that the model does not know.
    pub fn unknown(&self, prompt: &str) -> Vec<String> {
        split(prompt).filter(|word| self.number(word) == UNKNOWN).collect()
    }

    /// What reads as no prompt at all.
    pub(crate) fn silence() -> [i32; PROMPT_WORDS] {
        [PADDING; PROMPT_WORDS]
    }

    fn number(&self, word: &str) -> i32 {
        let place = |word: &str| self.words.iter().position(|known| known == word);
        let synonym =
            || SYNONYMS.iter().find(|(other, _)| *other == word).and_then(|(_, known)| place(known));
        place(word).or_else(synonym).map_or(UNKNOWN, |place| (place + RESERVED) as i32)
    }
}

/// A prompt's words as the corpus would write them.
pub(crate) fn spelled(prompt: &str) -> Vec<String> {
    let known = |word: String| match SYNONYMS.iter().find(|(other, _)| *other == word) {
        Some((_, known)) if !VOCABULARY.contains(&word.as_str()) => (*known).to_owned(),
        _ => word,
    };
    split(prompt).map(known).collect()
}

/// Lower-case words without punctuation. Where a script writes words without spaces, each sign is one.
fn split(prompt: &str) -> impl Iterator<Item = String> {
    prompt
        .split(|c: char| !c.is_alphanumeric())
        .flat_map(|word| word.split_inclusive(is_sign).flat_map(ending_in_sign))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// What precedes a sign at the end of `word`, and the sign.
fn ending_in_sign(word: &str) -> [&str; 2] {
    match word.char_indices().next_back() {
        Some((start, last)) if is_sign(last) => word.split_at(start).into(),
        _ => [word, ""],
    }
}

/// Letters of Thai, Lao, Khmer, Japanese and Chinese.
fn is_sign(c: char) -> bool {
    matches!(
        c,
        '\u{e00}'..='\u{eff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_and_punctuation_do_not_matter() {
        let words = Vocabulary::of_corpus();
        assert_eq!(words.numbers("A red ball bounces twice."), words.numbers("a Red ball, bounces twice"));
        assert_eq!(words.unknown("a mauve ball"), ["mauve"]);
    }

    #[test]
    fn synonyms_read_as_words_of_the_corpus() {
        let words = Vocabulary::of_corpus();
        assert_eq!(
            words.numbers("a huge ball bounces 3 times"),
            words.numbers("a big ball bounces three times")
        );
        for (other, known) in SYNONYMS {
            assert!(!words.words.iter().any(|word| word == other), "`{other}` is a word of its own");
            assert_ne!(words.number(known), UNKNOWN, "`{known}` is no word of the corpus");
        }
    }

    #[test]
    fn the_most_frequent_words_of_any_language_are_kept() {
        let captions = ["Ein Hund läuft", "ein Hund bellt", "собака бежит", "собака", "小狗在跑", "小猫"];
        let words = Vocabulary::of_captions(captions, 4);
        assert_eq!(words.words, ["ein", "hund", "собака", "小"]);
        assert_eq!(words.numbers_of("小狗 und ein HUND", 6), [5, UNKNOWN, UNKNOWN, 2, 3, PADDING]);
        assert_eq!(words.unknown("ein mauve Hund"), ["mauve"]);
        assert_eq!(Vocabulary::of_captions([], 4).numbers_of("a ball", 3), [UNKNOWN, UNKNOWN, PADDING]);
    }

    proptest! {
        #[test]
        fn any_text_has_numbers_of_the_vocabulary(prompt in ".*") {
            let words = Vocabulary::of_corpus();
            prop_assert!(words.numbers(&prompt).iter().all(|&n| n >= 0 && (n as usize) < words.len()));
        }
    }
}
