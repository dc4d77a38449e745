//! Whether a clip keeps to the laws: a clip and what is known of its scene go in; how far it strays, from
//! pixels and samples alone, comes out, and many of these make the [`Figures`].
//!
//! Gravity, restitution and contacts come from the arcs of [`flight`](super::flight); impacts from
//! [`onset`](super::onset). INVARIANT: figures are read together: a clip that hardly moves has no teleports,
//! and one that trembles has contacts anywhere, so each figure says how much it was measured on.

use std::f64::consts::PI;

use serde::Serialize;

use super::flight::{Contact, Motion, Setting, Touch, jump_m};
use super::interval::Interval;
use super::track::{Ball, Point, Track, Wanted, median};
use crate::clip::Clip;
use crate::onset::{onsets, pairs};
use crate::world::{Body, Colour, ContactKind, Event, Fixture, GRAVITY_M_S2, Look, Name, Rgb, Scene, Shot};

/// An onset this far from a contact belongs to another.
const MATCH_S: f64 = 0.1;
/// Contacts nearer than three frames are not told apart by pictures: a sound so near may be of another.
const UNSEEN_S: f64 = 3.0 / 24.0;
/// Nor does their sound tell contacts apart within this.
const UNHEARD_S: f64 = 0.05;
/// One frame: offsets within it look synchronous.
const SYNCHRONOUS_S: f64 = 1.0 / 24.0;
/// Standard deviation of the tracker itself, in metres.
const TRACKER_M: f64 = 0.004;
/// A bounce slower than this says little about restitution.
const BOUNCE_M_S: f64 = 1.0;

/// What is known of a clip before it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) shot: Shot,
    pub(super) wanted: Wanted,
    pub(super) setting: Setting,
    /// Speed that the balls keep in a bounce off the floor, where there is a truth.
    pub(super) restitution: Option<f64>,
    /// Whether all that sounds are impacts that can be seen.
    pub(super) sounds: bool,
    /// Whether nothing but gravity and contacts moves the balls.
    pub(super) free: bool,
}

/// What one clip says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judged {
    frames: usize,
    /// Frames at which a ball jumps, is not seen, is seen twice, or any of these.
    jumped: usize,
    vanished: usize,
    doubled: usize,
    broken: usize,
    /// Relative error of the gravity of each flight, and R^2.
    flights: Vec<[f64; 2]>,
    /// Of each bounce off the floor: error of the speed kept against the scene's, against the clip's median,
    /// and against the loss of height.
    restitution_error: Vec<f64>,
    restitution_spread: Vec<f64>,
    restitution_height: Vec<f64>,
    energy: Option<f64>,
    momentum: Vec<f64>,
    /// Onset minus contact.
    pub(super) offsets_s: Vec<f64>,
    /// Pairs within a frame, sounds, contacts.
    heard: [usize; 3],
    /// Impulse and peak of bounces off the floor.
    loudness: Vec<[f64; 2]>,
    /// Where each ball is in each frame, in metres.
    pub(super) paths_m: Vec<Vec<Option<Point>>>,
}

/// How clips of one kind move and sound, each with its 95% interval. Shares lie in [0, 1]; a figure that no
/// clip gave is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Clips that were judged.
    pub clips: usize,
    /// Share of the frames at which a ball jumps away from any contact, vanishes or is seen twice.
    pub teleport_frames: Option<Interval>,
    /// Share of the clips with such a frame.
    pub teleport_clips: Option<Interval>,
    /// Share of the frames in which a ball is not seen.
    pub vanished_frames: Option<Interval>,
    /// Share of the frames in which a ball is seen more than once.
    pub duplicated_frames: Option<Interval>,
    /// Flights of at least five frames.
    pub flights: usize,
    /// Median relative error of the gravity of a flight.
    pub gravity_error: Option<Interval>,
    /// Median share of a flight's height that a parabola explains.
    pub gravity_r_squared: Option<Interval>,
    /// Bounces off the floor.
    pub bounces: usize,
    /// Median error of the share of speed kept in a bounce, against the scene's own.
    pub restitution_error: Option<Interval>,
    /// Median deviation of the share kept from the same clip's median: one ball keeps one share.
    pub restitution_spread: Option<Interval>,
    /// Median deviation of the share of speed kept from the root of the share of height kept.
    pub restitution_against_height: Option<Interval>,
    /// Mean rise of energy from frame to frame, as a share of the first frame's.
    pub energy_violation: Option<Interval>,
    /// Collisions of two balls.
    pub collisions: usize,
    /// Median share of momentum that a collision makes or loses.
    pub momentum_error: Option<Interval>,
    /// Median distance between a contact and its sound.
    pub onset_offset_ms: Option<Interval>,
    /// Median of sound minus contact: positive where the sound is late.
    pub onset_bias_ms: Option<Interval>,
    /// Harmonic mean of precision and recall of sounds within one frame of a contact.
    pub onset_f1: Option<Interval>,
    /// Spearman's rank correlation of impulse and peak level, over bounces off the floor.
    pub loudness_correlation: Option<Interval>,
}

impl Known {
    /// What may be known of a scene's clip.
    pub(super) fn of(scene: &Scene) -> Self {
        let balls: Vec<_> =
            scene.actors.iter().filter(|actor| matches!(actor.body, Body::Ball { .. })).collect();
        let people = scene.actors.iter().any(|actor| matches!(actor.body, Body::Person { .. }));
        let colours: Vec<Rgb> = match balls.first().map(|ball| (ball.name, ball.look)) {
            Some((Name::Colours(first, second), _)) => {
                std::iter::once(first).chain(second).map(Colour::rgb).collect()
            }
            Some((Name::Cameo, Look::Skin(skin))) => {
                std::iter::once(skin.base).chain(skin.accent.map(|(_, colour)| colour)).collect()
            }
            _ => Vec::new(),
        };
        // A net's rustle has no contact that a picture shows, and a voice is no impact.
        let seen = |kind| {
            matches!(kind, ContactKind::Floor | ContactKind::Ball | ContactKind::Rim | ContactKind::Board)
        };
        Self {
            shot: scene.shot,
            wanted: if people { Wanted::Among(colours) } else { Wanted::Balls(balls.len()) },
            setting: Setting {
                fixtures: people || matches!(scene.stage.fixture, Some(Fixture::Hoop(_))),
                net: matches!(scene.event, Event::Scores { .. }),
            },
            restitution: balls.first().map(|ball| f64::from(ball.restitution)),
            sounds: !people
                && scene.speech.is_none()
                && scene.contacts.iter().all(|contact| seen(contact.kind)),
            free: !people,
        }
    }
}

impl Judged {
    /// Judges a clip beside an empty take of its stage, `[height, width, 3]`.
    pub(super) fn of(clip: &Clip, empty: &[u8], known: &Known) -> Self {
        let track = Track::follow(clip, empty, known.shot, &known.wanted);
        let motion = Motion::of(&track, known.setting);
        let mut judged = Self { frames: clip.frame_count(), ..Self::default() };
        judged.look_for_teleports(&track, &motion);
        if known.free {
            judged.flights = motion
                .flights
                .iter()
                .map(|flight| [(flight.gravity_m_s2 / f64::from(GRAVITY_M_S2) - 1.0).abs(), flight.r_squared])
                .collect();
            judged.energy = energy_violation(&track, &motion);
        }
        judged.measure_bounces(&track, &motion, known.restitution);
        judged.momentum =
            motion.contacts.iter().filter_map(|contact| momentum_error(&track.balls, contact)).collect();
        if known.sounds {
            judged.listen(clip, &track, &motion);
        }
        judged.paths_m = track.balls.into_iter().map(|ball| ball.places_m).collect();
        judged
    }

    /// Whether no ball teleports, vanishes or is doubled.
    pub(super) fn is_whole(&self) -> bool {
        self.broken == 0
    }

    fn look_for_teleports(&mut self, track: &Track, motion: &Motion) {
        for frame in 0..self.frames {
            let touching = |index: usize| {
                motion.contacts.iter().any(|contact| {
                    contact.balls.contains(&index) && (contact.time_s * track.fps - frame as f64).abs() <= 1.0
                })
            };
            let jumps = track.balls.iter().enumerate().any(|(index, ball)| {
                // A hand may throw a ball as hard as it likes, but moves it by no more than its width.
                let held =
                    (frame.saturating_sub(1)..=frame + 1).any(|near| ball.held.get(near) == Some(&true));
                let allowed_m = if held { 2.0 } else { 0.5 } * ball.radius_m;
                let allowed_m = allowed_m.max(3.0 * TRACKER_M);
                !touching(index) && jump_m(ball, frame, track.fps).is_some_and(|jump| jump > allowed_m)
            });
            let vanished =
                track.balls.iter().any(|ball| ball.places_m.get(frame).is_none_or(Option::is_none));
            let doubled = track.balls.iter().any(|ball| ball.doubled.get(frame) == Some(&true));
            self.jumped += usize::from(jumps);
            self.vanished += usize::from(vanished);
            self.doubled += usize::from(doubled);
            self.broken += usize::from(jumps || vanished || doubled);
        }
    }

    fn measure_bounces(&mut self, track: &Track, motion: &Motion, truth: Option<f64>) {
        // One ball keeps one share: those of another are not compared with it.
        for index in 0..track.balls.len() {
            let bounces: Vec<(&Contact, f64)> = motion
                .contacts
                .iter()
                .filter(|contact| contact.touch == Touch::Floor && contact.balls == [index])
                .filter_map(|contact| Some((contact, restitution(contact)?)))
                .collect();
            let kept = || bounces.iter().map(|bounce| bounce.1);
            if let Some(truth) = truth {
                self.restitution_error.extend(kept().map(|kept| (kept - truth).abs()));
            }
            if let (true, Some(middle)) = (bounces.len() > 1, median(&mut kept().collect::<Vec<_>>())) {
                self.restitution_spread.extend(kept().map(|kept| (kept - middle).abs()));
            }
            self.restitution_height.extend(bounces.iter().filter_map(|(contact, kept)| {
                let [before, after] = motion.heights_m(track, contact)?;
                Some((kept - (after / before).sqrt()).abs())
            }));
        }
    }

    fn listen(&mut self, clip: &Clip, track: &Track, motion: &Motion) {
        let sounds = onsets(&clip.samples, clip.sample_rate);
        // A ball that comes to rest bounces more often than pictures show.
        let told: Vec<&Contact> = motion.contacts.iter().filter(|contact| contact.is_told()).collect();
        let contacts_s: Vec<f64> = told.iter().map(|contact| contact.time_s).collect();
        let pairs = pairs(&sounds, &contacts_s, MATCH_S);
        let together = pairs.iter().filter(|pair| pair.offset_s.abs() <= SYNCHRONOUS_S).count();
        let sounds_alone = sounds.iter().enumerate().filter(|(index, sound)| {
            let near = |contact: &Contact| (contact.time_s - sound.time_s).abs() < UNSEEN_S;
            !pairs.iter().any(|pair| pair.onset == *index) && !motion.contacts.iter().any(near)
        });
        let contacts_alone = contacts_s.iter().enumerate().filter(|(index, time_s)| {
            let near = |other: f64| (other - **time_s).abs() < UNHEARD_S;
            !pairs.iter().any(|pair| pair.contact == *index || near(contacts_s[pair.contact]))
        });
        self.heard = [together, pairs.len() + sounds_alone.count(), pairs.len() + contacts_alone.count()];
        self.offsets_s = pairs.iter().map(|pair| pair.offset_s).collect();
        self.loudness = pairs
            .iter()
            .filter_map(|pair| {
                let impulse = floor_impulse(&track.balls, told.get(pair.contact)?)?;
                Some([impulse, sounds.get(pair.onset)?.peak_db])
            })
            .collect();
    }
}

/// Share of the speed towards the floor that a bounce keeps.
fn restitution(contact: &Contact) -> Option<f64> {
    let ([_, before], [_, after]) = (*contact.before_m_s.first()?, *contact.after_m_s.first()?);
    (contact.clear && before < -BOUNCE_M_S).then_some(-after / before)
}

/// Discs of one density.
fn mass(ball: &Ball) -> f64 {
    PI * ball.radius_m * ball.radius_m
}

fn floor_impulse(balls: &[Ball], contact: &Contact) -> Option<f64> {
    let ball = balls.get(*contact.balls.first()?)?;
    let change = contact.after_m_s.first()?[1] - contact.before_m_s.first()?[1];
    (contact.touch == Touch::Floor).then(|| mass(ball) * change)
}

fn momentum_error(balls: &[Ball], contact: &Contact) -> Option<f64> {
    if contact.touch != Touch::Ball {
        return None;
    }
    let (mut change, mut total) = ([0.0; 2], 0.0);
    for (index, (before, after)) in
        contact.balls.iter().zip(contact.before_m_s.iter().zip(&contact.after_m_s))
    {
        let mass = mass(balls.get(*index)?);
        for axis in 0..2 {
            change[axis] += mass * (after[axis] - before[axis]);
        }
        total += mass * before[0].hypot(before[1]);
    }
    (total > 0.0).then(|| change[0].hypot(change[1]) / total)
}

/// Mean rise of kinetic plus potential energy from one step to the next, as a share of the first.
fn energy_violation(track: &Track, motion: &Motion) -> Option<f64> {
    let frames = track.balls.iter().map(|ball| ball.places_m.len()).min()?;
    let mut energies: Vec<f64> = Vec::with_capacity(frames);
    for frame in 0..frames.checked_sub(1)? {
        // Across a contact the mean speed is not the speed.
        if motion.breaks_after(frame) {
            continue;
        }
        let energy: Option<f64> = track
            .balls
            .iter()
            .map(|ball| {
                let (here, next) = (ball.places_m[frame]?, ball.places_m[frame + 1]?);
                let [vx, vy] = [0, 1].map(|axis| (next[axis] - here[axis]) * track.fps);
                let height_m = f64::midpoint(here[1], next[1]) - ball.radius_m;
                Some(mass(ball) * (0.5 * (vx * vx + vy * vy) + f64::from(GRAVITY_M_S2) * height_m))
            })
            .sum();
        energies.extend(energy);
    }
    let first = *energies.first()?;
    let rises: f64 = energies.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0)).sum();
    (first > 0.0 && energies.len() > 1).then(|| rises / first / (energies.len() - 1) as f64)
}

impl Figures {
    /// What some clips say together.
    pub(super) fn of(clips: &[Judged], seed: u64) -> Self {
        let share = |count: fn(&Judged) -> usize| {
            Interval::of(clips, seed, |clips| {
                let frames: usize = clips.iter().map(|clip| clip.frames).sum();
                (frames > 0)
                    .then(|| clips.iter().map(|clip| count(clip)).sum::<usize>() as f64 / frames as f64)
            })
        };
        let middle = |read: fn(&Judged) -> Vec<f64>| {
            Interval::of(clips, seed, |clips| {
                median(&mut clips.iter().flat_map(|clip| read(clip)).collect::<Vec<f64>>())
            })
        };
        Self {
            clips: clips.len(),
            teleport_frames: share(|clip| clip.broken),
            teleport_clips: Interval::of(clips, seed, |clips| {
                let broken = clips.iter().filter(|clip| !clip.is_whole()).count();
                (!clips.is_empty()).then(|| broken as f64 / clips.len() as f64)
            }),
            vanished_frames: share(|clip| clip.vanished),
            duplicated_frames: share(|clip| clip.doubled),
            flights: clips.iter().map(|clip| clip.flights.len()).sum(),
            gravity_error: middle(|clip| clip.flights.iter().map(|flight| flight[0]).collect()),
            gravity_r_squared: middle(|clip| clip.flights.iter().map(|flight| flight[1]).collect()),
            bounces: clips
                .iter()
                .map(|clip| clip.restitution_error.len().max(clip.restitution_spread.len()))
                .sum(),
            restitution_error: middle(|clip| clip.restitution_error.clone()),
            restitution_spread: middle(|clip| clip.restitution_spread.clone()),
            restitution_against_height: middle(|clip| clip.restitution_height.clone()),
            energy_violation: Interval::of(clips, seed, |clips| {
                let energies: Vec<f64> = clips.iter().filter_map(|clip| clip.energy).collect();
                (!energies.is_empty()).then(|| energies.iter().sum::<f64>() / energies.len() as f64)
            }),
            collisions: clips.iter().map(|clip| clip.momentum.len()).sum(),
            momentum_error: middle(|clip| clip.momentum.clone()),
            onset_offset_ms: middle(|clip| clip.offsets_s.iter().map(|offset| 1e3 * offset.abs()).collect()),
            onset_bias_ms: middle(|clip| clip.offsets_s.iter().map(|offset| 1e3 * offset).collect()),
            onset_f1: Interval::of(clips, seed, |clips| {
                let [together, sounds, contacts] =
                    [0, 1, 2].map(|at| clips.iter().map(|clip| clip.heard[at]).sum::<usize>());
                (sounds + contacts > 0).then(|| 2.0 * together as f64 / (sounds + contacts) as f64)
            }),
            loudness_correlation: Interval::of(clips, seed, |clips| {
                spearman(&clips.iter().flat_map(|clip| clip.loudness.iter().copied()).collect::<Vec<_>>())
            }),
        }
    }
}

/// Rank correlation; `None` for fewer than three pairs or where all of a side are equal.
fn spearman(pairs: &[[f64; 2]]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let ranks = [0, 1].map(|side| {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|&a, &b| pairs[a][side].total_cmp(&pairs[b][side]));
        let mut ranks = vec![0.0; pairs.len()];
        // Equal values share the mean of their ranks.
        let mut first = 0;
        for group in order.chunk_by(|&a, &b| pairs[a][side].total_cmp(&pairs[b][side]).is_eq()) {
            for &at in group {
                ranks[at] = first as f64 + (group.len() - 1) as f64 / 2.0;
            }
            first += group.len();
        }
        ranks
    });
    let middle = (pairs.len() - 1) as f64 / 2.0;
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    let scale = (product(&ranks[0], &ranks[0]) * product(&ranks[1], &ranks[1])).sqrt();
    (scale > 0.0).then(|| product(&ranks[0], &ranks[1]) / scale)
}

#[cfg(test)]
mod tests {
    use super::super::{SIDE, original};
    use super::*;
    use crate::world::draw::{render, render_stage};
    use crate::world::{Family, Pose, Track as Way};

    fn judge(scene: &Scene, clip: &Clip, truth: &Scene) -> Judged {
        Judged::of(clip, &render_stage(scene, SIDE, SIDE), &Known::of(truth))
    }

    fn figures(
        family: Family,
        seeds: std::ops::Range<u64>,
        spoil: impl Fn(&mut Scene, &mut Clip),
    ) -> Figures {
        let judged: Vec<Judged> = seeds
            .map(|seed| {
                let truth = family.sample(seed);
                let (mut scene, mut clip) = (truth.clone(), original(&truth));
                spoil(&mut scene, &mut clip);
                judge(&scene, &clip, &truth)
            })
            .collect();
        Figures::of(&judged, 1)
    }

    fn value(interval: Option<Interval>) -> f64 {
        interval.unwrap().value
    }

    /// Draws a scene whose first ball goes elsewhere.
    fn moved(scene: &mut Scene, clip: &mut Clip, place: impl Fn(usize, &mut Pose)) {
        if let Way::Bodies(frames) = &mut scene.actors[0].track {
            for (frame, poses) in frames.iter_mut().enumerate() {
                place(frame, &mut poses[0]);
            }
        }
        clip.frames = render(scene, SIDE, SIDE);
    }

    #[test]
    fn the_world_itself_is_judged_nearly_perfect() {
        for family in [Family::Bounce, Family::Collision] {
            let mut judged: Vec<Judged> = (6..16)
                .map(|seed| {
                    let scene = family.sample(seed);
                    judge(&scene, &original(&scene), &scene)
                })
                .collect();
            // As the evaluation does: one ball can hide another for a frame.
            judged.retain(Judged::is_whole);
            let figures = Figures::of(&judged, 1);
            assert!(figures.clips >= 9, "{family:?} {figures:?}");
            assert!(value(figures.onset_f1) > 0.97, "{family:?} {figures:?}");
            assert!(value(figures.onset_offset_ms) < 5.0, "{family:?} {figures:?}");
            assert!(value(figures.energy_violation) < 0.02, "{family:?} {figures:?}");
            if family == Family::Bounce {
                assert!(value(figures.gravity_error) < 0.01, "{figures:?}");
                assert!(value(figures.gravity_r_squared) > 0.999, "{figures:?}");
                assert!(value(figures.restitution_error) < 0.03, "{figures:?}");
                assert!(value(figures.restitution_spread) < 0.03, "{figures:?}");
                assert!(value(figures.restitution_against_height) < 0.03, "{figures:?}");
                assert!(value(figures.loudness_correlation) > 0.8, "{figures:?}");
            } else {
                assert!(figures.collisions >= 9 && value(figures.momentum_error) < 0.1, "{figures:?}");
            }
        }
    }

    #[test]
    fn a_teleporting_ball_is_noticed_where_it_jumps() {
        let figures = figures(Family::Bounce, 30..34, |scene, clip| {
            let view_m = scene.shot.view_m();
            moved(scene, clip, |frame, pose| {
                if frame >= 48 {
                    pose.x_m =
                        view_m - pose.x_m + if (pose.x_m - view_m / 2.0).abs() < 0.5 { 1.5 } else { 0.0 };
                }
            });
        });
        assert!(value(figures.teleport_clips) > 0.99, "{figures:?}");
        // Both frames beside the jump.
        assert!((value(figures.teleport_frames) - 2.0 / 96.0).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn a_vanished_ball_counts_for_each_frame() {
        let figures = figures(Family::Bounce, 30..33, |scene, clip| {
            moved(scene, clip, |frame, pose| {
                if (60..84).contains(&frame) {
                    pose.x_m = 99.0;
                }
            });
        });
        assert!((value(figures.vanished_frames) - 0.25).abs() < 1e-9, "{figures:?}");
        assert!((value(figures.teleport_frames) - 0.25).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn doubled_gravity_is_an_error_of_one() {
        let figures = figures(Family::Bounce, 30..34, |scene, clip| {
            let restitution = scene.actors[0].restitution;
            let Body::Ball { radius_m } = scene.actors[0].body else { panic!("a ball") };
            // Dropped from 5 m, with twice the pull.
            let (mut y_m, mut speed_m_s) = (4.0 + radius_m, 0.0_f32);
            let mut heights = Vec::new();
            for _ in 0..96 {
                heights.push(y_m);
                for _ in 0..400 {
                    let dt_s = 1.0 / (24.0 * 400.0);
                    speed_m_s -= 2.0 * GRAVITY_M_S2 * dt_s;
                    y_m += speed_m_s * dt_s;
                    if y_m < radius_m && speed_m_s < 0.0 {
                        speed_m_s *= -restitution;
                    }
                }
            }
            moved(scene, clip, |frame, pose| pose.y_m = heights[frame]);
        });
        assert!((value(figures.gravity_error) - 1.0).abs() < 0.03, "{figures:?}");
        assert!(value(figures.restitution_error) < 0.03, "{figures:?}");
    }

    #[test]
    fn a_late_sound_is_late() {
        let figures = figures(Family::Bounce, 30..36, |_, clip| {
            let late = clip.sample_rate as usize * 60 / 1000;
            clip.samples.rotate_right(late);
            clip.samples[..late].fill(0.0);
        });
        assert!((value(figures.onset_bias_ms) - 60.0).abs() < 3.0, "{figures:?}");
        assert!((value(figures.onset_offset_ms) - 60.0).abs() < 3.0, "{figures:?}");
        assert!(value(figures.onset_f1) < 0.1, "{figures:?}");
    }

    #[test]
    fn energy_from_nowhere_and_lost_momentum_are_measured() {
        let backwards = figures(Family::Bounce, 30..33, |scene, clip| {
            let Way::Bodies(frames) = scene.actors[0].track.clone() else { panic!("a ball") };
            // Time runs backwards: each bounce now adds what it took.
            moved(scene, clip, |frame, pose| *pose = frames[95 - frame][0]);
        });
        assert!(value(backwards.energy_violation) > 0.003, "{backwards:?}");
        assert!(value(backwards.restitution_error) > 0.1, "{backwards:?}");
        let stopped = figures(Family::Collision, 6..8, |scene, clip| {
            let meet_s = scene.contacts.iter().find(|c| c.kind == ContactKind::Ball).map(|c| c.time_s);
            let meet = (meet_s.unwrap() * 24.0) as usize;
            let Way::Bodies(frames) = scene.actors[0].track.clone() else { panic!("a ball") };
            // The first ball stops dead where it strikes.
            moved(scene, clip, |frame, pose| *pose = frames[frame.min(meet)][0]);
        });
        assert!(value(stopped.momentum_error) > 0.1, "{stopped:?}");
    }

    #[test]
    fn ranks_that_agree_correlate_fully() {
        let pairs = |f: fn(f64) -> f64| (0..20).map(|i| [f64::from(i), f(f64::from(i))]).collect::<Vec<_>>();
        assert!((spearman(&pairs(f64::exp)).unwrap() - 1.0).abs() < 1e-12);
        assert!((spearman(&pairs(|x| -x)).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&pairs(|_| 1.0)), None);
        assert_eq!(spearman(&[[0.0, 1.0]; 2]), None);
    }
}
