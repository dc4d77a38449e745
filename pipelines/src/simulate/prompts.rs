//! What simulated clips show: the events that the physics world can draw, in its colours.

/// A clip's caption with what tastes are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub caption: String,
    /// The family of event: `bounce`, `throw`, `collide`.
    pub topic: String,
    pub colours: Vec<String>,
}

const COLOURS: [&str; 8] = ["red", "orange", "yellow", "green", "blue", "purple", "white", "pink"];
const BOUNCES: [&str; 3] = ["once", "twice", "three times"];
const THROWS: [&str; 2] = ["is thrown into the hoop", "is thrown at the backboard"];

impl Prompt {
    fn new(topic: &str, colours: &[&str], caption: String) -> Self {
        let colours = colours.iter().map(|&colour| colour.to_owned()).collect();
        Self { caption, topic: topic.to_owned(), colours }
    }
}

/// Every colour with every event, the families in turn.
pub fn default_prompts() -> Vec<Prompt> {
    let mut prompts = Vec::new();
    for (index, colour) in COLOURS.into_iter().enumerate() {
        let article = article(colour);
        for times in BOUNCES {
            prompts.push(Prompt::new(
                "bounce",
                &[colour],
                format!("{article} {colour} ball bounces {times}"),
            ));
        }
        for throw in THROWS {
            prompts.push(Prompt::new("throw", &[colour], format!("{article} {colour} ball {throw}")));
        }
        for step in [1, 3] {
            let other = COLOURS[(index + step) % COLOURS.len()];
            let caption =
                format!("{article} {colour} ball and {} {other} ball collide", self::article(other));
            prompts.push(Prompt::new("collide", &[colour, other], caption));
        }
    }
    prompts
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
