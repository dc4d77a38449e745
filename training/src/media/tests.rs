//! What must hold of encoded clips.

use proptest::prelude::*;

use super::*;
use crate::world::Corpus;

fn clip() -> Clip {
    let mut clip = Corpus::new(5, 32).sample(2).clip;
    clip.frames.truncate(clip.frame_len() * 24);
    clip.samples.truncate(12_000);
    clip
}

#[test]
fn an_mp4_states_its_size_length_and_sound() {
    let options = EncodeOptions { size: (64, 96), ..EncodeOptions::default() };
    let mp4 = encode_mp4(&clip(), options).unwrap();
    let info = probe(&mp4).unwrap();
    assert_eq!((info.width, info.height, info.has_sound), (64, 96, true));
    assert!((990..=1021).contains(&info.duration_ms), "{info:?}");
    assert!(!mp4.windows(4).take(64).any(|kind| kind == b"mdat"), "the index comes first");
}

#[test]
fn a_silent_clip_has_no_sound_track() {
    let silent = Clip { samples: Vec::new(), ..clip() };
    let mp4 = encode_mp4(&silent, EncodeOptions { size: (32, 32), ..EncodeOptions::default() }).unwrap();
    assert!(!probe(&mp4).unwrap().has_sound);
}

#[test]
fn the_same_clip_gives_the_same_bytes() {
    let options = EncodeOptions { size: (32, 32), ..EncodeOptions::default() };
    assert_eq!(encode_mp4(&clip(), options).unwrap(), encode_mp4(&clip(), options).unwrap());
}

#[test]
fn sound_survives_encoding_in_place() {
    // What a browser does: decode, drop the announced pre-skip, compare with what went in.
    let corpus = Corpus::new(5, 32);
    let mut sounds = (0..9).map(|index| {
        let whole = corpus.sample(index).clip;
        resample::resample(&whole.samples, whole.sample_rate, ENCODED_SAMPLE_RATE)
    });
    let sound = sounds.find(|sound| sound.iter().any(|sample| sample.abs() > 0.1)).unwrap();
    let mut decoder = opus_rs::OpusDecoder::new(48_000, 1).unwrap();
    let mut decoded = Vec::new();
    let mut block = vec![0.0; opus::PACKET_SAMPLES];
    for packet in opus::encode(&sound).unwrap() {
        let length = decoder.decode(&packet, opus::PACKET_SAMPLES, &mut block).unwrap();
        decoded.extend_from_slice(&block[..length]);
    }
    let decoded = &decoded[312..];
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
    let sound = &sound[..decoded.len()];
    let correlation = dot(sound, decoded) / (dot(sound, sound) * dot(decoded, decoded)).sqrt();
    assert!(correlation > 0.97, "correlation {correlation}");
}

#[test]
fn what_cannot_be_encoded_is_refused_by_name() {
    let odd = EncodeOptions { size: (63, 64), ..EncodeOptions::default() };
    let message = encode_mp4(&clip(), odd).unwrap_err().to_string();
    assert!(message.contains("63x64"), "{message}");
    let empty = Clip { frames: Vec::new(), ..clip() };
    assert!(matches!(encode_mp4(&empty, EncodeOptions::default()), Err(MediaError::Empty)));
    assert!(probe(b"not a video").is_err());
}

#[test]
fn stills_have_the_size_of_their_frames() {
    let clip = clip();
    let size = |png: &[u8]| {
        let picture = image::load_from_memory(png).unwrap();
        (picture.width(), picture.height())
    };
    assert_eq!(size(&thumbnail_png(&clip, 3).unwrap()), (32, 32));
    assert_eq!(size(&spritesheet_png(&clip, 4, 2).unwrap()), (128, 64));
    assert_eq!(size(&contact_sheet_png(&[clip.clone(), clip.clone()], 3).unwrap()), (3 * 36 - 4, 2 * 36 - 4));
    assert!(matches!(thumbnail_png(&clip, 24), Err(MediaError::NoFrame { frame: 24, count: 24 })));
}

proptest! {
    #[test]
    fn a_damaged_mp4_is_probed_without_a_panic(
        cut in 0..4096_usize,
        damage in proptest::collection::vec((0..2048_usize, any::<u8>()), 0..12),
    ) {
        let mut mp4 = std::sync::LazyLock::force(&WHOLE).clone();
        mp4.truncate(mp4.len().saturating_sub(cut));
        for (at, byte) in damage {
            if let Some(value) = mp4.get_mut(at) {
                *value = byte;
            }
        }
        // Whatever it says, it says so.
        prop_assert!(probe(&mp4).is_ok_and(|info| info.width < 1 << 16) || probe(&mp4).is_err());
    }
}

static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    encode_mp4(&clip(), EncodeOptions { size: (32, 32), ..EncodeOptions::default() }).unwrap()
});

#[test]
fn an_encoding_stops_between_two_frames() {
    let clip = clip();
    let options = EncodeOptions { size: (32, 32), ..EncodeOptions::default() };
    let mut seen = Vec::new();
    let stopped = encode_mp4_watched(&clip, options, &mut |done, total| {
        seen.push((done, total));
        if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(MediaError::Stopped)));
    let total = clip.frame_count();
    assert_eq!(seen, [(0, total), (1, total), (2, total)]);
}
