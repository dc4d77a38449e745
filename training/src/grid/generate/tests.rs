use kinora_harness::seed::seeded;

use super::*;
use crate::grid::config::tests::tiny;
use crate::grid::footage::Footage;
use crate::grid::model::{Spread, Spreads};
use crate::grid::train::GridPlan;
use crate::words::Vocabulary;

/// A model that was never trained, but whose predictions are no zeros.
fn generator() -> GridGenerator {
    use burn::module::{ModuleMapper, Param};
    use burn::tensor::Distribution;
    struct Stir;
    impl ModuleMapper for Stir {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weights| {
                let noise = weights.random_like(Distribution::Normal(0.0, 0.03));
                weights.add(noise)
            })
        }
    }
    let device = Device::flex();
    let model = tiny();
    let vocabulary = Vocabulary::of_captions(["a red ball bounces"], 9);
    let words = vocabulary.len();
    let spread = |channels: usize| Spread::measure(std::iter::empty(), channels, 1);
    let card = GridCard {
        space: GridCard::SPACE.to_owned(),
        format: GridCard::FORMAT,
        model,
        vocabulary,
        spreads: Spreads { picture: spread(4), sound: Some(spread(4)) },
        plan: GridPlan::smoke(),
        footage: Footage::World { seed: 0, clips: 1 },
        seed: 0,
        code_version: String::new(),
    };
    let model = seeded(&device, 4, || GridModel::new(&card.model, words, &device).map(&mut Stir));
    GridGenerator { model, card, device }
}

fn go_on(_: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn quick(generator: &GridGenerator, seed: u64) -> GridRequest {
    GridRequest { steps: 3, ..generator.request("a red ball", seed) }
}

/// A moving square with a tone, at sizes and rates that are not the model's.
fn anyones(frames: usize) -> Clip {
    let (width, height) = (40_usize, 30_usize);
    let pixels = (0..frames).flat_map(|frame| {
        (0..width * height).flat_map(move |pixel| {
            let inside = (pixel % width).abs_diff(frame + 5) < 4 && (pixel / width).abs_diff(12) < 4;
            if inside { [220, 40, 30] } else { [200, 210, 220] }
        })
    });
    Clip {
        width,
        height,
        fps: 12,
        frames: pixels.collect(),
        sample_rate: 48_000,
        samples: (0..frames * 4000).map(|index| 0.3 * (index as f32 * 0.05).sin()).collect(),
    }
}

fn furthest(one: &Clip, two: &Clip) -> (u8, f32) {
    assert_eq!((one.frames.len(), one.samples.len()), (two.frames.len(), two.samples.len()));
    let pixels = one.frames.iter().zip(&two.frames).map(|(a, b)| a.abs_diff(*b)).max();
    let samples = one.samples.iter().zip(&two.samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    (pixels.unwrap_or(0), samples)
}

#[test]
fn a_generator_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<GridGenerator>();
}

#[test]
fn the_seed_decides_the_clip_and_a_batch_changes_nothing() {
    let generator = generator();
    let requests = [7, 8].map(|seed| quick(&generator, seed));
    let alone: Vec<Clip> =
        requests.iter().map(|request| generator.generate(request, &mut go_on).unwrap()).collect();
    assert_eq!(alone[0], generator.generate(&requests[0], &mut go_on).unwrap());
    assert_ne!(alone[0].frames, alone[1].frames);
    assert_eq!((alone[0].frame_count(), alone[0].samples.len()), (9, 4500));
    for (one, other) in generator.generate_batch(&requests, &mut go_on).unwrap().iter().zip(&alone) {
        let (pixels, samples) = furthest(one, other);
        assert!(pixels <= 1 && samples < 1e-4, "{pixels} {samples}");
    }
    let unlike = [requests[0].clone(), GridRequest { steps: 4, ..requests[1].clone() }];
    assert!(matches!(generator.generate_batch(&unlike, &mut go_on), Err(GridGenerateError::Batch)));
}

#[test]
fn every_start_gives_a_clip_of_the_asked_size_and_length() {
    let generator = generator();
    let image = Start::Image { width: 5, height: 3, pixels: vec![90; 45] };
    let starts = [
        Start::Nothing,
        image,
        Start::Edit { clip: anyones(4), strength: 0.5 },
        Start::Pictures(anyones(3)),
        Start::Sound(vec![0.1; 3000]),
    ];
    for start in starts {
        for (width, height) in [(32, 32), (16, 32), (48, 32)] {
            let request =
                GridRequest { width, height, seconds: 0.25, start: start.clone(), ..quick(&generator, 1) };
            let clip = generator.generate(&request, &mut go_on).unwrap();
            assert_eq!((clip.width, clip.height, clip.frame_count()), (width, height, 6), "{start:?}");
            assert_eq!(clip.samples.len(), 3000);
            assert!(clip.samples.iter().all(|sample| sample.abs() <= 1.0));
        }
    }
}

#[test]
fn what_is_given_stays() {
    let generator = generator();
    let clip = anyones(5);
    let pictures = GridRequest { start: Start::Pictures(clip.clone()), ..quick(&generator, 1) };
    let drawn = generator.generate(&pictures, &mut go_on).unwrap();
    assert_eq!(drawn.frames, held(conform(&clip, &tiny().clip), &tiny().clip).frames);

    let sound: Vec<f32> = (0..4500).map(|index| (index as f32 * 0.1).sin()).collect();
    let heard = GridRequest { start: Start::Sound(sound.clone()), ..quick(&generator, 1) };
    assert_eq!(generator.generate(&heard, &mut go_on).unwrap().samples, sound);

    // The first picture comes back through the autoencoder, whatever the seed.
    let pixels: Vec<u8> = (0..32 * 32 * 3).map(|byte| (byte % 251) as u8).collect();
    let image = Start::Image { width: 32, height: 32, pixels: pixels.clone() };
    let through = generator.reconstruct(&pixels, [32, 32]).unwrap();
    for seed in [1, 2] {
        let request = GridRequest { start: image.clone(), ..quick(&generator, seed) };
        let drawn = generator.generate(&request, &mut go_on).unwrap();
        let worst = drawn.frame(0).unwrap().iter().zip(&through).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst.unwrap() <= 1);
    }
}

#[test]
fn a_weak_edit_changes_less_than_a_strong_one() {
    let generator = generator();
    let clip = anyones(5);
    let through =
        generator.reconstruct(&held(conform(&clip, &tiny().clip), &tiny().clip).frames, [32, 32]).unwrap();
    let distance = |strength: f32| {
        let start = Start::Edit { clip: clip.clone(), strength };
        let request = GridRequest { start, steps: 8, guidance: 1.0, ..quick(&generator, 1) };
        let drawn = generator.generate(&request, &mut go_on).unwrap();
        let pairs = drawn.frames.iter().zip(&through);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
    };
    let (weak, strong) = (distance(0.05), distance(1.0));
    assert!(weak < strong, "{weak} against {strong}");
}

#[test]
fn longer_clips_and_continued_ones_go_on_from_their_end() {
    let generator = generator();
    let mut told = Vec::new();
    let long = GridRequest { seconds: 1.0, ..quick(&generator, 3) };
    let clip = generator
        .generate(&long, &mut |done, total| {
            told.push((done, total));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((clip.frame_count(), clip.samples.len()), (24, 12_000));
    // Nine frames, then four more a window, of three steps each.
    assert_eq!(told.len(), 15);
    assert_eq!(told.last(), Some(&(15, 15)));
    let short = generator.generate(&quick(&generator, 3), &mut go_on).unwrap();
    assert_eq!(clip.frames[..short.frames.len()], short.frames);

    let lengths = [6, 7].map(|frames| {
        let start = Start::Continue(anyones(frames));
        GridRequest { start, ..quick(&generator, 3) }
    });
    let clips = generator.generate_batch(&lengths, &mut go_on).unwrap();
    assert_eq!(clips.iter().map(Clip::frame_count).collect::<Vec<_>>(), [21, 23]);

    for frames in [1, 2, 6] {
        let begun = anyones(frames);
        let request = GridRequest { start: Start::Continue(begun.clone()), ..quick(&generator, 3) };
        let clip = generator.generate(&request, &mut go_on).unwrap();
        // At twice the rate, then the model's nine.
        assert_eq!(clip.frame_count(), 2 * frames + 9);
        assert_eq!(clip.samples.len(), (2 * frames + 9) * 500);
        let begun = conform(&begun, &tiny().clip).frames;
        assert_eq!(clip.frames[..begun.len()], begun);
    }
}

#[test]
fn references_are_read_and_may_be_weighed() {
    let generator = generator();
    let with = |level: u8, likeness: f32| {
        let references = vec![vec![level; 16 * 16 * 3]];
        let request = GridRequest { likeness, references, ..quick(&generator, 1) };
        generator.generate(&request, &mut go_on).unwrap()
    };
    assert_ne!(with(10, 1.0).frames, with(240, 1.0).frames);
    assert_eq!(with(10, 0.0).frames, with(240, 0.0).frames, "without weight they are not seen");
}

#[test]
fn a_generation_can_be_cancelled() {
    let generator = generator();
    let cancelled = generator.generate(&quick(&generator, 1), &mut |done, _| {
        if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(cancelled, Err(GridGenerateError::Cancelled)));
}

#[test]
fn bad_requests_are_one_line() {
    let generator = generator();
    let base = quick(&generator, 1);
    let blank = Clip { frames: Vec::new(), ..anyones(1) };
    let edit = |strength| Start::Edit { clip: anyones(1), strength };
    let wrong = [
        GridRequest { prompt: " ".to_owned(), ..base.clone() },
        GridRequest { seconds: 0.0, ..base.clone() },
        GridRequest { seconds: f64::NAN, ..base.clone() },
        GridRequest { seconds: 100.0, ..base.clone() },
        GridRequest { seconds: 1.0, start: Start::Pictures(anyones(1)), ..base.clone() },
        GridRequest { steps: 0, ..base.clone() },
        GridRequest { guidance: f32::NAN, ..base.clone() },
        GridRequest { width: 40, ..base.clone() },
        GridRequest { height: 4096, ..base.clone() },
        GridRequest { references: vec![vec![0; 5]], ..base.clone() },
        GridRequest { references: vec![vec![0; 768]; 2], ..base.clone() },
        GridRequest { start: edit(0.0), ..base.clone() },
        GridRequest { start: edit(1.5), ..base.clone() },
        GridRequest { start: Start::Continue(blank), ..base.clone() },
        GridRequest { start: Start::Image { width: 4, height: 4, pixels: vec![0; 5] }, ..base },
    ];
    for request in wrong {
        let error = generator.generate(&request, &mut go_on).unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }
    assert!(generator.reconstruct(&[0; 100], [16, 16]).is_err());
}
