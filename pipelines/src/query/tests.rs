use tempfile::TempDir;

use super::*;
use crate::fixtures::{NOW_MS, START_MS, event, outcome};
use crate::ingest::ingest_events;
use crate::lake::Lake;
use kinora_schema::EventKind;

async fn lake_with_events(directory: &TempDir) -> Lake {
    let lake = Lake::open(directory.path()).await.unwrap();
    let mut events = Vec::new();
    for number in 0..10 {
        let user = format!("u{}", number % 2);
        let shown = event(number, EventKind::Impression, START_MS + number as i64 * 1000, &user, "v1");
        if number < 4 {
            events.push(outcome(100 + number, EventKind::Click, 5, &shown));
        }
        if number < 2 {
            let mut watch = outcome(200 + number, EventKind::Watch, 9, &shown);
            watch.watch_ms = Some(if number == 0 { 10_000 } else { 9_999 });
            events.push(watch);
        }
        events.push(shown);
    }
    ingest_events(&lake, "test", events, NOW_MS).await.unwrap();
    lake
}

async fn ask(lake: &Lake, sql: &str) -> Result<QueryResult, QueryError> {
    query(&lake.session().await.unwrap(), sql, QueryLimits::default()).await
}

#[tokio::test]
async fn views_answer_what_analysts_ask() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    let sql = "select event_date, impressions, viewers, click_rate, long_view_rate from daily_engagement";
    let rows = ask(&lake, sql).await.unwrap().to_json_rows().unwrap();
    let expected = serde_json::json!([{
        "event_date": "2026-01-05", "impressions": 10, "viewers": 2, "click_rate": 0.4, "long_view_rate": 0.1
    }]);
    assert_eq!(serde_json::Value::from(rows), expected);
    for model in crate::models::MODELS {
        ask(&lake, &format!("select * from {}", model.name)).await.unwrap();
    }
}

#[tokio::test]
async fn an_experiment_is_compared_over_people() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    let mut events = Vec::new();
    for person in 0..40_u64 {
        // Of arm `b` every second person opens all that they are shown, of arm `a` every fourth.
        let arm = if person % 2 == 0 { "a" } else { "b" };
        let opens = (person / 2) % (if arm == "a" { 4 } else { 2 }) == 0;
        for shown in 0..3 {
            let number = 3 * person + shown;
            let user = format!("u{person}");
            let mut shown =
                event(number, EventKind::Impression, START_MS + number as i64 * 1000, &user, "v1");
            shown.policy = Some(format!("feed-2+shares:{arm}/popularity"));
            if opens {
                events.push(outcome(1000 + number, EventKind::Click, 5, &shown));
            }
            events.push(shown);
        }
    }
    // Outside of any experiment.
    let mut other = event(900, EventKind::Impression, START_MS, "u99", "v1");
    other.policy = Some("feed-2/popularity".to_owned());
    events.push(other);
    ingest_events(&lake, "test", events, NOW_MS).await.unwrap();

    let sql = "select experiment, arm, people, mean, low, high, (low + high) / 2 as middle
        from experiment_results where metric = 'click_rate' order by arm";
    let rows = ask(&lake, sql).await.unwrap().to_json_rows().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    for (row, (arm, mean)) in rows.iter().zip([("a", 0.25), ("b", 0.5)]) {
        assert_eq!((row["experiment"].as_str(), row["arm"].as_str()), (Some("shares"), Some(arm)));
        assert_eq!(row["people"], 20);
        let number = |name: &str| row[name].as_f64().unwrap();
        assert!((number("mean") - mean).abs() < 1e-9 && (number("middle") - mean).abs() < 1e-9);
        // Wider than an interval that may be looked at once only.
        let once = 2.24 * (mean * (1.0 - mean) / 19.0).sqrt();
        assert!(number("high") - mean > 1.2 * once && number("high") - mean < 8.0 * once, "{row:?}");
    }
}

#[tokio::test]
async fn a_ranker_in_the_shadow_is_compared_with_the_one_in_force() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    let mut events = Vec::new();
    for number in 0..40_u64 {
        let mut shown = event(
            number,
            EventKind::Impression,
            START_MS + number as i64 * 1000,
            "u1",
            &format!("v{number}"),
        );
        let is_clicked = number % 4 == 0;
        // The champion knows nothing; the shadow knows all but one click in five.
        let tried = if is_clicked && number % 20 != 0 { 0.9 } else { 0.1 };
        for (name, value) in [
            ("predicted_click", 0.25),
            ("shadow_predicted_click", tried),
            ("predicted_like", 0.1),
            ("shadow:v2", 1.0),
        ] {
            shown.features.insert(name.to_owned(), value);
        }
        if is_clicked {
            events.push(outcome(1000 + number, EventKind::Click, 5, &shown));
        }
        events.push(shown);
    }
    events.push(event(900, EventKind::Impression, START_MS, "u2", "v1"));
    ingest_events(&lake, "test", events, NOW_MS).await.unwrap();

    let rows = ask(&lake, "select * from shadow_results").await.unwrap().to_json_rows().unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["shadow"], &rows[0]["task"]), (&"v2".into(), &"click".into()));
    let near = |name: &str, expected: f64| {
        let value = rows[0][name].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6, "{name}: {value} and {expected}");
    };
    near("impressions", 40.0);
    near("positives", 10.0);
    near("champion_auc", 0.5);
    // Eight of ten clicks are above all else, two are level with the thirty others.
    near("shadow_auc", 0.8 + 0.2 * 0.5);
    near("champion_log_loss", -(0.25 * 0.25_f64.ln() + 0.75 * 0.75_f64.ln()));
    near("shadow_log_loss", -(8.0 * 0.9_f64.ln() + 2.0 * 0.1_f64.ln() + 30.0 * 0.9_f64.ln()) / 40.0);
}

#[tokio::test]
async fn an_empty_lake_has_all_its_tables() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    for name in ["events", "quarantine", "users", "videos", "histories", "daily_engagement"] {
        let result = ask(&lake, &format!("select * from {name}")).await.unwrap();
        assert_eq!(result.rows(), 0, "{name}");
        assert_eq!(result.to_json_rows().unwrap().len(), 0);
        result.to_table().unwrap();
    }
}

#[tokio::test]
async fn nothing_but_reading_is_planned() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    let file = directory.path().join("out.csv");
    for sql in [
        "drop table events".to_owned(),
        "create table t as select 1".to_owned(),
        "create external table t stored as csv location '/etc/passwd'".to_owned(),
        "insert into events select * from events".to_owned(),
        "delete from events".to_owned(),
        "update events set user_id = 'x'".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        format!("copy events to '{}'", file.display()),
        "select 1; drop table events".to_owned(),
        "explain analyze delete from events".to_owned(),
    ] {
        let error = ask(&lake, &sql).await.unwrap_err();
        assert!(matches!(error, QueryError::Refused(_)), "`{sql}`: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    // A path is not a table.
    ask(&lake, "select * from '/etc/passwd'").await.unwrap_err();
    assert!(!file.exists());
    assert_eq!(ask(&lake, "select * from events where kind = 'click'").await.unwrap().rows(), 4);
}

#[tokio::test]
async fn rows_beyond_the_limit_are_cut_and_said_to_be() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    let context = lake.session().await.unwrap();
    let limits = |max_rows| QueryLimits { max_rows, ..QueryLimits::default() };
    let sql = "select event_id from events where kind = 'impression'";
    let cut = query(&context, sql, limits(3)).await.unwrap();
    assert_eq!((cut.rows(), cut.truncated), (3, true));
    let whole = query(&context, sql, limits(10)).await.unwrap();
    assert_eq!((whole.rows(), whole.truncated), (10, false));
}

#[tokio::test]
async fn an_answer_of_too_many_bytes_is_refused() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    let context = lake.session().await.unwrap();
    let limits = |max_bytes| QueryLimits { max_bytes, ..QueryLimits::default() };
    let sql = "select repeat('x', 1000) from events";
    let error = query(&context, sql, limits(1000)).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge { max_bytes: 1000 }), "{error}");
    // One text that all rows share is small until it is written out.
    let shared = "select arrow_cast(repeat('x', 1000), 'Utf8View') as long from events";
    let error = query(&context, shared, limits(8000)).await.and_then(|rows| rows.to_json_rows());
    assert!(matches!(error, Err(QueryError::TooLarge { .. })), "{error:?}");
    assert_eq!(query(&context, sql, limits(1 << 20)).await.unwrap().to_json_rows().unwrap().len(), 16);
}

#[tokio::test]
async fn no_text_grows_by_a_number_in_the_query() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    for sql in [
        "select repeat('x', 2000000000)",
        "select length(lpad('x', 2000000000, 'y'))",
        "select rpad('x', n) from (select 2000000000 as n)",
        "select repeat(repeat('x', 1000), 1000) from events",
    ] {
        let error = ask(&lake, sql).await.unwrap_err().to_string();
        assert!(error.contains("longer than 4096 bytes") && !error.contains('\n'), "`{sql}`: {error}");
    }
    let rows =
        ask(&lake, "select lpad(repeat('ab', 2), 6, '-') as bar, repeat(null, 2) as none").await.unwrap();
    let expected = serde_json::json!([{ "bar": "--abab", "none": null }]);
    assert_eq!(serde_json::Value::from(rows.to_json_rows().unwrap()), expected);
}

#[tokio::test]
async fn a_query_that_does_not_end_is_stopped() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    let context = lake.session().await.unwrap();
    let limits = QueryLimits { deadline: Duration::from_millis(50), ..QueryLimits::default() };
    let sql = "select count(*) from generate_series(1, 1000000000) a";
    let error = query(&context, sql, limits).await.unwrap_err();
    assert!(matches!(error, QueryError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn mistakes_are_told_in_one_line() {
    let directory = TempDir::new().unwrap();
    let lake = lake_with_events(&directory).await;
    for sql in ["selec 1", "select * from nothing", "select nothing from events", ""] {
        let error = ask(&lake, sql).await.unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() > 20, "{error}");
    }
}

#[test]
fn fractions_are_printed_as_people_read_them() {
    let shown = |value: f64| super::readable(value);
    assert_eq!(shown(0.425_367_047_308), "0.4254");
    assert_eq!(shown(53_008.859), "53008.859");
    assert_eq!((shown(0.0), shown(2.0), shown(-0.5)), ("0.0".into(), "2.0".into(), "-0.5".into()));
    assert_eq!(shown(0.000_012_34), "1.234e-5");
}
