//! The durable local event log: what an app's events are acknowledged from.
//!
//! Events enter; when [`EventLog::append`] returns they are on stable storage, and they stay until
//! [`compact`] has them in the lake. INVARIANT: an acknowledged event is never lost and reaches the
//! lake once: a torn tail holds only what was never acknowledged, damage before whole events is an
//! error and not a tail, and a segment is deleted only after the lake's commit that carries its
//! offsets.

mod compact;
mod frame;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_schema::Event;
use thiserror::Error;
use uuid::Uuid;

pub use compact::{CompactError, CompactReport, compact};

use crate::durable::{create_directory, sync};

/// A segment that reaches this size is sealed, in bytes.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Largest event accepted, in bytes as JSON.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// The log of one directory; shared between threads by reference. Calls block on the disk.
#[derive(Debug)]
pub struct EventLog {
    directory: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    /// Names this log for ever: offsets mean nothing without it.
    id: Uuid,
    /// Held open: the lock that keeps other processes out.
    _lock: File,
    state: Mutex<State>,
    /// Next offset that is known to be on stable storage; its mutex is held during a sync, so that
    /// whoever waits for it usually finds their events synced by the one before.
    synced: Mutex<u64>,
}

#[derive(Debug)]
struct State {
    active: File,
    active_start: u64,
    active_bytes: u64,
    /// Bytes in sealed segments.
    sealed_bytes: u64,
    next_offset: u64,
    /// After a failed sync the page cache can no longer be trusted.
    failed: bool,
}

/// Where appended events lie in the log: offsets `first..next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first_offset: u64,
    pub next_offset: u64,
}

/// Why events were not acknowledged, or a log not opened. None of the events of a failed append
/// may be taken as stored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    #[error("the event log at `{}` is full ({max_bytes} bytes): compact it, then send again", path.display())]
    Full { path: PathBuf, max_bytes: u64 },
    #[error("an event is {bytes} bytes, more than {MAX_RECORD_BYTES}")]
    TooLarge { bytes: usize },
    #[error("the event log at `{}` is used by another process", path.display())]
    InUse { path: PathBuf },
    #[error("the event log segment `{}` is damaged at byte {position}; restore it, or move it away to go on without its events", path.display())]
    Damaged { path: PathBuf, position: u64 },
    #[error("the event log at `{}` could not be synced before; restart to recover it", path.display())]
    Failed { path: PathBuf },
    #[error("cannot {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot encode an event")]
    Encode(#[source] serde_json::Error),
}

impl LogError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl EventLog {
    /// Opens the log, creating it where there is none and recovering from an interrupted write.
    /// Appends are refused beyond `max_bytes` of events not yet compacted.
    pub fn open(directory: impl AsRef<Path>, max_bytes: u64) -> Result<Self, LogError> {
        Self::open_with_segments(directory.as_ref(), max_bytes, SEGMENT_BYTES)
    }

    fn open_with_segments(directory: &Path, max_bytes: u64, segment_bytes: u64) -> Result<Self, LogError> {
        create_directory(directory).map_err(LogError::io("create", directory))?;
        let lock = lock(directory)?;
        let mut starts = segment_starts(directory)?;
        let id = identity(directory, starts.is_empty())?;
        let active_start = match starts.pop() {
            Some(start) => start,
            None => {
                create_segment(directory, 0)?;
                0
            }
        };
        let mut sealed_bytes = 0;
        for start in starts {
            sealed_bytes += size(&segment_path(directory, start))?;
        }
        let path = segment_path(directory, active_start);
        let contents = fs::read(&path).map_err(LogError::io("read", &path))?;
        let (records, whole_bytes) = frame::count(&contents);
        let tail = &contents[whole_bytes..];
        if frame::any(tail) {
            return Err(LogError::Damaged { path, position: whole_bytes as u64 });
        }
        let active = OpenOptions::new().append(true).open(&path).map_err(LogError::io("open", &path))?;
        if !tail.is_empty() {
            set_aside(directory, &path, tail)?;
            active.set_len(whole_bytes as u64).map_err(LogError::io("truncate", &path))?;
        }
        // What was read may so far be only in the page cache of a process that died.
        active.sync_all().map_err(LogError::io("sync", &path))?;
        let next_offset = active_start + records;
        let active_bytes = whole_bytes as u64;
        let state = State { active, active_start, active_bytes, sealed_bytes, next_offset, failed: false };
        Ok(Self {
            directory: directory.to_owned(),
            max_bytes,
            segment_bytes,
            id,
            _lock: lock,
            state: Mutex::new(state),
            synced: Mutex::new(next_offset),
        })
    }

    /// Appends events, all or none; on return they survive a power cut.
    pub fn append(&self, events: &[Event]) -> Result<Appended, LogError> {
        let mut bytes = Vec::new();
        for event in events {
            frame::encode(event, &mut bytes)?;
        }
        let appended = self.write(&bytes, events.len() as u64)?;
        self.sync_to(appended.next_offset)?;
        Ok(appended)
    }

    /// Bytes held, sealed and active.
    pub fn bytes(&self) -> u64 {
        let state = locked(&self.state);
        state.sealed_bytes + state.active_bytes
    }

    /// Offset that the next event will have; every earlier one was written at some time.
    pub fn next_offset(&self) -> u64 {
        locked(&self.state).next_offset
    }

    fn write(&self, bytes: &[u8], records: u64) -> Result<Appended, LogError> {
        let mut state = locked(&self.state);
        self.check_sound(&state)?;
        if state.sealed_bytes + state.active_bytes + bytes.len() as u64 > self.max_bytes {
            return Err(LogError::Full { path: self.directory.clone(), max_bytes: self.max_bytes });
        }
        if state.active_bytes >= self.segment_bytes {
            self.rotate(&mut state)?;
        }
        let path = segment_path(&self.directory, state.active_start);
        if let Err(source) = state.active.write_all(bytes) {
            // A full disk may have taken part of it: what follows must not land behind a torn record.
            if state.active.set_len(state.active_bytes).is_err() {
                state.failed = true;
            }
            return Err(LogError::Io { action: "write", path, source });
        }
        state.active_bytes += bytes.len() as u64;
        let first_offset = state.next_offset;
        state.next_offset += records;
        Ok(Appended { first_offset, next_offset: state.next_offset })
    }

    fn sync_to(&self, offset: u64) -> Result<(), LogError> {
        let mut synced = locked(&self.synced);
        if *synced >= offset {
            return Ok(());
        }
        let (file, path, written) = {
            let state = locked(&self.state);
            self.check_sound(&state)?;
            let path = segment_path(&self.directory, state.active_start);
            let file = state.active.try_clone().map_err(LogError::io("sync", &path))?;
            (file, path, state.next_offset)
        };
        // Earlier segments were synced when they were sealed.
        if let Err(source) = file.sync_data() {
            locked(&self.state).failed = true;
            return Err(LogError::Io { action: "sync", path, source });
        }
        *synced = written;
        Ok(())
    }

    /// Seals the active segment and starts the next one.
    fn rotate(&self, state: &mut State) -> Result<(), LogError> {
        let path = segment_path(&self.directory, state.active_start);
        if let Err(source) = state.active.sync_data() {
            state.failed = true;
            return Err(LogError::Io { action: "sync", path, source });
        }
        state.active = create_segment(&self.directory, state.next_offset)?;
        state.sealed_bytes += state.active_bytes;
        (state.active_start, state.active_bytes) = (state.next_offset, 0);
        Ok(())
    }

    /// Seals what was written so far; the sealed segments, oldest first.
    fn seal(&self) -> Result<Vec<Segment>, LogError> {
        let mut state = locked(&self.state);
        self.check_sound(&state)?;
        if state.active_bytes > 0 {
            self.rotate(&mut state)?;
        }
        let mut starts = segment_starts(&self.directory)?;
        starts.retain(|&start| start < state.active_start);
        let ends = starts.iter().skip(1).copied().chain([state.active_start]);
        Ok(starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| Segment { path: segment_path(&self.directory, start), start, end })
            .collect())
    }

    /// Forgets a segment whose events are in the lake.
    fn delete(&self, segment: &Segment) -> Result<u64, LogError> {
        let bytes = size(&segment.path)?;
        fs::remove_file(&segment.path).map_err(LogError::io("delete", &segment.path))?;
        sync_directory(&self.directory)?;
        let mut state = locked(&self.state);
        state.sealed_bytes = state.sealed_bytes.saturating_sub(bytes);
        Ok(bytes)
    }

    fn check_sound(&self, state: &State) -> Result<(), LogError> {
        if state.failed { Err(LogError::Failed { path: self.directory.clone() }) } else { Ok(()) }
    }
}

/// A sealed segment with the events of offsets `start..end`.
#[derive(Clone, Debug)]
struct Segment {
    path: PathBuf,
    start: u64,
    end: u64,
}

/// A panic elsewhere does not tear what these mutexes guard: they are released between whole steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(directory: &Path) -> Result<File, LogError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(LogError::io("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(LogError::InUse { path: directory.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(LogError::Io { action: "lock", path, source }),
    }
}

/// The log's id. Offsets begin at zero again in a log whose segments are gone, so it is then
/// another log: under the old id the lake would take its events for ones that it has.
fn identity(directory: &Path, is_new: bool) -> Result<Uuid, LogError> {
    let path = directory.join("id");
    if !is_new {
        let text = fs::read_to_string(&path).map_err(LogError::io("read", &path))?;
        return Uuid::try_parse(text.trim())
            .map_err(|error| LogError::io("read", &path)(io::Error::new(io::ErrorKind::InvalidData, error)));
    }
    let id = Uuid::new_v4();
    let mut file = File::create(&path).map_err(LogError::io("write", &path))?;
    file.write_all(id.to_string().as_bytes()).map_err(LogError::io("write", &path))?;
    file.sync_all().map_err(LogError::io("sync", &path))?;
    sync_directory(directory)?;
    Ok(id)
}

fn segment_path(directory: &Path, start: u64) -> PathBuf {
    directory.join(format!("{start:020}.log"))
}

fn segment_starts(directory: &Path) -> Result<Vec<u64>, LogError> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(directory).map_err(LogError::io("read", directory))? {
        let path = entry.map_err(LogError::io("read", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(start) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            starts.push(start);
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

fn create_segment(directory: &Path, start: u64) -> Result<File, LogError> {
    let path = segment_path(directory, start);
    let file =
        OpenOptions::new().create(true).append(true).open(&path).map_err(LogError::io("create", &path))?;
    sync_directory(directory)?;
    Ok(file)
}

/// Keeps what an interrupted write left beside the log, for whoever wants to look.
fn set_aside(directory: &Path, path: &Path, tail: &[u8]) -> Result<(), LogError> {
    let aside = path.with_extension(format!("{}.torn", Uuid::new_v4().simple()));
    let write = || {
        let mut file = File::create_new(&aside)?;
        file.write_all(tail)?;
        file.sync_all()
    };
    write().map_err(LogError::io("write", &aside))?;
    let bytes = tail.len();
    tracing::warn!(path = %aside.display(), bytes, "the event log ended in an interrupted write, now set aside");
    sync_directory(directory)
}

fn size(path: &Path) -> Result<u64, LogError> {
    Ok(fs::metadata(path).map_err(LogError::io("read", path))?.len())
}

fn sync_directory(directory: &Path) -> Result<(), LogError> {
    sync(directory).map_err(LogError::io("sync", directory))
}

#[cfg(test)]
mod tests;
