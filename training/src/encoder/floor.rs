//! What the encoder is worth: held-out scenes are drawn, heard and read; how far what was read lies from what
//! happened leaves.
//!
//! A generated clip that is judged by its pixels cannot be better than these floors. Scenes are held out by
//! their seeds: [`floor_seed`] for the floors, random 64-bit numbers for the training.
//! INVARIANT: the same model and seed give the same floors.

use std::f32::consts::{PI, TAU};

use kinora_harness::seed::derive;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Encoder, Reading};
use crate::clip::Clip;
use crate::onset::{Onset, pairs};
use crate::performance::{Figure, Performance};
use crate::train::latents::Encoders;
use crate::world::draw::render;
use crate::world::sound::sound;
use crate::world::{Body, FPS, Family, Look, Pattern, SAMPLE_RATE, Scene, Track};

/// Side of the pictures that are read.
const SIDE: usize = 128;
/// Impacts this near in time are the same.
const SAME_S: f64 = 0.1;
/// An onset within one frame is in time.
const IN_TIME_S: f64 = 1.0 / FPS as f64;

/// Floors of some scenes. Figures are over the scenes whose actors were recognised; `None` where nothing of
/// the kind is in them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    pub scenes: usize,
    /// Scenes whose actors are as many, and of the kinds, that there are.
    pub recognised: usize,
    /// Scenes whose shot, room and fixture are right.
    pub rooms: usize,
    /// Peak signal-to-noise ratio of the pictures drawn again, of all scenes: mean over frames, mean over scenes.
    pub psnr_db: f64,
    /// The same for the worst tenth of the scenes: the best of them.
    pub worst_psnr_db: f64,
    /// Distance of a body's centre from where it is, in pixels of a picture of 128: half and 95% are nearer.
    pub centroid_px: Option<[f64; 2]>,
    /// Angle of blocks and of balls with a pattern, in radians, of the same shares.
    pub angle_rad: Option<[f64; 2]>,
    /// Angle of a person's joints.
    pub joint_rad: Option<[f64; 2]>,
    /// How far a mouth is open, of 1, while its owner speaks.
    pub mouth: Option<[f64; 2]>,
    /// Time of an impact, in milliseconds.
    pub onset_ms: Option<[f64; 2]>,
    /// Harmonic mean of the shares of impacts that are heard in time and of heard impacts that happened.
    pub onset_f1: Option<f64>,
    /// Loudness of an impact, in decibels.
    pub loudness_db: Option<[f64; 2]>,
    /// Amplitude of a voice, of 1, in instants in which somebody speaks.
    pub voiced: Option<[f64; 2]>,
    /// Pitch of a voice in semitones, where it is clearly voiced.
    pub pitch_semitones: Option<[f64; 2]>,
}

/// Floors of each family, and of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    pub families: Vec<(Family, Floor)>,
    pub all: Floor,
}

/// The seed of a held-out scene.
pub(crate) fn floor_seed(seed: u64, index: u64) -> u64 {
    derive(seed, "floor").wrapping_add(index)
}

/// A scene as a clip.
pub(crate) fn film(scene: &Scene, side: usize) -> Clip {
    Clip {
        width: side,
        height: side,
        fps: FPS,
        frames: render(scene, side, side),
        sample_rate: SAMPLE_RATE,
        samples: sound(scene),
    }
}

impl Encoder<'_> {
    /// Reads `scenes` held-out scenes of each family.
    pub(crate) fn floors(&self, scenes: u64, seed: u64) -> Floors {
        let measured: Vec<(Family, Vec<Sums>)> = Family::ALL
            .into_iter()
            .map(|family| {
                let sums = (0..scenes).into_par_iter().map(|index| {
                    let scene = family.sample(floor_seed(seed, index));
                    let encoders =
                        Encoders { config: &self.card.model, sound: &self.model.sound, device: self.device };
                    let truth = encoders.perform(&[&scene]).pop();
                    match (truth, self.read(&film(&scene, SIDE))) {
                        (Some(truth), Ok(reading)) => Sums::of(&truth, &reading),
                        _ => Sums::default(),
                    }
                });
                (family, sums.collect())
            })
            .collect();
        let all: Vec<Sums> = measured.iter().flat_map(|(_, sums)| sums.iter().cloned()).collect();
        let families = measured.into_iter().map(|(family, sums)| (family, floor(&sums))).collect();
        Floors { families, all: floor(&all) }
    }
}

/// What one scene adds to the floors.
#[derive(Clone, Debug, Default)]
struct Sums {
    recognised: bool,
    room: bool,
    psnr_db: f64,
    centroid_px: Vec<f64>,
    angle_rad: Vec<f64>,
    joint_rad: Vec<f64>,
    mouth: Vec<f64>,
    onset_ms: Vec<f64>,
    loudness_db: Vec<f64>,
    voiced: Vec<f64>,
    pitch_semitones: Vec<f64>,
    /// Impacts that happened, that were heard, and that were heard in time.
    impacts: [usize; 3],
}

impl Sums {
    fn of(truth: &Performance, reading: &Reading) -> Self {
        let count = reading.likeness_db.len().max(1);
        let read = paired(&reading.performance, truth);
        let mut sums = Self {
            recognised: is_same_cast(&read, truth),
            room: is_same_room(&read, truth),
            psnr_db: f64::from(reading.likeness_db.iter().sum::<f32>()) / count as f64,
            ..Self::default()
        };
        if sums.recognised {
            for (found, figure) in read.actors.iter().flatten().zip(truth.actors.iter().flatten()) {
                sums.add_track(found, figure, SIDE as f32 / truth.shot.view_m());
            }
        }
        sums.add_impacts(&read, truth);
        sums.add_voice(&read, truth);
        sums
    }

    fn add_track(&mut self, found: &Figure, truth: &Figure, scale: f32) {
        match (&found.track, &truth.track) {
            (Track::Bodies(track), Track::Bodies(true_track)) => {
                let period_rad = period_rad(truth);
                for (pose, expected) in track.iter().flatten().zip(true_track.iter().flatten()) {
                    let away_m = (pose.x_m - expected.x_m).hypot(pose.y_m - expected.y_m);
                    self.centroid_px.push(f64::from(away_m * scale));
                    if let Some(period_rad) = period_rad {
                        let turn = turned((pose.angle_rad - expected.angle_rad) * TAU / period_rad);
                        self.angle_rad.push(turn * f64::from(period_rad / TAU));
                    }
                }
            }
            (Track::Doll(track), Track::Doll(true_track)) => {
                for (pose, expected) in track.iter().zip(true_track) {
                    let away_m = (pose.x_m - expected.x_m).hypot(pose.y_m - expected.y_m);
                    self.centroid_px.push(f64::from(away_m * scale));
                    let joints = pose.arms_rad.iter().chain(&pose.legs_rad);
                    let others = expected.arms_rad.iter().chain(&expected.legs_rad);
                    self.joint_rad.extend(joints.zip(others).map(|(a, b)| turned(a - b)));
                    if expected.mouth > 0.0 {
                        self.mouth.push(f64::from((pose.mouth - expected.mouth).abs()));
                    }
                }
            }
            _ => {}
        }
    }

    fn add_impacts(&mut self, read: &Performance, truth: &Performance) {
        let expected = truth.distinct_impacts();
        let heard: Vec<Onset> = read
            .impacts
            .iter()
            .map(|impact| Onset { time_s: f64::from(impact.time_s), peak_db: f64::from(impact.loudness) })
            .collect();
        let times_s: Vec<f64> = expected.iter().map(|impact| f64::from(impact.time_s)).collect();
        let matched = pairs(&heard, &times_s, SAME_S);
        let in_time = matched.iter().filter(|pair| pair.offset_s.abs() <= IN_TIME_S).count();
        self.impacts = [expected.len(), heard.len(), in_time];
        for pair in matched {
            self.onset_ms.push(1000.0 * pair.offset_s.abs());
            let (found, truth) = (heard.get(pair.onset), expected.get(pair.contact));
            if let (Some(found), Some(truth)) = (found, truth) {
                // Loudness is a natural logarithm of an amplitude.
                let decibels = 20.0 * (found.peak_db - f64::from(truth.loudness)) / std::f64::consts::LN_10;
                self.loudness_db.push(decibels.abs());
            }
        }
    }

    fn add_voice(&mut self, read: &Performance, truth: &Performance) {
        let Some(expected) = &truth.utterance else { return };
        for (instant, frame) in expected.frames.iter().enumerate() {
            if frame.voiced + frame.noise <= 0.01 {
                continue;
            }
            let found = read.utterance.as_ref();
            let heard =
                found.and_then(|utterance| utterance.frames.get(instant)).copied().unwrap_or_default();
            self.voiced.push(f64::from((heard.voiced - frame.voiced).abs()));
            if let (Some(found), true) = (found, frame.voiced > 0.3 && heard.voiced > 0.1) {
                let ratio =
                    heard.pitch.max(0.05) * found.voice.pitch_hz / (frame.pitch * expected.voice.pitch_hz);
                self.pitch_semitones.push(f64::from(12.0 * ratio.max(1e-3).log2()).abs());
            }
        }
    }
}

/// Two actors of a kind may be read in either order: the one that lies nearer.
fn paired(read: &Performance, truth: &Performance) -> Performance {
    let place = |performance: &Performance, slot: usize| match &performance.actors.get(slot)?.as_ref()?.track
    {
        Track::Bodies(track) => track.first()?.first().map(|pose| pose.x_m),
        Track::Doll(track) => track.first().map(|pose| pose.x_m),
    };
    let alike = |performance: &Performance| {
        let kind = |slot: usize| Some(std::mem::discriminant(&performance.actors.get(slot)?.as_ref()?.body));
        kind(0).is_some() && kind(0) == kind(1)
    };
    let mut read = read.clone();
    if alike(&read)
        && alike(truth)
        && let [Some(a), Some(b)] = [0, 1].map(|slot| place(&read, slot))
        && let [Some(c), Some(d)] = [0, 1].map(|slot| place(truth, slot))
        && (a < b) != (c < d)
    {
        read.actors.swap(0, 1);
    }
    read
}

fn is_same_cast(read: &Performance, truth: &Performance) -> bool {
    let count = |body: Body| if let Body::Blocks { count, .. } = body { count } else { 1 };
    read.actors.iter().zip(&truth.actors).all(|pair| match pair {
        (None, None) => true,
        (Some(found), Some(truth)) => {
            std::mem::discriminant(&found.body) == std::mem::discriminant(&truth.body)
                && count(found.body) == count(truth.body)
        }
        _ => false,
    })
}

fn is_same_room(read: &Performance, truth: &Performance) -> bool {
    let (one, other) = (read.stage, truth.stage);
    read.shot == truth.shot
        && (one.backdrop, one.wall, one.floor) == (other.backdrop, other.wall, other.floor)
        && one.fixture.map(|fixture| std::mem::discriminant(&fixture))
            == other.fixture.map(|fixture| std::mem::discriminant(&fixture))
}

/// After which turn a body looks the same, or has but exchanged its two colours; `None` where its turning
/// cannot be seen, or follows from its place.
fn period_rad(figure: &Figure) -> Option<f32> {
    let pattern = match figure.look {
        Look::Skin(skin) => skin.accent.map(|(pattern, _)| pattern),
        Look::Person(_) => None,
    };
    match (figure.body, pattern) {
        (Body::Pendulum { .. } | Body::Person { .. }, _) | (Body::Ball { .. }, None) => None,
        (Body::Ball { .. }, Some(Pattern::Quarters)) => Some(PI / 2.0),
        (Body::Ball { .. }, Some(Pattern::Spot)) => Some(TAU),
        (Body::Blocks { .. }, _) | (_, Some(Pattern::Stripe | Pattern::Halves)) => Some(PI),
    }
}

/// The least turn that leads from one angle to another.
fn turned(difference_rad: f32) -> f64 {
    let turn = f64::from(difference_rad).rem_euclid(std::f64::consts::TAU);
    turn.min(std::f64::consts::TAU - turn)
}

fn floor(sums: &[Sums]) -> Floor {
    let shares = |values: fn(&Sums) -> &Vec<f64>| {
        let mut all: Vec<f64> = sums.iter().flat_map(|sums| values(sums).iter().copied()).collect();
        all.sort_by(f64::total_cmp);
        let last = all.len().checked_sub(1)?;
        Some([0.5, 0.95].map(|share| all[(share * last as f64).round() as usize]))
    };
    let mut psnr_db: Vec<f64> = sums.iter().map(|sums| sums.psnr_db).collect();
    psnr_db.sort_by(f64::total_cmp);
    let [happened, heard, in_time] =
        [0, 1, 2].map(|place: usize| sums.iter().map(|sums| sums.impacts[place]).sum::<usize>());
    Floor {
        scenes: sums.len(),
        recognised: sums.iter().filter(|sums| sums.recognised).count(),
        rooms: sums.iter().filter(|sums| sums.room).count(),
        psnr_db: psnr_db.iter().sum::<f64>() / psnr_db.len().max(1) as f64,
        worst_psnr_db: psnr_db.get(psnr_db.len() / 10).copied().unwrap_or(0.0),
        centroid_px: shares(|sums| &sums.centroid_px),
        angle_rad: shares(|sums| &sums.angle_rad),
        joint_rad: shares(|sums| &sums.joint_rad),
        mouth: shares(|sums| &sums.mouth),
        onset_ms: shares(|sums| &sums.onset_ms),
        onset_f1: (happened + heard > 0).then(|| 2.0 * in_time as f64 / (happened + heard) as f64),
        loudness_db: shares(|sums| &sums.loudness_db),
        voiced: shares(|sums| &sums.voiced),
        pitch_semitones: shares(|sums| &sums.pitch_semitones),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::performance;
    use super::*;

    #[test]
    fn what_is_read_as_it_happened_is_off_by_nothing() {
        for family in Family::ALL {
            let truth = performance(&family.sample(3));
            let reading = Reading { likeness_db: vec![50.0; truth.frames], performance: truth.clone() };
            let floor = floor(&[Sums::of(&truth, &reading)]);
            assert_eq!((floor.scenes, floor.recognised, floor.rooms), (1, 1, 1));
            assert!(floor.centroid_px.unwrap()[1] < 1e-6);
            assert!(floor.joint_rad.is_none_or(|joint| joint[1] < 1e-6));
            assert!((floor.psnr_db - 50.0).abs() < 1e-6);
            let json = serde_json::to_string(&floor).unwrap();
            assert_eq!(serde_json::from_str::<Floor>(&json).unwrap(), floor);
        }
    }

    #[test]
    fn who_is_not_recognised_is_counted() {
        let truth = performance(&Family::Collision.sample(4));
        let mut lonely = truth.clone();
        lonely.actors[1] = None;
        let sums = Sums::of(&truth, &Reading { performance: lonely, likeness_db: vec![20.0] });
        assert!(!sums.recognised && sums.room && sums.centroid_px.is_empty());
        // Two of a kind may change places.
        let mut swapped = truth.clone();
        swapped.actors.swap(0, 1);
        assert!(Sums::of(&truth, &Reading { performance: swapped, likeness_db: vec![20.0] }).recognised);
        assert_eq!(floor(&[]), Floor::default());
    }
}
