//! The compactor: every few seconds what the outbox and the event log hold is moved to the lake.
//! A failing lake is retried; the log keeps the events meanwhile, and refuses new ones once full.

use std::time::Duration;

use super::{InteractionsError, outbox};
use crate::app::App;

const EVERY: Duration = Duration::from_secs(3);

/// Runs until the server is stopped.
pub async fn run(app: App) {
    while !app.shutdown.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.interactions.outbox_wake.notified() => {}
            () = app.shutdown.cancelled() => return,
        }
        settle(&app).await;
    }
}

/// Moves all that waits to the lake. What cannot be moved stays and is logged.
pub async fn settle(app: &App) {
    if let Err(error) = outbox::drain(app).await {
        tracing::error!(error = %error, source = ?std::error::Error::source(&error), "cannot drain the outbox");
    }
    let compacted: Result<(), InteractionsError> =
        app.interactions.compact(&app.lake, app.clock.now_ms()).await;
    if let Err(error) = compacted {
        tracing::error!(error = %error, source = ?std::error::Error::source(&error), "cannot move events to the lake");
    }
}
