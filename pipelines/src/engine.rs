//! Where the lake's questions are worked on: in this process, or on a Ballista cluster.
//!
//! A cluster reads the files of a table's version itself, so it needs the lake under the same path as here. Plans
//! that leave this process name files and columns alone: any Ballista 55 scheduler and executor can run them.

use datafusion::prelude::SessionContext;

use crate::error::{PipelineError, Result};
use crate::query::{LakeRuntime, new_session};

/// Where questions are worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// In this process.
    #[default]
    Local,
    /// On the Ballista cluster of this scheduler, for example `df://10.0.0.1:50050`. Needs the feature `ballista`.
    Ballista { scheduler: String },
}

impl Engine {
    /// Whether plans leave this process.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Self::Local)
    }

    /// A session without tables.
    pub(crate) fn session(&self, runtime: &LakeRuntime) -> Result<SessionContext> {
        match self {
            Self::Local => new_session(runtime),
            Self::Ballista { scheduler } => remote::session(scheduler, runtime),
        }
    }
}

#[cfg(not(feature = "ballista"))]
mod remote {
    use super::{LakeRuntime, PipelineError, Result, SessionContext};

    pub(super) fn session(_: &str, _: &LakeRuntime) -> Result<SessionContext> {
        let reason = "this program was built without it: build with `--features ballista`".to_owned();
        Err(PipelineError::Engine { reason })
    }
}

#[cfg(feature = "ballista")]
mod remote {
    use ballista_core::extension::{SessionConfigExt as _, SessionStateExt as _};
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionConfig;

    use super::{LakeRuntime, PipelineError, Result, SessionContext};
    use crate::query::configured;

    pub(super) fn session(scheduler: &str, runtime: &LakeRuntime) -> Result<SessionContext> {
        let wrong = || {
            let scheduler = scheduler.escape_debug();
            let reason = format!("`{scheduler}` is no address of a scheduler: give df://HOST:PORT");
            PipelineError::Engine { reason }
        };
        let (scheme, address) = scheduler.split_once("://").ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        if !["df", "http"].contains(&scheme) || host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        let state = SessionStateBuilder::new()
            .with_default_features()
            // With plans that adapt, a join with a side that turns out empty never ends (Ballista 55.0).
            .with_config(configured(
                SessionConfig::new_with_ballista().with_ballista_adaptive_query_planner(false),
            ))
            .with_runtime_env(runtime.env())
            .build()
            .upgrade_for_ballista(format!("http://{address}"))
            .map_err(PipelineError::Read)?;
        Ok(SessionContext::new_with_state(state))
    }
}
