//! The lake's past, in order, into a [`FeatureState`].
//!
//! Events leave the lake ordered by (event time, ingested time, event id), a total order, so that
//! replaying the same lake twice gives the same state and the same training set.

use std::collections::HashSet;
use std::hash::BuildHasher;

use datafusion::prelude::SessionContext;
use kinora_schema::table::Table;
use kinora_schema::{Event, UserId};

use crate::catalog::{for_each_batch, histories_of, users_of, videos_of};
use crate::error::{PipelineError, Result};
use crate::event_batch::EventColumns;
use crate::features::FeatureState;
use crate::lake::Lake;

impl FeatureState {
    /// The state after everything in the lake.
    pub async fn from_lake(lake: &Lake) -> Result<Self> {
        Self::from_lake_without(lake, &HashSet::new()).await
    }

    /// The state after everything in the lake but the records, histories and events of people who
    /// opted out.
    pub async fn from_lake_without<S: BuildHasher + Sync>(
        lake: &Lake,
        opted_out: &HashSet<UserId, S>,
    ) -> Result<Self> {
        let context = lake.session().await?;
        let mut state = catalog_state(lake, &context, opted_out).await?;
        for_each_event(lake, &context, |event| {
            if !opted_out.contains(&event.user_id) {
                state.observe(&event);
            }
            Ok(())
        })
        .await?;
        state.advance(i64::MAX);
        Ok(state)
    }
}

/// The state before any event: people, clips and the histories to come.
pub(crate) async fn catalog_state<S: BuildHasher + Sync>(
    lake: &Lake,
    context: &SessionContext,
    opted_out: &HashSet<UserId, S>,
) -> Result<FeatureState> {
    let mut state = FeatureState::default();
    for user in users_of(lake, context).await? {
        if !opted_out.contains(&user.user_id) {
            state.set_user(user);
        }
    }
    for video in videos_of(lake, context).await? {
        state.set_video(video);
    }
    let histories = histories_of(lake, context).await?;
    for history in histories.chunk_by(|a, b| a.user_id == b.user_id && a.before_ms == b.before_ms) {
        if !opted_out.contains(&history[0].user_id) {
            state.set_history(&history[0].user_id, history[0].before_ms, history);
        }
    }
    Ok(state)
}

/// Hands over every event in order, without the fields that features do not use.
pub(crate) async fn for_each_event(
    lake: &Lake,
    context: &SessionContext,
    mut each: impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    let path = lake.table_path(Table::Events);
    let sql = "select event_id, kind, event_time_ms, user_id, video_id, creator_id, impression_id,
            watch_ms, duration_ms, surface
        from events order by event_time_ms, ingested_time_ms, event_id";
    for_each_batch(context, sql, |batch| {
        let columns = EventColumns::of(batch, &path)?;
        (0..batch.num_rows())
            .try_for_each(|row| each(columns.event(row).map_err(PipelineError::StoredEvent)?))
    })
    .await
}
