//! The stream of a generation's progress.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::testing::TestApp;

fn events(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_stream_follows_a_job_to_its_end_and_is_its_owner_s() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let first =
        test.post("/v1/videos", &ada, json!({ "prompt": "a red ball bounces twice" })).await.expect(200);
    let second =
        test.post("/v1/videos", &ada, json!({ "prompt": "a red ball bounces twice" })).await.expect(200);
    let path = |video: &Value| format!("/v1/generations/{}/events", video["id"].as_str().unwrap());
    test.get(&path(&first), &bob).await.expect(404);
    let request =
        Request::builder().uri(path(&second)).header(header::AUTHORIZATION, format!("Bearer {ada}"));
    let stream = test.send(request.body(Body::empty()).unwrap());
    let (stream, ()) = tokio::join!(stream, async {
        // The stream has to see the job wait before it is taken up.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        test.render().await;
    });
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let events = events(&stream.bytes);
    assert_eq!(events.first().unwrap(), &json!({ "status": "queued", "progress": 0, "ahead": 1 }));
    assert_eq!(events.last().unwrap(), &json!({ "status": "completed", "progress": 100, "ahead": 0 }));
}

#[tokio::test]
async fn a_shutdown_ends_the_stream_of_a_job_that_still_waits() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let video =
        test.post("/v1/videos", &ada, json!({ "prompt": "a red ball bounces twice" })).await.expect(200);
    test.app.shutdown.cancel();
    let stream = test.get(&format!("/v1/generations/{}/events", video["id"].as_str().unwrap()), &ada).await;
    assert_eq!(stream.status.as_u16(), 200);
    assert!(events(&stream.bytes).len() <= 1);
}
