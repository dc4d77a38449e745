//! What must hold of consented likenesses.

use axum::http::{Method, Request, header};
use kinora_schema::UserId;
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use serde_json::{Value, json};

use super::{Pinned, consent, still_permitted, still_visible, template};
use crate::auth::{NewToken, Role, create_token};
use crate::error::{ApiError, ApiResult};
use crate::testing::TestApp;

async fn pin(test: &TestApp, cameo_id: &str, user_id: &str) -> ApiResult<Pinned> {
    let mut conn = test.app.db.read().acquire().await?;
    consent(&mut conn, cameo_id, &UserId::from(user_id), test.app.clock.now_ms()).await
}

async fn permitted(test: &TestApp, pin: &Pinned) -> bool {
    still_permitted(&mut test.app.db.read().acquire().await.unwrap(), pin).await.unwrap()
}

async fn visible(test: &TestApp, pin: &Pinned) -> bool {
    still_visible(&mut test.app.db.read().acquire().await.unwrap(), pin).await.unwrap()
}

async fn granted(test: &TestApp, owner: &str, cameo: &str, holder: &str, holder_id: &str) -> String {
    let path = format!("/v1/cameos/{cameo}/grants");
    let grant = test.post(&path, owner, json!({"user": holder_id})).await.expect(201);
    let grant_id = grant["grant_id"].as_str().unwrap().to_owned();
    let grant = test.post(&format!("{path}/{grant_id}/accept"), holder, json!(null)).await.expect(200);
    assert_eq!(grant["state"], "active");
    grant_id
}

fn form(fields: &[(&str, &str)], picture: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        form.extend(
            format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    form.extend(b"--x\r\ncontent-disposition: form-data; name=\"picture\"; filename=\"me.png\"\r\n\r\n");
    form.extend(picture);
    form.extend(b"\r\n--x--\r\n");
    form
}

async fn enrol_with(
    test: &TestApp,
    token: &str,
    fields: &[(&str, &str)],
    picture: &[u8],
    status: u16,
) -> Value {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/cameos")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=x")
        .body(form(fields, picture).into())
        .unwrap();
    test.send(request).await.expect(status)
}

const AGREED: [(&str, &str); 3] = [("name", "me"), ("statement", "I agree"), ("attested", "true")];

#[tokio::test]
async fn without_attested_consent_or_a_picture_there_is_no_cameo() {
    let test = TestApp::new().await;
    let owner = test.user("owner").await;
    for (fields, picture, param) in [
        (&[("name", "me"), ("statement", "I agree")][..], &b""[..], "attested"),
        (&[("name", "me"), ("statement", "I agree"), ("attested", "yes")], b"", "attested"),
        (&[("name", "me"), ("statement", " "), ("attested", "true")], b"", "statement"),
        (&AGREED, b"not a picture", "picture"),
        (&[("nmae", "me")], b"", "nmae"),
    ] {
        let problem = enrol_with(&test, &owner, fields, picture, 400).await;
        assert_eq!(problem["param"], param, "{problem}");
    }
    enrol_with(&test, &owner, &AGREED, &vec![0; 5 * 1024 * 1024 + 1], 413).await;
    assert_eq!(test.get("/v1/cameos", &owner).await.expect(200)["cameos"], json!([]));
}

#[tokio::test]
async fn each_audience_admits_whom_it_names_and_ends_with_what_it_rests_on() {
    let test = TestApp::new().await;
    let (owner, friend) = (test.user("owner").await, test.user("friend").await);
    let cameo = test.enrol(&owner, "only_me").await;
    let path = format!("/v1/cameos/{cameo}");
    assert!(pin(&test, &cameo, "owner").await.is_ok());
    assert!(matches!(pin(&test, &cameo, "friend").await, Err(ApiError::Forbidden(_))));
    test.get(&path, &friend).await.expect(404);

    test.put(&format!("{path}/audience"), &friend, json!({"audience": "everyone"})).await.expect(404);
    test.put(&format!("{path}/audience"), &owner, json!({"audience": "mutuals"})).await.expect(200);
    test.put("/v1/people/owner/follow", &friend, json!(null)).await.expect(204);
    assert!(pin(&test, &cameo, "friend").await.is_err());
    test.put("/v1/people/friend/follow", &owner, json!(null)).await.expect(204);
    let held = pin(&test, &cameo, "friend").await.unwrap();
    assert!(permitted(&test, &held).await && visible(&test, &held).await);
    assert_eq!(test.get(&path, &friend).await.expect(200)["usable"], true);

    test.delete("/v1/people/friend/follow", &owner).await.expect(204);
    assert!(!permitted(&test, &held).await && !visible(&test, &held).await);

    test.put(&format!("{path}/audience"), &owner, json!({"audience": "everyone"})).await.expect(200);
    assert!(permitted(&test, &held).await);
    test.put("/v1/people/owner/block", &friend, json!(null)).await.expect(204);
    assert!(!permitted(&test, &held).await);
    assert!(pin(&test, &cameo, "friend").await.is_err());
    assert!(pin(&test, "cam_none", "owner").await.is_err());
}

#[tokio::test]
async fn a_grant_works_once_accepted_until_it_expires_or_is_revoked() {
    let test = TestApp::new().await;
    let (owner, friend) = (test.user("owner").await, test.user("friend").await);
    let stranger = test.user("stranger").await;
    let cameo = test.enrol(&owner, "approved").await;
    let path = format!("/v1/cameos/{cameo}/grants");
    let expires_ms = test.app.clock.now_ms() + 60_000;
    let offered =
        test.post(&path, &owner, json!({"user": "@friend", "expires_ms": expires_ms})).await.expect(201);
    test.post(&path, &owner, json!({"user": "@friend"})).await.expect(409);
    assert!(pin(&test, &cameo, "friend").await.is_err(), "an offer is not a permission");
    assert_eq!(
        test.get("/v1/cameos", &friend).await.expect(200)["offers"][0]["grant_id"],
        offered["grant_id"]
    );

    let grant = format!("{path}/{}", offered["grant_id"].as_str().unwrap());
    test.post(&format!("{grant}/accept"), &stranger, json!(null)).await.expect(404);
    for _ in 0..2 {
        test.post(&format!("{grant}/accept"), &friend, json!(null)).await.expect(200);
    }
    test.post(&format!("{grant}/decline"), &friend, json!(null)).await.expect(409);
    let held = pin(&test, &cameo, "friend").await.unwrap();
    assert_eq!(held.grant_id.as_deref(), offered["grant_id"].as_str());

    test.app.clock.advance_ms(60_000);
    assert!(pin(&test, &cameo, "friend").await.is_err(), "an expired grant allows nothing new");
    assert!(visible(&test, &held).await, "what was made under it stays");
    test.delete(&grant, &stranger).await.expect(404);
    for _ in 0..2 {
        test.delete(&grant, &owner).await.expect(204);
    }
    assert!(!visible(&test, &held).await);

    let again = granted(&test, &owner, &cameo, &friend, "friend").await;
    assert_ne!(Some(again.as_str()), offered["grant_id"].as_str());
    assert!(!visible(&test, &held).await, "a new grant does not bring the old one back");
}

#[tokio::test]
async fn the_template_is_for_whoever_holds_a_permission_and_gone_once_erased() {
    let test = TestApp::new().await;
    let (owner, friend) = (test.user("owner").await, test.user("friend").await);
    let cameo = test.enrol(&owner, "approved").await;
    granted(&test, &owner, &cameo, &friend, "friend").await;
    let held = pin(&test, &cameo, "friend").await.unwrap();
    let likeness = template(&test.app.db, &held).await.unwrap();
    assert!(likeness.iter().any(|byte| *byte > 100));
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM cameo_templates WHERE cameo_id = ?")
        .bind(&cameo)
        .fetch_one(test.app.db.read())
        .await
        .unwrap();
    assert!(!sealed.windows(16).any(|window| likeness.windows(16).any(|plain| plain == window)));

    let body = json!({"scope": "erase"});
    test.post(&format!("/v1/cameos/{cameo}/revoke"), &friend, body.clone()).await.expect(404);
    let revoked = test.post(&format!("/v1/cameos/{cameo}/revoke"), &owner, body).await.expect(200);
    assert_eq!(revoked["erased"], true);
    assert!(template(&test.app.db, &held).await.is_err());
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM cameo_keys) + (SELECT count(*) FROM cameo_templates)",
    )
    .fetch_one(test.app.db.read())
    .await
    .unwrap();
    assert_eq!(left, 0);
    let dir = &test.app.config.storage.data_dir;
    for file in ["state.sqlite", "state.sqlite-wal"] {
        let bytes = std::fs::read(dir.join(file)).unwrap_or_default();
        assert!(!bytes.windows(64).any(|window| window == &sealed[..64]), "{file} still holds it");
    }
}

#[tokio::test]
async fn a_revocation_reaches_as_far_as_its_scope() {
    let test = TestApp::new().await;
    let (owner, friend) = (test.user("owner").await, test.user("friend").await);
    for (scope, stays) in [(Some("future"), true), (None, false), (Some("erase"), false)] {
        let cameo = test.enrol(&owner, "everyone").await;
        let post = test.publish("friend", "a red ball bounces twice", &[&cameo]).await;
        let video = post.video_id.clone();
        let held = pin(&test, &cameo, "friend").await.unwrap();
        let body = scope.map(|scope| json!({"scope": scope}));
        let path = format!("/v1/cameos/{cameo}/revoke");
        let revoked = test.ask(Method::POST, &path, &owner, body).await.expect(200);
        assert_eq!(revoked["withdrawn_videos"], i64::from(!stays), "{scope:?}");
        assert!(revoked["epoch"].as_i64().unwrap() > held.epoch);
        assert!(!permitted(&test, &held).await);
        assert!(pin(&test, &cameo, "friend").await.is_err());
        assert!(pin(&test, &cameo, "owner").await.is_err(), "revoked is for good, for the owner too");
        assert_eq!(visible(&test, &held).await, stays, "{scope:?}");
        let content = test.get(&format!("/v1/videos/{video}/content"), &friend).await;
        assert_eq!(content.status.is_success(), stays, "{scope:?}: {}", content.status);
        let (state, object): (String, String) =
            sqlx::query_as("SELECT state, object FROM assets WHERE id = ?")
                .bind(&video)
                .fetch_one(test.app.db.read())
                .await
                .unwrap();
        let bytes = test.app.config.storage.media().join(object).join("video.mp4");
        assert_eq!((state == "erased", bytes.exists()), (scope == Some("erase"), scope != Some("erase")));
        let uses = test.get(&format!("/v1/cameos/{cameo}/uses"), &owner).await.expect(200);
        assert_eq!(uses["uses"][0]["user_id"], "friend");
    }
}

#[tokio::test]
async fn a_revocation_cancels_and_refunds_what_waits() {
    let test = TestApp::new().await;
    let (owner, friend) = (test.user("owner").await, test.user("friend").await);
    let cameo = test.enrol(&owner, "approved").await;
    let grant = granted(&test, &owner, &cameo, &friend, "friend").await;
    let request = json!({"prompt": "a red ball bounces twice", "characters": [cameo]});
    let first = test.post("/v1/videos", &friend, request.clone()).await.expect(200);
    test.delete(&format!("/v1/cameos/{cameo}/grants/{grant}"), &owner).await.expect(204);
    let state = |id: &Value| {
        let path = format!("/v1/videos/{}", id.as_str().unwrap());
        let (test, friend) = (&test, &friend);
        async move { test.get(&path, friend).await.expect(200)["status"].clone() }
    };
    assert_eq!(state(&first["id"]).await, "failed");
    test.post("/v1/videos", &friend, request.clone()).await.expect(403);

    granted(&test, &owner, &cameo, &friend, "friend").await;
    let second = test.post("/v1/videos", &friend, request).await.expect(200);
    let uses = test.get(&format!("/v1/cameos/{cameo}/uses"), &owner).await.expect(200);
    assert_eq!(uses["uses"].as_array().unwrap().len(), 2, "the owner sees drafts of others too");
    let revoked = test.post(&format!("/v1/cameos/{cameo}/revoke"), &owner, json!({})).await.expect(200);
    assert_eq!(revoked["cancelled_jobs"], 1);
    assert_eq!(state(&second["id"]).await, "failed");
    assert_eq!(test.get("/v1/credits", &friend).await.expect(200)["free_left"], 30);
}

#[tokio::test]
async fn an_unblock_does_not_bring_back_what_the_block_ended() {
    let test = TestApp::new().await;
    let (owner, friend) = (test.user("owner").await, test.user("friend").await);
    let cameo = test.enrol(&owner, "approved").await;
    let request = json!({"prompt": "a red ball bounces twice", "cameos": [cameo]});
    for (blocker, blocked) in [(&owner, "friend"), (&friend, "owner")] {
        granted(&test, &owner, &cameo, &friend, "friend").await;
        let held = pin(&test, &cameo, "friend").await.unwrap();
        let waiting = test.post("/v1/videos", &friend, request.clone()).await.expect(200);
        test.put(&format!("/v1/people/{blocked}/block"), blocker, json!(null)).await.expect(204);
        test.delete(&format!("/v1/people/{blocked}/block"), blocker).await.expect(204);
        assert!(pin(&test, &cameo, "friend").await.is_err());
        assert!(!permitted(&test, &held).await && !visible(&test, &held).await);
        let path = format!("/v1/videos/{}", waiting["id"].as_str().unwrap());
        assert_eq!(test.get(&path, &friend).await.expect(200)["error"]["code"], "consent_withdrawn");
    }
    assert_eq!(test.get("/v1/credits", &friend).await.expect(200)["free_left"], 30);
}

#[tokio::test]
async fn whoever_is_not_known_to_be_an_adult_is_treated_as_a_teen() {
    let test = TestApp::new().await;
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 3, y as u8 * 3, 0]))
        .write_to(&mut picture, image::ImageFormat::Png)
        .unwrap();
    let unknown = test.token("unknown", Role::User).await;
    let problem = enrol_with(&test, &unknown, &AGREED, picture.get_ref(), 403).await;
    assert!(problem["detail"].as_str().unwrap().contains("`birth_year`"), "{problem}");

    let (owner, admin) = (test.user("owner").await, test.token("root", Role::Admin).await);
    let cameo = test.enrol(&owner, "everyone").await;
    let held = pin(&test, &cameo, "owner").await.unwrap();
    let corrected = json!({"user_id": "owner", "birth_year": 2010});
    test.post("/v1/tokens", &admin, corrected).await.expect(201);
    let now = test.get(&format!("/v1/cameos/{cameo}"), &owner).await.expect(200);
    assert_eq!((&now["state"], &now["audience"]), (&json!("suspended"), &json!("mutuals")));
    assert!(!permitted(&test, &held).await && !visible(&test, &held).await);
    let corrected = json!({"user_id": "owner", "birth_year": 1990});
    test.post("/v1/tokens", &admin, corrected).await.expect(201);
    let now = test.get(&format!("/v1/cameos/{cameo}"), &owner).await.expect(200);
    assert_eq!((&now["state"], &now["audience"]), (&json!("active"), &json!("mutuals")));
}

#[tokio::test]
async fn a_minor_s_cameo_needs_a_guardian_and_is_not_for_everyone() {
    let test = TestApp::new().await;
    let guardian = test.user("parent").await;
    let mut new = NewToken::new(UserId::from("kid"), Role::User);
    new.birth_year = Some(2010);
    let kid = create_token(&test.app.db, new, test.app.clock.now_ms()).await.unwrap().token;
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 3, y as u8 * 3, 0]))
        .write_to(&mut picture, image::ImageFormat::Png)
        .unwrap();
    enrol_with(&test, &kid, &AGREED, picture.get_ref(), 403).await;
    let offer = test.post("/v1/guardians/links", &guardian, json!(null)).await.expect(201);
    let code = json!({"code": offer["code"]});
    let link = test.post("/v1/guardians/links/accept", &kid, code).await.expect(200);
    let everyone: Vec<_> = AGREED.into_iter().chain([("audience", "everyone")]).collect();
    enrol_with(&test, &kid, &everyone, picture.get_ref(), 403).await;
    let cameo = enrol_with(&test, &kid, &AGREED, picture.get_ref(), 201).await;
    let cameo_id = cameo["cameo_id"].as_str().unwrap();
    let held = pin(&test, cameo_id, "kid").await.unwrap();

    test.delete(&format!("/v1/guardians/links/{}", link["link_id"].as_str().unwrap()), &kid)
        .await
        .expect(204);
    assert!(!permitted(&test, &held).await && !visible(&test, &held).await);
    assert_eq!(test.get(&format!("/v1/cameos/{cameo_id}"), &kid).await.expect(200)["state"], "suspended");
    let offer = test.post("/v1/guardians/links", &guardian, json!(null)).await.expect(201);
    test.post("/v1/guardians/links/accept", &kid, json!({"code": offer["code"]})).await.expect(200);
    assert!(pin(&test, cameo_id, "kid").await.is_ok());
    assert!(!permitted(&test, &held).await, "what was pinned before the suspension stays fenced off");

    // Grown up, the former teen ends the link and keeps the cameo.
    test.app.clock.advance_ms(4 * 366 * 86_400_000);
    let links = test.get("/v1/guardians/links", &kid).await.expect(200);
    let link = links["links"][0]["link_id"].as_str().unwrap();
    test.delete(&format!("/v1/guardians/links/{link}"), &kid).await.expect(204);
    assert_eq!(test.get(&format!("/v1/cameos/{cameo_id}"), &kid).await.expect(200)["state"], "active");
}

#[tokio::test]
async fn epochs_and_ends_hold_against_the_database_itself() {
    let test = TestApp::new().await;
    let owner = test.user("owner").await;
    let cameo = test.enrol(&owner, "everyone").await;
    test.post(&format!("/v1/cameos/{cameo}/revoke"), &owner, json!({})).await.expect(200);
    for statement in [
        "UPDATE cameos SET epoch = epoch - 1",
        "UPDATE cameos SET visible_from_epoch = 0",
        "UPDATE cameos SET state = 'active'",
        "UPDATE cameos SET state = 'suspended'",
    ] {
        let mut tx = test.app.db.write().await.unwrap();
        assert!(sqlx::query(statement).execute(&mut *tx).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn with_the_store_down_nothing_is_permitted() {
    let test = TestApp::new().await;
    let owner = test.user("owner").await;
    let cameo = test.enrol(&owner, "everyone").await;
    let held = pin(&test, &cameo, "owner").await.unwrap();
    test.app.db.close().await;
    assert!(pin(&test, &cameo, "owner").await.is_err());
    assert!(template(&test.app.db, &held).await.is_err());
    let problem = test.get(&format!("/v1/cameos/{cameo}"), &owner).await.expect(500);
    assert!(!problem.to_string().contains("sqlx"), "{problem}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pin { friend: bool },
    Audience(u8),
    Follow { friend: bool, follow: bool },
    Block { block: bool },
    Grant,
    RevokeGrant,
    Revoke { future: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|friend| Step::Pin { friend }),
        2 => (0_u8..4).prop_map(Step::Audience),
        2 => any::<(bool, bool)>().prop_map(|(friend, follow)| Step::Follow { friend, follow }),
        1 => any::<bool>().prop_map(|block| Step::Block { block }),
        2 => Just(Step::Grant),
        1 => Just(Step::RevokeGrant),
        1 => any::<bool>().prop_map(|future| Step::Revoke { future }),
    ]
}

/// Whatever the order of events: a permission that still holds is one that would be given now at
/// the same epoch, and once a revocation is acknowledged none from before it holds.
#[test]
fn no_order_of_events_keeps_a_permission_past_its_withdrawal() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (test, owner, friend) = runtime.block_on(async {
        let test = TestApp::new().await;
        let (owner, friend) = (test.user("owner").await, test.user("friend").await);
        (test, owner, friend)
    });
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let outcome = runner.run(&prop::collection::vec(step(), 1..20), |steps| {
        runtime.block_on(async {
            let cameo = test.enrol(&owner, "everyone").await;
            let path = format!("/v1/cameos/{cameo}");
            let mut pins: Vec<Pinned> = Vec::new();
            let mut revoked_at = None;
            for step in steps {
                match step {
                    Step::Pin { friend } => {
                        let user = if friend { "friend" } else { "owner" };
                        pins.extend(pin(&test, &cameo, user).await.ok());
                    }
                    Step::Audience(nth) => {
                        let audience = super::Audience::ALL[nth as usize];
                        test.put(&format!("{path}/audience"), &owner, json!({"audience": audience})).await;
                    }
                    Step::Follow { friend: by_friend, follow } => {
                        let (token, other) = if by_friend { (&friend, "owner") } else { (&owner, "friend") };
                        let method = if follow { Method::PUT } else { Method::DELETE };
                        test.ask(method, &format!("/v1/people/{other}/follow"), token, None).await;
                    }
                    Step::Block { block } => {
                        let method = if block { Method::PUT } else { Method::DELETE };
                        test.ask(method, "/v1/people/friend/block", &owner, None).await;
                    }
                    Step::Grant => {
                        let offer =
                            test.post(&format!("{path}/grants"), &owner, json!({"user": "friend"})).await;
                        if offer.status.is_success() {
                            let id = offer.json()["grant_id"].as_str().unwrap().to_owned();
                            test.post(&format!("{path}/grants/{id}/accept"), &friend, json!(null)).await;
                        }
                    }
                    Step::RevokeGrant => {
                        let grants = test.get(&format!("{path}/grants"), &owner).await.expect(200);
                        for grant in grants["grants"].as_array().unwrap() {
                            let id = grant["grant_id"].as_str().unwrap();
                            test.delete(&format!("{path}/grants/{id}"), &owner).await.expect(204);
                        }
                    }
                    Step::Revoke { future } => {
                        let scope = if future { "future" } else { "derivatives" };
                        let body = json!({"scope": scope});
                        let answer = test.post(&format!("{path}/revoke"), &owner, body).await.expect(200);
                        revoked_at = answer["epoch"].as_i64();
                    }
                }
                for held in &pins {
                    if permitted(&test, held).await {
                        let now = pin(&test, &cameo, held.user_id.as_str()).await;
                        prop_assert_eq!(now.map(|now| now.epoch).ok(), Some(held.epoch));
                        prop_assert!(visible(&test, held).await);
                        prop_assert!(revoked_at.is_none());
                    }
                }
            }
            // Ends the case as it began, for the next one.
            test.post(&format!("{path}/revoke"), &owner, json!({})).await.expect(200);
            test.ask(Method::DELETE, "/v1/people/friend/block", &owner, None).await;
            Ok(())
        })
    });
    outcome.unwrap();
}
