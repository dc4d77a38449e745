//! Consent through a generation's whole life: at admission, while it runs, at commit, at serve.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::commit;
use crate::generations::queue::{Commit, Lease};
use crate::generations::worker;
use crate::testing::TestApp;

const PROMPT: &str = "the cameo ball bounces twice";

async fn create(test: &TestApp, token: &str, cameo: &str) -> crate::testing::Answer {
    test.post("/v1/videos", token, json!({ "prompt": PROMPT, "cameos": [cameo] })).await
}

async fn status(test: &TestApp, token: &str, id: &Value) -> Value {
    test.get(&format!("/v1/videos/{}", id.as_str().unwrap()), token).await.expect(200)
}

#[tokio::test]
async fn a_likeness_is_used_with_consent_only_and_not_after_it_was_withdrawn() {
    let test = TestApp::new().await;
    let (ada, bob, eve) = (test.user("ada").await, test.user("bob").await, test.user("eve").await);
    let cameo = test.enrol(&ada, "approved").await;

    let refused = create(&test, &bob, &cameo).await.expect(403);
    assert!(refused["error"]["message"].as_str().unwrap().contains("consent"), "{refused}");
    let offer =
        test.post(&format!("/v1/cameos/{cameo}/grants"), &ada, json!({ "user": "@bob" })).await.expect(201);
    let grant = format!("/v1/cameos/{cameo}/grants/{}", offer["grant_id"].as_str().unwrap());
    create(&test, &bob, &cameo).await.expect(403);
    test.post(&format!("{grant}/accept"), &bob, json!({})).await.expect(200);
    create(&test, &eve, &cameo).await.expect(403);

    let finished = create(&test, &bob, &cameo).await.expect(200);
    test.render().await;
    let told = test.get("/v1/notifications", &ada).await.expect(200);
    assert_eq!(
        (&told["notifications"][0]["kind"], &told["notifications"][0]["text"]),
        (&json!("cameo_used"), &json!("@bob made a video with your cameo `me`"))
    );
    let content = format!("/v1/videos/{}/content", finished["id"].as_str().unwrap());
    assert_eq!(test.get(&content, &bob).await.status.as_u16(), 200);
    assert_eq!(test.get(&content, &ada).await.status.as_u16(), 200, "whose likeness it is sees the draft");
    test.get(&content, &eve).await.expect(404);
    let post = test.post("/v1/posts", &bob, json!({ "video_id": finished["id"] })).await.expect(201);
    assert_eq!(test.get(post["video_url"].as_str().unwrap(), &eve).await.status.as_u16(), 200);
    // A remix cannot drop the likeness, and needs consent of its own.
    let remix = format!("/v1/videos/{}/remix", finished["id"].as_str().unwrap());
    test.post(&remix, &eve, json!({ "prompt": "a red ball bounces once" })).await.expect(403);
    let remixed = test.post(&remix, &bob, json!({ "prompt": "a red ball bounces once" })).await.expect(200);
    test.render().await;
    let waiting = create(&test, &bob, &cameo).await.expect(200);

    test.post(&format!("/v1/cameos/{cameo}/revoke"), &ada, json!({})).await.expect(200);
    test.render().await;
    for id in [&finished["id"], &remixed["id"], &waiting["id"]] {
        let video = status(&test, &bob, id).await;
        assert_eq!(video["status"], "failed", "{video}");
        for token in [&bob, &ada] {
            let content = test.get(&format!("/v1/videos/{}/content", id.as_str().unwrap()), token).await;
            assert!(matches!(content.status.as_u16(), 403 | 404), "{:?}", content.status);
        }
    }
    assert!(matches!(test.get(post["video_url"].as_str().unwrap(), &eve).await.status.as_u16(), 403 | 404));
    assert_eq!(test.get("/v1/feed", &eve).await.expect(200)["items"], json!([]));
    test.post("/v1/posts", &bob, json!({ "video_id": finished["id"] })).await.expect(404);
    create(&test, &bob, &cameo).await.expect(403);
}

#[tokio::test]
async fn an_unfollow_ends_what_rested_on_mutuality() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let cameo = test.enrol(&ada, "mutuals").await;
    create(&test, &bob, &cameo).await.expect(403);
    for (token, other) in [(&ada, "bob"), (&bob, "ada")] {
        assert!(test.put(&format!("/v1/people/@{other}/follow"), token, json!({})).await.status.is_success());
    }
    let video = create(&test, &bob, &cameo).await.expect(200);
    test.render().await;
    let content = format!("/v1/videos/{}/content", video["id"].as_str().unwrap());
    assert_eq!(test.get(&content, &bob).await.status.as_u16(), 200);
    assert!(test.delete("/v1/people/@bob/follow", &ada).await.status.is_success());
    test.get(&content, &bob).await.expect(403);
}

#[tokio::test]
async fn a_withdrawal_while_the_clip_is_made_wins() {
    let test = TestApp::new().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let cameo = test.enrol(&ada, "everyone").await;
    let video = create(&test, &bob, &cameo).await.expect(200);
    let lease = worker::claim(&test.app, "test").await.unwrap().unwrap();
    let revoke = format!("/v1/cameos/{cameo}/revoke");
    let (worked, revoked) =
        tokio::join!(worker::work(&test.app, &lease), test.post(&revoke, &ada, json!({})));
    worked.unwrap();
    revoked.expect(200);
    // Whichever came first: the clip is not to be had.
    let video = status(&test, &bob, &video["id"]).await;
    assert_eq!(video["status"], "failed", "{video}");
    let content = test.get(&format!("/v1/videos/{}/content", video["id"].as_str().unwrap()), &bob).await;
    assert!(matches!(content.status.as_u16(), 403 | 404));
}

#[derive(Clone, Debug)]
enum Step {
    Create,
    Claim,
    Commit(prop::sample::Index),
    Revoke,
    Narrow,
    Widen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Create),
        3 => Just(Step::Claim),
        4 => any::<prop::sample::Index>().prop_map(Step::Commit),
        1 => Just(Step::Revoke),
        1 => Just(Step::Narrow),
        1 => Just(Step::Widen),
    ]
}

/// What is acknowledged about one cameo, next to what the server does.
async fn run(test: &TestApp, ada: &str, bob: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let cameo = test.enrol(ada, "everyone").await;
    let (mut revoked, mut narrowed) = (false, false);
    let mut leases: Vec<Lease> = Vec::new();
    for step in steps {
        match step {
            Step::Create => {
                let answer = create(test, bob, &cameo).await.status.as_u16();
                let allowed = !revoked && !narrowed;
                prop_assert_eq!(answer == 200, allowed, "{}", answer);
            }
            Step::Claim => leases.extend(worker::claim(&test.app, "test").await.unwrap()),
            Step::Commit(_) if leases.is_empty() => {}
            Step::Commit(at) => {
                let lease = &leases[at.index(leases.len())];
                let commit = commit(&test.app.db, lease, test.app.clock.now_ms()).await;
                if revoked || narrowed {
                    prop_assert_ne!(commit, Commit::Committed, "consent was withdrawn and acknowledged");
                }
            }
            Step::Revoke => {
                test.post(&format!("/v1/cameos/{cameo}/revoke"), ada, json!({})).await.expect(200);
                revoked = true;
            }
            Step::Narrow | Step::Widen => {
                narrowed = matches!(step, Step::Narrow);
                let audience = if narrowed { "only_me" } else { "everyone" };
                let path = format!("/v1/cameos/{cameo}/audience");
                test.put(&path, ada, json!({ "audience": audience })).await.expect(200);
            }
        }
    }
    // The owner may have ten; and no job of this case is left to the next.
    test.post(&format!("/v1/cameos/{cameo}/revoke"), ada, json!({ "scope": "erase" })).await.expect(200);
    Ok(())
}

#[test]
fn after_an_acknowledged_withdrawal_no_commit_of_an_older_epoch_succeeds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (test, ada, bob) = runtime.block_on(async {
        let test = TestApp::with(|config| config.generation.peak_queue_depth = u64::MAX).await;
        let (ada, bob) = (test.user("ada").await, test.user("bob").await);
        (test, ada, bob)
    });
    let mut runner = TestRunner::new(ProptestConfig { cases: 16, ..ProptestConfig::default() });
    runner
        .run(&prop::collection::vec(step(), 1..16), |steps| runtime.block_on(run(&test, &ada, &bob, &steps)))
        .unwrap();
}
