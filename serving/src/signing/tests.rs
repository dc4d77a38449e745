use kinora_training::clip::Clip;
use kinora_training::media::{EncodeOptions, encode_mp4};

use super::*;

fn mp4() -> Vec<u8> {
    let clip = Clip {
        width: 16,
        height: 16,
        fps: 24,
        frames: (0..16 * 16 * 3 * 24).map(|byte| (byte % 251) as u8).collect(),
        sample_rate: 12_000,
        samples: (0..12_000).map(|n| (n as f32 * 0.2).sin() * 0.5).collect(),
    };
    encode_mp4(&clip, EncodeOptions { size: (32, 32), ..EncodeOptions::default() }).unwrap()
}

fn claim(asset_id: &str) -> Claim {
    Claim {
        asset_id: asset_id.to_owned(),
        model: "kinora-nano".to_owned(),
        when: "2026-11-22T14:00:00Z".to_owned(),
    }
}

#[test]
fn a_signed_clip_says_what_it_is_and_is_authentic() {
    let dir = tempfile::tempdir().unwrap();
    let signer = ContentSigner::open(&dir.path().join("keys"), 2026).unwrap();
    let signed = signer.sign(&mp4(), &claim("video_1"), None).unwrap();
    let provenance = signer.verify(&signed).unwrap().unwrap();
    assert_eq!(provenance.standing, Standing::Authentic);
    assert_eq!(provenance.claim, Some(claim("video_1")));

    let reader = Reader::from_shared_context(&signer.context).with_stream(MP4, Cursor::new(&signed)).unwrap();
    let manifest = reader.json();
    for expected in ["c2pa.created", "trainedAlgorithmicMedia", "kinora-nano", "\"Kinora\""] {
        assert!(manifest.contains(expected), "{expected} is missing from {manifest}");
    }
    assert_eq!(
        kinora_training::media::probe(&signed).unwrap(),
        kinora_training::media::probe(&mp4()).unwrap()
    );
}

#[test]
fn the_identity_outlives_a_restart_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let signed = ContentSigner::open(&keys, 2026).unwrap().sign(&mp4(), &claim("video_1"), None).unwrap();
    let again = ContentSigner::open(&keys, 2026).unwrap();
    assert_eq!(again.verify(&signed).unwrap().unwrap().standing, Standing::Authentic);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(keys.join("content-signing.key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_changed_clip_an_unsigned_one_and_a_stranger_s_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let ours = ContentSigner::open(&dir.path().join("ours"), 2026).unwrap();
    let theirs = ContentSigner::open(&dir.path().join("theirs"), 2026).unwrap();
    assert_eq!(ours.verify(&mp4()).unwrap(), None);

    let mut signed = ours.sign(&mp4(), &claim("video_1"), None).unwrap();
    assert_eq!(theirs.verify(&signed).unwrap().unwrap().standing, Standing::OtherSigner);
    let last = signed.len() - 20;
    signed[last] ^= 0xff;
    assert_eq!(ours.verify(&signed).unwrap().unwrap().standing, Standing::Altered);
}

#[test]
fn a_remix_keeps_the_marks_of_what_it_was_made_from() {
    let dir = tempfile::tempdir().unwrap();
    let signer = ContentSigner::open(dir.path(), 2026).unwrap();
    let parent = signer.sign(&mp4(), &claim("video_1"), None).unwrap();
    let child = signer.sign(&mp4(), &claim("video_2"), Some(&parent)).unwrap();
    let provenance = signer.verify(&child).unwrap().unwrap();
    assert_eq!((provenance.standing, provenance.ingredients), (Standing::Authentic, 1));
    let reader = Reader::from_shared_context(&signer.context).with_stream(MP4, Cursor::new(&child)).unwrap();
    assert!(reader.json().contains("video_1"), "the parent's manifest is carried along");
}

#[test]
fn a_damaged_key_is_one_clear_line_and_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    ContentSigner::open(dir.path(), 2026).unwrap();
    let key = dir.path().join("content-signing.key.pem");
    fs::write(&key, "not a key").unwrap();
    let message = ContentSigner::open(dir.path(), 2026).unwrap_err().to_string();
    assert!(message.contains("is not valid") && !message.contains('\n'), "{message}");
    fs::remove_file(&key).unwrap();
    let message = ContentSigner::open(dir.path(), 2026).unwrap_err().to_string();
    assert!(message.starts_with("cannot use the signing key"), "{message}");
}
