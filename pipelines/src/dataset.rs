//! Ranking training sets: impressions of the lake with point-in-time features and what happened.
//!
//! The lake and time splits enter; one Parquet file a split and `manifest.json` leave.
//! INVARIANT: an example's features come only from events strictly before its impression's time:
//! all impressions of one timestamp are computed before any event of that timestamp is observed, and
//! no outcome is replayed before its impression. Attributes count from when they came in; nothing that
//! came in after the cutoff counts at all. What was logged when an impression was served is taken as it was
//! logged. Labels are those of the view `impression_outcomes`.
//! The same versions of the tables and the same options give the same bytes.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use datafusion::prelude::SessionContext;
use kinora_schema::ranking::{
    DENSE, DENSE_FEATURES, DatasetManifest, RankingExample, SplitManifest, TASKS, Task, example_schema,
    examples_to_batch,
};
use kinora_schema::table::Table;
use kinora_schema::{Event, EventId, EventKind, UserId, VideoId};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use crate::catalog::for_each_batch;
use crate::error::{PipelineError, Result};
use crate::event_batch::{EventColumns, Reader, value};
use crate::features::{FeatureState, long_view};
use crate::lake::{AsOf, Lake};
use crate::progress::{OnProgress, Progress};
use crate::replay::{catalog_state, for_each_event};

/// Version of the layout, in [`DatasetManifest::format`].
const FORMAT: u32 = 2;
/// Name of the manifest beside the splits.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Examples laid out at a time.
const CHUNK_ROWS: usize = 8192;

/// Impressions with `from_ms <= event_time_ms < until_ms`, in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Letters, digits, `-` and `_`; names the file.
    pub name: String,
    pub from_ms: i64,
    pub until_ms: i64,
}

/// What goes into a training set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetOptions {
    /// May not overlap. Impressions outside all of them only count towards features.
    pub splits: Vec<Split>,
    /// People who may not be learnt about: no example, record or history is theirs. What they did
    /// counts towards clips, creators and the platform, as it does in the feed.
    pub opted_out: HashSet<UserId>,
    /// The tables as they were: a manifest's `table_versions` build its training set again.
    pub as_of: AsOf,
}

/// Splits the lake's time in two: `train`, and `eval` with the last `eval_share` of the days, at
/// least one. Days are UTC.
pub async fn splits_by_time(lake: &Lake, eval_share: f64) -> Result<Vec<Split>> {
    const DAY_MS: i64 = 86_400_000;
    let context = lake.session().await?;
    let path = lake.table_path(Table::Events);
    let mut range = None;
    let sql = "select min(event_time_ms) as first_ms, max(event_time_ms) as last_ms
        from events where kind = 'impression'";
    for_each_batch(&context, sql, |batch| {
        let reader = Reader { batch, path: &path };
        range = value(reader.int64("first_ms")?.as_ref(), 0).zip(value(reader.int64("last_ms")?.as_ref(), 0));
        Ok(())
    })
    .await?;
    let Some((first_ms, last_ms)) = range else {
        return Err(PipelineError::Splits { reason: "the lake has no impressions".to_owned() });
    };
    let (first_day, end_day) = (first_ms.div_euclid(DAY_MS), last_ms.div_euclid(DAY_MS) + 1);
    let days = end_day - first_day;
    if days < 2 {
        return Err(PipelineError::Splits {
            reason: "the lake has impressions of one day only; give the splits' times".to_owned(),
        });
    }
    let eval_days = ((days as f64 * eval_share).round() as i64).clamp(1, days - 1);
    let (from_ms, middle_ms, until_ms) =
        (first_day * DAY_MS, (end_day - eval_days) * DAY_MS, end_day * DAY_MS);
    Ok(vec![
        Split { name: "train".to_owned(), from_ms, until_ms: middle_ms },
        Split { name: "eval".to_owned(), from_ms: middle_ms, until_ms },
    ])
}

/// Builds the training set in `directory`: `<split>.parquet` files, then `manifest.json`, each
/// replaced whole, so that a directory with a manifest is complete.
pub async fn build_ranking(
    lake: &Lake,
    directory: &Path,
    options: &DatasetOptions,
    progress: OnProgress<'_>,
) -> Result<DatasetManifest> {
    check_splits(&options.splits)?;
    fs::create_dir_all(directory).map_err(PipelineError::io("create", directory))?;
    let (context, table_versions) = lake.session_as_of(&options.as_of).await?;
    let total = count_events(lake, &context).await?;

    let outcomes = read_outcomes(lake, &context).await?;
    let state = catalog_state(lake, &context, &options.opted_out).await?;
    let writers = options
        .splits
        .iter()
        .map(|split| SplitWriter::create(directory, split.clone()))
        .collect::<Result<Vec<_>>>()?;

    let mut pass = Pass { state, outcomes, writers, opted_out: &options.opted_out, moment: Vec::new() };
    let mut done = 0;
    for_each_event(lake, &context, |event| {
        done += 1;
        if done % 10_000 == 0 {
            progress(Progress { stage: "computing features", done, total: Some(total) });
        }
        pass.take(event)
    })
    .await?;
    pass.flush()?;
    progress(Progress { stage: "computing features", done, total: Some(total) });

    let mut splits = Vec::new();
    for writer in pass.writers {
        splits.push(writer.finish()?);
    }
    let manifest = DatasetManifest {
        format: FORMAT,
        table_versions,
        ingested_until_ms: options.as_of.ingested_until_ms,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        dense_features: DENSE_FEATURES.iter().map(|&name| name.to_owned()).collect(),
        tasks: Task::ALL.to_vec(),
        splits: splits.iter().map(|split| split.manifest.clone()).collect(),
    };
    publish(directory, splits, &manifest)?;
    Ok(manifest)
}

fn check_splits(splits: &[Split]) -> Result<()> {
    let wrong = |reason: String| Err(PipelineError::Splits { reason });
    if splits.is_empty() {
        return wrong("there are none".to_owned());
    }
    for (index, split) in splits.iter().enumerate() {
        let name = &split.name;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return wrong(format!("`{}` is not a name of letters, digits, - and _", name.escape_debug()));
        }
        if split.from_ms >= split.until_ms {
            return wrong(format!("`{name}` ends before it begins"));
        }
        for other in &splits[..index] {
            if other.name == *name {
                return wrong(format!("`{name}` is there twice"));
            }
            if split.from_ms < other.until_ms && other.from_ms < split.until_ms {
                return wrong(format!("`{name}` overlaps `{}`", other.name));
            }
        }
    }
    Ok(())
}

async fn count_events(lake: &Lake, context: &SessionContext) -> Result<u64> {
    let path = lake.table_path(Table::Events);
    let mut count = 0;
    for_each_batch(context, "select count(*) as n from events", |batch| {
        let counts = Reader { batch, path: &path }.int64("n")?;
        count = value(counts.as_ref(), 0).unwrap_or_default();
        Ok(())
    })
    .await?;
    Ok(count.unsigned_abs())
}

/// An impression, the person and the clip: an outcome that names another's impression is not its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ImpressionKey(EventId, u64);

impl ImpressionKey {
    fn new(impression: EventId, user: &UserId, video: &VideoId) -> Self {
        let mut hasher = DefaultHasher::new();
        (user, video).hash(&mut hasher);
        Self(impression, hasher.finish())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    labels: [bool; TASKS],
    watch_ms: i64,
    duration_ms: Option<i64>,
}

/// What followed each impression, whenever it happened.
async fn read_outcomes(lake: &Lake, context: &SessionContext) -> Result<HashMap<ImpressionKey, Outcome>> {
    let path = lake.table_path(Table::Events);
    let mut outcomes: HashMap<ImpressionKey, Outcome> = HashMap::new();
    let sql = "select event_id, kind, event_time_ms, user_id, video_id, impression_id, watch_ms, duration_ms
        from events where impression_id is not null and kind <> 'impression'";
    for_each_batch(context, sql, |batch| {
        let columns = EventColumns::of(batch, &path)?;
        for row in 0..batch.num_rows() {
            let event = columns.event(row).map_err(PipelineError::StoredEvent)?;
            if let Some(impression) = event.impression_id {
                let key = ImpressionKey::new(impression, &event.user_id, &event.video_id);
                outcomes.entry(key).or_default().add(&event);
            }
        }
        Ok(())
    })
    .await?;
    Ok(outcomes)
}

impl Outcome {
    fn add(&mut self, event: &Event) {
        if let Some(task) = label(event.kind) {
            self.labels[task.index()] = true;
        }
        if event.kind == EventKind::Watch {
            self.watch_ms = self.watch_ms.max(event.watch_ms.unwrap_or_default());
        }
        self.duration_ms = self.duration_ms.max(event.duration_ms);
    }
}

/// The label that an event sets by itself; a long view is decided from the whole watch.
fn label(kind: EventKind) -> Option<Task> {
    match kind {
        EventKind::Click => Some(Task::Click),
        EventKind::Like => Some(Task::Like),
        EventKind::Follow => Some(Task::Follow),
        EventKind::Comment => Some(Task::Comment),
        EventKind::Share => Some(Task::Share),
        EventKind::ProfileEnter => Some(Task::ProfileEnter),
        EventKind::NotInterested => Some(Task::NotInterested),
        EventKind::Report => Some(Task::Report),
        EventKind::Impression | EventKind::Watch | EventKind::Create | EventKind::Remix => None,
    }
}

/// One pass over the events in order.
struct Pass<'a> {
    state: FeatureState,
    outcomes: HashMap<ImpressionKey, Outcome>,
    writers: Vec<SplitWriter>,
    opted_out: &'a HashSet<UserId>,
    /// Events of one timestamp, not yet observed.
    moment: Vec<Event>,
}

impl Pass<'_> {
    fn take(&mut self, event: Event) -> Result<()> {
        if self.moment.first().is_some_and(|first| first.event_time_ms != event.event_time_ms) {
            self.flush()?;
        }
        self.moment.push(event);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let moment = std::mem::take(&mut self.moment);
        if let Some(first) = moment.first() {
            self.state.advance(first.event_time_ms);
        }
        let opted_out = self.opted_out;
        let may_learn = |event: &Event| !opted_out.contains(&event.user_id);
        for event in moment.iter().filter(|event| event.kind == EventKind::Impression && may_learn(event)) {
            let time_ms = event.event_time_ms;
            let within = |split: &Split| (split.from_ms..split.until_ms).contains(&time_ms);
            if let Some(writer) = self.writers.iter_mut().find(|writer| within(&writer.split)) {
                self.state.note_video(event);
                writer.logged_rows += u64::from(logged_features(event).is_some());
                writer.push(example(&self.state, &self.outcomes, event))?;
            }
        }
        for event in &moment {
            if may_learn(event) {
                self.state.observe(event);
            } else {
                self.state.observe_unpersonalised(event);
            }
        }
        Ok(())
    }
}

fn example(
    state: &FeatureState,
    outcomes: &HashMap<ImpressionKey, Outcome>,
    impression: &Event,
) -> RankingExample {
    let Event { event_id, user_id, video_id, event_time_ms, .. } = impression;
    let surface = impression.surface.as_deref().unwrap_or("feed");
    let key = ImpressionKey::new(*event_id, user_id, video_id);
    let Outcome { mut labels, watch_ms, duration_ms } = outcomes.get(&key).copied().unwrap_or_default();
    let duration_ms = duration_ms.or(impression.duration_ms).or_else(|| state.recorded_ms(video_id));
    labels[Task::LongView.index()] = long_view(watch_ms, duration_ms);
    let mut input = state.input(user_id, video_id, *event_time_ms, surface);
    let logged = logged_features(impression);
    input.dense = logged.unwrap_or(input.dense);
    RankingExample {
        impression_id: event_id.to_string(),
        user_id: user_id.as_str().to_owned(),
        event_time_ms: *event_time_ms,
        position: impression.position.and_then(|position| u16::try_from(position).ok()),
        input,
        labels,
        watch_ms,
        duration_ms: duration_ms.unwrap_or_default(),
    }
}

/// The dense features that the impression was scored on, where all of them were logged: what served is what
/// is learnt from, whatever came in late.
fn logged_features(impression: &Event) -> Option<[f32; DENSE]> {
    let mut dense = [0.0; DENSE];
    for (value, name) in dense.iter_mut().zip(DENSE_FEATURES) {
        *value = *impression.features.get(name)?;
    }
    Some(dense)
}

/// Writes one split beside its final name.
struct SplitWriter {
    split: Split,
    partial: PathBuf,
    writer: ArrowWriter<File>,
    buffer: Vec<RankingExample>,
    rows: u64,
    logged_rows: u64,
}

struct WrittenSplit {
    partial: PathBuf,
    manifest: SplitManifest,
}

impl SplitWriter {
    fn create(directory: &Path, split: Split) -> Result<Self> {
        let partial = directory.join(format!("{}.parquet.partial", split.name));
        let file = File::create(&partial).map_err(PipelineError::io("write", &partial))?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = ArrowWriter::try_new(file, example_schema(), Some(properties))
            .map_err(PipelineError::write_parquet(&partial))?;
        Ok(Self { split, partial, writer, buffer: Vec::new(), rows: 0, logged_rows: 0 })
    }

    fn push(&mut self, example: RankingExample) -> Result<()> {
        self.buffer.push(example);
        if self.buffer.len() >= CHUNK_ROWS { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> Result<()> {
        let examples = std::mem::take(&mut self.buffer);
        let batch = examples_to_batch(&examples)
            .map_err(|source| PipelineError::Dataset { path: self.partial.clone(), source })?;
        self.writer.write(&batch).map_err(PipelineError::write_parquet(&self.partial))?;
        self.rows += examples.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<WrittenSplit> {
        self.write_buffer()?;
        let file = self.writer.into_inner().map_err(PipelineError::write_parquet(&self.partial))?;
        file.sync_all().map_err(PipelineError::io("sync", &self.partial))?;
        let sha256 = sha256_of(&self.partial).map_err(PipelineError::io("read", &self.partial))?;
        let Split { name, from_ms, until_ms } = self.split;
        let file = format!("{name}.parquet");
        let manifest = SplitManifest {
            name,
            file,
            from_ms,
            until_ms,
            rows: self.rows,
            logged_rows: self.logged_rows,
            sha256,
        };
        Ok(WrittenSplit { partial: self.partial, manifest })
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// The old manifest goes first and the new one comes last: a manifest always describes the files
/// beside it.
fn publish(directory: &Path, splits: Vec<WrittenSplit>, manifest: &DatasetManifest) -> Result<()> {
    let path = directory.join(MANIFEST_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(PipelineError::io("replace", &path)(error));
        }
        _ => {}
    }
    for split in splits {
        let to = directory.join(&split.manifest.file);
        fs::rename(&split.partial, &to).map_err(PipelineError::io("write", &to))?;
    }
    let partial = directory.join(format!("{MANIFEST_FILE}.partial"));
    let write = || {
        let mut json = serde_json::to_vec_pretty(manifest)?;
        json.push(b'\n');
        fs::write(&partial, json)?;
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(PipelineError::io("write", &path))
}

#[cfg(test)]
mod tests;
