//! Progress of a long operation, on standard error: a bar on a terminal, a line every few
//! seconds elsewhere, nothing where a machine reads the output.
//!
//! Standard output stays free for results. A closed standard error never stops the work.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A bar that redraws itself.
    Terminal,
    /// A line every few seconds, for logs.
    Plain,
    #[default]
    Silent,
}

impl Mode {
    /// Silent for `--json`, a bar where standard error is a terminal, else plain lines.
    pub fn detect(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Silent,
            (false, true) => Self::Terminal,
            (false, false) => Self::Plain,
        }
    }
}

/// The progress of one step of the work.
pub struct Progress {
    label: String,
    total: u64,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { started: Instant, last: Option<Instant> },
    Nothing,
}

impl Progress {
    /// Starts showing `label`; `total` counts the units of [`Progress::set`], zero where unknown.
    pub fn new(label: impl Into<String>, total: u64, mode: Mode) -> Self {
        let label = label.into();
        let shown = match mode {
            Mode::Terminal => Shown::Bar(bar(&label, total)),
            Mode::Plain => Shown::Lines { started: Instant::now(), last: None },
            Mode::Silent => Shown::Nothing,
        };
        Self { label, total, shown }
    }

    /// Says that `done` units are done. Cheap enough to call at every step.
    pub fn set(&mut self, done: u64, message: impl fmt::Display) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(message.to_string());
            }
            Shown::Lines { last, .. } => {
                if last.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
                    *last = Some(Instant::now());
                    line(format_args!("{}: {} {message}", self.label, counted(done, self.total)));
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Ends with `message`, which stays on the screen.
    pub fn finish(self, message: impl fmt::Display) {
        match self.shown {
            Shown::Bar(bar) => {
                bar.finish_and_clear();
                line(format_args!("{}: {message} ({:.1} s)", self.label, bar.elapsed().as_secs_f64()));
            }
            Shown::Lines { started, .. } => {
                line(format_args!("{}: {message} ({:.1} s)", self.label, started.elapsed().as_secs_f64()));
            }
            Shown::Nothing => {}
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("label", &self.label)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

fn bar(label: &str, total: u64) -> ProgressBar {
    let length = (total > 0).then_some(total);
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    let template = if total > 0 {
        "{prefix} [{bar:30}] {pos}/{len} {msg} (eta {eta})"
    } else {
        "{prefix} {spinner} {pos} {msg} ({elapsed})"
    };
    // The templates are the two above: if one were wrong, the default style would show.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn counted(done: u64, total: u64) -> String {
    match total {
        0 => done.to_string(),
        total => format!("{done}/{total} ({:.0}%)", 100.0 * done as f64 / total as f64),
    }
}

fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_silent() {
        assert_eq!(Mode::detect(true), Mode::Silent);
    }

    #[test]
    fn a_known_total_shows_its_share() {
        assert_eq!(counted(5, 20), "5/20 (25%)");
        assert_eq!(counted(5, 0), "5");
    }

    #[test]
    fn the_terminal_templates_are_valid() {
        for total in [0, 10] {
            let bar = bar("step", total);
            bar.set_position(3);
            assert_eq!(bar.position(), 3);
            assert_eq!(bar.length(), (total > 0).then_some(total));
        }
    }
}
