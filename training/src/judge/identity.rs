//! Who is it: the tones of crops and portraits enter, embeddings leave, near for one look and far for two.
//!
//! The network knows tones as they are lit, and those around, which tell the light; it learns from pairs of
//! pictures of one person among pairs of others. INVARIANT: embeddings have length one, so that their
//! product is a cosine.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Tensor};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Share;
use super::tones::TONES;

/// Numbers of an embedding.
pub(super) const EMBEDDING: usize = 64;
const HIDDEN: usize = 80;
/// How sharply pairs are told apart in training.
const SHARPNESS: f64 = 16.0;

#[derive(Module, Debug)]
pub(super) struct Memory {
    first: Linear,
    second: Linear,
    head: Linear,
}

impl Memory {
    pub(super) fn new(device: &Device) -> Self {
        let layer = |from, to| LinearConfig::new(from, to).init(device);
        Self { first: layer(TONES, HIDDEN), second: layer(HIDDEN, HIDDEN), head: layer(HIDDEN, EMBEDDING) }
    }

    /// # Shapes
    /// - tones: `[crops, TONES]`; output: `[crops, EMBEDDING]`.
    pub(super) fn forward(&self, tones: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.first.forward(tones));
        self.head.forward(relu(self.second.forward(hidden)))
    }
}

/// Rows of length one.
pub(super) fn unit(rows: Tensor<2>) -> Tensor<2> {
    let lengths = rows.clone().square().sum_dim(1).add_scalar(1e-8).sqrt();
    rows.div(lengths)
}

/// How badly each row of one tensor is told to belong to the same row of the other, and the other way round.
///
/// # Shapes
/// - one, other: `[pairs, features]`; output: `[1]`.
pub(super) fn pair_loss(one: Tensor<2>, other: Tensor<2>) -> Tensor<1> {
    let (one, other) = (unit(one), unit(other));
    let [pairs, _] = one.dims();
    let same = Tensor::<2>::eye(pairs, &one.device());
    let alike = one.matmul(other.transpose()).mul_scalar(SHARPNESS);
    let forth = log_softmax(alike.clone(), 1);
    let back = log_softmax(alike, 0);
    forth.add(back).mul(same).sum().mul_scalar(-0.5 / pairs as f64)
}

/// The rows of a tensor.
pub(super) fn rows(tensor: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, width] = tensor.dims();
    // The devices hold f32 here by construction.
    let values: Vec<f32> = tensor.try_into_vec_as::<f32>().unwrap_or_default();
    values.chunks_exact(width.max(1)).map(<[f32]>::to_vec).collect()
}

/// How one clip was matched with its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Index of the clip among those that were given.
    pub clip: usize,
    /// Cosine to its own reference.
    pub right: f32,
    /// Cosine to one other reference, chosen at random.
    pub wrong: f32,
    /// References of the gallery that it is more like than its own: 0 is right.
    pub before: usize,
}

/// How well clips are recognised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recognised {
    /// Clips that should show or sound like a reference.
    pub clips: usize,
    /// Clips in which nobody was seen, or nobody heard. They count as not recognised.
    pub absent: usize,
    /// References that a clip is compared with.
    pub gallery: usize,
    /// Clips that are most like their own reference.
    pub top1: Share,
    /// Clips that are more like their own reference than like one other.
    pub swap: Share,
    /// Mean cosine to the own reference, of the clips in which anybody is.
    pub right_cosine: f32,
    /// Mean cosine to one other reference.
    pub wrong_cosine: f32,
    /// One for each clip in which anybody is.
    pub matches: Vec<Match>,
}

/// One clip's embeddings and the reference that they should be like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) clip: usize,
    /// Of each figure in each frame, or of the one voice.
    pub(super) seen: Vec<Vec<f32>>,
    pub(super) reference: Vec<f32>,
}

/// Compares clips with their references, with each other's, and with strangers' until there are `gallery`.
pub(super) fn recognise(
    candidates: &[Candidate],
    strangers: &[Vec<f32>],
    gallery: usize,
    rng: &mut ChaCha8Rng,
) -> Recognised {
    let mut result = Recognised { clips: candidates.len(), gallery, ..Recognised::default() };
    for candidate in candidates {
        let mut others: Vec<&Vec<f32>> = Vec::new();
        for reference in candidates.iter().map(|other| &other.reference).chain(strangers) {
            // Two clips of one person share a reference.
            if *reference != candidate.reference && !others.contains(&reference) && others.len() + 1 < gallery
            {
                others.push(reference);
            }
        }
        let chosen = others.choose(rng);
        let Some(right) = alike(&candidate.seen, &candidate.reference) else {
            result.absent += 1;
            continue;
        };
        let cosine = |other: &[f32]| alike(&candidate.seen, other).unwrap_or(-1.0);
        let wrong = chosen.map_or(-1.0, |other| cosine(other));
        let before = others.iter().filter(|other| cosine(other) > right).count();
        result.matches.push(Match { clip: candidate.clip, right, wrong, before });
    }
    let share = |hit: fn(&Match) -> bool| Share {
        hits: result.matches.iter().filter(|found| hit(found)).count(),
        of: result.clips,
    };
    let (top1, swap) = (share(|found| found.before == 0), share(|found| found.right > found.wrong));
    (result.top1, result.swap) = (top1, swap);
    let mean = |value: fn(&Match) -> f32| {
        result.matches.iter().map(value).sum::<f32>() / result.matches.len().max(1) as f32
    };
    result.right_cosine = mean(|found| found.right);
    result.wrong_cosine = mean(|found| found.wrong);
    result
}

/// Mean cosine of the third of the embeddings that are most like a reference: a clip also shows others.
fn alike(seen: &[Vec<f32>], reference: &[f32]) -> Option<f32> {
    let cosines = seen.iter().map(|one| one.iter().zip(reference).map(|(a, b)| a * b).sum::<f32>());
    best_third(cosines.collect())
}

/// Mean of the highest third of values; `None` without any.
pub(super) fn best_third(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate(values.len().div_ceil(3));
    (!values.is_empty()).then(|| values.iter().sum::<f32>() / values.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::super::tones;
    use super::*;
    use kinora_harness::seed::seeded;
    use rand::{Rng, SeedableRng};

    #[test]
    fn the_same_crop_has_the_same_embedding_alone_and_in_a_batch() {
        let device = Device::flex();
        let memory = seeded(&device, 1, || Memory::new(&device));
        let counts = |shift: usize| -> Vec<f32> {
            (0..TONES).map(|at| ((at + shift) * 31 % 7) as f32 / 7.0).collect()
        };
        let (one, other) = (counts(0), counts(3));
        let embed =
            |counts: &[&[f32]]| rows(unit(memory.forward(tones::batch(counts.iter().copied(), &device))));
        let alone = embed(&[&one]);
        let both = embed(&[&one, &other, &one]);
        assert_eq!(both[0], both[2]);
        for (a, b) in alone[0].iter().zip(&both[0]) {
            assert!((a - b).abs() < 1e-5);
        }
        assert!(both[0].iter().zip(&both[1]).any(|(a, b)| (a - b).abs() > 1e-4));
        let length: f32 = alone[0].iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-4);
    }

    #[test]
    fn pairs_that_match_cost_less() {
        let device = Device::flex();
        let rows = |values: [[f32; 2]; 2]| Tensor::<2>::from_data(values, &device);
        let one = rows([[1.0, 0.0], [0.0, 1.0]]);
        let right: f32 = pair_loss(one.clone(), rows([[3.0, 0.0], [0.0, 2.0]])).into_scalar();
        let wrong: f32 = pair_loss(one, rows([[0.0, 1.0], [1.0, 0.0]])).into_scalar();
        assert!(right < 1e-3 && wrong > 10.0, "{right} {wrong}");
    }

    #[test]
    fn who_looks_like_the_reference_is_recognised_and_who_does_not_is_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut embedding = || -> Vec<f32> {
            let values: Vec<f32> = (0..EMBEDDING).map(|_| rng.random_range(-1.0..1.0)).collect();
            let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
            values.into_iter().map(|value| value / length).collect()
        };
        let strangers: Vec<Vec<f32>> = (0..100).map(|_| embedding()).collect();
        let mut candidates: Vec<Candidate> = (0..20)
            .map(|clip| {
                let reference = embedding();
                Candidate { clip, seen: vec![embedding(), reference.clone(), embedding()], reference }
            })
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let found = recognise(&candidates, &strangers, 100, &mut rng);
        assert_eq!((found.top1.hits, found.swap.hits, found.top1.of), (20, 20, 20), "{found:?}");
        assert!(found.right_cosine > 0.99 && found.wrong_cosine < 0.5);

        for candidate in &mut candidates {
            candidate.seen.remove(1);
        }
        candidates[3].seen.clear();
        let lost = recognise(&candidates, &strangers, 100, &mut rng);
        assert!(lost.top1.hits < 6 && lost.swap.hits < 18 && lost.absent == 1, "{lost:?}");
    }
}
