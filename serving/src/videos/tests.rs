use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::json;

use crate::auth::Role;
use crate::media::MediaStore;
use crate::signing::Standing;
use crate::testing::TestApp;

const PROMPT: &str = "a red ball bounces twice";

#[tokio::test]
async fn a_prompt_becomes_a_signed_clip_that_can_be_downloaded_in_parts() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let created = test.post("/v1/videos", &ada, json!({ "prompt": PROMPT, "seed": 7 })).await;
    assert_eq!(created.header("openai-poll-after-ms"), "500");
    let video = created.expect(200);
    assert_eq!(
        (&video["object"], &video["status"], &video["seconds"]),
        (&json!("video"), &json!("queued"), &json!("4"))
    );
    let id = video["id"].as_str().unwrap();
    let content = format!("/v1/videos/{id}/content");
    // Not ready is neither a conflict nor anything else that clients retry.
    let early = test.get(&content, &ada).await.expect(404);
    assert!(early["error"]["message"].as_str().unwrap().contains("not ready"), "{early}");

    test.render().await;
    let video = test.get(&format!("/v1/videos/{id}"), &ada).await.expect(200);
    assert_eq!((&video["status"], &video["progress"]), (&json!("completed"), &json!(100)), "{video}");

    let whole = test.get(&content, &ada).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-type")), (200, "video/mp4"));
    assert_eq!(whole.header("cache-control"), "private, no-cache");
    let info = kinora_training::media::probe(&whole.bytes).unwrap();
    assert_eq!((info.width, info.height), (256, 256));
    let provenance = test.app.signer.verify(&whole.bytes).unwrap().unwrap();
    assert_eq!(provenance.standing, Standing::Authentic);
    assert_eq!(provenance.claim.unwrap().asset_id, id);

    let ask = |name: header::HeaderName, value: String| {
        let request = Request::builder().uri(&content).header(header::AUTHORIZATION, format!("Bearer {ada}"));
        test.send(request.header(name, value).body(Body::empty()).unwrap())
    };
    let part = ask(header::RANGE, "bytes=10-19".to_owned()).await;
    assert_eq!((part.status.as_u16(), part.bytes.as_slice()), (206, &whole.bytes[10..20]));
    assert_eq!(part.header("content-range"), format!("bytes 10-19/{}", whole.bytes.len()));
    let beyond = ask(header::RANGE, format!("bytes={}-", whole.bytes.len())).await;
    assert_eq!(beyond.status.as_u16(), 416);
    let same = ask(header::IF_NONE_MATCH, whole.header("etag").to_owned()).await;
    assert_eq!((same.status.as_u16(), same.bytes.len()), (304, 0));

    for variant in ["thumbnail", "spritesheet"] {
        let picture = test.get(&format!("{content}?variant={variant}"), &ada).await;
        assert_eq!(picture.header("content-type"), "image/png");
        assert!(image::load_from_memory(&picture.bytes).is_ok());
    }
    test.get(&format!("{content}?variant=gif"), &ada).await.expect(400);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_picture_and_a_retry_makes_nothing_new() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let create = |key: &'static str, prompt: &'static str| {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/videos")
            .header(header::AUTHORIZATION, format!("Bearer {ada}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        test.send(request.body(Body::from(json!({ "prompt": prompt, "seed": 7 }).to_string())).unwrap())
    };
    let first = create("one", PROMPT).await.expect(200);
    let retried = create("one", PROMPT).await.expect(200);
    assert_eq!(first["id"], retried["id"]);
    let other = create("one", "a blue ball bounces once").await.expect(400);
    assert_eq!(other["error"]["param"], "Idempotency-Key");
    let second = create("two", PROMPT).await.expect(200);
    assert_ne!(first["id"], second["id"]);

    test.render().await;
    let thumbnail = |id: serde_json::Value| {
        let path = format!("/v1/videos/{}/content?variant=thumbnail", id.as_str().unwrap());
        let (test, ada) = (&test, &ada);
        async move { test.get(&path, ada).await.bytes }
    };
    assert_eq!(thumbnail(first["id"].clone()).await, thumbnail(second["id"].clone()).await);
}

#[tokio::test]
async fn a_form_as_the_openai_client_sends_it_is_understood() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let form = |fields: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = fields.iter().map(part).collect::<Vec<String>>().concat();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/videos")
            .header(header::AUTHORIZATION, format!("Bearer {ada}"))
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=x");
        test.send(request.body(Body::from(body + "--x--\r\n")).unwrap())
    };
    let video =
        form(&[("prompt", PROMPT), ("model", "sora-2"), ("seconds", "4"), ("size", "720x1280")]).await;
    let video = video.expect(200);
    assert_eq!((&video["model"], &video["size"]), (&json!("kinora-nano"), &json!("720x1280")));

    for (field, value) in [("input_reference", "data"), ("negative_prompt", "rain"), ("seconds", "5")] {
        let refused = form(&[("prompt", PROMPT), (field, value)]).await;
        let request_id = refused.header("x-request-id").to_owned();
        let error = refused.expect(400)["error"].clone();
        assert_eq!((&error["param"], &error["type"]), (&json!(field), &json!("invalid_request_error")));
        assert!(!request_id.is_empty());
    }
    // Lists in forms are spelled in several ways; all mean the same.
    for name in ["cameos", "cameos[]", "cameos[0]", "characters[0][id]"] {
        let refused = form(&[("prompt", PROMPT), (name, "cameo_unknown")]).await;
        assert!(matches!(refused.status.as_u16(), 403 | 404), "{name}: {:?}", refused.json());
    }
}

#[tokio::test]
async fn a_draft_is_its_owner_s_alone() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let moderator = test.token("mod", Role::Moderator).await;
    let id = test.post("/v1/videos", &ada, json!({ "prompt": PROMPT })).await.expect(200)["id"].clone();
    let id = id.as_str().unwrap();
    test.render().await;
    for path in [format!("/v1/videos/{id}"), format!("/v1/videos/{id}/content")] {
        test.get(&path, &bob).await.expect(404);
        test.get(&path, "").await.expect(401);
        assert_eq!(test.get(&path, &moderator).await.status.as_u16(), 200);
    }
    test.post(&format!("/v1/videos/{id}/remix"), &bob, json!({ "prompt": PROMPT })).await.expect(404);
    test.delete(&format!("/v1/videos/{id}"), &bob).await.expect(404);
    assert_eq!(test.get("/v1/videos", &bob).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn lists_go_through_all_videos_once_in_pages() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        let video = test.post("/v1/videos", &ada, json!({ "prompt": PROMPT })).await.expect(200);
        made.push(video["id"].as_str().unwrap().to_owned());
    }
    for order in ["asc", "desc"] {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = test.get(&format!("/v1/videos?limit=2&order={order}{after}"), &ada).await.expect(200);
            let ids =
                page["data"].as_array().unwrap().iter().map(|video| video["id"].as_str().unwrap().to_owned());
            found.extend(ids);
            if page["has_more"] == false {
                break;
            }
            after = format!("&after={}", page["last_id"].as_str().unwrap());
        }
        let mut expected = made.clone();
        if order == "desc" {
            expected.reverse();
        }
        assert_eq!(found, expected);
    }
    test.get("/v1/videos?order=sideways", &ada).await.expect(400);
}

#[tokio::test]
async fn deleting_cancels_a_waiting_job_and_erases_a_finished_video() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let create = || async {
        let video = test.post("/v1/videos", &ada, json!({ "prompt": PROMPT })).await.expect(200);
        video["id"].as_str().unwrap().to_owned()
    };
    let finished = create().await;
    test.render().await;
    let waiting = create().await;
    for id in [&finished, &waiting] {
        let deleted = test.delete(&format!("/v1/videos/{id}"), &ada).await.expect(200);
        assert_eq!((&deleted["object"], &deleted["deleted"]), (&json!("video.deleted"), &json!(true)));
        test.get(&format!("/v1/videos/{id}"), &ada).await.expect(404);
        test.get(&format!("/v1/videos/{id}/content"), &ada).await.expect(404);
    }
    test.render().await;
    let jobs: Vec<(String, String)> = sqlx::query_as("SELECT id, state FROM jobs ORDER BY created_ms, id")
        .fetch_all(test.app.db.read())
        .await
        .unwrap();
    assert_eq!(jobs, [(finished, "done".to_owned()), (waiting, "cancelled".to_owned())]);
    let media = MediaStore::open(&test.app.config.storage.media()).unwrap();
    assert_eq!(media.sweep(|_| false).await.unwrap(), 0, "no bytes are left");
    // What came to nothing did not cost anything.
    let credits = test.get("/v1/credits", &ada).await.expect(200);
    assert_eq!(credits["free_left"], 29);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let test = TestApp::with(|config| config.generation.queue_max = 2).await;
    let ada = test.user("ada").await;
    for _ in 0..2 {
        test.post("/v1/videos", &ada, json!({ "prompt": PROMPT })).await.expect(200);
    }
    let full = test.post("/v1/videos", &ada, json!({ "prompt": PROMPT })).await;
    assert!(full.header("retry-after").parse::<u64>().unwrap() <= 120);
    let error = full.expect(429);
    assert_eq!(error["error"]["type"], "rate_limit_error");
}

#[tokio::test]
async fn a_restart_takes_up_a_job_whose_worker_died() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let video = test.post("/v1/videos", &ada, json!({ "prompt": PROMPT })).await.expect(200);
    let id = video["id"].as_str().unwrap();
    let died = crate::generations::worker::claim(&test.app, "dies").await.unwrap();
    assert!(died.is_some());
    let test = test.restarted().await;
    test.render().await;
    let path = format!("/v1/videos/{id}");
    assert_eq!(test.get(&path, &ada).await.expect(200)["status"], "in_progress", "its lease still holds");
    test.app.clock.advance_ms(crate::generations::queue::LEASE_MS + 1);
    test.render().await;
    assert_eq!(test.get(&path, &ada).await.expect(200)["status"], "completed");
}

#[tokio::test]
async fn a_refused_prompt_is_never_queued_and_what_is_not_supported_says_what_is() {
    let test = TestApp::new().await;
    let ada = test.user("ada").await;
    let refused = test.post("/v1/videos", &ada, json!({ "prompt": "a beheading" })).await;
    assert_eq!(refused.status.as_u16(), 400);
    let error = test.post("/v1/videos/characters", &ada, json!({})).await.expect(400);
    assert!(error["error"]["message"].as_str().unwrap().contains("not supported"), "{error}");
    for path in ["/v1/videos/edits", "/v1/videos/extensions"] {
        let video = json!({ "id": "video_unknown" });
        for (param, body) in [
            ("video", json!({ "prompt": PROMPT })),
            ("size", json!({ "prompt": PROMPT, "video": video, "size": "128x128" })),
        ] {
            let error = test.post(path, &ada, body).await.expect(400);
            assert_eq!(error["error"]["param"], param, "{error}");
        }
        test.post(path, &ada, json!({ "prompt": PROMPT, "video": video })).await.expect(404);
    }
    test.get("/v1/videos/characters/c1", &ada).await.expect(404);
    assert_eq!(test.get("/v1/videos", &ada).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_remix_keeps_length_and_size_and_names_its_parent() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let parent =
        test.post("/v1/videos", &ada, json!({ "prompt": PROMPT, "size": "128x128" })).await.expect(200);
    let id = parent["id"].as_str().unwrap();
    test.render().await;
    test.post("/v1/posts", &ada, json!({ "video_id": id })).await.expect(201);
    let remix = json!({ "prompt": "a blue ball bounces twice" });
    let remix = test.post(&format!("/v1/videos/{id}/remix"), &bob, remix).await.expect(200);
    assert_eq!((&remix["remixed_from_video_id"], &remix["size"]), (&json!(id), &json!("128x128")));
    test.render().await;
    let content = format!("/v1/videos/{}/content", remix["id"].as_str().unwrap());
    let clip = test.get(&content, &bob).await.bytes;
    assert_eq!(test.app.signer.verify(&clip).unwrap().unwrap().ingredients, 1);
}

#[tokio::test]
async fn an_edit_is_as_long_as_its_parent_and_an_extension_longer() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let parent =
        test.post("/v1/videos", &ada, json!({ "prompt": PROMPT, "size": "128x128" })).await.expect(200);
    test.render().await;
    let of = |prompt: &str, video: &serde_json::Value| json!({ "prompt": prompt, "video": { "id": video } });
    let other = "a blue ball bounces twice";
    // A draft is its owner's alone, whatever it would be used for.
    test.post("/v1/videos/edits", &bob, of(other, &parent["id"])).await.expect(404);
    let edit = test.post("/v1/videos/edits", &ada, of(other, &parent["id"])).await.expect(200);
    let mut longer = of(PROMPT, &parent["id"]);
    longer["seconds"] = json!("8");
    let longer = test.post("/v1/videos/extensions", &ada, longer).await.expect(200);
    assert_eq!((&edit["seconds"], &longer["seconds"]), (&json!("4"), &json!("12")));
    test.render().await;
    for (video, seconds) in [(&edit, 4000), (&longer, 12_000)] {
        let id = video["id"].as_str().unwrap();
        let done = test.get(&format!("/v1/videos/{id}"), &ada).await.expect(200);
        assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &json!(null)));
        assert_eq!((&done["remixed_from_video_id"], &done["size"]), (&parent["id"], &json!("128x128")));
        let clip = test.get(&format!("/v1/videos/{id}/content"), &ada).await.bytes;
        let info = kinora_training::media::probe(&clip).unwrap();
        assert_eq!(info.duration_ms, seconds, "{info:?}");
        assert_eq!(test.app.signer.verify(&clip).unwrap().unwrap().ingredients, 1);
    }
    let again = test.post("/v1/videos/edits", &ada, of(other, &longer["id"])).await.expect(200);
    assert_eq!(again["seconds"], "12");
    let sixteen = test.post("/v1/videos/extensions", &ada, of(PROMPT, &longer["id"])).await.expect(200);
    test.render().await;
    for video in [&again, &sixteen] {
        let done = test.get(&format!("/v1/videos/{}", video["id"].as_str().unwrap()), &ada).await.expect(200);
        assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &json!(null)));
    }
    let refused = test.post("/v1/videos/edits", &ada, of(other, &sixteen["id"])).await.expect(400);
    assert_eq!(refused["error"]["param"], "video", "{refused}");
}

#[tokio::test]
async fn a_remix_that_was_paid_for_is_answered_even_while_the_event_log_is_full() {
    let test = TestApp::with(|config| config.limits.event_log_bytes = 1).await;
    let bob = test.user("bob").await;
    test.user("ada").await;
    let parent = test.publish("ada", PROMPT, &[]).await.video_id;
    let path = format!("/v1/videos/{parent}/remix");
    let remix = test.post(&path, &bob, json!({ "prompt": "a blue ball bounces" })).await.expect(200);
    let told: Vec<String> = sqlx::query_scalar("SELECT payload FROM outbox WHERE payload LIKE '%\"remix\"%'")
        .fetch_all(test.app.db.read())
        .await
        .unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&parent) && told[0].contains("\"bob\""), "{told:?}");
    assert_eq!(remix["remixed_from_video_id"], parent.as_str());
}

#[tokio::test]
async fn a_remix_whose_parent_is_gone_by_its_turn_is_not_made() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let parent = test.publish("ada", PROMPT, &[]).await.video_id;
    let path = format!("/v1/videos/{parent}/remix");
    let remix = test.post(&path, &bob, json!({ "prompt": "a blue ball bounces" })).await.expect(200);
    test.delete(&format!("/v1/videos/{parent}"), &ada).await.expect(200);
    test.render().await;
    let path = format!("/v1/videos/{}", remix["id"].as_str().unwrap());
    let video = test.get(&path, &bob).await.expect(200);
    let error =
        json!({ "code": "parent_removed", "message": "the video that this one is made from was removed" });
    assert_eq!((&video["status"], &video["error"]), (&json!("failed"), &error));
    assert_eq!(test.get("/v1/credits", &bob).await.expect(200)["free_left"], 30);
}
