//! Where analysts ask: who may ask, what they see, and how much an answer may cost, whatever the protocol.

use std::sync::Arc;
use std::time::Duration;

use kinora_pipelines::query::{Policy, QueryLimits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Role;
use crate::config::AnalyticsConfig;
use crate::error::{ApiError, ApiResult};

/// Questions that are answered at the same time, shared between the protocols.
#[derive(Clone, Debug)]
pub struct Desk {
    seats: Arc<Semaphore>,
    analyst: Policy,
    limits: QueryLimits,
}

impl Desk {
    pub(crate) fn new(config: &AnalyticsConfig) -> Self {
        let mut analyst = Policy::analyst();
        analyst.rows.clone_from(&config.rows);
        for (table, columns) in &config.hidden {
            analyst.hidden.entry(table.clone()).or_default().extend(columns.iter().cloned());
        }
        Self {
            seats: Arc::new(Semaphore::new(config.questions_at_once)),
            analyst,
            limits: QueryLimits {
                max_rows: config.rows_max,
                max_bytes: config.bytes_max,
                deadline: Duration::from_secs(config.deadline_s),
            },
        }
    }

    /// What a role may see: an admin everything.
    ///
    /// # Errors
    ///
    /// A role that may not ask at all.
    pub(crate) fn policy(&self, role: Role) -> ApiResult<Policy> {
        match role {
            Role::Admin => Ok(Policy::default()),
            Role::Analyst => Ok(self.analyst.clone()),
            Role::User | Role::Moderator => {
                Err(ApiError::forbidden("asking the lake needs a token with the analyst role"))
            }
        }
    }

    pub(crate) fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// A seat, held until the answer has left; waits for one no longer than an answer may take.
    ///
    /// # Errors
    ///
    /// All seats are taken for too long.
    pub(crate) async fn seat(&self) -> ApiResult<OwnedSemaphorePermit> {
        let seat = tokio::time::timeout(self.limits.deadline, Arc::clone(&self.seats).acquire_owned());
        match seat.await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(ApiError::Unavailable(
                "too many questions are being answered; ask again later".to_owned(),
            )),
        }
    }
}
