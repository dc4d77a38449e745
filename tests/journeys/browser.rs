//! A prompt becomes a clip that a real browser plays with sound, in the app that the program serves.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{Server, say, skip, turn};

#[test]
fn a_prompt_becomes_a_clip_that_chromium_plays_with_sound() {
    let browser_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !browser_dir.join("node_modules").exists() {
        return skip("no Node packages for the browser; run `npm ci` in tests/browser");
    }
    if !Path::new("/usr/bin/chromium").exists() {
        return skip("no /usr/bin/chromium; apt-get install chromium");
    }
    let _turn = turn();
    let server = Server::empty();
    let token = server.token("browser", "admin");
    let pictures = server.data_dir.join("pictures");
    let run = Command::new("node")
        .arg(browser_dir.join("journey.mjs"))
        .args([&server.base_url, &token])
        .arg(&pictures)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&run.stderr));
    let figures: Value = serde_json::from_str(stdout.trim()).unwrap();
    say(&format!("chromium: {figures}"));
}
