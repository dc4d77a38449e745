//! Code written for OpenAI's Videos API runs unchanged: the official Python client.

use std::process::Command;

use crate::program::{Server, say, skip, turn};

/// An interpreter that has the `openai` package.
fn python() -> Option<String> {
    let python = std::env::var("KINORA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found =
        Command::new(&python).args(["-c", "import openai"]).output().is_ok_and(|run| run.status.success());
    found.then_some(python)
}

#[test]
fn the_official_openai_client_creates_polls_and_downloads() {
    let Some(python) = python() else {
        return skip("no Python with the `openai` package; pip install -r tests/clients/requirements.txt");
    };
    let _turn = turn();
    let server = Server::empty();
    let mp4 = server.data_dir.join("client.mp4");
    let run = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openai_videos.py"))
        .args([&server.base_url, &server.token("client", "user")])
        .arg(&mp4)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    say(&format!("openai client: {}", String::from_utf8_lossy(&run.stdout).trim()));
    assert!(std::fs::metadata(&mp4).unwrap().len() > 10_000);
}
