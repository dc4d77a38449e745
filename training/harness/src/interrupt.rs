//! A flag that asks a long operation to stop at its next safe point.
//!
//! The command line sets it on Ctrl-C; a trainer reads it between steps, writes a checkpoint
//! and returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cheap to clone; all clones are one flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_one_flag() {
        let interrupt = Interrupt::new();
        let seen = interrupt.clone();
        assert!(!seen.is_set());
        interrupt.set();
        assert!(seen.is_set());
    }
}
