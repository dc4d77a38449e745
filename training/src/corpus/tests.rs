//! What must hold of every sample.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

fn energy_j(scene: &Scene, states: &[State]) -> f32 {
    scene
        .balls
        .iter()
        .zip(states)
        .map(|(ball, s)| {
            let mass = ball.mass_kg();
            let inertia = 0.5 * mass * ball.radius_m * ball.radius_m;
            mass * (GRAVITY_M_S2 * s.y_m + s.vx_m_s.hypot(s.vy_m_s).powi(2) / 2.0)
                + inertia * s.spin_rad_s * s.spin_rad_s / 2.0
        })
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn energy_never_rises_and_the_balls_stay_in_view(seed in any::<u64>(), family in 0..3_usize) {
        let (scene, motion) = Scene::sample_with_motion(Family::ALL[family], seed);
        prop_assert_eq!(motion.frames.len(), FRAMES);
        let energies: Vec<f32> = motion.frames.iter().map(|states| energy_j(&scene, states)).collect();
        for (frame, pair) in energies.windows(2).enumerate() {
            prop_assert!(pair[1] <= pair[0] * 1.002 + 0.01, "frame {}: {} J then {} J", frame, pair[0], pair[1]);
        }
        for states in &motion.frames {
            for (state, ball) in states.iter().zip(&scene.balls) {
                prop_assert!(state.x_m > ball.radius_m && state.x_m < VIEW_M - ball.radius_m);
                prop_assert!(state.y_m > ball.radius_m - 0.02 && state.y_m < VIEW_TOP_M - ball.radius_m);
            }
        }
    }

    #[test]
    fn what_the_caption_counts_is_what_happens(seed in any::<u64>()) {
        let (scene, motion) = Scene::sample_with_motion(Family::Bounce, seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let text = caption(&scene, &mut rng);
        let count = motion.contacts_of(ContactKind::Floor).count();
        prop_assert_eq!(count, motion.contacts.len());
        let words: &[&str] = match count {
            1 => &["once", "one time"],
            2 => &["twice", "two times"],
            3 => &["three times"],
            4 => &["four times"],
            _ => &[],
        };
        prop_assert!(words.iter().any(|word| text.contains(word)), "{count} in `{text}`");
    }

    #[test]
    fn contacts_match_the_trajectory(seed in any::<u64>()) {
        let (scene, motion) = Scene::sample_with_motion(Family::Bounce, seed);
        let ball = &scene.balls[0];
        let mut launch = (0.0, ball.y_m, ball.vy_m_s);
        for contact in &motion.contacts {
            // Solve the flight since the last contact by hand: when is it back on the floor?
            let (start_s, y_m, vy) = launch;
            let fall_m = y_m - ball.radius_m;
            let flight_s = (vy + (vy * vy + 2.0 * GRAVITY_M_S2 * fall_m.max(0.0)).sqrt()) / GRAVITY_M_S2;
            prop_assert!((contact.time_s - start_s - flight_s).abs() < 0.003, "{} after {}", contact.time_s, start_s);
            let impact = vy - GRAVITY_M_S2 * flight_s;
            prop_assert!((contact.speed_m_s + impact).abs() < 0.02, "{} against {impact}", contact.speed_m_s);
            launch = (contact.time_s, ball.radius_m, contact.speed_m_s * ball.restitution);
            let impulse = ball.mass_kg() * contact.speed_m_s * (1.0 + ball.restitution);
            prop_assert!((contact.impulse_n_s / impulse - 1.0).abs() < 0.02);
        }
    }
}

#[test]
fn the_outcome_that_was_promised_happens_in_every_family() {
    for seed in 0..24 {
        for family in Family::ALL {
            let scene = Scene::sample(family, seed);
            assert_eq!(simulate(&scene).outcome, Some(scene.outcome));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let corpus = Corpus::new(7, 32);
    for index in 0..4 {
        let (first, again) = (corpus.sample(index), Corpus::new(7, 32).sample(index));
        assert_eq!(first.clip, again.clip);
        assert_eq!(first.caption, again.caption);
        assert_eq!(first.reference, again.reference);
    }
    assert_ne!(corpus.sample(0).clip, corpus.sample(1).clip);
    assert_ne!(corpus.sample(0).clip, Corpus::new(8, 32).sample(0).clip);
}

#[test]
fn sound_begins_at_the_contacts_and_is_louder_for_harder_ones() {
    for seed in 0..12 {
        let (scene, motion) = Scene::sample_with_motion(Family::Bounce, seed);
        let samples = sound(&scene, &motion);
        assert_eq!(samples.len(), SAMPLES);
        let onset = |contact: &Contact| (contact.time_s * SAMPLE_RATE as f32).round() as usize;
        let first = onset(&motion.contacts[0]);
        assert!(samples[..first].iter().all(|&sample| sample == 0.0), "sound before the first contact");
        let peak = |start: usize| samples[start..start + 240].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        let energy =
            |start: usize| samples[start..start + 480].iter().map(|sample| sample * sample).sum::<f32>();
        for contact in &motion.contacts {
            let start = onset(contact);
            let before =
                samples[start.saturating_sub(120)..start].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert!(peak(start) > 3.0 * before && peak(start) > 0.02, "no onset at {}", contact.time_s);
        }
        for pair in motion.contacts.windows(2) {
            let harder = pair[0].impulse_n_s / pair[1].impulse_n_s;
            let louder = energy(onset(&pair[0])) / energy(onset(&pair[1]));
            assert!(harder < 1.1 || louder > 1.0, "seed {seed}: {harder} times as hard, {louder} as loud");
        }
    }
}

#[test]
fn gravity_can_be_read_back_from_the_pictures() {
    let size = 64;
    let scale = size as f64 / f64::from(VIEW_M);
    for seed in 0..8 {
        let (scene, motion) = Scene::sample_with_motion(Family::Bounce, seed);
        let frames = render(&scene, &motion, size);
        let empty = render(&Scene { balls: Vec::new(), ..scene.clone() }, &motion, size);
        // The flight up to the first contact.
        let last = (motion.contacts[0].time_s * FPS as f32) as usize;
        let heights: Vec<f64> = (0..last)
            .map(|frame| {
                let range = frame * size * size * 3..(frame + 1) * size * size * 3;
                let (mut sum, mut mass) = (0.0, 0.0);
                for (index, (a, b)) in frames[range.clone()].iter().zip(&empty[range]).enumerate() {
                    // Thirty levels are more than a shadow far below a ball changes.
                    let weight = f64::from(a.abs_diff(*b));
                    let row = index / 3 / size;
                    let near = (row as f64 - (f64::from(VIEW_TOP_M - motion.frames[frame][0].y_m)) * scale)
                        .abs()
                        < f64::from(scene.balls[0].radius_m) * scale + 1.5;
                    if weight > 12.0 && near {
                        sum += row as f64 + 0.5;
                        mass += 1.0;
                    }
                }
                f64::from(VIEW_TOP_M) - sum / mass / scale
            })
            .collect();
        let gravity = -2.0 * quadratic(&heights) * f64::from(FPS).powi(2);
        assert!((gravity / f64::from(GRAVITY_M_S2) - 1.0).abs() < 0.02, "seed {seed}: {gravity}");
    }
}

/// Leading coefficient of the least-squares parabola through equally spaced values.
fn quadratic(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = (n - 1.0) / 2.0;
    // The second-degree polynomial that is orthogonal to constants and lines on this grid.
    let spread = (n * n - 1.0) / 12.0;
    let basis = |index: usize| (index as f64 - mean).powi(2) - spread;
    let dot: f64 = values.iter().enumerate().map(|(index, value)| value * basis(index)).sum();
    dot / (0..values.len()).map(|index| basis(index).powi(2)).sum::<f64>()
}

#[test]
fn a_cameo_carries_its_reference() {
    let corpus = Corpus::new(3, 32);
    let samples: Vec<Sample> = (0..40).map(|index| corpus.sample(index)).collect();
    let cameos = samples.iter().filter(|sample| sample.reference.is_some()).count();
    assert!((3..20).contains(&cameos), "{cameos} of 40");
    for sample in &samples {
        assert_eq!(sample.reference.is_some(), sample.caption.contains("cameo"));
        assert!(sample.reference.as_ref().is_none_or(|image| image.len() == REFERENCE_SIDE.pow(2) * 3));
    }
}

#[test]
fn a_rendered_corpus_is_complete_or_absent() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("corpus");
    let options = ExportOptions { count: 3, seed: 1, size: 32 };
    let stopped = render_to(&dir, options, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(ExportError::Interrupted { done: 0 })));
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);

    let tiny = render_to(&dir, ExportOptions { size: 8, ..options }, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(tiny, Err(ExportError::Size { size: 8 })));

    let mut seen = Vec::new();
    let manifest = render_to(&dir, options, &mut |done, total| {
        seen.push((done, total));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen.last(), Some(&(3, 3)));
    assert_eq!(manifest.clips, 3);
    for table in &manifest.tables {
        assert_eq!(std::fs::read_to_string(dir.join(table)).unwrap().lines().count(), 3);
    }
    assert!(std::fs::read(dir.join("clips/000002.mp4")).unwrap().len() > 1000);
    let again = render_to(&dir, options, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(again, Err(ExportError::Exists { .. })));
}
