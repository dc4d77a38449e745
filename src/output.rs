//! What the command line prints: results on standard output, everything else on standard error.

use std::io::{self, Write};

use kinora_harness::progress::Mode;
use serde::Serialize;

/// Text for people, or one JSON document for machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// How long commands show their progress.
    pub(crate) fn progress(self) -> Mode {
        Mode::detect(self.json)
    }

    /// Prints a result: `value` for machines, `text` for people.
    pub(crate) fn result(self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        if self.json {
            Self::line(&serde_json::to_string_pretty(value).map_err(io::Error::other)?)
        } else {
            Self::line(&text())
        }
    }

    /// A line of a result. A closed pipe (`kinora sql ... | head`) is the reader's choice, not an error.
    pub(crate) fn line(text: &str) -> io::Result<()> {
        match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// A note on what is happening, for people only.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// One line: what went wrong, and each cause behind it once.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let mut message = String::new();
        for cause in error.chain() {
            let text = cause.to_string();
            if message.ends_with(&text) {
                continue;
            }
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(&text);
        }
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = if self.json {
            writeln!(io::stderr().lock(), "{}", serde_json::json!({ "error": message }))
        } else {
            writeln!(io::stderr().lock(), "error: {message}")
        };
    }
}
