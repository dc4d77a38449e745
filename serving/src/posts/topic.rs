//! What a clip is about, from its prompt: the families of events that the model draws. Unknown
//! words make it `other`, and the ranker learns from what people do with it.

/// The first family whose word the prompt holds, most particular first.
const FAMILIES: [(&str, &[&str]); 3] = [
    ("throw", &["hoop", "basket", "backboard", "rim", "dunk", "shot", "thrown", "throws"]),
    ("collide", &["collide", "collides", "collision", "hit", "hits", "crash", "bump", "bumps"]),
    ("bounce", &["bounce", "bounces", "bouncing", "drop", "drops", "falls"]),
];

pub(super) fn topic_of(prompt: &str) -> &'static str {
    let lower = prompt.to_lowercase();
    let words: Vec<&str> = lower.split(|letter: char| !letter.is_alphanumeric()).collect();
    FAMILIES
        .into_iter()
        .find(|(_, names)| names.iter().any(|name| words.contains(name)))
        .map_or("other", |(family, _)| family)
}

#[cfg(test)]
mod tests {
    use super::topic_of;

    #[test]
    fn families_are_told_by_their_words() {
        assert_eq!(topic_of("A red ball bounces twice"), "bounce");
        assert_eq!(topic_of("a blue ball is thrown into the hoop"), "throw");
        assert_eq!(topic_of("a green ball and a yellow ball collide"), "collide");
        assert_eq!(topic_of("a quiet evening"), "other");
    }
}
