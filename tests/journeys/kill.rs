//! A server that is killed under load, again and again: what it acknowledged is in the lake, once.
//!
//! Five kills unless `KINORA_KILLS` says how many; the long run is
//! `KINORA_KILLS=100 cargo test --release --test journeys killed`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::program::{Server, kinora, say, succeed, succeed_json, turn};

const WRITERS: u64 = 3;

/// What the clients know.
#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<String>,
    /// Sent, and not answered: a client sends these again.
    unanswered: Vec<Vec<Value>>,
}

fn event(number: u64) -> Value {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    json!({
        // As of version 7: the time, then what tells events of one millisecond apart.
        "event_id": format!("{:08x}-{:04x}-7000-8000-{number:012x}", now_ms >> 16, now_ms & 0xffff),
        "kind": "impression", "event_time_ms": now_ms, "user_id": format!("u{}", number % 50),
        "video_id": format!("v{}", number % 20), "surface": "feed",
    })
}

/// Sends batches until the server is gone.
fn write(base_url: &str, token: &str, next: &AtomicU64, known: &Mutex<Known>) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build().into();
    loop {
        let again = known.lock().unwrap().unanswered.pop();
        let batch = again.unwrap_or_else(|| {
            let first = next.fetch_add(40, Ordering::Relaxed);
            (first..first + 1 + first / 40 % 40).map(event).collect()
        });
        let sent = agent
            .post(format!("{base_url}/v1/events"))
            .header("authorization", format!("Bearer {token}"))
            .send_json(&batch);
        let answer: Result<Value, ureq::Error> = sent.and_then(|mut answer| answer.body_mut().read_json());
        let mut known = known.lock().unwrap();
        let Ok(answer) = answer else {
            known.unanswered.push(batch);
            return;
        };
        for (event, row) in batch.iter().zip(answer["results"].as_array().unwrap()) {
            assert!(["accepted", "duplicate"].contains(&row["status"].as_str().unwrap()), "{row}");
            known.acknowledged.insert(event["event_id"].as_str().unwrap().to_owned());
        }
    }
}

#[test]
fn killed_under_load_every_acknowledged_event_is_in_the_lake_once() {
    let kills: u64 = std::env::var("KINORA_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (known, next) = (Mutex::<Known>::default(), AtomicU64::new(0));
    let args = ["token", "create", "--user", "collector", "--role", "admin"];
    let token = succeed_json(kinora(dir.path()).args(args))["token"].as_str().unwrap().to_owned();
    for round in 0..kills {
        let server = Server::on(dir.path());
        let base_url = server.base_url.clone();
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| write(&base_url, &token, &next, &known));
            }
            // At once, in the middle, and while the log is being moved, which happens every three seconds.
            let after_ms = [150, 3_050, 700, 3_300, 1_900, 6_100, 40][round as usize % 7] + 13 * round % 90;
            std::thread::sleep(Duration::from_millis(after_ms));
            server.kill();
        });
    }
    // A client that got no answer sends again; then all that is acknowledged must be there.
    let server = Server::on(dir.path());
    let (base_url, unanswered) = (server.base_url.clone(), known.lock().unwrap().unanswered.len());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&base_url, &token, &next, &known));
        while !known.lock().unwrap().unanswered.is_empty() && !writer.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        server.kill();
    });
    succeed(kinora(dir.path()).arg("compact"));
    let sql = "select event_id, count(*) as times from events group by event_id";
    let answer = succeed_json(kinora(dir.path()).args(["sql", sql, "--max-rows", "100000000"]));
    let rows = answer["rows"].as_array().unwrap();
    let stored: BTreeMap<&str, u64> =
        rows.iter().map(|row| (row["event_id"].as_str().unwrap(), row["times"].as_u64().unwrap())).collect();
    let known = known.into_inner().unwrap();
    let lost: Vec<&String> =
        known.acknowledged.iter().filter(|id| !stored.contains_key(id.as_str())).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged events are lost: {lost:?}",
        lost.len(),
        known.acknowledged.len()
    );
    assert!(stored.values().all(|times| *times == 1), "an event is stored twice");
    // What was under way at a kill may be there or not; nothing else is.
    let under_way: BTreeSet<&str> =
        known.unanswered.iter().flatten().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert!(stored.keys().all(|id| known.acknowledged.contains(*id) || under_way.contains(id)));
    let refused = succeed_json(kinora(dir.path()).args(["sql", "select count(*) as n from quarantine"]));
    assert_eq!(refused["rows"][0]["n"], 0);
    assert!(known.acknowledged.len() > 1000, "{}", known.acknowledged.len());
    say(&format!(
        "kill: {kills} kills, {} events acknowledged, {unanswered} batches sent again, each in the lake once",
        known.acknowledged.len()
    ));
}
