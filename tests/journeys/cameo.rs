//! A likeness is used with consent, not without it, and not after consent is withdrawn.

use serde_json::{Value, json};
use ureq::unversioned::multipart::{Form, Part};

use crate::program::{Client, Server, turn};

/// A small picture: a disc of two colours.
fn picture() -> Vec<u8> {
    include_bytes!("../../docs/cameo-example.png").to_vec()
}

fn enrol(owner: &Client) -> String {
    let picture = picture();
    let form = Form::new()
        .text("name", "Ada")
        .text("statement", "I agree that my likeness is used in clips made by people I approve.")
        .text("attested", "true")
        .text("audience", "approved")
        .part("picture", Part::bytes(&picture).file_name("ada.png").mime_str("image/png").unwrap());
    let cameo = owner.post_form("/v1/cameos", form).ok();
    cameo["cameo_id"].as_str().unwrap().to_owned()
}

fn with_cameo(cameo: &str) -> Value {
    json!({ "prompt": "the cameo ball bounces twice", "cameos": [cameo] })
}

fn content(client: &Client, video: &Value) -> u16 {
    client.get(&format!("/v1/videos/{}/content", video["id"].as_str().unwrap())).status
}

#[test]
fn consent_is_asked_given_used_and_withdrawn() {
    let _turn = turn();
    let server = Server::empty();
    let (ada, ben, eve) = (server.user("ada"), server.user("ben"), server.user("eve"));
    let cameo = enrol(&ada);

    // Without consent: refused, and nothing is queued.
    eve.post("/v1/videos", &with_cameo(&cameo)).refused(403);
    assert_eq!(eve.get("/v1/videos").ok()["data"], json!([]));

    // Consent is offered to one person and accepted.
    let grant = ada.post(&format!("/v1/cameos/{cameo}/grants"), &json!({ "user": "ben" })).ok();
    ben.post(
        &format!("/v1/cameos/{cameo}/grants/{}/accept", grant["grant_id"].as_str().unwrap()),
        &json!({}),
    )
    .ok();
    let video = ben.generate(&with_cameo(&cameo));
    assert_eq!(video["status"], "completed", "{video}");
    assert_eq!(content(&ben, &video), 200);
    eve.post("/v1/videos", &with_cameo(&cameo)).refused(403);

    // The owner sees every use, drafts too; a post of it is seen by others, and can be remixed.
    let uses = ada.get(&format!("/v1/cameos/{cameo}/uses")).ok().to_string();
    assert!(uses.contains(video["id"].as_str().unwrap()), "{uses}");
    let post = ben.post("/v1/posts", &json!({ "video_id": video["id"], "caption": "Ada bounces" })).ok();
    let post_video = post["video_url"].as_str().unwrap().to_owned();
    assert_eq!(eve.get(&post_video).status, 200);

    // One clip is rendering and one waits when consent is withdrawn.
    let running = ben.post("/v1/videos", &with_cameo(&cameo)).ok();
    let queued = ben.post("/v1/videos", &with_cameo(&cameo)).ok();
    ada.post(&format!("/v1/cameos/{cameo}/revoke"), &json!({})).ok();

    for late in [&running, &queued] {
        let late = ben.wait_for_video(late["id"].as_str().unwrap());
        assert_ne!(late["status"], "completed", "{late}");
        assert_ne!(content(&ben, &late), 200);
    }
    assert_ne!(content(&ben, &video), 200, "an existing video is still served");
    assert_ne!(eve.get(&post_video).status, 200, "a post of it is still served");
    let feed = eve.get("/v1/feed").ok().to_string();
    assert!(!feed.contains(post["id"].as_str().unwrap()), "the feed still shows it");
    ben.post("/v1/videos", &with_cameo(&cameo)).refused(403);

    // None of it comes back with a restart.
    let (base_dir, ben_token) = (server.data_dir.clone(), ben.token.clone());
    let server = server.restart();
    assert_eq!(server.data_dir, base_dir);
    let ben = Client { base_url: server.base_url.clone(), token: ben_token };
    assert_ne!(content(&ben, &video), 200);
    ben.post("/v1/videos", &with_cameo(&cameo)).refused(403);
}
