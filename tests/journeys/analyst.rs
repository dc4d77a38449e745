//! An analyst asks over the PostgreSQL protocol and over Flight SQL, with psql and with Python's drivers.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::program::{Server, kinora, say, skip, succeed, succeed_json, turn};

/// An interpreter that has the drivers.
fn python() -> Option<String> {
    let python = std::env::var("KINORA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import psycopg, sqlalchemy, adbc_driver_flightsql, pyarrow"])
        .output();
    found.is_ok_and(|run| run.status.success()).then_some(python)
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn psql_and_python_drivers_ask_the_lake() {
    let Some(python) = python() else {
        return skip("no Python with `psycopg`; pip install -r tests/clients/requirements.txt");
    };
    if Command::new("psql").arg("--version").output().is_err() {
        return skip("no psql; install postgresql-client");
    }
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    succeed(kinora(dir.path()).args(["simulate", "--users", "60", "--videos", "40", "--days", "3"]));
    let [port, flight_port] = [free_port(), free_port()];
    let settings =
        format!("[analytics]\npostgres = \"127.0.0.1:{port}\"\nflight_sql = \"127.0.0.1:{flight_port}\"\n");
    std::fs::write(dir.path().join("kinora.toml"), settings).unwrap();
    let _server = Server::on(dir.path());
    let args = ["token", "create", "--user", "ann", "--role", "analyst"];
    let minted = succeed_json(kinora(dir.path()).args(args));
    let [token_id, token] = ["token_id", "token"].map(|name| minted[name].as_str().unwrap().to_owned());

    let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let address = format!("grpc://127.0.0.1:{flight_port}");
    for (script, place) in [("analyst.py", &["127.0.0.1", &*port][..]), ("flight.py", &[&*address][..])] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let run = Command::new(&python).arg(&script).args(place).args([&token_id, &token]).output().unwrap();
        assert!(run.status.success(), "{}\n{}", printed(&run.stdout), printed(&run.stderr));
        say(&format!("analyst: {}", printed(&run.stdout).trim()));
    }

    let psql = |commands: &[&str]| {
        let mut psql = Command::new("psql");
        psql.env("PGPASSWORD", &token).args(["-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port]);
        psql.args(["-U", &token_id, "-d", "kinora"]);
        for command in commands {
            psql.args(["-c", command]);
        }
        let run = psql.output().unwrap();
        assert!(run.status.success(), "{commands:?}: {}\n{}", printed(&run.stdout), printed(&run.stderr));
        printed(&run.stdout)
    };
    assert!(psql(&["\\d"]).contains("impression_outcomes"));
    let described = psql(&["\\d events"]);
    assert!(described.contains("event_time_ms") && described.contains("bigint"), "{described}");
    let answer =
        psql(&["select layer, count(*) from (values ('raw'), ('mart')) t(layer) group by 1 order by 1"]);
    assert!(answer.contains("(2 rows)"), "{answer}");
}
