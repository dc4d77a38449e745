use std::sync::Arc;

use kinora_schema::table::Table;
use tempfile::TempDir;

use super::*;
use crate::error::PipelineError;
use crate::fixtures::{NOW_MS, impressions};
use crate::lake::Lake;
use crate::replay::for_each_event;

const ROOM: u64 = 1 << 20;

fn log_of(directory: &TempDir) -> EventLog {
    EventLog::open(directory.path(), ROOM).unwrap()
}

fn stored_in(log: &EventLog) -> Vec<Event> {
    segment_starts(&log.directory)
        .unwrap()
        .into_iter()
        .flat_map(|start| {
            let contents = fs::read(segment_path(&log.directory, start)).unwrap();
            frame::payloads(&contents)
                .map(|json| serde_json::from_slice(json).unwrap())
                .collect::<Vec<Event>>()
        })
        .collect()
}

async fn event_ids(lake: &Lake) -> Vec<String> {
    let context = lake.session().await.unwrap();
    let mut ids = Vec::new();
    for_each_event(lake, &context, |event| {
        ids.push(event.event_id.to_string());
        Ok(())
    })
    .await
    .unwrap();
    ids
}

#[test]
fn what_is_appended_is_there_after_reopening() {
    let directory = TempDir::new().unwrap();
    let events = impressions(5);
    let log = log_of(&directory);
    assert_eq!(log.append(&events[..2]).unwrap(), Appended { first_offset: 0, next_offset: 2 });
    assert_eq!(log.append(&events[2..]).unwrap(), Appended { first_offset: 2, next_offset: 5 });
    drop(log);
    let log = log_of(&directory);
    assert_eq!(log.next_offset(), 5);
    assert_eq!(stored_in(&log), events);
}

#[test]
fn cut_at_every_byte_every_whole_record_survives_and_the_log_goes_on() {
    let directory = TempDir::new().unwrap();
    let events = impressions(2);
    let log = log_of(&directory);
    log.append(&events).unwrap();
    drop(log);
    let path = segment_path(directory.path(), 0);
    let whole = fs::read(&path).unwrap();
    let mut ends = vec![0];
    for payload in frame::payloads(&whole) {
        ends.push(ends.last().unwrap() + 8 + payload.len());
    }
    let further = impressions(3).pop().unwrap();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let survivors = ends.iter().filter(|&&end| end > 0 && end <= cut).count();
        let log = log_of(&directory);
        assert_eq!(stored_in(&log), events[..survivors], "cut at byte {cut}");
        let appended = log.append(std::slice::from_ref(&further)).unwrap();
        assert_eq!(appended.first_offset, survivors as u64);
        assert_eq!(stored_in(&log).pop(), Some(further.clone()), "cut at byte {cut}");
    }
}

#[test]
fn a_torn_tail_ends_the_log_and_is_kept_each_time() {
    let directory = TempDir::new().unwrap();
    let events = impressions(3);
    log_of(&directory).append(&events).unwrap();
    let path = segment_path(directory.path(), 0);
    let mut contents = fs::read(&path).unwrap();
    *contents.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        fs::write(&path, &contents).unwrap();
        assert_eq!(stored_in(&log_of(&directory)), events[..2]);
    }
    let torn = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let torn: Vec<_> = torn.filter(|path| path.extension().is_some_and(|end| end == "torn")).collect();
    let whole = fs::read(&path).unwrap().len();
    assert_eq!(torn.len(), 2);
    assert!(torn.iter().all(|path| fs::read(path).unwrap() == contents[whole..]));
}

#[test]
fn damage_before_whole_events_stops_the_log_and_loses_none_of_them() {
    let directory = TempDir::new().unwrap();
    log_of(&directory).append(&impressions(3)).unwrap();
    let path = segment_path(directory.path(), 0);
    let whole = fs::read(&path).unwrap();
    let second = 8 + frame::payloads(&whole).next().unwrap().len();
    // In the length, the CRC and the payload of the second event.
    for (byte, bit) in [(second, 1), (second + 3, 0x80), (second + 5, 1), (second + 20, 1)] {
        let mut contents = whole.clone();
        contents[byte] ^= bit;
        fs::write(&path, &contents).unwrap();
        let error = EventLog::open(directory.path(), ROOM).unwrap_err();
        let LogError::Damaged { position, .. } = error else { panic!("{error}") };
        assert_eq!(position, second as u64);
        assert_eq!(fs::read(&path).unwrap(), contents);
    }
}

#[test]
fn a_full_log_refuses_the_whole_append_and_keeps_what_it_has() {
    let directory = TempDir::new().unwrap();
    let events = impressions(6);
    let log = EventLog::open(directory.path(), 1000).unwrap();
    log.append(&events[..1]).unwrap();
    let error = log.append(&events[1..]).unwrap_err();
    assert!(matches!(error, LogError::Full { max_bytes: 1000, .. }), "{error}");
    assert_eq!(stored_in(&log), events[..1]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_acknowledges_nothing_and_later_appends_wait_for_recovery() {
    let directory = TempDir::new().unwrap();
    let events = impressions(4);
    let log = log_of(&directory);
    log.append(&events[..2]).unwrap();
    // Every write to this device fails with "no space left on device".
    locked(&log.state).active = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = log.append(&events[2..]).unwrap_err();
    let LogError::Io { action: "write", source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert!(matches!(log.append(&events[2..]).unwrap_err(), LogError::Failed { .. }));
    drop(log);
    let log = log_of(&directory);
    assert_eq!(log.append(&events[2..]).unwrap().first_offset, 2);
    assert_eq!(stored_in(&log), events);
}

#[test]
fn a_second_process_is_kept_out() {
    let directory = TempDir::new().unwrap();
    let _log = log_of(&directory);
    let error = EventLog::open(directory.path(), ROOM).unwrap_err();
    assert!(matches!(error, LogError::InUse { .. }), "{error}");
}

#[test]
fn threads_append_without_losing_or_mixing_events() {
    let directory = TempDir::new().unwrap();
    let log = Arc::new(EventLog::open_with_segments(directory.path(), ROOM, 2000).unwrap());
    let events = impressions(64);
    std::thread::scope(|scope| {
        for chunk in events.chunks(8) {
            let log = Arc::clone(&log);
            scope.spawn(move || {
                for event in chunk {
                    log.append(std::slice::from_ref(event)).unwrap();
                }
            });
        }
    });
    let mut stored = stored_in(&log);
    stored.sort_by_key(|event| event.event_time_ms);
    assert_eq!(stored, events);
    assert_eq!(log.next_offset(), 64);
}

#[tokio::test]
async fn compaction_moves_everything_once_and_frees_the_log() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let log = EventLog::open_with_segments(&directory.path().join("log"), ROOM, 500).unwrap();
    let events = impressions(10);
    for chunk in events.chunks(2) {
        log.append(chunk).unwrap();
    }
    let report = compact(&log, &lake, NOW_MS).await.unwrap();
    assert_eq!(report.ingest.accepted, 10);
    assert_eq!(log.bytes(), 0);
    assert_eq!(event_ids(&lake).await.len(), 10);
    // Nothing to move: nothing moves, and offsets go on.
    assert_eq!(compact(&log, &lake, NOW_MS).await.unwrap(), CompactReport::default());
    assert_eq!(log.append(&impressions(11)[10..]).unwrap().first_offset, 10);
    assert_eq!(compact(&log, &lake, NOW_MS).await.unwrap().ingest.accepted, 1);
}

#[tokio::test]
async fn killed_between_commit_and_deletion_it_does_not_duplicate() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let log_path = directory.path().join("log");
    let log = EventLog::open(&log_path, ROOM).unwrap();
    log.append(&impressions(4)).unwrap();
    let segment = segment_path(&log_path, 0);
    let contents = fs::read(&segment).unwrap();
    compact(&log, &lake, NOW_MS).await.unwrap();
    drop(log);

    // The segment is back, as if its deletion had not reached the disk.
    fs::write(&segment, &contents).unwrap();
    let log = EventLog::open(&log_path, ROOM).unwrap();
    let before = lake.version(Table::Events).await.unwrap();
    let report = compact(&log, &lake, NOW_MS).await.unwrap();
    assert_eq!((report.ingest.accepted, report.segments), (0, 1));
    assert_eq!(lake.version(Table::Events).await.unwrap(), before);
    assert_eq!(event_ids(&lake).await.len(), 4);
}

#[tokio::test]
async fn cut_at_every_byte_of_an_append_and_sent_again_every_event_is_in_the_lake_once() {
    let directory = TempDir::new().unwrap();
    let (log_path, lake_path) = (directory.path().join("log"), directory.path().join("lake"));
    let log = EventLog::open(&log_path, ROOM).unwrap();
    let events = impressions(3);
    log.append(&events[..1]).unwrap();
    let acknowledged = fs::read(segment_path(&log_path, 0)).unwrap().len();
    log.append(&events[1..]).unwrap();
    drop(log);
    let whole = fs::read(segment_path(&log_path, 0)).unwrap();
    let id = fs::read(log_path.join("id")).unwrap();
    // A lake for each byte takes minutes: every byte where `KINORA_EVERY_BYTE` is set, and a sample with both ends.
    let step = if std::env::var_os("KINORA_EVERY_BYTE").is_some() { 1 } else { 17 };
    let cuts = (acknowledged..whole.len()).step_by(step).chain([whole.len()]);
    for cut in cuts {
        for path in [&log_path, &lake_path] {
            let _ = fs::remove_dir_all(path);
        }
        fs::create_dir_all(&log_path).unwrap();
        fs::write(log_path.join("id"), &id).unwrap();
        fs::write(segment_path(&log_path, 0), &whole[..cut]).unwrap();
        let log = EventLog::open(&log_path, ROOM).unwrap();
        let lake = Lake::open(&lake_path).await.unwrap();
        // Before the client sends again, and after.
        if cut % 2 == 0 {
            compact(&log, &lake, NOW_MS).await.unwrap();
        }
        log.append(&events[1..]).unwrap();
        compact(&log, &lake, NOW_MS).await.unwrap();
        let mut ids = event_ids(&lake).await;
        ids.sort_unstable();
        let mut expected: Vec<String> = events.iter().map(|event| event.event_id.to_string()).collect();
        expected.sort_unstable();
        assert_eq!(ids, expected, "cut at byte {cut} of {}", whole.len());
    }
}

#[tokio::test]
async fn a_log_begun_anew_is_another_log_and_its_events_are_taken() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let log_path = directory.path().join("log");
    let events = impressions(6);
    let log = EventLog::open(&log_path, ROOM).unwrap();
    log.append(&events[..3]).unwrap();
    compact(&log, &lake, NOW_MS).await.unwrap();
    drop(log);
    fs::remove_dir_all(&log_path).unwrap();
    let log = EventLog::open(&log_path, ROOM).unwrap();
    log.append(&events[3..]).unwrap();
    assert_eq!(compact(&log, &lake, NOW_MS).await.unwrap().ingest.accepted, 3);
}

#[tokio::test]
async fn a_damaged_sealed_segment_stops_compaction_and_stays() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let log = EventLog::open(directory.path().join("log"), ROOM).unwrap();
    log.append(&impressions(3)).unwrap();
    let segment = log.seal().unwrap().remove(0);
    let mut contents = fs::read(&segment.path).unwrap();
    contents[20] ^= 1;
    fs::write(&segment.path, &contents).unwrap();
    let error = compact(&log, &lake, NOW_MS).await.unwrap_err();
    assert!(matches!(error, CompactError::Log(LogError::Damaged { position: 0, .. })), "{error}");
    assert_eq!(fs::read(&segment.path).unwrap(), contents);
}

/// Clippy warns of errors from 128 bytes on; here without it.
#[test]
fn errors_stay_small() {
    assert!(size_of::<LogError>() < 128 && size_of::<CompactError>() < 128);
    assert!(size_of::<PipelineError>() < 128, "{}", size_of::<PipelineError>());
    assert!(size_of::<crate::query::QueryError>() < 128);
}
