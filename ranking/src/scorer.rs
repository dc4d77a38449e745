//! A loaded ranker: what the feed asks about enters, calibrated predictions leave.
//!
//! A prediction depends on its input alone, never on what else is in the batch. Loading refuses
//! what cannot be used; scoring does not panic on any input.

use std::path::Path;

use burn::tensor::Device;
use kinora_harness::device::{self, DeviceChoice};
use kinora_schema::ranking::{RankingInput, TASKS, Task};

use crate::artifact::{self, ModelCard};
use crate::error::{RankingError, Result};
use crate::model::{HEADS, Lookup, PageModel, RankerModel, WATCH_HEAD};
use crate::rows::Rows;
use crate::train::{duration, read_floats};

/// Inputs of many people scored at once.
const BATCH: usize = 512;
/// Fewest rows of a person, on average, that are worth multiplying the person out for.
const ROWS_OF_A_PAGE: usize = 32;

/// What the ranker expects of one (person, clip, moment).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// In the order of [`Task::ALL`].
    pub probabilities: [f32; TASKS],
    pub watch_ms: f32,
}

impl Prediction {
    pub fn probability(&self, task: Task) -> f32 {
        self.probabilities[task.index()]
    }
}

/// A trained ranker, ready to score. It can be shared between threads; scoring blocks, so an
/// async caller scores on a blocking thread.
#[derive(Debug)]
pub struct Ranker {
    pub(crate) model: RankerModel,
    pub(crate) lookup: Lookup,
    pub(crate) card: ModelCard,
    pub(crate) device: Device,
}

impl Ranker {
    /// Loads the ranker in `directory` onto the CPU.
    pub fn load(directory: &Path) -> Result<Self> {
        let device = device::resolve(DeviceChoice::Cpu)?;
        let (model, card) = artifact::load(directory, &device)?;
        Ok(Self { lookup: Lookup::of(&model)?, model, card, device })
    }

    /// A name for the ranker that changes with its weights, for the feed's log.
    pub fn version(&self) -> &str {
        &self.card.trained.run_id
    }

    /// Predicts the outcomes of each input, in their order.
    pub fn score<'a>(&self, inputs: impl IntoIterator<Item = &'a RankingInput>) -> Result<Vec<Prediction>> {
        let mut rows = Rows::default();
        for input in inputs {
            rows.push(input, &mut &self.card.vocabularies);
        }
        let logits = self.logits(&rows)?;
        if logits.len() != rows.len() * HEADS {
            return Err(RankingError::Scores);
        }
        let of_rows = logits.chunks_exact(HEADS).zip(rows.dense());
        Ok(of_rows.map(|(logits, dense)| self.prediction(logits, duration(dense))).collect())
    }

    /// `HEADS` for each row. One person's page is scored as such; rows of many people, in batches.
    pub(crate) fn logits(&self, rows: &Rows) -> Result<Vec<f32>> {
        let pages = rows.pages();
        let (normaliser, device) = (&self.card.normaliser, &self.device);
        let mut logits = Vec::with_capacity(rows.len() * HEADS);
        if pages.len() * ROWS_OF_A_PAGE <= rows.len() {
            for page in pages {
                let at: Vec<usize> = page.collect();
                let (people, _) = rows.people(&at, None, device);
                let page = PageModel::of(&self.model, &self.lookup, &people, rows.moment(at[0]), device)?;
                logits.extend(page.answer(rows, &at, normaliser)?);
            }
        } else {
            let all: Vec<usize> = (0..rows.len()).collect();
            for at in all.chunks(BATCH) {
                let clips = self.lookup.look_up(rows, at, normaliser, device);
                let (people, viewers) = rows.people(at, None, device);
                logits.extend(read_floats(self.model.answer(clips, &people, viewers))?);
            }
        }
        Ok(logits)
    }

    fn prediction(&self, logits: &[f32], duration: f32) -> Prediction {
        let probabilities = std::array::from_fn(|task| self.card.calibration[task].probability(logits[task]));
        let quantile = 1.0 / (1.0 + (-logits[WATCH_HEAD]).exp());
        Prediction { probabilities, watch_ms: self.card.watch.watch_ms(duration, quantile) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use kinora_schema::ranking::Person;

    use super::*;
    use crate::fixture;

    #[test]
    fn a_ranker_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Ranker>();
    }

    #[test]
    fn one_input_scores_the_same_alone_and_among_others() {
        let (root, examples) = fixture::trained();
        let ranker = Ranker::load(&root.path().join("ranker")).unwrap();
        let inputs: Vec<RankingInput> = examples.into_iter().take(40).map(|example| example.input).collect();
        let together = ranker.score(&inputs).unwrap();
        for (input, together) in inputs.iter().zip(together) {
            let alone = ranker.score(std::slice::from_ref(input)).unwrap()[0];
            for (alone, together) in alone.probabilities.iter().zip(together.probabilities) {
                assert!((alone - together).abs() < 1e-5);
            }
            assert!((alone.watch_ms - together.watch_ms).abs() <= 1e-3 * together.watch_ms + 1.0);
        }
    }

    #[test]
    fn strange_inputs_are_scored_not_refused() {
        let (root, examples) = fixture::trained();
        let ranker = Ranker::load(&root.path().join("ranker")).unwrap();
        let mut input = examples.into_iter().next().unwrap().input;
        input.dense = [f32::NAN; kinora_schema::ranking::DENSE];
        input.person = Arc::new(Person {
            tokens: vec![String::new(); 200],
            history: input.person.history.iter().cycle().take(300).cloned().collect(),
        });
        input.video_id = "never seen".into();
        let prediction = ranker.score(&[input]).unwrap()[0];
        assert!(prediction.probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "{prediction:?}");
        assert!(prediction.watch_ms >= 0.0);
        assert!(ranker.score(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_missing_broken_or_foreign_ranker_is_one_line() {
        let (root, _) = fixture::trained();
        let directory = root.path().join("copy");
        let error = || {
            let error = Ranker::load(&directory).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
            error
        };
        assert!(error().contains("kinora train ranker"));

        fs::create_dir(&directory).unwrap();
        let copy =
            |name: &str| fs::copy(root.path().join("ranker").join(name), directory.join(name)).unwrap();
        copy("model.json");
        assert!(error().contains("weights.safetensors"));
        copy("weights.safetensors");
        Ranker::load(&directory).unwrap();
        // As a crash leaves it while another ranker takes its place.
        fs::rename(&directory, root.path().join(".old-copy")).unwrap();
        Ranker::load(&directory).unwrap();

        let json = fs::read_to_string(directory.join("model.json")).unwrap();
        for (from, to, expected) in [
            ("kinora-ranker", "other-model", "`other-model`"),
            ("\"format\":2", "\"format\":3", "format is 3"),
            ("\"experts\":2", "\"experts\":0", "`experts` is 0"),
            ("\"experts\":2", "\"experts\":3", "weights"),
            ("user_click_rate", "user_clicks", "features"),
        ] {
            assert!(json.contains(from), "{from}");
            fs::write(directory.join("model.json"), json.replace(from, to)).unwrap();
            assert!(error().contains(expected), "{}", error());
        }
        fs::write(directory.join("model.json"), &json[..json.len() / 2]).unwrap();
        error();

        fs::write(directory.join("model.json"), &json).unwrap();
        let weights = fs::read(directory.join("weights.safetensors")).unwrap();
        for length in [0, 7, weights.len() / 2, weights.len() - 1] {
            fs::write(directory.join("weights.safetensors"), &weights[..length]).unwrap();
            error();
        }
    }
}
