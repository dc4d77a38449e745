//! What a clip is about, from its prompt: the family of event and the colours, in the words that
//! the lake's other clips are described with, so that what a ranker learnt from those holds here.
//! A prompt of other words is `other`, and the ranker learns from what people do with it.

/// The first family whose word the prompt holds, most particular first.
const FAMILIES: [(&str, &[&str]); 3] = [
    ("throw", &["hoop", "basket", "backboard", "rim", "dunk", "shot", "thrown", "throws"]),
    ("collide", &["collide", "collides", "collision", "hit", "hits", "crash", "bump", "bumps"]),
    ("bounce", &["bounce", "bounces", "bouncing", "drop", "drops", "falls"]),
];

const COLOURS: [&str; 11] =
    ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "brown", "grey"];

/// `name=value` strings for the lake.
pub(super) fn attributes_of(prompt: &str) -> Vec<String> {
    let words = words_of(prompt);
    COLOURS
        .into_iter()
        .filter(|colour| words.iter().any(|word| word == colour))
        .map(|colour| format!("colour={colour}"))
        .collect()
}

fn words_of(prompt: &str) -> Vec<String> {
    prompt.split(|letter: char| !letter.is_alphanumeric()).map(str::to_lowercase).collect()
}

pub(super) fn topic_of(prompt: &str) -> &'static str {
    let words = words_of(prompt);
    FAMILIES
        .into_iter()
        .find(|(_, names)| words.iter().any(|word| names.contains(&word.as_str())))
        .map_or("other", |(family, _)| family)
}

#[cfg(test)]
mod tests {
    use super::{attributes_of, topic_of};

    #[test]
    fn colours_are_told_by_their_words() {
        assert_eq!(attributes_of("A yellow ball and a RED ball collide"), ["colour=red", "colour=yellow"]);
        assert!(attributes_of("an infrared evening").is_empty());
    }

    #[test]
    fn families_are_told_by_their_words() {
        assert_eq!(topic_of("A red ball bounces twice"), "bounce");
        assert_eq!(topic_of("a blue ball is thrown into the hoop"), "throw");
        assert_eq!(topic_of("a green ball and a yellow ball collide"), "collide");
        assert_eq!(topic_of("a quiet evening"), "other");
    }
}
