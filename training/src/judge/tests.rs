//! The judges as a whole: trained for a few steps, saved, read and asked.

use super::*;
use crate::world::Family;
use crate::world::draw::render;
use crate::world::sound::sound;
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;

/// A training of a few steps.
fn tiny() -> JudgePlan {
    JudgePlan {
        people: 3,
        balls: 3,
        views: 1,
        look_steps: 2,
        coloured: 4,
        colour_steps: 2,
        voices: 3,
        recordings: 2,
        voice_steps: 2,
        scenes: 4,
        probe_steps: 2,
        batch: 2,
        held_out: 2,
    }
}

fn film(scene: &Scene) -> Clip {
    let frames = render(scene, 96, 96);
    Clip { width: 96, height: 96, fps: 24, frames, sample_rate: 12_000, samples: sound(scene) }
}

#[test]
fn judges_are_the_same_after_saving_and_training_again() {
    let root = tempfile::tempdir().unwrap();
    let train = |name: &str, seed| {
        let directory = root.path().join(name);
        train::train_planned(&tiny(), seed, &directory, Mode::Silent, &Interrupt::new()).unwrap();
        fs::read(directory.join(WEIGHTS_FILE)).unwrap()
    };
    let weights = train("one", 1);
    assert!(weights == train("again", 1), "the same seed gave other weights");
    assert!(weights != train("other", 2), "the seed decides nothing");

    let judges = Judges::load(&root.path().join("one")).unwrap();
    assert_eq!(judges.card().plan, tiny());
    let scenes: Vec<Scene> = (0..3).map(|seed| Family::Bounce.sample(seed)).collect();
    let mut clips: Vec<Clip> = scenes.iter().map(film).collect();
    let verdicts: Vec<Verdict> =
        clips.iter().zip(&scenes).map(|(clip, scene)| judges.verdict(&AskedClip::of(clip, scene))).collect();
    assert_eq!(verdicts[1], judges.verdict(&AskedClip::of(&clips[1], &scenes[1])));
    let agreements: Vec<ClipAgreement> = verdicts.iter().map(|verdict| verdict.agreement).collect();
    let agreement = Agreement::of(&agreements);
    assert_eq!(agreement.event.of, 3);
    assert_eq!((agreement.bounces_seen.hits, agreement.bounces_heard.hits), (3, 3));
    let mistakes: usize = agreement.mistaken.iter().map(|(_, _, count)| count).sum();
    assert_eq!(agreement.event.hits + mistakes, 3);
    let all: Vec<Vec<f32>> = verdicts.into_iter().map(|verdict| verdict.features).collect();
    assert!(distance(&all, &all).unwrap() < 1e-3);

    clips[1].samples.fill(0.0);
    let voice = Voice::sample(&mut ChaCha8Rng::seed_from_u64(1));
    let met: Vec<Impression> = clips
        .iter()
        .zip(&scenes)
        .map(|(clip, scene)| judges.meet(&CameoClip { clip, look: scene.actors[0].look, voice: Some(voice) }))
        .collect();
    let likeness = judges.likeness(&met, 4, 1);
    assert_eq!((likeness.balls.clips, likeness.people.clips, likeness.voices.clips), (3, 0, 3));
    assert_eq!((likeness.balls.absent, likeness.voices.absent), (0, 1));
    assert_eq!(likeness, judges.likeness(&met, 4, 1));
}

#[test]
fn broken_judges_are_one_clear_line() {
    let root = tempfile::tempdir().unwrap();
    let missing = Judges::load(root.path()).unwrap_err().to_string();
    assert!(missing.contains(CARD_FILE), "{missing}");
    train::train_planned(&tiny(), 1, root.path(), Mode::Silent, &Interrupt::new()).unwrap();
    let (card, weights) = (root.path().join(CARD_FILE), root.path().join(WEIGHTS_FILE));
    let (text, whole) = (fs::read_to_string(&card).unwrap(), fs::read(&weights).unwrap());
    for broken in ["{".to_owned(), text.replace("\"format\": 1", "\"format\": 9")] {
        fs::write(&card, broken).unwrap();
        let error = Judges::load(root.path()).unwrap_err().to_string();
        assert!(error.contains(CARD_FILE) && !error.contains('\n'), "{error}");
    }
    fs::write(&card, text).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let error = Judges::load(root.path()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_training_that_is_stopped_says_so() {
    let root = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::new();
    interrupt.set();
    let error = train::train_planned(&tiny(), 1, root.path(), Mode::Silent, &interrupt).unwrap_err();
    assert!(error.is_interruption(), "{error}");
}

#[test]
fn wilsons_interval_holds_the_share_and_shrinks() {
    let share = |hits, of| Share { hits, of };
    let [low, high] = share(50, 100).interval().unwrap();
    assert!((low - 0.4038).abs() < 1e-3 && (high - 0.5962).abs() < 1e-3, "{low} {high}");
    let [low, high] = share(20, 20).interval().unwrap();
    assert!(low > 0.8 && low < 0.9 && high > 0.999);
    assert_eq!(share(0, 0).interval(), None);
}

/// Trains the judges that ship, into the directory that `KINORA_JUDGES` names.
#[test]
#[ignore = "ten minutes of training"]
fn the_judges_that_ship_are_worth_asking() {
    let Ok(directory) = std::env::var("KINORA_JUDGES") else { return };
    let card = train_judges(0, Path::new(&directory), Mode::Plain, &Interrupt::new()).unwrap();
    let Worth { likeness, captions, .. } = &card.worth;
    for found in [&likeness.people, &likeness.balls, &likeness.voices] {
        assert!(found.top1.value() > Some(0.95) && found.swap.value() > Some(0.97), "{found:?}");
    }
    for share in [captions.colour, captions.event, captions.bounces_seen, captions.bounces_heard] {
        assert!(share.value().unwrap() > 0.97, "{captions:?}");
    }
}
