//! A feed steered in words: what a person typed enters, what they want more of, less of and none of
//! leaves.
//!
//! English sentences are read by rule. A clause asks for more unless it begins with a word such as "less"
//! or "nothing about", which holds until the sentence or a "but" ends. A wish is met by the words of a
//! clip's caption and topic, by their stems (Porter 2001), and by the words that a concept such as "pets"
//! stands for (`concepts.txt`). What is asked for in another language is met by the very words.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

use super::candidate::Candidate;

/// What a quality ("calm") counts beside what a clip is of ("pets").
const QUALITY_SHARE: f32 = 0.5;
/// Words after one that denies in which another cannot turn it around: "don't show me", "no more".
const DENIAL_REACH: usize = 2;

const NEVER: [&str; 22] = [
    "no", "not", "nothing", "never", "none", "without", "hide", "stop", "avoid", "exclude", "remove",
    "block", "mute", "dont", "don't", "doesn't", "hate", "dislike", "skip", "neither", "nor", "except",
];
const LESS: [&str; 5] = ["less", "fewer", "rarely", "seldom", "reduce"];
const MORE: [&str; 14] = [
    "more", "only", "show", "want", "give", "just", "prefer", "like", "love", "mostly", "mainly", "lots",
    "plenty", "please",
];
/// Words that say nothing of a clip.
const EMPTY: [&str; 71] = [
    "a",
    "an",
    "the",
    "of",
    "about",
    "with",
    "in",
    "on",
    "at",
    "to",
    "for",
    "from",
    "by",
    "me",
    "my",
    "i",
    "i'm",
    "i'd",
    "you",
    "your",
    "it",
    "its",
    "this",
    "that",
    "these",
    "those",
    "is",
    "are",
    "be",
    "am",
    "do",
    "does",
    "some",
    "any",
    "all",
    "much",
    "many",
    "so",
    "too",
    "very",
    "really",
    "clip",
    "clips",
    "video",
    "videos",
    "post",
    "posts",
    "content",
    "feed",
    "stuff",
    "thing",
    "things",
    "something",
    "anything",
    "everything",
    "see",
    "seeing",
    "watch",
    "watching",
    "watched",
    "would",
    "could",
    "can",
    "let",
    "need",
    "feel",
    "one",
    "ones",
    "other",
    "than",
    "related",
];

/// What a person asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    pub more: Vec<Wish>,
    pub less: Vec<Wish>,
    pub never: Vec<Wish>,
}

/// One thing that is asked for: "calm pets".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// As it was said, without what says nothing.
    pub words: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// Stems, of which any will do.
    stems: HashSet<String>,
    is_quality: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    More,
    Less,
    Never,
}

impl Steering {
    /// Reads what a person typed. Words that no rule knows are wishes like others.
    pub fn of(text: &str) -> Self {
        let mut reader = Reader::default();
        let text = text.to_lowercase().replace('\u{2019}', "'");
        for sentence in text.split(['.', '!', '?', ';', '\n']) {
            let sentence = sentence.replace(',', " , ");
            let mut words = sentence.split_whitespace().map(bare).filter(|word| !word.is_empty()).peekable();
            while let Some(word) = words.next() {
                let next = words.peek().copied();
                reader.word(word, next);
            }
            reader.end_sentence();
        }
        reader.steering
    }

    pub fn is_empty(&self) -> bool {
        self.more.is_empty() && self.less.is_empty() && self.never.is_empty()
    }

    /// Whether the clip is something that the person wants none of.
    pub fn forbids(&self, said: &HashSet<String>) -> bool {
        self.never.iter().any(|wish| wish.is_whole(said))
    }

    /// How much a clip is what is asked for, between -1 (wholly of what less is wanted of) and 1.
    pub fn leaning(&self, said: &HashSet<String>) -> f32 {
        let more = self.more.iter().map(|wish| wish.share(said)).fold(0.0, f32::max);
        let is_less = self.less.iter().any(|wish| wish.is_whole(said));
        more - f32::from(u8::from(is_less))
    }

    /// The wish that a clip meets best.
    pub fn best(&self, said: &HashSet<String>) -> Option<&Wish> {
        let met = self.more.iter().filter(|wish| wish.share(said) > 0.0);
        met.max_by(|a, b| a.share(said).total_cmp(&b.share(said)))
    }
}

impl Wish {
    fn of(words: &[&str]) -> Self {
        let terms = words.iter().map(|word| Term::of(word)).collect();
        Self { words: words.join(" "), terms }
    }

    /// Share of the wish that the words of a clip meet, in 0 to 1.
    fn share(&self, said: &HashSet<String>) -> f32 {
        let weight = |term: &Term| if term.is_quality { QUALITY_SHARE } else { 1.0 };
        let whole: f32 = self.terms.iter().map(weight).sum();
        let met: f32 = self.terms.iter().filter(|term| term.is_met(said)).map(weight).sum();
        if whole > 0.0 { met / whole } else { 0.0 }
    }

    fn is_whole(&self, said: &HashSet<String>) -> bool {
        self.terms.iter().all(|term| term.is_met(said))
    }

    /// Whether it says only how a clip should be.
    fn is_quality(&self) -> bool {
        self.terms.iter().all(|term| term.is_quality)
    }
}

impl Term {
    fn of(word: &str) -> Self {
        let stem = stem(word);
        match CONCEPTS.get(&stem) {
            Some(concept) => concept.clone(),
            None => Self { stems: [stem].into(), is_quality: false },
        }
    }

    fn is_met(&self, said: &HashSet<String>) -> bool {
        self.stems.iter().any(|stem| said.contains(stem))
    }
}

/// Stems of the words that a clip is described by.
pub fn said(candidate: &Candidate) -> HashSet<String> {
    let text = format!("{} {}", candidate.caption, candidate.topic.as_deref().unwrap_or_default());
    stems(&text)
}

/// Stems of the words of a text that say something.
pub fn stems(text: &str) -> HashSet<String> {
    let words = text.to_lowercase();
    let words = words.split(|c: char| !c.is_alphanumeric() && c != '\'').map(bare);
    words.filter(|word| !word.is_empty() && !EMPTY.contains(word)).map(stem).collect()
}

fn bare(word: &str) -> &str {
    if word == "," { word } else { word.trim_matches(|c: char| !c.is_alphanumeric()) }
}

/// The stem, but for words of which it would make others: "animal" and "animation" have one stem.
fn stem(word: &str) -> String {
    static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));
    let single = word.strip_suffix('s').unwrap_or(word);
    if single.ends_with("al") || single.ends_with("ation") {
        single.to_owned()
    } else {
        STEMMER.stem(word).into_owned()
    }
}

/// Reads sentences word by word.
struct Reader {
    steering: Steering,
    direction: Direction,
    /// Words since the one that set the direction.
    since: usize,
    words: Vec<String>,
    /// How the next wish should be: qualities that stood alone.
    qualities: Vec<String>,
    /// Whether a wish of this direction ended before.
    goes_on: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            steering: Steering::default(),
            direction: Direction::More,
            since: usize::MAX,
            words: Vec::new(),
            qualities: Vec::new(),
            goes_on: false,
        }
    }
}

impl Reader {
    fn word(&mut self, word: &str, next: Option<&str>) {
        let denied = self.direction != Direction::More && self.since <= DENIAL_REACH && self.is_first();
        self.since = self.since.saturating_add(1);
        match word {
            "," | "and" | "or" => self.end_wish(),
            "but" | "instead" | "while" => self.turn(Direction::More),
            // "Nothing except cats."
            "except" if denied => self.turn(Direction::More),
            // "Not too much sport", "too many cats", "enough of war".
            "much" | "many" if denied => self.turn(Direction::Less),
            "too" if !denied && next.is_some_and(|next| ["much", "many"].contains(&next)) => {
                self.turn(Direction::Less);
            }
            "enough" | "tired" | "sick" if next == Some("of") => self.turn(Direction::Less),
            // "Nothing about sport, calm clips of pets."
            "clips" | "videos" | "posts" if self.goes_on && self.direction != Direction::More => {
                let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
                if !words.is_empty() && Wish::of(&words).is_quality() {
                    let words = std::mem::take(&mut self.words);
                    self.turn(Direction::More);
                    self.words = words;
                }
            }
            word if NEVER.contains(&word) => self.turn(Direction::Never),
            word if LESS.contains(&word) => self.turn(Direction::Less),
            word if MORE.contains(&word) => {
                if !denied {
                    self.turn(Direction::More);
                }
            }
            word if EMPTY.contains(&word) => {}
            word => self.words.push(word.to_owned()),
        }
    }

    /// Whether nothing was wished for in this direction yet.
    fn is_first(&self) -> bool {
        self.words.is_empty() && !self.goes_on
    }

    fn turn(&mut self, direction: Direction) {
        self.end_wish();
        self.end_qualities();
        self.direction = direction;
        self.since = 0;
        self.goes_on = false;
    }

    /// Qualities before a comma belong to what follows: "calm, slow clips of pets" is one wish.
    fn end_wish(&mut self) {
        if self.words.is_empty() {
            return;
        }
        let words = std::mem::take(&mut self.words);
        let is_quality = Wish::of(&words.iter().map(String::as_str).collect::<Vec<_>>()).is_quality();
        if self.direction == Direction::More && is_quality {
            self.qualities.extend(words);
        } else {
            let qualities = std::mem::take(&mut self.qualities);
            self.wish(&[qualities, words].concat());
        }
        self.goes_on = true;
    }

    fn end_qualities(&mut self) {
        let qualities = std::mem::take(&mut self.qualities);
        if !qualities.is_empty() {
            self.wish(&qualities);
        }
    }

    fn wish(&mut self, words: &[String]) {
        let wish = Wish::of(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let wishes = match self.direction {
            Direction::More => &mut self.steering.more,
            Direction::Less => &mut self.steering.less,
            Direction::Never => &mut self.steering.never,
        };
        if !wishes.contains(&wish) {
            wishes.push(wish);
        }
    }

    fn end_sentence(&mut self) {
        self.turn(Direction::More);
        self.since = usize::MAX;
    }
}

/// What each concept's names stand for, by their stems.
static CONCEPTS: LazyLock<HashMap<String, Term>> = LazyLock::new(|| {
    let mut listed: HashMap<String, (Vec<String>, bool)> = HashMap::new();
    let mut is_quality = false;
    for line in include_str!("concepts.txt").lines().filter(|line| !line.starts_with('#')) {
        is_quality |= line == "---";
        let Some((names, members)) = line.split_once(':') else { continue };
        let words: Vec<String> =
            names.split_whitespace().chain(members.split_whitespace()).map(stem).collect();
        for name in names.split_whitespace() {
            listed.insert(stem(name), (words.clone(), is_quality));
        }
    }
    let whole = |name: &String| {
        let mut stems = HashSet::new();
        let mut open = vec![name];
        while let Some(word) = open.pop() {
            if stems.insert(word.clone())
                && let Some((words, _)) = listed.get(word)
            {
                open.extend(words);
            }
        }
        Term { stems, is_quality: listed[name].1 }
    };
    listed.keys().map(|name| (name.clone(), whole(name))).collect()
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> [Vec<String>; 3] {
        let Steering { more, less, never } = Steering::of(text);
        [more, less, never].map(|wishes| wishes.into_iter().map(|wish| wish.words).collect())
    }

    /// What is typed, and what more, less and nothing is wanted of.
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

    #[test]
    fn sentences_are_read_as_people_mean_them() {
        let cases: [Case; 24] = [
            ("calm clips of pets", &["calm pets"], &[], &[]),
            ("nothing about sport", &[], &[], &["sport"]),
            ("Calm clips of pets, nothing about sport.", &["calm pets"], &[], &["sport"]),
            ("Nothing about sport, calm clips of pets", &["calm pets"], &[], &["sport"]),
            ("no sport, politics or war", &[], &[], &["sport", "politics", "war"]),
            ("no sport but more cats and dogs", &["cats", "dogs"], &[], &["sport"]),
            ("I don't want to see football", &[], &[], &["football"]),
            ("Don\u{2019}t show me any scary videos", &[], &[], &["scary"]),
            ("please show me more red balls", &["red balls"], &[], &[]),
            ("less music", &[], &["music"], &[]),
            ("fewer dominoes and more pendulums", &["pendulums"], &["dominoes"], &[]),
            ("not too much sport", &[], &["sport"], &[]),
            ("too many cats. Dogs!", &["dogs"], &["cats"], &[]),
            ("nothing but dogs", &["dogs"], &[], &[]),
            ("nothing except dogs", &["dogs"], &[], &[]),
            ("everything except politics", &[], &[], &["politics"]),
            ("no more football", &[], &[], &["football"]),
            ("calm, slow clips of the sea", &["calm slow sea"], &[], &[]),
            ("funny videos", &["funny"], &[], &[]),
            ("I hate loud clips; I love nature", &["nature"], &[], &["loud"]),
            ("cats without music", &["cats"], &[], &["music"]),
            ("enough of robots", &[], &["robots"], &[]),
            ("the of a", &[], &[], &[]),
            ("", &[], &[], &[]),
        ];
        for (text, more, less, never) in cases {
            let expected = [more, less, never].map(<[&str]>::to_vec);
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_concept_is_met_by_what_it_stands_for() {
        let cases = [
            ("pets", "a kitten sleeps on a sofa", 1.0),
            ("animals", "two puppies", 1.0),
            ("calm clips of pets", "a kitten sleeps", 1.0),
            ("calm clips of pets", "a dog barks loudly", 2.0 / 3.0),
            ("calm clips of pets", "a quiet lake", 1.0 / 3.0),
            ("pets", "a ball bounces", 0.0),
            ("animals", "an animation", 0.0),
            ("less music", "a band plays", -1.0),
            // The very words of any language.
            ("katzen", "zwei Katzen spielen", 1.0),
        ];
        for (wish, caption, leaning) in cases {
            let found = Steering::of(wish).leaning(&stems(caption));
            assert!((found - leaning).abs() < 1e-6, "{wish}: {caption}: {found}");
        }
        assert!(Steering::of("nothing about sport").forbids(&stems("The ball is thrown into the hoop")));
        assert!(!Steering::of("nothing about sport").forbids(&stems("A cat sleeps")));
        assert!(!Steering::of("no red balls").forbids(&stems("A blue ball")));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}", caption in ".{0,100}") {
            let steering = Steering::of(&text);
            prop_assert!((-1.0..=1.0).contains(&steering.leaning(&stems(&caption))));
            prop_assert!(Steering::of("").is_empty());
        }

        #[test]
        fn what_is_denied_and_what_is_asked_for_are_opposites(word in "[b-df-hj-np-tv-z]{4,8}") {
            let said = stems(&word);
            let steering = |asked: &str| Steering::of(&[asked, &word].join(" "));
            let forbidden = steering("nothing about").forbids(&said);
            prop_assert!(forbidden);
            let wanted = steering("more").leaning(&said) - steering("less").leaning(&said);
            prop_assert!((wanted - 2.0).abs() < 1e-6);
        }
    }
}
