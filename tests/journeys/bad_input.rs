//! What goes wrong says so in one line, and loses nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::program::{Server, fail, kinora, skip, succeed, succeed_json};

fn event(number: u32) -> Value {
    json!({
        "event_id": format!("00000000-0000-7000-8000-{number:012x}"),
        "kind": "watch",
        "event_time_ms": 1_760_000_000_000_u64 + u64::from(number),
        "user_id": format!("u{}", number % 7),
        "video_id": format!("v{}", number % 11),
        "watch_ms": 1200,
        "duration_ms": 4000,
    })
}

fn write_lines(path: &Path, lines: impl IntoIterator<Item = String>) {
    fs::write(path, lines.into_iter().map(|line| line + "\n").collect::<String>()).unwrap();
}

fn count(data_dir: &Path, table: &str) -> u64 {
    let sql = format!("SELECT count(*) AS n FROM {table}");
    succeed_json(kinora(data_dir).args(["sql", &sql]))["rows"][0]["n"].as_u64().unwrap()
}

#[test]
fn bad_rows_are_quarantined_with_reasons_and_good_ones_enter_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.jsonl");
    let mut negative = event(101);
    negative["watch_ms"] = json!(-5);
    let mut nobody = event(102);
    nobody["user_id"] = json!("");
    let bad = ["{ not json".to_owned(), negative.to_string(), nobody.to_string()];
    write_lines(&file, (0..50).map(|n| event(n).to_string()).chain(bad).chain([event(3).to_string()]));

    let report = succeed_json(kinora(dir.path()).arg("ingest").arg(&file));
    assert_eq!(
        (&report["accepted"], &report["duplicates"], &report["quarantined"]),
        (&json!(50), &json!(1), &json!(3))
    );
    let reasons = succeed_json(
        kinora(dir.path()).args(["sql", "SELECT row, reason, raw FROM quarantine ORDER BY row"]),
    );
    let reasons = reasons["rows"].as_array().unwrap().clone();
    assert_eq!(reasons[0]["row"], 51);
    assert!(reasons[1]["reason"].as_str().unwrap().contains("watch_ms"), "{reasons:?}");
    assert!(reasons[2]["reason"].as_str().unwrap().contains("user_id"), "{reasons:?}");
    assert_eq!(reasons[0]["raw"], "{ not json");

    let again = succeed_json(kinora(dir.path()).arg("ingest").arg(&file));
    assert_eq!(again["accepted"], 0);
    assert_eq!(count(dir.path(), "events"), 50);
}

/// The one Parquet file below a directory.
fn parquet_under(directory: &Path) -> PathBuf {
    fn find(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                find(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    find(directory, &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_truncated_parquet_file_changes_nothing() {
    // A file of the lake is one of the event schema.
    let source = tempfile::tempdir().unwrap();
    let lines = source.path().join("events.jsonl");
    write_lines(&lines, (0..50).map(|n| event(n).to_string()));
    succeed(kinora(source.path()).arg("ingest").arg(&lines));
    let whole = fs::read(parquet_under(&source.path().join("lake/events"))).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.parquet");
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let line = fail(kinora(dir.path()).arg("ingest").arg(&file));
    assert!(line.contains("events.parquet"), "{line}");
    assert_eq!(count(dir.path(), "events"), 0);

    fs::write(&file, &whole).unwrap();
    succeed(kinora(dir.path()).arg("ingest").arg(&file));
    assert_eq!(count(dir.path(), "events"), 50);
}

#[test]
fn a_parquet_file_of_another_schema_is_refused_by_column() {
    let Some(kuairand) = crate::program::shared_data("kuairand-pure/val.parquet") else { return };
    let dir = tempfile::tempdir().unwrap();
    let line = fail(kinora(dir.path()).arg("ingest").arg(kuairand));
    assert!(line.contains("event_id"), "{line}");
}

#[test]
fn an_unknown_configuration_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kinora.toml");
    fs::write(&file, "[server]\nbind_adress = \"127.0.0.1:1\"\n").unwrap();
    let line = fail(kinora(dir.path()).arg("config"));
    assert!(line.contains("bind_adress") && line.contains("kinora.toml"), "{line}");

    fs::remove_file(&file).unwrap();
    let line = fail(kinora(dir.path()).env("KINORA_SERVER__BNID", "x").arg("config"));
    assert!(line.to_lowercase().contains("bnid"), "{line}");
    let shown = succeed(kinora(dir.path()).env("KINORA_GENERATION__DAILY_ALLOTMENT", "7").arg("config"));
    assert!(shown.contains("daily_allotment = 7"), "{shown}");
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = fail(kinora(dir.path()).args(["serve", "--bind", &address]));
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
}

#[test]
fn a_missing_or_foreign_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let line =
        fail(kinora(dir.path()).args(["eval", "ranker", "--model", "nowhere", "--dataset", "nothing"]));
    assert!(line.contains("nowhere"), "{line}");
    fs::create_dir_all(dir.path().join("models/rankers/v1")).unwrap();
    fs::write(dir.path().join("models/rankers/v1/model.json"), "{}").unwrap();
    for arguments in [["ranker", "promote", "v1"], ["ranker", "shadow", "v2"]] {
        let line = fail(kinora(dir.path()).args(arguments));
        assert!(line.contains("ranker") && line.contains("v1"), "{line}");
    }
    fs::write(dir.path().join("models/rankers/aliases.json"), r#"{"champion":"v1"}"#).unwrap();
    let line = fail(kinora(dir.path()).args(["serve", "--bind", "127.0.0.1:0"]));
    assert!(line.contains("ranker"), "{line}");
}

#[test]
fn sql_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    for sql in [
        "DROP TABLE events",
        "INSERT INTO events SELECT * FROM events",
        "CREATE TABLE t AS SELECT 1",
        "SELECT nothing",
    ] {
        fail(kinora(dir.path()).args(["sql", sql]));
    }
}

/// A directory on a file system of `megabytes`, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn grow(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    fn fill(&self) {
        use std::io::Write;
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_and_what_was_acknowledged_stays() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("small"), 24) else {
        return skip("a small file system cannot be mounted here");
    };
    let data_dir = disk.0.join("data");
    fs::create_dir(&data_dir).unwrap();
    let file = dir.path().join("events.jsonl");
    write_lines(&file, (0..50).map(|n| event(n).to_string()));
    succeed(kinora(&data_dir).arg("ingest").arg(&file));

    let server = Server::on(&data_dir);
    let client = server.user("u1");
    let batch: Vec<Value> = (1000..1010).map(event).collect();
    client.post("/v1/events", &json!(batch)).ok();

    disk.fill();
    write_lines(&file, (0..20_000).map(|n| event(n + 2000).to_string()));
    let line = fail(kinora(&data_dir).arg("ingest").arg(&file));
    assert!(line.contains("No space left"), "{line}");
    let refused: Vec<Value> = (100_000..101_000).map(event).collect();
    let answer = client.post("/v1/events", &json!(refused));
    assert!(answer.status >= 500, "acknowledged on a full disk: {}", String::from_utf8_lossy(&answer.body));
    drop(server);

    disk.grow(256);
    fs::remove_file(disk.0.join("ballast")).unwrap();
    succeed(kinora(&data_dir).arg("ingest").arg(&file));
    succeed(kinora(&data_dir).arg("compact"));
    let sql = "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events";
    let counted = succeed_json(kinora(&data_dir).args(["sql", sql]));
    let (n, ids) = (counted["rows"][0]["n"].as_u64().unwrap(), counted["rows"][0]["ids"].as_u64().unwrap());
    assert_eq!(n, ids, "something was applied twice");
    assert_eq!(n, 50 + 10 + 20_000, "something acknowledged was lost, or refused rows were kept");
}
