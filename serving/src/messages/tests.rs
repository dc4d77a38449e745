//! What must hold of direct messages, asked through the router.

use kinora_schema::UserId;
use serde_json::json;

use crate::auth::{NewToken, Role, create_token};
use crate::testing::TestApp;

async fn teen(test: &TestApp, user_id: &str) -> String {
    let mut new = NewToken::new(UserId::from(user_id), Role::User);
    new.birth_year = Some(2010);
    create_token(&test.app.db, new, test.app.clock.now_ms()).await.unwrap().token
}

#[tokio::test]
async fn a_message_arrives_once_and_is_read() {
    let test = TestApp::new().await;
    let (one, other) = (test.user("u1").await, test.user("u2").await);
    test.post("/v1/messages", &one, json!({"to": "@u2", "text": " hello "})).await.expect(201);
    test.app.clock.advance_ms(1);
    test.post("/v1/messages", &one, json!({"to": "u2", "text": "again"})).await.expect(201);
    let inbox = test.get("/v1/messages", &other).await.expect(200);
    let conversation = &inbox["conversations"][0];
    assert_eq!((&conversation["with_user_id"], &conversation["unread"]), (&json!("u1"), &json!(2)));
    assert_eq!(conversation["last_text"], "again");
    let read = test.get("/v1/messages/u1", &other).await.expect(200);
    let texts: Vec<_> = read["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, ["hello", "again"]);
    assert_eq!(test.get("/v1/messages", &other).await.expect(200)["conversations"][0]["unread"], 0);
    let third = test.user("u3").await;
    assert_eq!(test.get("/v1/messages", &third).await.expect(200)["conversations"], json!([]));
}

#[tokio::test]
async fn an_adult_cannot_start_a_conversation_with_a_teen_who_does_not_follow_them() {
    let test = TestApp::new().await;
    let (adult, kid) = (test.user("adult").await, teen(&test, "kid").await);
    let unknown_age = test.token("unknown", Role::User).await;
    let message = json!({"to": "kid", "text": "hi"});
    test.post("/v1/messages", &adult, message.clone()).await.expect(403);
    test.post("/v1/messages", &unknown_age, message.clone()).await.expect(403);
    assert_eq!(test.get("/v1/messages", &kid).await.expect(200)["conversations"], json!([]));

    test.put("/v1/people/adult/follow", &kid, json!(null)).await.expect(204);
    test.post("/v1/messages", &adult, message.clone()).await.expect(201);
    test.delete("/v1/people/adult/follow", &kid).await.expect(204);
    test.post("/v1/messages", &adult, message.clone()).await.expect(403);
    test.post("/v1/messages", &kid, json!({"to": "adult", "text": "it's me"})).await.expect(201);
    test.post("/v1/messages", &adult, message).await.expect(201);
}

#[tokio::test]
async fn blocks_and_settings_close_the_box() {
    let test = TestApp::new().await;
    let (one, other) = (test.user("u1").await, test.user("u2").await);
    let message = json!({"to": "u2", "text": "hi"});
    test.put("/v1/me/switches", &other, json!({"messages_from": "followed"})).await.expect(200);
    test.post("/v1/messages", &one, message.clone()).await.expect(403);
    test.put("/v1/people/u1/follow", &other, json!(null)).await.expect(204);
    test.post("/v1/messages", &one, message.clone()).await.expect(201);
    test.put("/v1/me/switches", &other, json!({"messages_from": "nobody"})).await.expect(200);
    test.post("/v1/messages", &one, message.clone()).await.expect(403);
    test.put("/v1/me/switches", &other, json!({"messages_from": "everyone"})).await.expect(200);
    test.post("/v1/messages", &one, message.clone()).await.expect(201);
    test.put("/v1/people/u2/block", &one, json!(null)).await.expect(204);
    test.post("/v1/messages", &one, message).await.expect(403);
    test.post("/v1/messages", &other, json!({"to": "u1", "text": "hi"})).await.expect(403);
}

#[tokio::test]
async fn what_cannot_be_a_message_is_refused() {
    let test = TestApp::new().await;
    let one = test.user("u1").await;
    test.post("/v1/messages", &one, json!({"to": "u1", "text": "me"})).await.expect(400);
    test.post("/v1/messages", &one, json!({"to": "nobody", "text": "hi"})).await.expect(404);
    test.user("u2").await;
    test.post("/v1/messages", &one, json!({"to": "u2", "text": "  "})).await.expect(400);
    test.post("/v1/messages", &one, json!({"to": "u2", "text": "x".repeat(2001)})).await.expect(400);
    let refused =
        test.post("/v1/messages", &one, json!({"to": "u2", "text": "n u d e s?"})).await.expect(400);
    assert_eq!((&refused["param"], &refused["category"]), (&json!("text"), &json!("sexual")));
    assert_eq!(refused["detail"], "the text was refused by the safety policy (sexual)");
}
