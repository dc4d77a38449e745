use arrow::ipc::reader::StreamReader;
use kinora_schema::EventId;
use serde_json::json;

use crate::auth::Role;
use crate::events::compactor::settle;
use crate::testing::{NOW_MS, TestApp};

/// Three impressions of two clips by two creators, with what followed.
async fn with_events() -> TestApp {
    let test = TestApp::new().await;
    let admin = test.token("root", Role::Admin).await;
    let mut events = Vec::new();
    for (number, (viewer, video, creator)) in
        [("u1", "v1", "ada"), ("u2", "v1", "ada"), ("u1", "v2", "o'hara")].into_iter().enumerate()
    {
        let impression = EventId::derived("test", number as u64, "impression");
        let base = json!({
            "event_time_ms": NOW_MS, "user_id": viewer, "video_id": video, "creator_id": creator, "duration_ms": 4000
        });
        let with = |kind: &str, id: EventId| {
            let mut event = base.clone();
            event["kind"] = json!(kind);
            event["event_id"] = json!(id);
            if kind != "impression" {
                event["impression_id"] = json!(impression);
            }
            event
        };
        events.push(with("impression", impression));
        if number != 1 {
            let mut watch = with("watch", EventId::derived("test", number as u64, "watch"));
            watch["watch_ms"] = json!(4000);
            events.push(watch);
            events.push(with("like", EventId::derived("test", number as u64, "like")));
        }
    }
    let answer = test.post("/v1/events", &admin, json!(events)).await.expect(200);
    assert_eq!(answer["accepted"], 7);
    settle(&test.app).await;
    test
}

#[tokio::test]
async fn an_analyst_asks_in_sql_and_others_may_not() {
    let test = with_events().await;
    let analyst = test.token("ann", Role::Analyst).await;
    let user = test.user("ada").await;
    let question = json!({ "query": "select video_id, count(*) as n from impression_outcomes group by video_id order by 1" });
    let answer = test.post("/v1/sql", &analyst, question.clone()).await.expect(200);
    assert_eq!(answer["rows"], json!([{ "video_id": "v1", "n": 2 }, { "video_id": "v2", "n": 1 }]));
    assert_eq!(answer["columns"], json!(["video_id", "n"]));
    test.post("/v1/sql", &user, question).await.expect(403);

    let cut = json!({ "query": "select * from events", "max_rows": 2 });
    let cut = test.post("/v1/sql", &analyst, cut).await.expect(200);
    assert_eq!((cut["rows"].as_array().unwrap().len(), &cut["truncated"]), (2, &json!(true)));
    for bad in ["drop table events", "select nothing from nowhere", "select", "create table t as select 1"] {
        let problem = test.post("/v1/sql", &analyst, json!({ "query": bad })).await.expect(400);
        assert!(!problem["detail"].as_str().unwrap().contains('\n'), "{problem}");
    }
}

#[tokio::test]
async fn what_a_refused_row_held_is_not_for_analysts() {
    let test = TestApp::new().await;
    let (ada, analyst) = (test.user("ada").await, test.token("ann", Role::Analyst).await);
    test.post("/v1/events", &ada, json!([{ "mail": "ada@example.org" }])).await.expect(200);
    settle(&test.app).await;
    let all =
        test.post("/v1/sql", &analyst, json!({ "query": "select * from quarantine" })).await.expect(200);
    assert_eq!(all["columns"], json!(["source", "row", "reason", "raw", "ingested_time_ms"]));
    assert_eq!(all["rows"][0]["raw"], json!(null));
    assert_eq!(all["rows"][0]["source"], "POST /v1/events");
    assert!(!all.to_string().contains("ada@example.org"), "{all}");
    let raw = json!({ "query": "select count(*) as n from quarantine where raw like '%mail%'" });
    assert_eq!(test.post("/v1/sql", &analyst, raw.clone()).await.expect(200)["rows"][0]["n"], 0);
    let admin = test.token("root", Role::Admin).await;
    assert_eq!(test.post("/v1/sql", &admin, raw).await.expect(200)["rows"][0]["n"], 1);
}

#[tokio::test]
async fn an_answer_is_bounded_in_bytes() {
    let test = TestApp::new().await;
    let analyst = test.token("ann", Role::Analyst).await;
    let question = json!({ "query": "select repeat('x', 4000) from generate_series(1, 9000)" });
    let problem = test.post("/v1/sql", &analyst, question).await.expect(422);
    assert!(problem["detail"].as_str().unwrap().contains("larger than"), "{problem}");
}

#[tokio::test]
async fn rows_come_as_arrow_too() {
    let test = with_events().await;
    let analyst = test.token("ann", Role::Analyst).await;
    let question = json!({ "query": "select distinct user_id from events order by 1", "format": "arrow" });
    let answer = test.post("/v1/sql", &analyst, question).await;
    assert_eq!(answer.header("content-type"), "application/vnd.apache.arrow.stream");
    let rows: usize = StreamReader::try_new(answer.bytes.as_slice(), None)
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_dashboard_counts_one_s_own_clips_and_an_analyst_s_all() {
    let test = with_events().await;
    let ada = test.user("ada").await;
    let mine = test.get("/v1/analytics/summary", &ada).await.expect(200);
    let funnel =
        json!({ "impressions": 2, "plays": 1, "completions": 1, "likes": 1, "follows": 0, "shares": 0 });
    assert_eq!((&mine["scope"], &mine["funnel"]), (&json!("mine"), &funnel));
    assert_eq!(mine["days"][0]["date"], "2026-11-22");
    assert_eq!(mine["days"][0]["watch_s"], 4.0);
    assert_eq!(
        (mine["top_clips"].as_array().unwrap().len(), &mine["top_clips"][0]["video_id"]),
        (1, &json!("v1"))
    );

    let other = test.user("o'hara").await;
    let quoted = test.get("/v1/analytics/summary", &other).await.expect(200);
    assert_eq!(quoted["funnel"]["impressions"], 1);
    let nobody = test.user("eve").await;
    assert_eq!(test.get("/v1/analytics/summary", &nobody).await.expect(200)["days"], json!([]));

    test.get("/v1/analytics/summary?scope=platform", &ada).await.expect(403);
    let analyst = test.token("ann", Role::Analyst).await;
    let all = test.get("/v1/analytics/summary?scope=platform&days=1", &analyst).await.expect(200);
    assert_eq!(all["funnel"]["impressions"], 3);
}
