use std::f32::consts::PI;

use proptest::prelude::*;

use super::*;
use crate::model::latents::Measure;
use crate::phyworld::{Domain, Task};
use crate::size::{ModelConfig, ModelSize};
use crate::train::latents::{phyworld_caption, tell_family};
use crate::words::{UNKNOWN, Vocabulary};

/// What a scene is without its autoencoders: impacts with made-up timbres.
fn performance(scene: &Scene, config: &ModelConfig) -> Performance {
    let mut actors: [Option<Figure>; ACTORS] = Default::default();
    for (figure, actor) in actors.iter_mut().zip(&scene.actors) {
        *figure = Some(Figure { body: actor.body, look: actor.look, track: actor.track.clone() });
    }
    Performance {
        shot: scene.shot,
        stage: scene.stage,
        frames: FRAMES,
        actors,
        impacts: scene
            .contacts
            .iter()
            .map(|contact| Impact {
                time_s: contact.time_s,
                loudness: -1.5,
                timbre: vec![0.75; config.sound_code],
            })
            .collect(),
        utterance: scene.speech.as_ref().map(|speech| Utterance {
            speaker: speech.speaker,
            voice: speech.voice,
            frames: speech.frames(),
        }),
    }
}

fn near(one: Pose, other: Pose) -> bool {
    let turn = (one.angle_rad - other.angle_rad).rem_euclid(2.0 * PI);
    (one.x_m - other.x_m).abs() < 1e-3
        && (one.y_m - other.y_m).abs() < 1e-3
        && turn.min(2.0 * PI - turn) < 1e-2
}

proptest! {
    #[test]
    fn every_family_comes_back_from_its_row(
        family in prop::sample::select(Family::ALL.to_vec()), seed in 0_u64..400,
    ) {
        let config = ModelSize::Nano.config();
        let told = tell_family(family, seed);
        let original = performance(&told.scene, &config);
        let mut row = original.to_row(&config);
        prop_assert_eq!(row.values.len(), config.layout().total());
        prop_assert_eq!(row.weights.len(), row.values.len());
        let mut measure = Measure::new(config.layout());
        measure.add(&row.values, &row.weights);
        let normalisation = measure.finish();
        normalisation.apply(&mut row.values, &row.weights, config.layout());
        normalisation.undo(&mut row.values, config.layout());
        let back = Performance::from_row(&row.values, &config);
        prop_assert_eq!(back.shot, original.shot);
        prop_assert_eq!(back.stage.backdrop, original.stage.backdrop);
        prop_assert_eq!(back.stage.fixture.is_some(), original.stage.fixture.is_some());
        prop_assert_eq!(back.utterance.is_some(), original.utterance.is_some());
        for (figure, expected) in back.actors.iter().zip(&original.actors) {
            prop_assert_eq!(figure.is_some(), expected.is_some());
            let (Some(figure), Some(expected)) = (figure, expected) else { continue };
            prop_assert_eq!(figure.look, expected.look);
            match (&figure.track, &expected.track) {
                (Track::Bodies(found), Track::Bodies(true_ones)) => {
                    for (found, expected) in found.iter().flatten().zip(true_ones.iter().flatten()) {
                        let hangs = kind(&figure.body) == 2;
                        let expected = if hangs { Pose { angle_rad: found.angle_rad, ..*expected } } else { *expected };
                        prop_assert!(near(*found, expected), "{found:?} for {expected:?}");
                    }
                    prop_assert_eq!(found[0].len(), true_ones[0].len());
                }
                (Track::Doll(found), Track::Doll(true_ones)) => {
                    for (found, expected) in found.iter().zip(true_ones) {
                        prop_assert!((found.x_m - expected.x_m).abs() < 1e-3);
                        prop_assert!((found.arms_rad[1] - expected.arms_rad[1]).abs() < 1e-3);
                        prop_assert!((found.mouth - expected.mouth).abs() < 1e-3);
                    }
                }
                _ => prop_assert!(false, "another kind of track came back"),
            }
        }
        let heard = original.distinct_impacts();
        for impact in &back.impacts {
            let nearest = heard.iter().map(|other| (other.time_s - impact.time_s).abs()).fold(9.0, f32::min);
            // Bumps that overlap draw their tops together.
            let beside = heard.iter().filter(|other| (other.time_s - impact.time_s).abs() < 0.09).count();
            let most_s = if beside > 1 { 0.011 } else { 0.004 };
            prop_assert!(nearest < most_s, "an impact at {} that is {nearest} s away", impact.time_s);
        }
        // Bumps that overlap may be read as one; what stands alone is always heard.
        for alone in &heard {
            let near = |other: f32, within: f32| (other - alone.time_s).abs() < within;
            if heard.iter().filter(|other| near(other.time_s, 0.09)).count() == 1 {
                prop_assert!(back.impacts.iter().any(|impact| near(impact.time_s, 0.004)), "{}", alone.time_s);
            }
        }
    }

    #[test]
    fn any_row_can_be_drawn(seed in any::<u32>()) {
        let config = ModelSize::Nano.config();
        let row: Vec<f32> = (0..config.layout().total() as u32)
            .map(|place| ((place.wrapping_mul(2_654_435_761) ^ seed) % 4001) as f32 / 500.0 - 4.0)
            .collect();
        let drawn = Performance::from_row(&row, &config);
        prop_assert!(drawn.actors[0].is_some());
        prop_assert!(drawn.impacts.iter().all(|impact| impact.time_s.is_finite() && impact.loudness <= 0.0));
        let frames = crate::world::draw::render_frame(&drawn.scene(), 50, 32, 32);
        prop_assert_eq!(frames.len(), 32 * 32 * 3);
    }
}

#[test]
fn every_caption_can_be_read_whole() {
    let vocabulary = Vocabulary::of_corpus();
    for family in Family::ALL {
        for seed in 0..300 {
            for sentence in tell_family(family, seed).sentences {
                assert!(
                    vocabulary.unknown(&sentence).is_empty(),
                    "{sentence}: {:?}",
                    vocabulary.unknown(&sentence)
                );
                let words = sentence.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).count();
                assert!(words <= crate::model::text::PROMPT_WORDS, "{sentence}");
            }
        }
    }
    for task in Task::ALL {
        assert!(!vocabulary.numbers(phyworld_caption(task)).contains(&UNKNOWN));
    }
}

#[test]
fn a_phyworld_episode_comes_back_at_its_own_frames() {
    let config = ModelSize::Nano.config();
    for task in Task::ALL {
        let episode = task.sample(Domain::InDistribution, 3);
        let row = Performance::of_episode(&episode).to_row(&config);
        let back = Performance::from_row(&row.values, &config);
        assert_eq!(back.shot, Shot::Lab);
        let Some(Figure { body: Body::Ball { radius_m }, track: Track::Bodies(frames), .. }) =
            &back.actors[0]
        else {
            panic!("no ball");
        };
        assert!((f64::from(*radius_m) - episode.balls[0].radius).abs() < 1e-3);
        // Frame 12 of 24 a second is frame 5 of ten.
        let centre = episode.balls[0].centres[5];
        if (0.0..10.0).contains(&centre[1]) {
            assert!((f64::from(frames[12][0].x_m) - centre[0]).abs() < 1e-3);
            assert!((f64::from(frames[12][0].y_m) - centre[1]).abs() < 1e-3);
        }
    }
}
