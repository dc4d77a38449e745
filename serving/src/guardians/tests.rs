//! What must hold of guardians: their limits bind, the teen cannot loosen them, and ending the
//! link is told and falls back to the teen defaults.

use kinora_schema::UserId;
use serde_json::{Value, json};

use super::{check_scroll, page_served};
use crate::auth::{NewToken, Role, create_token};
use crate::clock::DAY_MS;
use crate::error::ApiError;
use crate::testing::TestApp;

async fn teen(test: &TestApp, user_id: &str) -> String {
    let mut new = NewToken::new(UserId::from(user_id), Role::User);
    new.birth_year = Some(2010);
    create_token(&test.app.db, new, test.app.clock.now_ms()).await.unwrap().token
}

/// Links the two and answers the link's id.
async fn link(test: &TestApp, guardian: &str, teen: &str) -> String {
    let offer = test.post("/v1/guardians/links", guardian, json!(null)).await.expect(201);
    let link =
        test.post("/v1/guardians/links/accept", teen, json!({"code": offer["code"]})).await.expect(200);
    assert_eq!(link["state"], "active");
    link["link_id"].as_str().unwrap().to_owned()
}

/// Asks for a page of the feed, which plays for a minute.
async fn scroll(test: &TestApp, user_id: &str) -> Result<(), ApiError> {
    let (user_id, now_ms) = (UserId::from(user_id), test.app.clock.now_ms());
    check_scroll(&test.app.db, &test.app.config, &user_id, now_ms).await?;
    let mut tx = test.app.db.write().await.unwrap();
    page_served(&mut tx, &user_id, 60_000, now_ms).await.unwrap();
    tx.commit().await.unwrap();
    Ok(())
}

async fn notices(test: &TestApp, token: &str) -> Vec<Value> {
    let body = test.get("/v1/notifications", token).await.expect(200);
    body["notifications"].as_array().unwrap().iter().map(|notice| notice["kind"].clone()).collect()
}

#[tokio::test]
async fn limits_bind_and_the_teen_can_tighten_but_not_loosen_them() {
    let test = TestApp::new().await;
    let (guardian, teen) = (test.user("parent").await, teen(&test, "kid").await);
    let link = link(&test, &guardian, &teen).await;
    let path = format!("/v1/guardians/links/{link}/limits");
    let limits = json!({"personalisation": false, "messages_from": "nobody", "daily_scroll_minutes": 30});
    test.put(&path, &teen, limits.clone()).await.expect(403);
    test.put(&path, &guardian, limits).await.expect(200);

    let switches = test.get("/v1/me/switches", &teen).await.expect(200);
    assert_eq!(switches["personalisation"], false);
    assert_eq!(switches["messages_from"], "nobody");
    assert_eq!(switches["daily_scroll_minutes"], 30);
    let locked = switches["locked"].as_array().unwrap();
    assert!(locked.contains(&json!("personalisation")) && !locked.contains(&json!("location")), "{locked:?}");

    for looser in [
        json!({"personalisation": true}),
        json!({"messages_from": "followed"}),
        json!({"daily_scroll_minutes": 31}),
        json!({"sensitive": true}),
    ] {
        let problem = test.put("/v1/me/switches", &teen, looser).await.expect(403);
        assert_eq!(problem["type"], "forbidden");
    }
    assert_eq!(test.get("/v1/me/switches", &teen).await.expect(200), switches);
    let tighter = json!({"location": false, "daily_scroll_minutes": 10});
    let after = test.put("/v1/me/switches", &teen, tighter).await.expect(200);
    assert_eq!((&after["location"], &after["daily_scroll_minutes"]), (&json!(false), &json!(10)));
}

#[tokio::test]
async fn ending_the_link_is_told_and_falls_back_to_the_teen_defaults() {
    let test = TestApp::new().await;
    let (guardian, teen) = (test.user("parent").await, teen(&test, "kid").await);
    let link = link(&test, &guardian, &teen).await;
    let path = format!("/v1/guardians/links/{link}");
    test.put(&format!("{path}/limits"), &guardian, json!({"personalisation": false})).await.expect(200);
    assert_eq!(notices(&test, &teen).await, ["limits_changed"]);

    test.delete(&path, &test.user("stranger").await).await.expect(404);
    test.delete(&path, &teen).await.expect(204);
    assert_eq!(notices(&test, &guardian).await, ["guardian_unlinked", "guardian_linked"]);
    let switches = test.get("/v1/me/switches", &teen).await.expect(200);
    assert_eq!(switches["personalisation"], true);
    assert_eq!(switches["daily_scroll_minutes"], 60);
    assert_eq!(switches["messages_from"], "followed");
    test.put(&format!("{path}/limits"), &guardian, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_code_is_good_once_for_a_day_and_from_an_adult_to_a_teen() {
    let test = TestApp::new().await;
    let (guardian, kid) = (test.user("parent").await, teen(&test, "kid").await);
    let unknown = test.token("unknown", Role::User).await;
    test.post("/v1/guardians/links", &kid, json!(null)).await.expect(403);
    test.post("/v1/guardians/links", &unknown, json!(null)).await.expect(403);
    let offer = test.post("/v1/guardians/links", &guardian, json!(null)).await.expect(201);
    let code = json!({"code": offer["code"]});
    test.post("/v1/guardians/links/accept", &guardian, code.clone()).await.expect(403);
    test.post("/v1/guardians/links/accept", &kid, json!({"code": "WRONG"})).await.expect(404);
    test.post("/v1/guardians/links/accept", &kid, code.clone()).await.expect(200);
    let other = teen(&test, "other").await;
    test.post("/v1/guardians/links/accept", &other, code).await.expect(404);

    let late = test.post("/v1/guardians/links", &guardian, json!(null)).await.expect(201);
    test.app.clock.advance_ms(DAY_MS);
    test.post("/v1/guardians/links/accept", &other, json!({"code": late["code"]})).await.expect(404);
}

#[tokio::test]
async fn the_feed_closes_when_the_day_s_minutes_are_used_and_opens_at_midnight() {
    let test = TestApp::new().await;
    let (guardian, teen) = (test.user("parent").await, teen(&test, "kid").await);
    let link = link(&test, &guardian, &teen).await;
    let path = format!("/v1/guardians/links/{link}/limits");
    test.put(&path, &guardian, json!({"daily_scroll_minutes": 3})).await.expect(200);

    scroll(&test, "kid").await.unwrap();
    for _ in 0..2 {
        test.app.clock.advance_ms(60_000);
        scroll(&test, "kid").await.unwrap();
    }
    test.app.clock.advance_ms(60_000);
    let refusal = scroll(&test, "kid").await.unwrap_err();
    let ApiError::FeedLimitReached { limit_minutes: 3, resets_at_ms } = refusal else {
        panic!("{refusal:?}")
    };
    let problem = test.get("/v1/feed", &teen).await.expect(403);
    assert_eq!(problem["type"], "feed-limit-reached");
    assert_eq!(problem["resets_at_ms"], resets_at_ms);

    let until_midnight = resets_at_ms - test.app.clock.now_ms();
    test.app.clock.advance_ms(until_midnight - 1);
    assert!(scroll(&test, "kid").await.is_err());
    test.app.clock.advance_ms(1);
    scroll(&test, "kid").await.unwrap();
    scroll(&test, "parent").await.unwrap();
}

#[tokio::test]
async fn time_away_is_not_watching_and_neither_is_asking_again() {
    let test = TestApp::new().await;
    let (guardian, teen) = (test.user("parent").await, teen(&test, "kid").await);
    let link = link(&test, &guardian, &teen).await;
    let path = format!("/v1/guardians/links/{link}/limits");
    test.put(&path, &guardian, json!({"daily_scroll_minutes": 10})).await.expect(200);
    let used_ms = async || -> i64 {
        sqlx::query_scalar("SELECT used_ms FROM feed_usage ORDER BY day DESC LIMIT 1")
            .fetch_one(test.app.db.read())
            .await
            .unwrap()
    };
    scroll(&test, "kid").await.unwrap();
    assert_eq!(used_ms().await, 0);
    // Hours later: the page that was there plays for a minute at most.
    test.app.clock.advance_ms(3 * 3_600_000);
    scroll(&test, "kid").await.unwrap();
    assert_eq!(used_ms().await, 60_000);
    // Requests that end in no page count its time once.
    for _ in 0..3 {
        test.app.clock.advance_ms(40_000);
        let (kid, now_ms) = (UserId::from("kid"), test.app.clock.now_ms());
        check_scroll(&test.app.db, &test.app.config, &kid, now_ms).await.unwrap();
    }
    assert_eq!(used_ms().await, 120_000);
    scroll(&test, "kid").await.unwrap();
    test.app.clock.advance_ms(DAY_MS);
    scroll(&test, "kid").await.unwrap();
    assert_eq!(used_ms().await, 0, "the night is not charged to the morning");

    test.put(&path, &guardian, json!({"daily_scroll_minutes": 0})).await.expect(200);
    assert!(scroll(&test, "kid").await.is_err());
}

#[tokio::test]
async fn a_page_of_the_feed_counts_what_it_plays() {
    let test = TestApp::new().await;
    let teen = teen(&test, "kid").await;
    test.user("ada").await;
    for prompt in ["a red ball bounces", "a blue ball bounces"] {
        test.publish("ada", prompt, &[]).await;
    }
    for _ in 0..2 {
        assert_eq!(test.get("/v1/feed", &teen).await.expect(200)["items"].as_array().unwrap().len(), 2);
        test.app.clock.advance_ms(3_600_000);
    }
    let used_ms: i64 =
        sqlx::query_scalar("SELECT used_ms FROM feed_usage").fetch_one(test.app.db.read()).await.unwrap();
    assert_eq!(used_ms, 8_000, "two clips of four seconds");
}

#[tokio::test]
async fn a_second_code_of_the_same_guardian_keeps_the_limits() {
    let test = TestApp::new().await;
    let (guardian, teen) = (test.user("parent").await, teen(&test, "kid").await);
    let first = link(&test, &guardian, &teen).await;
    let limits = json!({"location": false, "messages_from": "nobody", "daily_scroll_minutes": 30});
    test.put(&format!("/v1/guardians/links/{first}/limits"), &guardian, limits).await.expect(200);
    let before = test.get("/v1/me/switches", &teen).await.expect(200);
    let second = link(&test, &guardian, &teen).await;
    assert_ne!(first, second);
    assert_eq!(test.get("/v1/me/switches", &teen).await.expect(200), before);
}

#[tokio::test]
async fn a_guardian_who_switches_location_off_hides_the_place_on_posts() {
    let test = TestApp::new().await;
    let (guardian, teen) = (test.user("parent").await, teen(&test, "kid").await);
    test.put("/v1/me", &teen, json!({"place": "Oslo"})).await.expect(200);
    test.publish("kid", "a red ball bounces", &[]).await;
    let place = async || -> Option<String> {
        sqlx::query_scalar("SELECT place FROM post_details").fetch_one(test.app.db.read()).await.unwrap()
    };
    assert_eq!(place().await.as_deref(), Some("Oslo"));
    let link = link(&test, &guardian, &teen).await;
    let path = format!("/v1/guardians/links/{link}");
    test.put(&format!("{path}/limits"), &guardian, json!({"location": false})).await.expect(200);
    assert_eq!(place().await, None);
    test.delete(&path, &guardian).await.expect(204);
    assert_eq!(place().await.as_deref(), Some("Oslo"));
}
