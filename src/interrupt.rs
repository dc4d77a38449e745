//! Ctrl-C and SIGTERM, as a flag that long work looks at between steps.

use kinora_harness::interrupt::Interrupt;
use thiserror::Error;

use crate::output::Output;

/// The work was stopped on request.
#[derive(Debug, Error)]
pub(crate) enum Interrupted {
    /// What was done is saved.
    #[error("interrupted; run the same command again to go on from here")]
    Resumable,
    /// What was done is gone; nothing half done is left behind.
    #[error("interrupted; nothing was written")]
    Abandoned,
}

/// A flag that is set at the first Ctrl-C or SIGTERM. A second one ends the process at once.
pub(crate) fn flag() -> Interrupt {
    let interrupt = Interrupt::new();
    let raised = interrupt.clone();
    tokio::spawn(async move {
        signal().await;
        raised.set();
        signal().await;
        std::process::exit(130);
    });
    interrupt
}

/// Says that the server is stopping, and ends the process at the next signal: what is on its way is
/// either synced already or begins again.
pub(crate) fn leave_at_the_next(output: Output) {
    output.note("stopping after what is in flight; Ctrl-C again stops at once");
    tokio::spawn(async {
        signal().await;
        std::process::exit(130);
    });
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
