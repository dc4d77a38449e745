//! The `PhyWorld` benchmark of Kang et al. (arXiv 2411.02385): does a video model know the law, or only the
//! cases it saw?
//!
//! A [`Protocol`] and a predictor go in; a [`Report`] of velocity errors comes out, one row a task and a
//! domain, with the authors' figures beside it. A predictor gets three frames and draws the other 29.
//! INVARIANT: the episodes are fixed by the protocol alone, the predictor sees pixels and the task's name
//! only, and the figures are read from its pixels only.

mod baseline;
mod draw;
mod measure;
mod published;
mod task;

use kinora_harness::seed::derive;
use serde::Serialize;
use thiserror::Error;

pub use baseline::{constant_velocity, copy_last};
pub(crate) use draw::COLOURS;
pub use draw::draw;
pub(crate) use measure::find;
pub use measure::{Judged, MISSING_ERROR, VelocityError, judge};
pub use published::{PUBLISHED, Published, PublishedModel};
pub use task::{
    Ball, CONDITIONED, DT_S, Domain, Episode, FRAMES, GRAVITY, Point, RELEASED_GRAVITY, Task, WORLD,
};

#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PhyWorldError {
    #[error("{task} {domain} episode {index}: {got} bytes came back, not {expected}: {frames} RGB8 frames")]
    Length { task: Task, domain: Domain, index: usize, got: usize, expected: usize, frames: usize },
    #[error("the protocol has no episodes or no pixels: set `episodes` and `side` to at least one")]
    Empty,
}

/// Which episodes are shown, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Protocol {
    /// Episodes of each task in each domain.
    pub episodes: usize,
    pub seed: u64,
    /// Width and height of the frames.
    pub side: usize,
    pub gravity: f64,
}

impl Default for Protocol {
    fn default() -> Self {
        Self { episodes: 100, seed: 2024, side: 128, gravity: GRAVITY }
    }
}

/// What a predictor is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditioning {
    pub task: Task,
    /// Width and height of the frames.
    pub side: usize,
    /// The first [`CONDITIONED`] frames, RGB8.
    pub frames: Vec<u8>,
}

/// The velocity error of one task in one domain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    pub task: Task,
    pub domain: Domain,
    pub error: VelocityError,
}

/// One predictor's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub protocol: Protocol,
    pub rows: Vec<Row>,
    pub published: [Published; 3],
}

impl Conditioning {
    pub fn of(episode: &Episode, side: usize) -> Self {
        let mut frames = draw(episode, side);
        frames.truncate(CONDITIONED * side * side * 3);
        Self { task: episode.task, side, frames }
    }

    /// The conditioned frame `index`; nothing beyond the last.
    pub fn frame(&self, index: usize) -> &[u8] {
        self.frames.chunks_exact((self.side * self.side * 3).max(1)).nth(index).unwrap_or_default()
    }
}

impl Protocol {
    /// The episodes of one task in one domain.
    pub fn split(&self, task: Task, domain: Domain) -> impl Iterator<Item = Episode> {
        let (first, gravity) = (derive(self.seed, "phyworld"), self.gravity);
        (0..self.episodes)
            .map(move |index| task.sample_under(gravity, domain, first.wrapping_add(index as u64)))
    }

    fn frame_len(&self) -> usize {
        self.side * self.side * 3
    }
}

impl Report {
    pub fn row(&self, task: Task, domain: Domain) -> Option<&Row> {
        self.rows.iter().find(|row| row.task == task && row.domain == domain)
    }
}

/// Judges a predictor: `predict` is shown the conditioned frames and returns all `FRAMES - CONDITIONED` that
/// follow.
pub fn evaluate(
    protocol: &Protocol,
    mut predict: impl FnMut(&Conditioning) -> Vec<u8>,
) -> Result<Report, PhyWorldError> {
    evaluate_in_batches(protocol, 1, |seen| Ok(seen.iter().map(&mut predict).collect()))
}

/// The same for a predictor that is shown up to `size` videos at once, and may fail.
pub fn evaluate_in_batches<E: From<PhyWorldError>>(
    protocol: &Protocol,
    size: usize,
    mut predict: impl FnMut(&[Conditioning]) -> Result<Vec<Vec<u8>>, E>,
) -> Result<Report, E> {
    report(protocol, size, FRAMES - CONDITIONED, |episodes| {
        predict(&episodes.iter().map(|episode| Conditioning::of(episode, protocol.side)).collect::<Vec<_>>())
    })
}

/// Judges what is left of the truth after `codec`, which is given all frames of a true video and returns as
/// many: with the identity this is what measuring itself costs, with an autoencoder what its codes cost.
pub fn evaluate_codec(
    protocol: &Protocol,
    mut codec: impl FnMut(Vec<u8>) -> Vec<u8>,
) -> Result<Report, PhyWorldError> {
    evaluate_retold(protocol, |episode| codec(draw(episode, protocol.side)))
}

/// The same for a codec whose codes are not made of pixels: `show` is given the episode itself.
pub(crate) fn evaluate_retold(
    protocol: &Protocol,
    mut show: impl FnMut(&Episode) -> Vec<u8>,
) -> Result<Report, PhyWorldError> {
    report(protocol, 1, FRAMES, |episodes| Ok(episodes.iter().map(&mut show).collect()))
}

/// `show` returns the last `frames` frames of each of at most `size` episodes.
fn report<E: From<PhyWorldError>>(
    protocol: &Protocol,
    size: usize,
    frames: usize,
    mut show: impl FnMut(&[Episode]) -> Result<Vec<Vec<u8>>, E>,
) -> Result<Report, E> {
    let (expected, frame_len) = (frames * protocol.frame_len(), protocol.frame_len());
    let skipped = (frames + CONDITIONED - FRAMES) * frame_len;
    let mut rows = Vec::new();
    for (task, domain) in Task::ALL.into_iter().flat_map(|task| Domain::ALL.map(|domain| (task, domain))) {
        let episodes: Vec<Episode> = protocol.split(task, domain).collect();
        let mut judged = Vec::with_capacity(episodes.len());
        for batch in episodes.chunks(size.max(1)) {
            let mut shown = show(batch)?.into_iter();
            for episode in batch {
                let (index, shown) = (judged.len(), shown.next().unwrap_or_default());
                if shown.len() != expected {
                    let got = shown.len();
                    return Err(PhyWorldError::Length { task, domain, index, got, expected, frames }.into());
                }
                judged.push(judge(episode, &shown[skipped..], protocol.side));
            }
        }
        let error = VelocityError::of(&judged, protocol.seed).ok_or(PhyWorldError::Empty)?;
        rows.push(Row { task, domain, error });
    }
    Ok(Report { protocol: *protocol, rows, published: PUBLISHED })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few(gravity: f64) -> Protocol {
        Protocol { episodes: 4, gravity, ..Protocol::default() }
    }

    fn mean(report: &Report, task: Task, domain: Domain) -> f64 {
        report.row(task, domain).unwrap().error.mean
    }

    #[test]
    fn measuring_the_truth_costs_less_than_the_authors_measurement() {
        for gravity in [GRAVITY, RELEASED_GRAVITY] {
            let floor = evaluate_codec(&few(gravity), |frames| frames).unwrap();
            for published in &floor.published {
                for domain in Domain::ALL {
                    let row = floor.row(published.task, domain).unwrap();
                    let theirs = match domain {
                        Domain::InDistribution => published.parsed_truth,
                        _ => published.parsed_truth_out.unwrap_or(published.parsed_truth),
                    };
                    assert!(row.error.high <= theirs, "{row:?} against {theirs}");
                    assert_eq!(row.error.missing, 0);
                }
            }
        }
    }

    #[test]
    fn inertia_explains_uniform_motion_and_neither_contact_nor_gravity() {
        let protocol = few(GRAVITY);
        let inertia = evaluate(&protocol, constant_velocity).unwrap();
        let still = evaluate(&protocol, copy_last).unwrap();
        for domain in Domain::ALL {
            assert!(mean(&inertia, Task::UniformMotion, domain) < 0.0099);
            assert!(mean(&inertia, Task::Parabola, domain) > 1.0);
        }
        let domain = Domain::InDistribution;
        assert!(mean(&inertia, Task::Collision, domain) > 1.0);
        assert!(mean(&still, Task::UniformMotion, domain) > 1.0, "a ball at rest is off by its speed");
        assert!(mean(&inertia, Task::Parabola, domain) < mean(&still, Task::Parabola, domain));
    }

    #[test]
    fn a_blank_video_scores_worst() {
        let protocol = Protocol { episodes: 2, ..few(GRAVITY) };
        let blank = evaluate(&protocol, |seen| vec![255; (FRAMES - CONDITIONED) * seen.side.pow(2) * 3]);
        let still = evaluate(&protocol, copy_last).unwrap();
        for (blank, still) in blank.unwrap().rows.iter().zip(&still.rows) {
            assert_eq!(blank.error.missing, blank.error.velocities);
            assert!((blank.error.mean - MISSING_ERROR).abs() < 1e-9);
            assert!(still.error.mean < blank.error.mean);
        }
    }

    #[test]
    fn the_protocol_alone_decides_the_report() {
        let protocol = Protocol { episodes: 2, ..few(GRAVITY) };
        let first = evaluate(&protocol, constant_velocity).unwrap();
        assert_eq!(first, evaluate(&protocol, constant_velocity).unwrap());
        let other = evaluate(&Protocol { seed: 1, ..protocol }, constant_velocity).unwrap();
        assert_ne!(first.rows, other.rows);
    }

    #[test]
    fn a_predictor_is_shown_three_frames_and_owes_the_rest() {
        let protocol = Protocol { episodes: 1, ..few(GRAVITY) };
        let mut shown = Vec::new();
        let short = evaluate(&protocol, |seen| {
            shown.push((seen.task, seen.frames.len()));
            Vec::new()
        });
        assert_eq!(shown, [(Task::UniformMotion, CONDITIONED * 128 * 128 * 3)]);
        assert!(matches!(short, Err(PhyWorldError::Length { got: 0, index: 0, frames: 29, .. })));
        let empty = Protocol { episodes: 0, ..protocol };
        assert_eq!(evaluate(&empty, copy_last), Err(PhyWorldError::Empty));
    }

    #[test]
    fn the_published_tasks_are_ours() {
        assert_eq!(PUBLISHED.map(|published| published.task), Task::ALL);
    }
}
