//! A retrieval model asked for one person: what they had and what is new enter, the clips to consider leave.
//!
//! A clip that the model was not trained on enters by its content: each of its tokens (creator, topic, words of the
//! caption) stands where the known clips with that token are, on average, and the clip in their middle. It can be
//! found before anybody has seen it, and the less telling its tokens are, the less it stands out.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use kinora_harness::device::{self, DeviceChoice};

use super::artifact::{self, Loaded};
use super::index::{Neighbour, inner_product};
use crate::error::Result;
use crate::train::read_floats;

/// A retrieval model and what it knows of clips by their tokens.
pub struct Seeker {
    loaded: Loaded,
    /// Row of each clip that the model knows.
    rows: HashMap<String, u32>,
    tokens: HashMap<String, Token>,
}

/// Where the clips with a token are.
struct Token {
    mean: Vec<f32>,
    clips: u32,
}

impl fmt::Debug for Seeker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, tokens, .. } = self;
        f.debug_struct("Seeker")
            .field("clips", &rows.len())
            .field("tokens", &tokens.len())
            .finish_non_exhaustive()
    }
}

impl Seeker {
    /// Loads the model in `directory` onto the CPU. `tokens_of` tells what is known of a clip's content.
    pub fn load<T: AsRef<[String]>>(directory: &Path, tokens_of: impl Fn(&str) -> Option<T>) -> Result<Self> {
        let device = device::resolve(DeviceChoice::Cpu)?;
        let loaded = artifact::load(directory, &device)?;
        let vectors = read_floats(loaded.model.items())?;
        let width = vectors.len() / loaded.items.len();
        let mut tokens: HashMap<String, Token> = HashMap::new();
        for (clip, vector) in loaded.items.iter().zip(vectors.chunks_exact(width)) {
            let Some(names) = tokens_of(clip) else { continue };
            for name in names.as_ref() {
                let nowhere = || Token { mean: vec![0.0; width], clips: 0 };
                let token = tokens.entry(name.clone()).or_insert_with(nowhere);
                token.clips += 1;
                for (mean, value) in token.mean.iter_mut().zip(vector) {
                    *mean += (value - *mean) / token.clips as f32;
                }
            }
        }
        let rows = loaded.items.iter().cloned().zip(0..).collect();
        Ok(Self { loaded, rows, tokens })
    }

    /// At most `count` clips for somebody who had `history`, oldest first, best first: clips of the model that are
    /// not in it, and of `new` those that it does not know, by their tokens. None for a history of which the
    /// model knows nothing.
    pub fn seek<'a>(
        &self,
        history: impl IntoIterator<Item = &'a str>,
        new: impl IntoIterator<Item = (&'a str, &'a [String])>,
        count: usize,
    ) -> Result<Vec<String>> {
        let history: Vec<u32> = history.into_iter().filter_map(|clip| self.rows.get(clip).copied()).collect();
        if history.is_empty() {
            return Ok(Vec::new());
        }
        let latest = self.loaded.model.latest(&history);
        let query = read_floats(self.loaded.model.last_queries(&[latest]))?;
        self.near(&query, &history.iter().copied().collect(), new, count)
    }

    /// At most `count` clips that are like one clip, by its name or else by its tokens, best first, without those
    /// of `history` and without itself. None for a clip of which the model knows nothing.
    pub fn alike<'a>(
        &self,
        (clip, tokens): (&str, &[String]),
        history: impl IntoIterator<Item = &'a str>,
        new: impl IntoIterator<Item = (&'a str, &'a [String])>,
        count: usize,
    ) -> Result<Vec<String>> {
        let row = self.rows.get(clip);
        let place = match row {
            Some(&row) => self.loaded.vector(row)?,
            None => match self.place(tokens) {
                Some(place) => place,
                None => return Ok(Vec::new()),
            },
        };
        let had = history.into_iter().filter_map(|clip| self.rows.get(clip).copied());
        let new = new.into_iter().filter(|(name, _)| *name != clip);
        self.near(&place, &had.chain(row.copied()).collect(), new, count)
    }

    /// The clips nearest to a place: those of the model, and of `new` those that it does not know.
    fn near<'a>(
        &self,
        query: &[f32],
        had: &HashSet<u32>,
        new: impl IntoIterator<Item = (&'a str, &'a [String])>,
        count: usize,
    ) -> Result<Vec<String>> {
        let known = self.loaded.index.search(query, count, had)?;
        let known = known
            .into_iter()
            .map(|Neighbour { item, score }| (score, self.loaded.items[item as usize].clone()));

        let unknown = new.into_iter().filter(|(clip, _)| !self.rows.contains_key(*clip));
        let unknown = unknown
            .filter_map(|(clip, tokens)| Some((inner_product(query, &self.place(tokens)?), clip.to_owned())));
        let mut found: Vec<(f32, String)> = known.chain(unknown).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        found.truncate(count);
        Ok(found.into_iter().map(|(_, clip)| clip).collect())
    }

    /// Where a clip with these tokens is, if any is known. A rare token says more.
    fn place(&self, tokens: &[String]) -> Option<Vec<f32>> {
        let known: Vec<&Token> = tokens.iter().filter_map(|name| self.tokens.get(name)).collect();
        let weight = |token: &Token| (token.clips as f32).sqrt().recip();
        let sum: f32 = known.iter().map(|token| weight(token)).sum();
        let mut place = vec![0.0; known.first()?.mean.len()];
        for token in known {
            for (place, value) in place.iter_mut().zip(&token.mean) {
                *place += weight(token) / sum * value;
            }
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use kinora_harness::interrupt::Interrupt;
    use kinora_harness::progress::Mode;

    use super::*;
    use crate::retrieval::hyperparameters::Hyperparameters;
    use crate::retrieval::model::RetrieverConfig;
    use crate::retrieval::train::{TrainOptions, train};

    fn tokens_of(clip: &str) -> Option<Vec<String>> {
        let number: usize = clip.strip_prefix('v')?.parse().ok()?;
        Some(vec![format!("topic={}", number % 2), "surface=feed".to_owned()])
    }

    /// People who watch clips of one of two topics only.
    fn seeker() -> Seeker {
        let root = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for person in 0..60_usize {
            for step in 0..10 {
                let clip = 2 * ((person * 7 + step * (1 + person % 3)) % 12) + person % 2;
                writeln!(text, "p{person} v{clip}").unwrap();
            }
        }
        fs::write(root.path().join("log.txt"), text).unwrap();
        let options = TrainOptions {
            sequences: root.path().join("log.txt"),
            out: root.path().join("model"),
            runs: root.path().join("runs"),
            hyperparameters: Hyperparameters {
                model: RetrieverConfig { width: 16, blocks: 1, heads: 2, hidden: 32, length: 8 },
                epochs: 12,
                positions: 100,
                learning_rate: 0.01,
                ..Hyperparameters::default()
            },
            seed: 3,
            device: DeviceChoice::Cpu,
            time_limit: None,
            resume: false,
            interrupt: Interrupt::new(),
            progress: Mode::Silent,
        };
        train(&options).unwrap();
        Seeker::load(&options.out, tokens_of).unwrap()
    }

    #[test]
    fn what_a_person_may_want_is_found_and_what_is_new_enters_by_its_content() {
        let seeker = seeker();
        let topics = [0, 1].map(|topic| vec![format!("topic={topic}"), "surface=feed".to_owned()]);
        for topic in 0..2_usize {
            let history: Vec<String> = (0..4).map(|number| format!("v{}", 2 * number + topic)).collect();
            let had = || history.iter().map(String::as_str);
            let new = ["new-of-0", "new-of-1"].into_iter().zip(topics.iter().map(Vec::as_slice));
            let found = seeker.seek(had(), new, 26).unwrap();
            assert!(found.iter().all(|clip| !history.contains(clip)), "{found:?}");
            let place = |name: &str| found.iter().position(|clip| clip == name).unwrap();
            let [own, other] = [topic, 1 - topic].map(|topic| place(&format!("new-of-{topic}")));
            assert!(own < other, "{found:?}");
            let is_own = |clip: &&String| tokens_of(clip).is_some_and(|tokens| tokens[0] == topics[topic][0]);
            assert!(found.iter().take(6).filter(is_own).count() >= 5, "{found:?}");
            assert_eq!(seeker.seek(had(), [], 5).unwrap().len(), 5);
        }
        assert!(seeker.seek(["never seen"], [], 5).unwrap().is_empty());

        // What is like one clip: of its topic, whether the model knows it or its tokens alone.
        let of_one = topics[1].as_slice();
        for liked in ["v3", "unknown"] {
            let new = [("new-of-0", topics[0].as_slice()), ("new-of-1", of_one), ("unknown", of_one)];
            let found = seeker.alike((liked, of_one), ["v1"], new, 6).unwrap();
            assert_eq!(found.len(), 6);
            assert!(
                !found.iter().any(|clip| clip == liked || clip == "v1" || clip == "new-of-0"),
                "{found:?}"
            );
            let of_one = |clip: &&String| tokens_of(clip).is_none_or(|tokens| tokens[0] == "topic=1");
            assert!(found.iter().filter(of_one).count() >= 5, "{found:?}");
        }
        assert!(seeker.alike(("untold", &[]), [], [], 5).unwrap().is_empty());
        let untold = [("untold", &["word=unheard".to_owned()][..])];
        assert!(!seeker.seek(["v0"], untold, 100).unwrap().contains(&"untold".to_owned()));
    }
}
