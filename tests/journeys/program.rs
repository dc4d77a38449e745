//! The built program: run it to the end, or keep a server of it running for a test.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test, with no configuration but what the test gives it.
pub(crate) fn kinora(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
    for (name, _) in std::env::vars() {
        if name.starts_with("KINORA_") {
            command.env_remove(name);
        }
    }
    command.current_dir(data_dir).arg("--data-dir").arg(data_dir);
    command
}

/// Runs to the end and returns standard output, or fails with everything that was printed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?} failed\n{}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// As [`succeed`], with `--json`, parsed.
pub(crate) fn succeed_json(command: &mut Command) -> Value {
    let text = succeed(command.arg("--json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Runs to the end, which must be a failure with exactly one line on standard error that is not
/// progress, and returns that line.
pub(crate) fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} succeeded\n{}", printed(&output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !stderr.contains("panicked") && !stderr.contains("a bug in kinora"),
        "{command:?} panicked\n{stderr}"
    );
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{command:?} printed\n{stderr}");
    errors[0].to_owned()
}

fn printed(output: &Output) -> String {
    format!(
        "stdout: {}\nstderr: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The real data sets, where this machine has them.
pub(crate) fn shared_data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared/data").join(name);
    if path.exists() {
        Some(path)
    } else {
        say(&format!("skipped: {} is not here", path.display()));
        None
    }
}

/// Whether a journey whose tool is missing must fail instead of being skipped.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("KINORA_REQUIRE_JOURNEYS").is_none(), "cannot be skipped here: {reason}");
    say(&format!("skipped: {reason}"));
}

/// Prints a line that the test runner does not swallow when the test passes: a figure, or what was skipped.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Journeys that keep both cores busy take turns, so that none waits for a server that starves.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A running `kinora serve`, ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) base_url: String,
    pub(crate) data_dir: PathBuf,
    /// Removed with the server, where it was made for it.
    own_dir: Option<TempDir>,
}

impl Server {
    /// Serves a new, empty directory.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self::on(dir.path());
        server.own_dir = Some(dir);
        server
    }

    /// Serves `data_dir` on a free port, and waits until it answers.
    pub(crate) fn on(data_dir: &Path) -> Self {
        let mut child = kinora(data_dir)
            .args(["serve", "--bind", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(data_dir.join("serve.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(started) = serde_json::from_str::<Value>(&line) else {
            let log = std::fs::read_to_string(data_dir.join("serve.log")).unwrap();
            panic!("serve did not start: {line}\n{log}");
        };
        let base_url = started["listening"].as_str().unwrap().to_owned();
        Self { child, base_url, data_dir: data_dir.to_owned(), own_dir: None }
    }

    /// A token for `user`, an adult, minted by the command line.
    pub(crate) fn token(&self, user: &str, role: &str) -> String {
        let args = ["token", "create", "--user", user, "--role", role, "--birth-year", "1990"];
        let created = succeed_json(kinora(&self.data_dir).args(args));
        created["token"].as_str().unwrap().to_owned()
    }

    /// A client that acts as `user`.
    pub(crate) fn user(&self, user: &str) -> Client {
        Client { base_url: self.base_url.clone(), token: self.token(user, "user") }
    }

    /// Ends the server as a machine without memory, or a person without patience, would: `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the server as an operator would, waits for it, and serves the same directory again.
    pub(crate) fn restart(mut self) -> Self {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "serve ended with {status}");
        let mut again = Self::on(&self.data_dir);
        again.own_dir = self.own_dir.take();
        again
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer: status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body of a successful answer.
    pub(crate) fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    pub(crate) fn refused(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// Somebody with a token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) base_url: String,
    pub(crate) token: String,
}

impl Client {
    fn agent() -> ureq::Agent {
        ureq::Agent::config_builder().http_status_as_error(false).build().into()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(Self::agent().get(self.url(path)).header("authorization", self.bearer()).call())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        answer(Self::agent().delete(self.url(path)).header("authorization", self.bearer()).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        answer(Self::agent().post(self.url(path)).header("authorization", self.bearer()).send_json(body))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answer {
        answer(Self::agent().put(self.url(path)).header("authorization", self.bearer()).send_json(body))
    }

    pub(crate) fn post_form(&self, path: &str, form: ureq::unversioned::multipart::Form<'_>) -> Answer {
        answer(Self::agent().post(self.url(path)).header("authorization", self.bearer()).send(form))
    }

    /// Creates a video and waits until it is no longer queued or running.
    pub(crate) fn generate(&self, body: &Value) -> Value {
        let created = self.post("/v1/videos", body).ok();
        self.wait_for_video(created["id"].as_str().unwrap())
    }

    pub(crate) fn wait_for_video(&self, id: &str) -> Value {
        loop {
            let video = self.get(&format!("/v1/videos/{id}")).ok();
            if !matches!(video["status"].as_str(), Some("queued" | "in_progress")) {
                return video;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = result.unwrap();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
    Answer { status, body }
}
