//! The same work on a Ballista cluster as in one process: a scheduler and two executors on loopback build the
//! features and marts and a training set, and every row is held to the local engine's.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::{fail, kinora, say, succeed, succeed_json, turn};

/// Executors of Ballista 55.0 refuse a part of this one's plan; they say so, and nothing is left behind.
const REFUSED: &str = "shadow_results";

/// A process of the cluster, ended when dropped.
struct Member(Child);

impl Member {
    fn start(directory: &Path, args: &[&str]) -> (Self, String) {
        let mut child = kinora(directory)
            .args(["--json", "cluster"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        let started: Value = loop {
            assert!(stdout.read_line(&mut printed).unwrap() > 0, "{args:?} ended: {printed}");
            if let Ok(started) = serde_json::from_str(&printed) {
                break started;
            }
        };
        (Self(child), started["listening"].as_str().unwrap().to_owned())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two ports in a row that are free: an executor takes both.
fn free_ports() -> String {
    loop {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// Rows of a Parquet file, in their order.
fn rows(directory: &Path, file: &Path) -> Vec<Value> {
    let python = std::env::var("KINORA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import sys, pyarrow.parquet as p, json; print(json.dumps(p.read_table(sys.argv[1]).to_pylist(), default=str))";
    let run = std::process::Command::new(python)
        .args(["-c", script])
        .arg(file)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

/// Equal, but for the order in which fractions were added up.
fn agree(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| agree(value, other)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
        }
        _ => a == b,
    }
}

#[test]
fn a_cluster_builds_what_one_process_builds_row_for_row() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    succeed(kinora(path).args(["simulate", "--users", "60", "--videos", "40", "--days", "3"]));
    let (_scheduler, address) = Member::start(path, &["scheduler", "--bind", "127.0.0.1:0"]);
    let work = |number: u8| path.join(format!("executor-{number}")).to_string_lossy().into_owned();
    let _executors: Vec<Member> = (0..2)
        .map(|number| {
            let (bind, work) = (free_ports(), work(number));
            let args =
                ["executor", "--scheduler", &address, "--bind", &bind, "--cores", "2", "--work-dir", &work];
            Member::start(path, &args).0
        })
        .collect();
    let url = format!("df://{address}");
    let on_cluster = ["--engine", "ballista", "--scheduler", &url];
    // Executors take a moment to come; until then there is nobody to work.
    std::thread::sleep(Duration::from_secs(1));

    let listed = succeed_json(kinora(path).args(["lake", "models"]));
    let names = listed.as_array().unwrap().iter().filter(|model| model["kind"] == "view");
    let names: Vec<&str> =
        names.filter_map(|model| model["name"].as_str()).filter(|&name| name != REFUSED).collect();
    let error = fail(kinora(path).args(["lake", "build", REFUSED, "--out", "refused"]).args(on_cluster));
    assert!(error.contains("rejected by executor"), "{error}");
    assert!(
        !path.join("refused/shadow_results.parquet").exists() && !path.join("refused/manifest.json").exists()
    );

    succeed(kinora(path).args(["lake", "build", "--out", "local"]).args(&names));
    let built =
        succeed_json(kinora(path).args(["lake", "build", "--out", "cluster"]).args(&names).args(on_cluster));
    let models = built["rows"].as_object().unwrap();
    assert!(models.len() >= 14 && models["sessions"].as_u64() > Some(0), "{built}");
    let mut compared = 0;
    for (model, count) in models {
        let file = |engine: &str| path.join(engine).join(format!("{model}.parquet"));
        let (local, cluster) = (rows(path, &file("local")), rows(path, &file("cluster")));
        assert_eq!(local.len() as u64, count.as_u64().unwrap(), "{model}");
        assert_eq!(local.len(), cluster.len(), "{model}");
        for (local, cluster) in local.iter().zip(&cluster) {
            assert!(agree(local, cluster), "{model}:\n{local}\n{cluster}");
        }
        compared += local.len();
    }
    // The features of a training set are made of events in order: the same bytes.
    for (out, engine) in [("set-local", &[][..]), ("set-cluster", &on_cluster[..])] {
        succeed(kinora(path).args(["dataset", "ranking", "--out", out]).args(engine));
    }
    for file in ["train.parquet", "eval.parquet"] {
        let bytes = |set: &str| std::fs::read(path.join(set).join(file)).unwrap();
        assert!(bytes("set-local") == bytes("set-cluster"), "{file}");
    }
    let mut tried = 0;
    for executor in [0, 1] {
        tried += usize::from(std::fs::read_dir(work(executor)).unwrap().next().is_some());
    }
    say(&format!(
        "cluster: {} models, {compared} rows alike; {tried} executors left work behind",
        models.len()
    ));

    let error =
        fail(kinora(path).args(["sql", "select 1", "--engine", "ballista", "--scheduler", "nowhere"]));
    assert!(error.contains("df://HOST:PORT"), "{error}");
}
