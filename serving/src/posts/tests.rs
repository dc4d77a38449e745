use serde_json::{Value, json};

use crate::events::compactor::settle;
use crate::testing::TestApp;

/// A finished video of the token's owner.
pub(crate) async fn finished(test: &TestApp, token: &str, prompt: &str) -> String {
    let video = test.post("/v1/videos", token, json!({ "prompt": prompt })).await.expect(200);
    test.render().await;
    video["id"].as_str().unwrap().to_owned()
}

async fn published(test: &TestApp, token: &str) -> Value {
    let id = finished(test, token, "a red ball bounces twice").await;
    test.post("/v1/posts", token, json!({ "video_id": id, "caption": "my ball" })).await.expect(201)
}

#[tokio::test]
async fn a_post_can_be_watched_by_others_until_it_is_taken_down() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let post = published(&test, &ada).await;
    assert_eq!(
        (&post["caption"], &post["topic"], &post["creator_handle"]),
        (&json!("my ball"), &json!("bounce"), &json!("ada"))
    );
    let watch = post["video_url"].as_str().unwrap();
    let picture = post["thumbnail_url"].as_str().unwrap();
    assert_eq!(test.get(watch, &bob).await.header("content-type"), "video/mp4");
    assert_eq!(test.get(picture, &bob).await.header("content-type"), "image/png");
    let list = test.get("/v1/posts?creator=@ada", &bob).await.expect(200);
    assert_eq!(list["posts"].as_array().unwrap().len(), 1);

    let path = format!("/v1/posts/{}", post["id"].as_str().unwrap());
    test.post(&format!("{path}/unpublish"), &bob, json!({})).await.expect(404);
    test.post(&format!("{path}/unpublish"), &ada, json!({})).await.expect(200);
    for gone in [path.as_str(), watch, picture] {
        test.get(gone, &bob).await.expect(404);
        assert_eq!(test.get(gone, &ada).await.status.as_u16(), 200);
    }
    let again = test.post("/v1/posts", &ada, json!({ "video_id": post["video_id"] })).await.expect(201);
    assert_eq!(again["id"], post["id"]);
    assert_eq!(test.get(watch, &bob).await.status.as_u16(), 200);
    test.delete(&path, &ada).await.expect(204);
    test.get(&path, &ada).await.expect(404);
    test.get(watch, &bob).await.expect(404);
}

#[tokio::test]
async fn only_one_s_own_finished_video_with_a_decent_caption_is_published() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let id = finished(&test, &ada, "a red ball bounces twice").await;
    test.post("/v1/posts", &bob, json!({ "video_id": id })).await.expect(404);
    let long = "x".repeat(301);
    test.post("/v1/posts", &ada, json!({ "video_id": id, "caption": long })).await.expect(400);
    let waiting =
        test.post("/v1/videos", &ada, json!({ "prompt": "a blue ball bounces once" })).await.expect(200);
    test.post("/v1/posts", &ada, json!({ "video_id": waiting["id"] })).await.expect(404);
    test.post("/v1/posts", &ada, json!({ "video_id": id, "title": "x" })).await.expect(422);
}

#[tokio::test]
async fn who_is_blocked_sees_nothing_of_the_other() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let post = published(&test, &ada).await;
    let path = format!("/v1/posts/{}", post["id"].as_str().unwrap());
    test.get(&path, &bob).await.expect(200);
    assert!(test.put("/v1/people/@bob/block", &ada, json!({})).await.status.is_success());
    let video = format!("/v1/videos/{}", post["video_id"].as_str().unwrap());
    let content = format!("{video}/content");
    for gone in [path.clone(), format!("{path}/video"), "/v1/posts?creator=@ada".to_owned(), content.clone()]
    {
        test.get(&gone, &bob).await.expect(404);
    }
    test.post(&format!("{video}/remix"), &bob, json!({ "prompt": "a red ball bounces" })).await.expect(404);
    let moderator = test.token("bob", crate::auth::Role::Moderator).await;
    assert_eq!(test.get(&content, &moderator).await.status.as_u16(), 200);
}

#[tokio::test]
async fn publishing_reaches_the_lake_once() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let analyst = test.token("ann", crate::auth::Role::Analyst).await;
    let post = published(&test, &ada).await;
    settle(&test.app).await;
    settle(&test.app).await;
    let ask = |query: &'static str| {
        let (test, analyst) = (&test, &analyst);
        async move { test.post("/v1/sql", analyst, json!({ "query": query })).await.expect(200)["rows"].clone() }
    };
    assert_eq!(
        ask("select kind, user_id from events").await,
        json!([{ "kind": "create", "user_id": "ada" }])
    );
    let videos = ask("select video_id, topic, caption, attributes from videos_latest").await;
    assert_eq!(
        videos,
        json!([{ "video_id": post["video_id"], "topic": "bounce", "caption": "my ball",
            "attributes": "[\"colour=red\"]" }])
    );

    test.app.clock.advance_ms(1);
    let path = format!("/v1/posts/{}", post["id"].as_str().unwrap());
    test.post(&format!("{path}/unpublish"), &ada, json!({})).await.expect(200);
    settle(&test.app).await;
    let words = ask("select topic, caption, attributes from videos_latest").await;
    assert_eq!(words, json!([{ "topic": "bounce", "caption": null, "attributes": "[\"colour=red\"]" }]));
    // Published and deleted before the lake was told: the last word counts.
    test.app.clock.advance_ms(1);
    test.post("/v1/posts", &ada, json!({ "video_id": post["video_id"], "caption": "again" }))
        .await
        .expect(201);
    let video = format!("/v1/videos/{}", post["video_id"].as_str().unwrap());
    test.delete(&video, &ada).await.expect(200);
    settle(&test.app).await;
    assert_eq!(ask("select caption from videos_latest").await, json!([{ "caption": null }]));
}
