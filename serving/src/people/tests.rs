//! What must hold of accounts and of the request layer, asked through the router.

use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::auth::Role;
use crate::testing::TestApp;

#[tokio::test]
async fn a_refusal_is_a_problem_that_names_its_request() {
    let test = TestApp::new().await;
    let answer = test.get("/v1/me", "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let problem = answer.json();
    assert_eq!(problem["type"], "unauthorized");
    assert_eq!(problem["status"], 401);
    assert_eq!(problem["instance"], answer.header("x-request-id"));

    let user = test.user("u1").await;
    for (path, status, kind) in [
        ("/v1/nothing-here", 404, "not-found"),
        ("/v1/people/nobody", 404, "not-found"),
        ("/v1/tokens", 405, "method-not-allowed"),
    ] {
        let problem = test.get(path, &user).await.expect(status);
        assert_eq!(problem["type"], kind, "{path}");
    }
}

#[tokio::test]
async fn a_malformed_body_is_refused_on_one_line_that_names_the_field() {
    let test = TestApp::new().await;
    let user = test.user("u1").await;
    let problem = test.put("/v1/me/switches", &user, json!({"personalization": false})).await.expect(422);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("personalization") && !detail.contains('\n'), "{detail}");
    let request = Request::builder()
        .method(Method::PUT)
        .uri("/v1/me")
        .header(header::AUTHORIZATION, format!("Bearer {user}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body("{".into())
        .unwrap();
    test.send(request).await.expect(400);
}

#[tokio::test]
async fn the_request_id_is_the_client_s_where_it_is_plain() {
    let test = TestApp::new().await;
    for (sent, kept) in [("trace-17", true), ("a b", false), (&*"x".repeat(65), false)] {
        let request =
            Request::builder().uri("/healthz").header("x-request-id", sent).body("".into()).unwrap();
        let answer = test.send(request).await;
        assert_eq!(answer.header("x-request-id") == sent, kept, "{sent}");
    }
}

#[tokio::test]
async fn openapi_lists_what_is_served() {
    let test = TestApp::new().await;
    let openapi = test.get("/openapi.json", "").await.expect(200);
    for path in ["/v1/me", "/v1/cameos/{cameo_id}/revoke", "/v1/reports", "/v1/videos", "/healthz"] {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    assert!(openapi["components"]["securitySchemes"]["bearer"].is_object());
}

#[tokio::test]
async fn an_installation_that_is_open_is_ready_and_counts_its_requests() {
    let test = TestApp::new().await;
    assert_eq!(test.get("/readyz", "").await.expect(200)["ready"], true);
    let invented = Request::builder().method("BREW").uri("/healthz").body("".into()).unwrap();
    test.send(invented).await.expect(405);
    let metrics = String::from_utf8(test.get("/metrics", "").await.bytes).unwrap();
    assert!(metrics.contains("kinora_http_requests_total") && metrics.contains("method=\"other\""));
    assert!(metrics.contains("kinora_http_request_seconds_bucket") && !metrics.contains("BREW"), "{metrics}");
}

#[tokio::test]
async fn only_a_token_in_force_opens_anything() {
    let test = TestApp::new().await;
    let admin = test.token("root", Role::Admin).await;
    let user = test.user("u1").await;
    test.post("/v1/tokens", &user, json!({"user_id": "u2"})).await.expect(403);
    let body = json!({"user_id": "u2", "ttl_ms": 60_000, "birth_year": 1980});
    let minted = test.post("/v1/tokens", &admin, body).await.expect(201);
    let token = minted["token"].as_str().unwrap();
    assert!(token.starts_with("kn_") && token.len() > 40, "{token}");
    assert_eq!(test.get("/v1/me", token).await.expect(200)["user_id"], "u2");
    test.get("/v1/me", &token[..token.len() - 1]).await.expect(401);

    test.app.clock.advance_ms(60_000);
    test.get("/v1/me", token).await.expect(401);

    let minted = test.post("/v1/tokens", &admin, json!({"user_id": "u2"})).await.expect(201);
    let token = minted["token"].as_str().unwrap();
    let path = format!("/v1/tokens/{}", minted["token_id"].as_str().unwrap());
    test.delete(&path, &admin).await.expect(204);
    test.get("/v1/me", token).await.expect(401);
    test.delete(&path, &admin).await.expect(204);
    test.delete("/v1/tokens/tok_none", &admin).await.expect(404);
    let mail = test.post("/v1/tokens", &admin, json!({"user_id": "ada@example.org"})).await.expect(400);
    assert_eq!(mail["param"], "user_id");
}

#[tokio::test]
async fn roles_do_not_include_each_other() {
    let test = TestApp::new().await;
    let moderator = test.token("mod", Role::Moderator).await;
    let analyst = test.token("ana", Role::Analyst).await;
    let admin = test.token("root", Role::Admin).await;
    test.get("/v1/moderation/cases", &moderator).await.expect(200);
    test.get("/v1/moderation/cases", &admin).await.expect(200);
    test.get("/v1/moderation/cases", &analyst).await.expect(403);
}

#[tokio::test]
async fn switches_are_kept_and_guarded_by_their_version() {
    let test = TestApp::new().await;
    let user = test.user("u1").await;
    let before = test.get("/v1/me/switches", &user).await;
    let etag = before.header("etag").to_owned();
    assert_eq!(before.json()["personalisation"], true);
    test.put("/v1/me/switches", &user, json!({"personalisation": false})).await.expect(200);
    let after = test.get("/v1/me", &user).await.expect(200);
    assert_eq!(after["switches"]["personalisation"], false);
    assert_eq!(after["switches"]["location"], true);

    let request = Request::builder()
        .method(Method::PUT)
        .uri("/v1/me/switches")
        .header(header::AUTHORIZATION, format!("Bearer {user}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::IF_MATCH, etag)
        .body(json!({"location": false}).to_string().into())
        .unwrap();
    test.send(request).await.expect(412);
    assert_eq!(test.get("/v1/me/switches", &user).await.expect(200)["location"], true);
}

#[tokio::test]
async fn the_year_of_birth_is_given_once_and_never_below_thirteen() {
    let test = TestApp::new().await;
    let user = test.token("u1", Role::User).await;
    test.put("/v1/me", &user, json!({"birth_year": 2015})).await.expect(403);
    test.put("/v1/me", &user, json!({"birth_year": 1700})).await.expect(400);
    let me = test.put("/v1/me", &user, json!({"birth_year": 2010})).await.expect(200);
    assert_eq!(me["age_band"], "teen");
    test.put("/v1/me", &user, json!({"birth_year": 1990})).await.expect(403);
    assert_eq!(test.get("/v1/me", &user).await.expect(200)["age_band"], "teen");
}

#[tokio::test]
async fn handles_are_unique_and_typable() {
    let test = TestApp::new().await;
    let one = test.user("Anna.K").await;
    let other = test.user("annak").await;
    let handle = test.get("/v1/me", &one).await.expect(200)["handle"].clone();
    assert_ne!(handle, test.get("/v1/me", &other).await.expect(200)["handle"]);
    test.put("/v1/me", &other, json!({"handle": handle})).await.expect(409);
    test.put("/v1/me", &other, json!({"handle": "no spaces"})).await.expect(400);
    test.put("/v1/me", &other, json!({"handle": "Ball_Fan"})).await.expect(200);
    assert_eq!(test.get("/v1/people/@ball_fan", &one).await.expect(200)["user_id"], "annak");
}

#[tokio::test]
async fn a_block_ends_what_was_between_two_people() {
    let test = TestApp::new().await;
    let (one, other) = (test.user("u1").await, test.user("u2").await);
    for _ in 0..2 {
        test.put("/v1/people/u2/follow", &one, json!(null)).await.expect(204);
    }
    test.put("/v1/people/u1/follow", &other, json!(null)).await.expect(204);
    let profile = test.get("/v1/people/u2", &one).await.expect(200);
    assert_eq!((&profile["followed_by_you"], &profile["follows_you"]), (&json!(true), &json!(true)));
    test.put("/v1/people/u1/follow", &one, json!(null)).await.expect(400);

    test.put("/v1/people/u1/block", &other, json!(null)).await.expect(204);
    test.get("/v1/people/u2", &one).await.expect(404);
    test.put("/v1/people/u2/follow", &one, json!(null)).await.expect(403);
    assert_eq!(test.get("/v1/me", &one).await.expect(200)["following"], json!([]));
    assert_eq!(test.get("/v1/me", &other).await.expect(200)["blocked"], json!(["u1"]));

    test.delete("/v1/people/u1/block", &other).await.expect(204);
    let profile = test.get("/v1/people/u2", &one).await.expect(200);
    assert_eq!((&profile["followed_by_you"], &profile["follows_you"]), (&json!(false), &json!(false)));
}
