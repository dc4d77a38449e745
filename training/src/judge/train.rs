//! Trains the judges: a seed enters, a directory of weights leaves, with what the judges are worth on ground
//! truth that no training saw.
//!
//! Five stages: looks, colours, voices, scenes, and the judges' own judgement. It takes minutes, so a training
//! that was stopped begins again. INVARIANT: the same seed and plan give the same weights on the same machine,
//! and no seed is one of the generator's.

use std::path::Path;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::seed::derive;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::colour::Namer;
use super::figure::{Kind, portrait_crop};
use super::identity::{Memory, pair_loss};
use super::pose::{Room, clip_of, crops_of, crops_of_scene, room};
use super::probe::{EventKind, Glance, surroundings};
use super::{
    Agreement, AskedClip, CameoClip, ClipAgreement, Impression, JudgeCard, JudgeError, Judges, Networks,
    Worth, distance, probe, tones, voice,
};
use crate::clip::Clip;
use crate::world::draw::render;
use crate::world::sound::{contact_wave, sound};
use crate::world::speech::{frames, synthesise};
use crate::world::{
    Appearance, Colour, Contact, ContactKind, FPS, Look, Name, Phrase, SAMPLE_RATE, Scene, Skin, Voice,
};

/// How much the judges see and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgePlan {
    /// People, and patterned balls, that looks are learnt from.
    pub people: u64,
    pub balls: u64,
    /// Clips of each.
    pub views: u64,
    pub look_steps: u64,
    /// Clips that the names of colours are learnt from.
    pub coloured: u64,
    pub colour_steps: u64,
    pub voices: u64,
    /// Recordings of each.
    pub recordings: u64,
    pub voice_steps: u64,
    /// Scenes that the probe learns from.
    pub scenes: u64,
    pub probe_steps: u64,
    pub batch: usize,
    /// People, balls and voices that no training sees, and three scenes for each.
    pub held_out: u64,
}

impl Default for JudgePlan {
    fn default() -> Self {
        Self {
            people: 800,
            balls: 1200,
            views: 3,
            look_steps: 2500,
            coloured: 2400,
            colour_steps: 1500,
            voices: 2500,
            recordings: 4,
            voice_steps: 1500,
            scenes: 4000,
            probe_steps: 800,
            batch: 64,
            held_out: 100,
        }
    }
}

/// Side of the pictures that the probe learns from.
const SCENE_SIDE: usize = 64;
/// Side of the pictures that the judges are judged on.
const JUDGED_SIDE: usize = 128;
/// Rooms that made-up clips take place in.
const ROOMS: u64 = 400;
/// Crops that are kept of a clip.
const KEPT: usize = 3;
/// Units of work between two looks at the interrupt.
const CHUNK: u64 = 64;
const WARM_UP: f64 = 40.0;
/// Share of the steps, at the end, over which the learning rate falls.
const COOL_DOWN: f64 = 0.5;

/// Trains the judges into `out_dir`.
pub fn train_judges(
    seed: u64,
    out_dir: &Path,
    progress: Mode,
    interrupt: &Interrupt,
) -> Result<JudgeCard, JudgeError> {
    train_planned(&JudgePlan::default(), seed, out_dir, progress, interrupt)
}

/// [`train_judges`] with a plan of one's own.
pub(super) fn train_planned(
    plan: &JudgePlan,
    seed: u64,
    out_dir: &Path,
    progress: Mode,
    interrupt: &Interrupt,
) -> Result<JudgeCard, JudgeError> {
    // Apart from the generator's seeds, whatever number is given to both.
    let seed = derive(seed, "judges");
    let school = School { plan, seed, device: Device::flex().autodiff(), progress, interrupt };
    let plain = Device::flex();
    let Networks { looks, colours, voices, probe } = Networks::new(seed, &school.device);

    // Stage 1: looks. Pairs of pictures of one person or ball, among pairs of others.
    let rooms: Vec<Room> = school.gather("rooms", ROOMS.min(plan.people), |_, rng| room(rng.random()))?;
    let looks = school.learn_looks(looks, &rooms)?;

    // Stage 2: colours. What a caption calls a figure.
    let colours = school.learn_colours(colours, &rooms)?;

    // Stage 3: voices. Pairs of recordings of one voice, among pairs of others.
    let voices = school.learn_voices(voices)?;

    // Stage 4: scenes. What happens.
    let probe = school.learn_scenes(probe)?;

    // Stage 5: what this is worth on ground truth of other seeds, with weights as they will be read.
    let card = JudgeCard {
        format: JudgeCard::FORMAT,
        plan: plan.clone(),
        seed,
        code_version: kinora_harness::CODE_VERSION.to_owned(),
        worth: Worth::default(),
    };
    Judges { networks: Networks { looks, colours, voices, probe }, card, device: plain }.save(out_dir)?;
    let mut judges = Judges::load(out_dir)?;
    judges.card.worth = school.examine(&judges, &rooms)?;
    judges.save(out_dir)?;
    Ok(judges.card)
}

struct School<'a> {
    plan: &'a JudgePlan,
    seed: u64,
    /// Where gradients are kept.
    device: Device,
    progress: Mode,
    interrupt: &'a Interrupt,
}

impl School<'_> {
    /// `count` things made side by side, each from a generator of its own.
    fn gather<T: Send>(
        &self,
        stage: &'static str,
        count: u64,
        make: impl Fn(u64, &mut ChaCha8Rng) -> T + Sync,
    ) -> Result<Vec<T>, JudgeError> {
        let mut progress = Progress::new(stage, count, self.progress);
        let mut made = Vec::new();
        for start in (0..count).step_by(CHUNK as usize) {
            if self.interrupt.is_set() {
                progress.finish("stopped");
                return Err(JudgeError::Interrupted { stage });
            }
            made.par_extend((start..(start + CHUNK).min(count)).into_par_iter().map(|index| {
                let mut rng = ChaCha8Rng::seed_from_u64(derive(self.seed, stage));
                rng.set_stream(index);
                make(index, &mut rng)
            }));
            progress.set(made.len() as u64, "");
        }
        progress.finish("made");
        Ok(made)
    }

    /// Gradient descent on a loss that draws its own batch.
    fn descend<M: Module>(
        &self,
        stage: &'static str,
        (steps, peak_rate): (u64, f64),
        mut module: M,
        loss: impl Fn(&M, &mut ChaCha8Rng) -> Tensor<1>,
    ) -> Result<M, JudgeError> {
        let mut optimizer = AdamWConfig::new().with_weight_decay(1e-3).init();
        let mut progress = Progress::new(stage, steps, self.progress);
        let mut told = String::new();
        let mut rng = ChaCha8Rng::seed_from_u64(derive(self.seed, stage));
        for step in 0..steps {
            if self.interrupt.is_set() {
                progress.finish(format!("stopped at step {step}"));
                return Err(JudgeError::Interrupted { stage });
            }
            rng.set_stream(step + 1);
            let value = loss(&module, &mut rng);
            if step.is_multiple_of(20) || step + 1 == steps {
                let value: f32 = value.clone().into_scalar();
                if !value.is_finite() {
                    return Err(JudgeError::Diverged { stage, step });
                }
                told = format!("loss {value:.4}");
            }
            let gradients = GradientsParams::from_grads(value.backward(), &module);
            let (done, all) = (step as f64, steps as f64);
            let rise = ((done + 1.0) / WARM_UP).min(1.0);
            let fall = ((all - done) / (all * COOL_DOWN)).min(1.0);
            module = optimizer.step(peak_rate * rise * fall, module, gradients);
            progress.set(step + 1, &told);
        }
        progress.finish(&told);
        Ok(module.valid())
    }

    fn learn_looks(&self, memory: Memory, rooms: &[Room]) -> Result<Memory, JudgeError> {
        let views = |look: Look, rng: &mut ChaCha8Rng| -> Vec<Vec<Vec<f32>>> {
            let portrait = portrait_crop(&look).map(|crop| vec![tones::count(&crop)]);
            let scenes = (0..self.plan.views).filter_map(|_| {
                let mut crops = crops_of(look, *rooms.choose(rng)?, rng);
                crops.shuffle(rng);
                crops.truncate(KEPT);
                Some(crops.iter().map(tones::count).collect())
            });
            let scenes: Vec<Vec<Vec<f32>>> = scenes.filter(|crops: &Vec<_>| !crops.is_empty()).collect();
            portrait.into_iter().chain(scenes).collect()
        };
        let several = |crowd: Vec<Vec<Vec<Vec<f32>>>>| -> Vec<_> {
            crowd.into_iter().filter(|views| views.len() > 1).collect()
        };
        let people = several(self.gather("people", self.plan.people, |_, rng| {
            views(Look::Person(Appearance::sample_identity(rng)), rng)
        })?);
        let balls =
            several(self.gather("balls", self.plan.balls, |_, rng| {
                views(Look::Skin(Skin::sample_identity(rng)), rng)
            })?);
        self.descend("looks", (self.plan.look_steps, 3e-3), memory, |memory, rng| {
            let crowd = if rng.random_bool(0.45) { &people } else { &balls };
            let (mut one, mut other) = (Vec::new(), Vec::new());
            for views in crowd.choose_multiple(rng, self.plan.batch) {
                // Half of the pairs hold the portrait, which is what likeness is measured against.
                let first = if rng.random_bool(0.5) { 0 } else { rng.random_range(1..views.len()) };
                let second = (first + rng.random_range(1..views.len())) % views.len();
                one.extend(views[first].choose(rng));
                other.extend(views[second].choose(rng));
            }
            let embed = |counts: Vec<&Vec<f32>>| {
                memory.forward(tones::batch(counts.into_iter().map(Vec::as_slice), &self.device))
            };
            pair_loss(embed(one), embed(other))
        })
    }

    fn learn_colours(&self, namer: Namer, rooms: &[Room]) -> Result<Namer, JudgeError> {
        let examples = self.gather("coloured", self.plan.coloured, |index, rng| {
            let mut examples: Vec<(Vec<f32>, Vec<f32>)> = if index.is_multiple_of(2) {
                coloured_figure(index as usize / 2, rooms, rng)
            } else {
                coloured_scene(rng)
            };
            examples.shuffle(rng);
            examples.truncate(2 * KEPT);
            examples
        })?;
        let examples: Vec<(Vec<f32>, Vec<f32>)> = examples.into_iter().flatten().collect();
        self.descend("colours", (self.plan.colour_steps, 4e-3), namer, |namer, rng| {
            let chosen: Vec<_> = examples.choose_multiple(rng, self.plan.batch).collect();
            let counts = tones::batch(chosen.iter().map(|(counts, _)| counts.as_slice()), &self.device);
            let flags = chosen.iter().flat_map(|(_, flags)| flags.iter().copied()).collect();
            flag_loss(namer.forward(counts), flags)
        })
    }

    fn learn_voices(&self, ear: voice::Ear) -> Result<voice::Ear, JudgeError> {
        let crowd = self.gather("recordings", self.plan.voices, |_, rng| {
            let voice = Voice::sample(rng);
            let recordings = (0..self.plan.recordings).filter_map(|_| {
                let phrase = Phrase::ALL.choose(rng).copied().unwrap_or(Phrase::Hello);
                voice::listen(&recording(&voice, phrase, rng), SAMPLE_RATE)
            });
            (voice::traits(&voice), recordings.collect::<Vec<Vec<f32>>>())
        })?;
        let crowd: Vec<_> = crowd.into_iter().filter(|(_, recordings)| recordings.len() > 1).collect();
        self.descend("voices", (self.plan.voice_steps, 3e-3), ear, |ear, rng| {
            let (mut one, mut other, mut traits) = (Vec::new(), Vec::new(), Vec::new());
            for (made_of, recordings) in crowd.choose_multiple(rng, 2 * self.plan.batch) {
                traits.extend_from_slice(made_of);
                for (side, recording) in
                    [&mut one, &mut other].into_iter().zip(recordings.choose_multiple(rng, 2))
                {
                    side.push(recording.as_slice());
                }
            }
            let told = |heard| ear.forward(voice::batch(heard, &self.device));
            let (one, other) = (told(one), told(other));
            let count = traits.len() / voice::TRAITS;
            let truth = TensorData::new(traits, [count, voice::TRAITS]);
            let truth = Tensor::<2>::from_data(truth, &self.device);
            // What voices are made of is a second teacher: who hears it can tell them apart.
            let wrong = |told: Tensor<2>| told.sub(truth.clone()).square().mean();
            pair_loss(one.embedding, other.embedding).add(wrong(one.traits)).add(wrong(other.traits))
        })
    }

    fn learn_scenes(&self, probe: probe::Probe) -> Result<probe::Probe, JudgeError> {
        let examples = self.gather("scenes", self.plan.scenes, |_, rng| {
            let scene = Scene::sample(rng.random());
            (Glance::at(&film(&scene, SCENE_SIDE)), EventKind::of(scene.event).index(), surroundings(&scene))
        })?;
        self.descend("probe", (self.plan.probe_steps, 2e-3), probe, |probe, rng| {
            let chosen: Vec<_> = examples.choose_multiple(rng, self.plan.batch).collect();
            let glances: Vec<Glance> = chosen
                .iter()
                .map(|(glance, ..)| {
                    let mut glance = if rng.random_bool(0.5) { glance.mirrored() } else { glance.clone() };
                    let louder = rng.random_range(-0.08..0.08_f32);
                    glance.sound.iter_mut().for_each(|power| *power += louder);
                    glance
                })
                .collect();
            let (pictures, sounds) = probe::batch(&glances, &self.device);
            let verdict = probe.forward(pictures, sounds);
            let kinds = EventKind::ALL.len();
            let truth = chosen.iter().flat_map(|(_, event, _)| {
                (0..kinds).map(move |kind| if kind == *event { 1.0_f32 } else { 0.0 })
            });
            let truth = TensorData::new(truth.collect::<Vec<f32>>(), [chosen.len(), kinds]);
            let told = log_softmax(verdict.events, 1).mul(Tensor::from_data(truth, &self.device));
            let events = told.sum().mul_scalar(-1.0 / chosen.len() as f64);
            let around = chosen.iter().flat_map(|(.., around)| around.iter().copied()).collect();
            events.add(flag_loss(verdict.surroundings, around))
        })
    }

    /// What the judges say of ground truth that they have not seen.
    fn examine(&self, judges: &Judges, rooms: &[Room]) -> Result<Worth, JudgeError> {
        let cameos = self.gather("held-out cameos", 2 * self.plan.held_out, |index, rng| {
            let person = index.is_multiple_of(2);
            let look = if person {
                Look::Person(Appearance::sample_identity(rng))
            } else {
                Look::Skin(Skin::sample_identity(rng))
            };
            let voice = person.then(|| Voice::sample(rng));
            let room = rooms.choose(rng).copied()?;
            let mut clip = clip_of(look, room, rng);
            if let Some(voice) = &voice {
                let phrase = Phrase::ALL.choose(rng).copied().unwrap_or(Phrase::Hello);
                clip.samples = recording(voice, phrase, rng);
            }
            Some((clip, look, voice))
        })?;
        let met: Vec<Impression> = cameos
            .par_iter()
            .flatten()
            .map(|(clip, look, voice)| judges.meet(&CameoClip { clip, look: *look, voice: *voice }))
            .collect();
        let mut likeness = judges.likeness(&met, self.plan.held_out as usize, self.seed);
        let verdicts = self.gather("held-out scenes", 3 * self.plan.held_out, |_, rng| {
            let scene = Scene::sample(rng.random());
            judges.verdict(&AskedClip::of(&film(&scene, JUDGED_SIDE), &scene))
        })?;
        let agreements: Vec<ClipAgreement> = verdicts.iter().map(|verdict| verdict.agreement).collect();
        let features: Vec<Vec<f32>> = verdicts.into_iter().map(|verdict| verdict.features).collect();
        let (one, other) = features.split_at(features.len() / 2);
        // The card keeps what they come to, not each clip.
        for found in [&mut likeness.people, &mut likeness.balls, &mut likeness.voices] {
            found.matches.clear();
        }
        Ok(Worth { likeness, captions: Agreement::of(&agreements), distance: distance(one, other) })
    }
}

/// The mean over flags of how badly logits tell them.
fn flag_loss(logits: Tensor<2>, flags: Vec<f32>) -> Tensor<1> {
    let shape = logits.dims();
    let flags = Tensor::<2>::from_data(TensorData::new(flags, shape), &logits.device());
    let on = log_sigmoid(logits.clone()).mul(flags.clone());
    let off = log_sigmoid(logits.neg()).mul(flags.neg().add_scalar(1.0));
    on.add(off).mean().neg()
}

/// Somebody or something in a named colour, in any pose.
fn coloured_figure(index: usize, rooms: &[Room], rng: &mut ChaCha8Rng) -> Vec<(Vec<f32>, Vec<f32>)> {
    let first = Colour::ALL[index % Colour::ALL.len()];
    let second = Colour::ALL.choose(rng).copied().filter(|&second| second != first);
    let (look, named) = if rng.random_bool(0.35) {
        let trousers = second.unwrap_or(Colour::Blue);
        (Look::Person(Appearance::sample_named(rng, first, trousers)), Some(trousers))
    } else {
        let second = second.filter(|_| rng.random_bool(0.3));
        (Look::Skin(Skin::sample_named(rng, first, second)), second)
    };
    let Some(&room) = rooms.choose(rng) else { return Vec::new() };
    let named: Vec<Colour> = std::iter::once(first).chain(named).collect();
    crops_of(look, room, rng).iter().map(|crop| (tones::count(crop), colour_flags(&named))).collect()
}

/// Figures of a scene of the corpus, with the colours that its caption gives them.
fn coloured_scene(rng: &mut ChaCha8Rng) -> Vec<(Vec<f32>, Vec<f32>)> {
    let scene = Scene::sample(rng.random());
    let Some(first) = scene.actors.first() else { return Vec::new() };
    let crops = crops_of_scene(&scene, Kind::of(&first.look), rng).into_iter();
    crops
        .filter_map(|(crop, shown)| {
            let mut named = Vec::new();
            for actor in shown.into_iter().filter_map(|index| scene.actors.get(index)) {
                // Nobody can say what a cameo's colours are called.
                let Name::Colours(first, second) = actor.name else { return None };
                named.extend(std::iter::once(first).chain(second));
            }
            (!named.is_empty()).then(|| (tones::count(&crop), colour_flags(&named)))
        })
        .collect()
}

/// 1 for the named colours and 0 for the others.
fn colour_flags(named: &[Colour]) -> Vec<f32> {
    Colour::ALL.iter().map(|colour| if named.contains(colour) { 1.0 } else { 0.0 }).collect()
}

/// A scene as a viewer gets it.
fn film(scene: &Scene, side: usize) -> Clip {
    Clip {
        width: side,
        height: side,
        fps: FPS,
        frames: render(scene, side, side),
        sample_rate: SAMPLE_RATE,
        samples: sound(scene),
    }
}

/// Two seconds with somebody who speaks, in half of them among footsteps and catches.
fn recording(voice: &Voice, phrase: Phrase, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut samples = vec![0.0_f32; 2 * SAMPLE_RATE as usize];
    let gain = rng.random_range(0.6..1.1_f32);
    add(&mut samples, rng.random_range(0..6000), gain, &synthesise(&frames(phrase), voice, rng.random()));
    if rng.random_bool(0.5) {
        for _ in 0..rng.random_range(1..5) {
            let kinds = [ContactKind::Step, ContactKind::Landing, ContactKind::Catch, ContactKind::Floor];
            let contact = Contact {
                time_s: rng.random_range(0.0..2.0),
                kind: kinds.choose(rng).copied().unwrap_or(ContactKind::Step),
                actor: 0,
                other: None,
                speed_m_s: 1.0,
                impulse_n_s: rng.random_range(0.2..8.0),
                size_m: rng.random_range(0.3..0.8),
                x_m: 0.0,
                y_m: 0.0,
            };
            let start = (contact.time_s * SAMPLE_RATE as f32) as usize;
            add(&mut samples, start, 1.0, &contact_wave(&contact, rng.random()));
        }
    }
    samples
}

fn add(samples: &mut [f32], start: usize, gain: f32, wave: &[f32]) {
    for (sample, part) in samples.iter_mut().skip(start).zip(wave) {
        *sample += gain * part;
    }
}
