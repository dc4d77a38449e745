//! What must hold of decoded files.

use std::f32::consts::TAU;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::media::{EncodeOptions, encode_mp4};
use crate::world::Corpus;

const FPS: u32 = 24;
const SAMPLE_RATE: u32 = 12_000;

fn options(side: u32) -> DecodeOptions {
    DecodeOptions { width: side, height: side, fps: FPS, sample_rate: SAMPLE_RATE, max_seconds: 60.0 }
}

fn encoded(clip: &Clip, side: u32) -> Vec<u8> {
    encode_mp4(clip, EncodeOptions { size: (side, side), threads: 1, ..EncodeOptions::default() }).unwrap()
}

/// A clip of `frames` frames whose sound is silent but for a tone that sets in at `onset_s`.
fn clip(frames: usize, side: usize, onset_s: f32) -> Clip {
    let mut clip = Corpus::new(5, side).sample(2).clip;
    assert_eq!((clip.fps, clip.sample_rate), (FPS, SAMPLE_RATE));
    clip.frames.truncate(clip.frame_len() * frames);
    clip.samples = (0..frames * (SAMPLE_RATE / FPS) as usize)
        .map(|index| index as f32 / SAMPLE_RATE as f32 - onset_s)
        .map(|time_s| if time_s < 0.0 { 0.0 } else { 0.8 * (TAU * 1500.0 * time_s).cos() })
        .collect();
    clip
}

fn psnr_db(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let error: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) * a.len() as f64 / error).log10()
}

fn onset_s(samples: &[f32]) -> f32 {
    samples.iter().position(|sample| sample.abs() > 0.3).unwrap() as f32 / SAMPLE_RATE as f32
}

/// A short file, and its clip.
static SHORT: LazyLock<(Clip, Vec<u8>)> = LazyLock::new(|| {
    let clip = clip(12, 32, 0.2);
    let mp4 = encoded(&clip, 32);
    (clip, mp4)
});

fn error_line(bytes: &[u8]) -> String {
    let message = match decode(bytes, options(32)) {
        Ok(clip) => panic!("{} frames were read from {} bytes", clip.frame_count(), bytes.len()),
        Err(error) => error.to_string(),
    };
    assert!(!message.is_empty() && !message.contains('\n'), "{message}");
    message
}

#[test]
fn what_was_encoded_comes_back() {
    let before = clip(48, 64, 0.75);
    let after = decode(&encoded(&before, 64)[..], options(64)).unwrap();
    assert_eq!((after.width, after.height, after.fps, after.sample_rate), (64, 64, FPS, SAMPLE_RATE));
    assert_eq!((after.frame_count(), after.samples.len()), (48, before.samples.len()));
    let quality_db = psnr_db(&before.frames, &after.frames);
    assert!(quality_db > 28.0, "{quality_db} dB");
    // Shown a frame early or late, a moving picture is worse.
    let shift = before.frame_len();
    let late_db = psnr_db(&before.frames[..47 * shift], &after.frames[shift..]);
    assert!(late_db < quality_db, "{late_db} dB a frame late, {quality_db} dB in place");
    let onset_s = onset_s(&after.samples);
    assert!((onset_s - 0.75).abs() < 0.002, "the sound set in at {onset_s} s");
}

#[test]
fn a_clip_takes_the_size_rates_and_length_that_were_asked_for() {
    let asked = DecodeOptions { width: 24, height: 40, fps: 12, sample_rate: 16_000, max_seconds: 0.25 };
    let clip = decode(&SHORT.1[..], asked).unwrap();
    assert_eq!((clip.width, clip.height, clip.fps, clip.sample_rate), (24, 40, 12, 16_000));
    assert_eq!((clip.frame_count(), clip.samples.len()), (3, 4000));
    let slow = decode(&SHORT.1[..], DecodeOptions { fps: 48, ..options(32) }).unwrap();
    assert_eq!(slow.frame_count(), 24);
    let silent = Clip { samples: Vec::new(), ..SHORT.0.clone() };
    assert!(decode(&encoded(&silent, 32)[..], options(32)).unwrap().samples.is_empty());
}

#[test]
fn a_file_and_its_bytes_are_the_same_clip() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &SHORT.1).unwrap();
    let from_file = decode(file.path(), options(32)).unwrap();
    assert!(from_file == decode(&SHORT.1[..], options(32)).unwrap());
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let mp4 = &SHORT.1;
    // Each cut in the index, and every seventh in the data.
    let index = mp4.windows(4).position(|kind| kind == b"mdat").unwrap() + 8;
    for length in (0..index).chain((index..mp4.len()).step_by(7)).chain([mp4.len() - 1]) {
        error_line(&mp4[..length]);
    }
}

#[test]
fn what_is_no_clip_is_refused_by_name() {
    assert_eq!(error_line(b""), "neither an MP4 nor a WebM file");
    assert_eq!(error_line(b"\x89PNG\r\n\x1a\n and so on"), "neither an MP4 nor a WebM file");
    assert!(error_line(b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomiso2").contains("damaged"));
    let missing = decode(Path::new("nowhere/a.mp4"), options(32)).unwrap_err();
    assert!(missing.to_string().contains("nowhere/a.mp4"));
    assert!(matches!(decode(Path::new("/"), options(32)), Err(DecodeError::Read { .. })));
    for asked in [
        DecodeOptions { width: 0, ..options(32) },
        DecodeOptions { height: 4097, ..options(32) },
        DecodeOptions { fps: 0, ..options(32) },
        DecodeOptions { sample_rate: 0, ..options(32) },
        DecodeOptions { max_seconds: f64::NAN, ..options(32) },
    ] {
        assert!(matches!(decode(&SHORT.1[..], asked), Err(DecodeError::Options(_))), "{asked:?}");
    }
}

/// The short file with the bytes after the `nth` box of a kind overwritten.
fn forged(kind: [u8; 4], nth: usize, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut mp4 = SHORT.1.clone();
    let starts = mp4.windows(4).enumerate().filter(|(_, found)| **found == kind).map(|(at, _)| at + 4);
    let at = starts.collect::<Vec<_>>()[nth] + offset;
    mp4[at..at + bytes.len()].copy_from_slice(bytes);
    mp4
}

#[test]
fn a_file_that_claims_too_much_is_refused() {
    // Width and height in the description of the AV1 track.
    let wide = forged(*b"av01", 0, 24, &[0xff, 0xff, 0x10, 0x00]);
    assert!(error_line(&wide).contains("65535x4096"));
    // A clock of zero ticks a second, for either track.
    for track in 0..2 {
        error_line(&forged(*b"mdhd", track, 12, &[0; 4]));
    }
    // Four thousand million samples, each of four gigabytes.
    error_line(&forged(*b"stsz", 0, 4, &[0xff; 8]));
    // Pictures that last for years fill the asked seconds and no more.
    let absurd = decode(
        &forged(*b"stts", 0, 12, &[0x7f, 0xff, 0xff, 0xff])[..],
        DecodeOptions { max_seconds: 2.0, ..options(16) },
    );
    assert!(absurd.is_ok_and(|clip| clip.frame_count() == 48));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_an_error_or_a_clip_within_the_limits(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut mp4 = SHORT.1.clone();
        for (at, byte) in damage {
            *at.get_mut(&mut mp4) = byte;
        }
        let asked = DecodeOptions { max_seconds: 1.0, ..options(16) };
        match decode(&mp4[..], asked) {
            Ok(clip) => {
                prop_assert!((1..=24).contains(&clip.frame_count()));
                prop_assert!(clip.samples.iter().all(|sample| sample.abs() <= 1.0));
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}

#[test]
fn a_codec_without_a_decoder_is_named() {
    let mut mp4 = SHORT.1.clone();
    let places: Vec<usize> =
        mp4.windows(4).enumerate().filter(|(_, kind)| kind == b"av01").map(|(at, _)| at).collect();
    for at in places {
        mp4[at..at + 4].copy_from_slice(b"vp09");
    }
    assert_eq!(Container::open(Source::Bytes(&mp4)).unwrap().foreign_codec(), Some("VP9"));
    assert_eq!(Container::open(Source::Bytes(&SHORT.1)).unwrap().foreign_codec(), None);
}

/// Runs ffmpeg to make or change a file; `None` where it is not installed or lacks an encoder.
fn ffmpeg_made(arguments: &[&str], name: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.mp4"), dir.path().join(name));
    std::fs::write(&input, encoded(&clip(36, 64, 0.75), 64)).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "quiet", "-i"]).arg(&input).args(arguments).arg(&output);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some((dir, output))
}

#[test]
fn files_of_other_programs_keep_their_picture_and_their_sound_in_step() {
    let before = clip(36, 64, 0.75);
    // The first five are decoded here, the others by ffmpeg, which counts the pre-skip of Opus.
    for (arguments, name, slack_s) in [
        (&["-c", "copy"][..], "copied.mp4", 0.002),
        (&["-c", "copy"], "copied.webm", 0.002),
        (&["-c:v", "copy", "-c:a", "libopus", "-ac", "2"], "stereo.webm", 0.002),
        (&["-c:v", "copy", "-c:a", "libopus", "-b:a", "16k", "-application", "voip"], "voice.mp4", 0.002),
        (
            &["-c:v", "libsvtav1", "-crf", "20", "-pix_fmt", "yuv420p10le", "-c:a", "copy"],
            "ten-bit.mp4",
            0.002,
        ),
        (&["-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-c:a", "aac"], "h264.mp4", 0.008),
        (&["-c:v", "libvpx", "-b:v", "2M", "-c:a", "libopus"], "vp8.webm", 0.008),
    ] {
        let Some((_dir, path)) = ffmpeg_made(arguments, name) else { continue };
        let after = decode(path.as_path(), options(64)).unwrap();
        assert_eq!(after.frame_count(), 36, "{name}");
        assert_eq!(after.samples.len(), before.samples.len(), "{name}");
        let quality_db = psnr_db(&before.frames, &after.frames);
        assert!(quality_db > 25.0, "{name}: {quality_db} dB");
        let onset_s = onset_s(&after.samples);
        assert!((onset_s - 0.75).abs() < slack_s, "{name}: the sound set in at {onset_s} s");
        let bytes = std::fs::read(&path).unwrap();
        assert!(decode(&bytes[..], options(64)).unwrap() == after, "{name}");
        assert!(decode(&bytes[..bytes.len() / 2], options(64)).is_err(), "{name}");
    }
}
