use axum::body::Body;
use axum::http::{Method, Request, header};
use kinora_schema::EventId;
use serde_json::{Value, json};

use super::compactor::settle;
use crate::auth::Role;
use crate::testing::{Answer, NOW_MS, TestApp};

fn event(number: u64, kind: &str) -> Value {
    json!({
        "event_id": EventId::derived("test", number, kind), "kind": kind, "event_time_ms": NOW_MS,
        "video_id": "v1", "watch_ms": 1500, "duration_ms": 4000
    })
}

async fn rows(test: &TestApp, query: &str) -> Value {
    let analyst = test.token("ann", Role::Analyst).await;
    test.post("/v1/sql", &analyst, json!({ "query": query })).await.expect(200)["rows"].clone()
}

#[tokio::test]
async fn rows_are_answered_one_by_one_and_reach_the_lake_once() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let mut future = event(4, "like");
    future["event_time_ms"] = json!(NOW_MS + 10 * 86_400_000);
    let batch =
        json!([event(1, "click"), event(2, "watch"), event(1, "click"), { "kind": "sneeze" }, future]);
    let answer = test.post("/v1/events", &ada, batch).await.expect(200);
    let statuses: Vec<&str> =
        answer["results"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "accepted", "duplicate", "quarantined", "quarantined"]);
    assert!(answer["results"][4]["reason"].as_str().unwrap().contains("event_time_ms"), "{answer}");
    let retried = test.post("/v1/events", &ada, json!([event(2, "watch")])).await.expect(200);
    assert_eq!((&retried["accepted"], &retried["duplicates"]), (&json!(0), &json!(1)));

    settle(&test.app).await;
    let stored = rows(&test, "select kind, user_id from events order by kind").await;
    assert_eq!(stored, json!([{ "kind": "click", "user_id": "ada" }, { "kind": "watch", "user_id": "ada" }]));
    assert_eq!(rows(&test, "select count(*) as n from quarantine").await, json!([{ "n": 2 }]));
}

#[tokio::test]
async fn an_acknowledged_event_survives_a_restart_and_a_retry_after_it() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    test.post("/v1/events", &ada, event(1, "click")).await.expect(200);
    let test = test.restarted().await;
    test.post("/v1/events", &ada, event(1, "click")).await.expect(200);
    settle(&test.app).await;
    assert_eq!(rows(&test, "select count(*) as n from events").await, json!([{ "n": 1 }]));
}

#[tokio::test]
async fn a_token_reports_only_for_its_owner_and_not_what_the_server_witnesses() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let admin = test.token("root", Role::Admin).await;
    let mut forged = event(1, "like");
    forged["user_id"] = json!("bob");
    forged["propensity"] = json!(0.5);
    test.post("/v1/events", &ada, forged.clone()).await.expect(200);
    let claimed =
        test.post("/v1/events", &ada, json!([event(2, "impression"), event(3, "create")])).await.expect(200);
    assert_eq!((&claimed["refused"], &claimed["accepted"]), (&json!(2), &json!(0)));
    // A struct can be read from an array by position, where no field can be set.
    let by_position = json!([EventId::derived("test", 5, "like"), 1, "like", NOW_MS, "bob", "v1"]);
    let answer = test.post("/v1/events", &ada, json!([by_position])).await.expect(200);
    assert_eq!(answer["results"][0]["status"], "quarantined");
    assert_eq!(answer["results"][0]["reason"], "not a valid event: a row is a JSON object");
    forged["event_id"] = json!(EventId::derived("test", 4, "like"));
    test.post("/v1/events", &admin, forged).await.expect(200);
    settle(&test.app).await;
    let stored = rows(&test, "select user_id, propensity from events order by user_id").await;
    assert_eq!(
        stored,
        json!([{ "user_id": "ada", "propensity": null }, { "user_id": "bob", "propensity": 0.5 }])
    );
}

#[tokio::test]
async fn what_was_refused_never_becomes_an_event() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let mut early = event(1, "impression");
    early["event_time_ms"] = json!(NOW_MS + 2 * 86_400_000);
    let mut forged = event(2, "like");
    forged["user_id"] = json!("bob");
    // Neither is JSON to the server; to a reader of lines that trims them, both would be.
    let lines = format!("\u{3000}{forged}\n\r{}\u{b}\n", event(3, "impression"));
    test.post("/v1/events", &ada, json!([early])).await.expect(200);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/events")
        .header(header::AUTHORIZATION, format!("Bearer {ada}"))
        .body(Body::from(lines))
        .unwrap();
    assert_eq!(test.send(request).await.expect(200)["quarantined"], 2);

    test.app.clock.advance_ms(10 * 86_400_000);
    settle(&test.app).await;
    assert_eq!(rows(&test, "select user_id, kind from events").await, json!([]));
    let reasons = rows(&test, "select reason from quarantine order by row").await;
    assert!(reasons[0]["reason"].as_str().unwrap().contains("`event_time_ms`"), "{reasons}");
    assert_eq!(reasons[2]["reason"], "not a valid event: the line is not JSON");
}

#[tokio::test]
async fn lines_and_odd_bodies() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let send = |body: String| {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/events")
            .header(header::AUTHORIZATION, format!("Bearer {ada}"))
            .header(header::CONTENT_TYPE, "application/x-ndjson");
        test.send(request.body(Body::from(body)).unwrap())
    };
    let answer: Answer = send(format!("{}\nnot json\n\n{}\n", event(1, "click"), event(2, "like"))).await;
    let answer = answer.expect(200);
    assert_eq!((&answer["accepted"], &answer["quarantined"]), (&json!(2), &json!(1)));
    send(String::new()).await.expect(400);
    let many = Value::from(vec![event(1, "click"); 10_001]);
    send(many.to_string()).await.expect(413);
    test.post("/v1/events", "", event(1, "click")).await.expect(401);
}

#[tokio::test]
async fn a_full_log_turns_events_away_until_it_is_compacted() {
    let test = TestApp::with(|config| config.limits.event_log_bytes = 600).await;
    let ada = test.user("ada").await;
    let mut number = 0;
    let refused = loop {
        number += 1;
        assert!(number < 50, "the log never fills up");
        let answer = test.post("/v1/events", &ada, event(number, "click")).await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
    };
    assert_eq!(refused.header("retry-after"), "10");
    refused.expect(429);
    settle(&test.app).await;
    // What was turned away was not stored, so that the same event is now taken.
    let answer = test.post("/v1/events", &ada, event(number, "click")).await.expect(200);
    assert_eq!(answer["accepted"], 1);
    settle(&test.app).await;
    assert_eq!(rows(&test, "select count(*) as n from events").await, json!([{ "n": number }]));
}

#[tokio::test]
async fn refused_rows_are_turned_away_too_while_too_many_wait() {
    let test = TestApp::with(|config| config.limits.event_log_bytes = 600).await;
    let ada = test.user("ada").await;
    let bad = json!([{ "kind": "x".repeat(500) }]);
    test.post("/v1/events", &ada, bad.clone()).await.expect(200);
    let refused = test.post("/v1/events", &ada, bad.clone()).await;
    assert_eq!(refused.header("retry-after"), "10");
    refused.expect(429);
    settle(&test.app).await;
    test.post("/v1/events", &ada, bad).await.expect(200);
    assert_eq!(rows(&test, "select count(*) as n from quarantine").await, json!([{ "n": 1 }]));
}
