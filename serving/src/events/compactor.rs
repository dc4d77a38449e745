//! The compactor: every few seconds what the outbox and the event log hold is moved to the lake,
//! and the metrics are folded; once an hour what is too old is deleted, once a day in the lake. A failing lake is retried;
//! the log keeps the events meanwhile, and refuses new ones once full.

use std::time::Duration;

use super::{InteractionsError, outbox};
use crate::app::App;
use crate::clock::DAY_MS;
use crate::{ops, retention};

const EVERY: Duration = Duration::from_secs(3);
const PRUNE_EVERY_MS: i64 = 60 * 60 * 1000;
/// The lake's files are all listed for it.
const RETAIN_EVERY_MS: i64 = DAY_MS;

/// Runs until the server is stopped.
pub async fn run(app: App) {
    let mut prune_at_ms = app.clock.now_ms();
    let mut retain_at_ms = prune_at_ms;
    while !app.shutdown.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.interactions.outbox_wake.notified() => {}
            () = app.shutdown.cancelled() => return,
        }
        settle(&app).await;
        // Samples pile up until they are folded, whether or not anybody reads /metrics.
        ops::recorder().run_upkeep();
        let now_ms = app.clock.now_ms();
        if now_ms >= prune_at_ms {
            prune_at_ms = now_ms + PRUNE_EVERY_MS;
            if let Err(error) = retention::prune(&app.db, now_ms).await {
                tracing::error!(error = %error, source = ?std::error::Error::source(&error), "cannot delete what is too old");
            }
        }
        if now_ms >= retain_at_ms {
            retain_at_ms = now_ms + RETAIN_EVERY_MS;
            if let Err(error) = app.lake.retain(&app.config.lake.retention(), now_ms).await {
                tracing::error!(
                    error = error.one_line(),
                    "cannot delete what the lake has kept for long enough"
                );
            }
        }
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
