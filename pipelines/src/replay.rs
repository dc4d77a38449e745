//! The lake's past, in order, into a [`FeatureState`].
//!
//! Events leave the lake ordered by (time, ingested time, event id), a total order, so that replaying
//! the same lake twice gives the same state and the same training set. INVARIANT: what followed from
//! an impression comes after it, whatever the clock that dated it: an outcome that claims to be
//! earlier counts as a millisecond later.

use std::collections::HashSet;

use datafusion::prelude::SessionContext;
use kinora_schema::table::Table;
use kinora_schema::{Event, UserId};

use crate::catalog::{for_each_batch, histories_of, user_records_of, video_records_of};
use crate::error::{PipelineError, Result};
use crate::event_batch::EventColumns;
use crate::features::FeatureState;
use crate::lake::Lake;

impl FeatureState {
    /// The state after everything in the lake.
    pub async fn from_lake(lake: &Lake) -> Result<Self> {
        let context = lake.session().await?;
        let mut state = catalog_state(lake, &context, &HashSet::new()).await?;
        for_each_event(lake, &context, |event| {
            state.observe(&event);
            Ok(())
        })
        .await?;
        state.advance(i64::MAX);
        Ok(state)
    }
}

/// The state before any event: people and clips as they were first recorded, and what became known of them
/// later, histories among it. The first record of an id counts for all time before it: what was imported was so
/// before it was imported.
pub(crate) async fn catalog_state(
    lake: &Lake,
    context: &SessionContext,
    opted_out: &HashSet<UserId>,
) -> Result<FeatureState> {
    let mut state = FeatureState::default();
    let mut first = HashSet::new();
    for (from_ms, user) in user_records_of(lake, context).await? {
        if opted_out.contains(&user.user_id) {
            continue;
        }
        if first.insert(user.user_id.clone()) {
            state.set_user(user);
        } else {
            // Not yet what is seen at the moment itself.
            state.set_user_from(from_ms.saturating_add(1), user);
        }
    }
    let mut first = HashSet::new();
    for (from_ms, video) in video_records_of(lake, context).await? {
        if first.insert(video.video_id.clone()) {
            state.set_video(video);
        } else {
            state.set_video_from(from_ms.saturating_add(1), video);
        }
    }
    let histories = histories_of(lake, context).await?;
    for history in histories.chunk_by(|a, b| a.user_id == b.user_id && a.before_ms == b.before_ms) {
        let user = Some(&history[0].user_id).filter(|user| !opted_out.contains(user));
        state.set_history(user, history[0].before_ms, history);
    }
    Ok(state)
}

/// Hands over every event in order, dated by that order, without the fields that features do not use: what was
/// logged at serving is left to impressions alone.
pub(crate) async fn for_each_event(
    lake: &Lake,
    context: &SessionContext,
    mut each: impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    let path = lake.table_path(Table::Events);
    // Sorting spills to the disk; the table of a hash join would have to fit in memory.
    let sorted = "set datafusion.optimizer.prefer_hash_join = false";
    context.sql(sorted).await.map_err(PipelineError::Read)?;
    let sql = "select e.event_id, e.kind, greatest(e.event_time_ms, i.event_time_ms + 1) as event_time_ms,
            e.user_id, e.video_id, e.creator_id, e.impression_id, e.watch_ms, e.duration_ms,
            e.position, e.surface, case when e.kind = 'impression' then e.features end as features
        from events e left join (
            select event_id, event_time_ms, user_id, video_id from events where kind = 'impression'
        ) i on i.event_id = case when e.kind <> 'impression' then e.impression_id end
            and i.user_id = e.user_id and i.video_id = e.video_id
        order by 3, e.ingested_time_ms, e.event_id";
    for_each_batch(context, sql, |batch| {
        let columns = EventColumns::of(batch, &path)?;
        (0..batch.num_rows())
            .try_for_each(|row| each(columns.event(row).map_err(PipelineError::StoredEvent)?))
    })
    .await
}
