//! The ids of events that the lake holds: read by the day, and kept from one ingest to the next.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use futures::StreamExt;
use kinora_schema::Event;
use uuid::Uuid;

use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, event_date};

const DAY_MS: i64 = 86_400_000;
/// A retry may carry another time than the event that it repeats, by so many days at most.
const RETRY_DAYS: i64 = 7;
/// More ids are not kept for the next ingest, which reads them again: these take some 150 MB.
const MAX_KEPT: usize = 4_000_000;

/// Ids of the events of some UTC days, as of a version of the `events` table.
#[derive(Default)]
pub(crate) struct StoredIds {
    version: u64,
    days: HashSet<i64>,
    ids: HashSet<Uuid>,
}

impl fmt::Debug for StoredIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, days, ids } = self;
        let mut shown = f.debug_struct("StoredIds");
        shown.field("version", version).field("days", &days.len()).field("ids", &ids.len()).finish()
    }
}

impl StoredIds {
    /// What was kept, for an ingest into `version`; nothing, where others have written since.
    pub(super) fn take(&mut self, version: u64) -> Self {
        let kept = std::mem::take(self);
        if kept.version == version { kept } else { Self { version, ..Self::default() } }
    }

    /// Keeps the ids, to which the ingest that made `version` has added its own.
    pub(super) fn keep(&mut self, ids: Self, version: u64) {
        if ids.ids.len() <= MAX_KEPT {
            *self = Self { version, ..ids };
        }
    }

    /// The table's rows are the same in version `to` as in version `from`.
    pub(crate) fn follow(&mut self, from: u64, to: u64) {
        if self.version == from {
            self.version = to;
        }
    }

    /// The days on which events, or what they repeat, can have been, so far not read.
    pub(super) fn missing_days(&self, events: &[Event]) -> BTreeSet<i64> {
        let days: HashSet<i64> = events.iter().map(|event| event.event_time_ms.div_euclid(DAY_MS)).collect();
        let near = days.into_iter().flat_map(|day| day - RETRY_DAYS..=day + RETRY_DAYS);
        near.filter(|day| !self.days.contains(day)).collect()
    }

    /// Reads the ids of these days.
    pub(super) async fn load(
        &mut self,
        context: &SessionContext,
        path: &Path,
        days: BTreeSet<i64>,
    ) -> Result<()> {
        let Some(wanted) = dated_on(&days) else { return Ok(()) };
        let mut batches = async {
            let rows = context.table("events").await?.filter(wanted)?;
            rows.select_columns(&["event_id"])?.execute_stream().await
        }
        .await
        .map_err(PipelineError::Read)?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(PipelineError::Read)?;
            let ids = Reader { batch: &batch, path }.required("event_id", &DataType::Utf8)?;
            self.ids
                .extend(ids.as_string::<i32>().iter().flatten().filter_map(|id| Uuid::try_parse(id).ok()));
        }
        self.days.extend(days);
        Ok(())
    }

    /// Whether the event is new; from now on it is not.
    pub(super) fn insert(&mut self, event: &Event) -> bool {
        self.ids.insert(event.event_id.0)
    }
}

/// A run of days is one range, by which whole partitions are passed over.
fn dated_on(days: &BTreeSet<i64>) -> Option<Expr> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for &day in days {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == day => *last = day,
            _ => runs.push((day, day)),
        }
    }
    let date = |day: i64| lit(event_date(day * DAY_MS));
    runs.into_iter().map(|(first, last)| col("event_date").between(date(first), date(last))).reduce(Expr::or)
}

#[cfg(test)]
mod tests {
    use kinora_schema::table::Table;
    use tempfile::TempDir;

    use crate::fixtures::{NOW_MS, impressions};
    use crate::ingest::ingest_events;
    use crate::lake::Lake;

    async fn kept(lake: &Lake) -> (u64, usize) {
        let lock = lake.lock_for_ingest().await.unwrap();
        (lock.stored.version, lock.stored.ids.len())
    }

    #[tokio::test]
    async fn ids_are_kept_from_one_ingest_to_the_next_and_through_a_merge() {
        let directory = TempDir::new().unwrap();
        let lake = Lake::open(directory.path()).await.unwrap();
        for event in impressions(33) {
            ingest_events(&lake, "test", vec![event], NOW_MS).await.unwrap();
        }
        assert_eq!(kept(&lake).await, (lake.version(Table::Events).await.unwrap(), 33));
        assert_eq!(lake.merge_small_files(Table::Events).await.unwrap(), 33);
        assert_eq!(kept(&lake).await, (lake.version(Table::Events).await.unwrap(), 33));
        let again = ingest_events(&lake, "test", impressions(34), NOW_MS).await.unwrap();
        assert_eq!((again.accepted, again.duplicates), (1, 33));
    }

    #[tokio::test]
    async fn what_others_stored_meanwhile_is_read_and_what_failed_is_forgotten() {
        let directory = TempDir::new().unwrap();
        let lake = Lake::open(directory.path()).await.unwrap();
        let other = Lake::open(directory.path()).await.unwrap();
        let events = impressions(4);
        ingest_events(&lake, "test", events[..1].to_vec(), NOW_MS).await.unwrap();
        ingest_events(&other, "test", events[1..2].to_vec(), NOW_MS).await.unwrap();
        let both = ingest_events(&lake, "test", events[..3].to_vec(), NOW_MS).await.unwrap();
        assert_eq!((both.accepted, both.duplicates), (1, 2));

        // Where the day's directory should be there is a file.
        let day = lake.table_path(Table::Events).join("event_date=2026-01-05");
        let aside = directory.path().join("aside");
        std::fs::rename(&day, &aside).unwrap();
        std::fs::write(&day, "in the way").unwrap();
        ingest_events(&lake, "test", events[3..].to_vec(), NOW_MS).await.unwrap_err();
        std::fs::remove_file(&day).unwrap();
        std::fs::rename(&aside, &day).unwrap();
        assert_eq!(ingest_events(&lake, "test", events, NOW_MS).await.unwrap().accepted, 1);
    }
}
