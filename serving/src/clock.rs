//! The clock as an input: handlers ask [`Clock::now_ms`], never the operating system, so that a
//! test can stand on any moment and two runs with the same clock give the same answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// Where the time comes from. Times are UTC milliseconds since the epoch.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance_ms`].
    pub fn fixed(now_ms: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(now_ms))))
    }

    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => Timestamp::now().as_millisecond(),
        }
    }

    /// Moves a fixed clock; the machine's own clock is not ours to move and stays as it is.
    pub fn advance_ms(&self, by_ms: i64) {
        if let Some(fixed) = &self.0 {
            fixed.fetch_add(by_ms, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(fixed) => write!(f, "Clock(fixed at {})", fixed.load(Ordering::SeqCst)),
            None => f.write_str("Clock(system)"),
        }
    }
}

/// The UTC day that `now_ms` falls on, as days since the epoch.
pub fn utc_day(now_ms: i64) -> i64 {
    now_ms.div_euclid(DAY_MS)
}

/// When the UTC day after `now_ms` begins.
pub fn next_utc_day_ms(now_ms: i64) -> i64 {
    (utc_day(now_ms) + 1) * DAY_MS
}

/// The UTC calendar year of `now_ms`.
pub fn utc_year(now_ms: i64) -> i64 {
    Timestamp::from_millisecond(now_ms)
        .map_or(1970, |time| i64::from(time.to_zoned(jiff::tz::TimeZone::UTC).year()))
}
