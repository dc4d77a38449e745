//! Words to numbers: a prompt enters, the numbers that the text encoder reads leave.
//!
//! The vocabulary is the corpus's and is saved with the weights. A word that it lacks becomes "unknown",
//! which training shows the model too, so that no prompt is refused for its wording.

use serde::{Deserialize, Serialize};

use crate::corpus;
use crate::model::text::PROMPT_WORDS;

const PADDING: i32 = 0;
pub(crate) const UNKNOWN: i32 = 1;
/// Numbers below this are no words.
const RESERVED: usize = 2;

/// What people write for words of the corpus. A word that the vocabulary has is never replaced.
const SYNONYMS: [(&str, &str); 46] = [
    ("1", "one"),
    ("2", "two"),
    ("3", "three"),
    ("4", "four"),
    ("balls", "ball"),
    ("basketball", "ball"),
    ("baskets", "basket"),
    ("backboard", "board"),
    ("bouncy", "bouncing"),
    ("collides", "collide"),
    ("colliding", "collide"),
    ("collision", "collide"),
    ("crashing", "crashes"),
    ("crimson", "red"),
    ("drop", "drops"),
    ("dropping", "dropped"),
    ("enormous", "big"),
    ("enters", "goes"),
    ("fall", "falls"),
    ("falling", "falls"),
    ("giant", "big"),
    ("go", "goes"),
    ("ground", "floor"),
    ("hit", "hits"),
    ("hitting", "hits"),
    ("hoops", "hoop"),
    ("huge", "big"),
    ("large", "big"),
    ("little", "small"),
    ("magenta", "pink"),
    ("meets", "meet"),
    ("miss", "misses"),
    ("missing", "misses"),
    ("navy", "blue"),
    ("onto", "on"),
    ("ring", "rim"),
    ("roll", "rolls"),
    ("rolling", "rolls"),
    ("scarlet", "red"),
    ("score", "scores"),
    ("scoring", "scores"),
    ("shoots", "shot"),
    ("throw", "thrown"),
    ("throws", "thrown"),
    ("tiny", "small"),
    ("violet", "purple"),
];

/// The words that a model knows, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary {
    words: Vec<String>,
}

impl Vocabulary {
    /// The words of the corpus's captions.
    pub fn of_corpus() -> Self {
        Self { words: corpus::VOCABULARY.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// Numbers that [`Vocabulary::numbers`] may return.
    pub(crate) fn len(&self) -> usize {
        self.words.len() + RESERVED
    }

    /// The numbers of a prompt's words, padded or cut to what the model reads.
    pub(crate) fn numbers(&self, prompt: &str) -> [i32; PROMPT_WORDS] {
        let mut numbers = [PADDING; PROMPT_WORDS];
        for (number, word) in numbers.iter_mut().zip(split(prompt)) {
            *number = self.number(&word);
        }
        numbers
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

/// Lower-case words without punctuation.
fn split(prompt: &str) -> impl Iterator<Item = String> {
    prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
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

    proptest! {
        #[test]
        fn any_text_has_numbers_of_the_vocabulary(prompt in ".*") {
            let words = Vocabulary::of_corpus();
            prop_assert!(words.numbers(&prompt).iter().all(|&n| n >= 0 && (n as usize) < words.len()));
        }
    }
}
