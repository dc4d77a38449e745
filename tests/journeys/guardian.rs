//! A guardian's limits bind the teen, and the teen cannot loosen them.

use serde_json::{Value, json};

use crate::program::{Client, Server, kinora, succeed_json};

fn born(server: &Server, user: &str, year: &str) -> Client {
    let args = ["token", "create", "--user", user, "--birth-year", year];
    let created = succeed_json(kinora(&server.data_dir).args(args));
    Client { base_url: server.base_url.clone(), token: created["token"].as_str().unwrap().to_owned() }
}

#[test]
fn a_guardians_limits_bind_and_only_the_guardian_loosens_them() {
    let server = Server::empty();
    let parent = born(&server, "parent", "1985");
    let teen = born(&server, "teen", "2011");
    let friend = born(&server, "friend", "2011");
    let stranger = born(&server, "stranger", "1990");
    let switches = || teen.get("/v1/me").ok()["switches"].clone();

    // Before any guardian, an adult stranger cannot start a conversation with a teen.
    stranger.post("/v1/messages", &json!({ "to": "teen", "text": "hello" })).refused(403);

    let offer = parent.post("/v1/guardians/links", &Value::Null).ok();
    let link = teen.post("/v1/guardians/links/accept", &json!({ "code": offer["code"] })).ok();
    assert_eq!(link["state"], "active");
    let link = format!("/v1/guardians/links/{}", link["link_id"].as_str().unwrap());
    let limits = json!({ "personalisation": false, "messages_from": "nobody", "daily_scroll_minutes": 0 });
    parent.put(&format!("{link}/limits"), &limits).ok();
    assert_eq!(switches()["personalisation"], false);

    // What the teen asks for beyond the limits is refused, and nothing changes.
    for wish in [
        json!({ "personalisation": true }),
        json!({ "messages_from": "everyone" }),
        json!({ "daily_scroll_minutes": 600 }),
    ] {
        teen.put("/v1/me/switches", &wish).refused(403);
    }
    teen.put(&format!("{link}/limits"), &json!({})).refused(403);
    assert_eq!(switches()["personalisation"], false);
    assert_eq!(switches()["messages_from"], "nobody");

    // They are enforced by the server, not by the app.
    let refused = teen.get("/v1/feed").refused(403);
    assert!(refused["type"].as_str().unwrap().ends_with("feed-limit-reached"), "{refused}");
    friend.post("/v1/messages", &json!({ "to": "teen", "text": "hello" })).refused(403);

    // A year of birth cannot be used to grow out of them.
    let older = teen.put("/v1/me", &json!({ "birth_year": 1990 }));
    assert!(older.status == 403 || older.status == 409, "{}", String::from_utf8_lossy(&older.body));
    teen.get("/v1/feed").refused(403);

    // The teen may tighten; the guardian may loosen.
    teen.put("/v1/me/switches", &json!({ "location": false })).ok();
    parent
        .put(&format!("{link}/limits"), &json!({ "messages_from": "followed", "daily_scroll_minutes": 30 }))
        .ok();
    teen.get("/v1/feed").ok();

    // Unlinking is the teen's right; the guardian is told and a teen's defaults remain.
    assert_eq!(teen.delete(&link).status, 204);
    let told = parent.get("/v1/notifications").ok().to_string();
    assert!(told.contains("guardian_unlinked"), "{told}");
    assert!(switches()["daily_scroll_minutes"].as_u64().unwrap() <= 60, "{}", switches());
    stranger.post("/v1/messages", &json!({ "to": "teen", "text": "hello" })).refused(403);
}
