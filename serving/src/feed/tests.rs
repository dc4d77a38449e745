use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use kinora_harness::device::DeviceChoice;
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use kinora_pipelines::Lake;
use kinora_pipelines::dataset::{DatasetOptions, Split, build_ranking};
use kinora_pipelines::simulate::{SimulationConfig, load_simulation, simulate};
use kinora_ranking::feed::{Arm, Experiment, Weights};
use kinora_ranking::retrieval;
use kinora_ranking::retrieval::model::RetrieverConfig;
use kinora_ranking::rollout::Rankers;
use kinora_ranking::{Hyperparameters, TrainOptions, TrainOutcome, train};
use kinora_schema::EventId;
use serde_json::{Value, json};

use super::FeedState;
use crate::auth::Role;
use crate::events::compactor::settle;
use crate::testing::{NOW_MS, TestApp};

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["post"]["video_id"].as_str().unwrap().to_owned()).collect()
}

/// Six posts of three creators.
async fn platform() -> TestApp {
    let test = TestApp::new().await;
    for (number, prompt) in ["a red ball bounces twice", "a blue ball is thrown into the hoop"]
        .into_iter()
        .cycle()
        .take(6)
        .enumerate()
    {
        let creator = ["ada", "bob", "eve"][number % 3];
        test.user(creator).await;
        test.publish(creator, prompt, &[]).await;
        test.app.clock.advance_ms(1000);
    }
    settle(&test.app).await;
    test
}

#[tokio::test]
async fn a_scroll_shows_every_post_once_and_a_new_one_begins_again() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let mut shown = Vec::new();
    let mut path = "/v1/feed?limit=4".to_owned();
    loop {
        let page = test.get(&path, &viewer).await.expect(200);
        for (place, item) in page["items"].as_array().unwrap().iter().enumerate() {
            assert_eq!(item["position"], shown.len() + place);
            assert!(!item["reason"].as_str().unwrap().is_empty());
        }
        shown.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/feed?limit=4&cursor={cursor}");
    }
    assert_eq!(shown.len(), 6);
    assert_eq!(shown.iter().collect::<HashSet<_>>().len(), 6);
    let again = test.get("/v1/feed?limit=4", &viewer).await.expect(200);
    assert_eq!(ids(&again).len(), 4, "what was seen comes again once there is nothing else");
}

#[tokio::test]
async fn without_personalisation_two_people_with_different_histories_get_the_same_feed() {
    let test = platform().await;
    let (one, other) = (test.user("one").await, test.user("other").await);
    let all = ids(&test.get("/v1/feed?limit=6", &one).await.expect(200));
    let likes: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(number, video)| {
            json!({ "event_id": EventId::derived("test", number as u64, "like"), "kind": "like",
                "event_time_ms": NOW_MS, "video_id": video })
        })
        .collect();
    test.post("/v1/events", &one, json!(likes[..3])).await.expect(200);
    test.post("/v1/events", &other, json!(likes[3..])).await.expect(200);
    for token in [&one, &other] {
        let switches = json!({ "personalisation": false, "location": false, "conversation_history": false });
        assert!(test.put("/v1/me/switches", token, switches).await.status.is_success());
    }
    let first = test.get("/v1/feed?limit=6", &one).await.expect(200);
    assert_eq!(first["personalised"], false);
    // That one of them watches must not show in the other's order.
    let mut more: Vec<Value> = likes[..3].to_vec();
    for (number, like) in more.iter_mut().enumerate() {
        like["event_id"] = json!(EventId::derived("test", 100 + number as u64, "click"));
        like["kind"] = json!("click");
    }
    test.post("/v1/events", &one, json!(more)).await.expect(200);
    let second = test.get("/v1/feed?limit=6", &other).await.expect(200);
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(ids(&first).len(), 6);
}

#[tokio::test]
async fn blocked_and_withdrawn_posts_are_not_shown() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let ada = test.user("ada").await;
    let own = test.get("/v1/posts?creator=@bob&limit=1", &viewer).await.expect(200);
    let bob = test.user("bob").await;
    let withdrawn = own["posts"][0]["id"].as_str().unwrap();
    test.post(&format!("/v1/posts/{withdrawn}/unpublish"), &bob, json!({})).await.expect(200);
    assert!(test.put("/v1/people/@viv/block", &ada, json!({})).await.status.is_success());
    let page = test.get("/v1/feed?limit=20", &viewer).await.expect(200);
    assert_eq!(ids(&page).len(), 3);
    for item in page["items"].as_array().unwrap() {
        assert_ne!(item["post"]["creator_id"], "ada");
        assert_ne!(item["post"]["id"], withdrawn);
    }
}

#[tokio::test]
async fn what_was_shown_is_logged_with_its_policy_and_can_be_explained() {
    let test = platform().await;
    let (viewer, other) = (test.user("viv").await, test.user("other").await);
    let page = test.get("/v1/feed?limit=3", &viewer).await.expect(200);
    let impression = page["items"][0]["impression_id"].as_str().unwrap();
    let why = test.get(&format!("/v1/feed/explain/{impression}"), &viewer).await.expect(200);
    assert_eq!((&why["position"], &why["policy"]), (&json!(0), &page["policy"]));
    assert!(why["propensity"].as_f64().unwrap() > 0.0);
    test.get(&format!("/v1/feed/explain/{impression}"), &other).await.expect(404);

    // The impressions are logged behind the response.
    let analyst = test.token("ann", Role::Analyst).await;
    let question = json!({ "query":
        "select position, policy is not null and propensity > 0 as logged, surface, creator_id is not null as known
         from events where kind = 'impression' order by position" });
    let expected: Vec<Value> = (0..3)
        .map(|position| json!({ "position": position, "logged": true, "surface": "feed", "known": true }))
        .collect();
    let mut rows = Value::Null;
    for _ in 0..100 {
        settle(&test.app).await;
        rows = test.post("/v1/sql", &analyst, question.clone()).await.expect(200)["rows"].clone();
        if rows == json!(expected) {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(rows, json!(expected));
}

#[tokio::test]
async fn conversations_count_only_where_they_may_be_linked() {
    let test = platform().await;
    let (viewer, eve) = (test.user("viv").await, test.user("eve").await);
    for (token, to) in [(&viewer, "eve"), (&eve, "viv")] {
        let message = json!({ "to": to, "text": "hello" });
        assert!(test.post("/v1/messages", token, message).await.status.is_success());
    }
    let talked = |page: &Value| {
        page["items"].as_array().unwrap().iter().any(|item| item["reason"] == "from someone you talk with")
    };
    assert!(talked(&test.get("/v1/feed?limit=6", &viewer).await.expect(200)));
    let switches = json!({ "personalisation": true, "location": true, "conversation_history": false });
    assert!(test.put("/v1/me/switches", &viewer, switches).await.status.is_success());
    assert!(!talked(&test.get("/v1/feed?limit=6", &viewer).await.expect(200)));
}

#[tokio::test]
async fn a_feed_is_steered_in_words_and_told_how_they_were_understood() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let captions = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["post"]["caption"].as_str().unwrap().to_owned()).collect()
    };
    let words = json!({ "text": "basketball first please, no bounces" });
    let understood = test.put("/v1/feed/steering", &viewer, words).await.expect(200);
    assert_eq!(understood["more"], json!(["basketball first"]));
    assert_eq!(understood["never"], json!(["bounces"]));
    assert_eq!(test.get("/v1/feed/steering", &viewer).await.expect(200), understood);
    let page = test.get("/v1/feed?limit=6", &viewer).await.expect(200);
    assert_eq!(captions(&page).len(), 3, "{:?}", captions(&page));
    assert!(captions(&page).iter().all(|caption| caption.contains("hoop")));
    assert_eq!(page["items"][0]["reason"], "what you asked for");
    let impression = page["items"][0]["impression_id"].as_str().unwrap();
    let why = test.get(&format!("/v1/feed/explain/{impression}"), &viewer).await.expect(200);
    assert!(why["why"]["contributions"]["steering"].as_f64().unwrap() > 0.0, "{why}");
    assert_eq!(why["why"]["sources"][0], "steered");

    assert!(test.delete("/v1/feed/steering", &viewer).await.status.is_success());
    assert_eq!(ids(&test.get("/v1/feed?limit=6", &viewer).await.expect(200)).len(), 6);
    let long = json!({ "text": "x".repeat(301) });
    test.put("/v1/feed/steering", &viewer, long).await.expect(400);
}

#[tokio::test]
async fn less_like_a_clip_holds_at_once_and_can_be_taken_back() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let all = ids(&test.get("/v1/feed?limit=6", &viewer).await.expect(200));
    let path = format!("/v1/feed/less/{}", all[0]);
    let event = json!([{ "event_id": EventId::derived("test", 1, "less"), "kind": "not_interested",
        "event_time_ms": NOW_MS, "video_id": all[1] }]);
    test.post("/v1/events", &viewer, event.clone()).await.expect(200);
    assert!(test.put(&path, &viewer, json!({})).await.status.is_success());
    let page = ids(&test.get("/v1/feed?limit=6", &viewer).await.expect(200));
    assert_eq!(page.len(), 4);
    assert!(!page.contains(&all[0]) && !page.contains(&all[1]));
    let list = test.get("/v1/feed/less", &viewer).await.expect(200);
    assert_eq!(list["clips"].as_array().unwrap().len(), 2);

    let missing = test.get(&format!("/v1/feed/missing/{}", all[0]), &viewer).await.expect(200);
    assert_eq!((&missing["shown"], &missing["stage"]), (&json!(false), &json!("not_interested")));
    for video in &all[..2] {
        assert!(test.delete(&format!("/v1/feed/less/{video}"), &viewer).await.status.is_success());
    }
    // The app sends again what it is not sure has arrived.
    test.post("/v1/events", &viewer, event).await.expect(200);
    assert_eq!(ids(&test.get("/v1/feed?limit=6", &viewer).await.expect(200)).len(), 6);
    test.put("/v1/feed/less/nothing", &viewer, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_missing_clip_is_explained_and_tells_a_person_nothing_of_others() {
    let test = platform().await;
    let (viewer, ada, admin) =
        (test.user("viv").await, test.user("ada").await, test.token("root", Role::Admin).await);
    let posts = test.get("/v1/posts?creator=@ada&limit=1", &viewer).await.expect(200);
    let video = posts["posts"][0]["video_id"].as_str().unwrap().to_owned();
    let shown = test.get(&format!("/v1/feed/missing/{video}"), &viewer).await.expect(200);
    assert_eq!(shown["shown"], true);
    assert!(test.put("/v1/people/@viv/block", &ada, json!({})).await.status.is_success());
    let missing = test.get(&format!("/v1/feed/missing/{video}"), &viewer).await.expect(200);
    assert_eq!(missing["stage"], "unavailable");
    let told = test.get(&format!("/v1/feed/missing/{video}?user=viv"), &admin).await.expect(200);
    assert_eq!(told["stage"], "blocked");
    test.get(&format!("/v1/feed/missing/{video}?user=ada"), &viewer).await.expect(403);
    test.get("/v1/feed/missing/nothing", &viewer).await.expect(404);
}

#[tokio::test]
async fn an_experiment_draws_people_apart_and_logs_it_and_leaves_out_who_is_not_personalised() {
    let arm = |name: &str, follow: f32| Arm {
        name: name.to_owned(),
        share: 0.5,
        weights: Some(Weights { follow, ..Weights::default() }),
    };
    let experiment =
        Experiment { name: "follows".to_owned(), arms: vec![arm("control", 6.0), arm("more", 12.0)] };
    let test = TestApp::with(|config| config.feed.experiment = Some(experiment)).await;
    test.user("ada").await;
    test.publish("ada", "a red ball bounces twice", &[]).await;
    let mut policies = HashSet::new();
    for number in 0..12 {
        let token = test.user(&format!("viewer{number}")).await;
        let policy = test.get("/v1/feed", &token).await.expect(200)["policy"].clone();
        let again = test.get("/v1/feed", &token).await.expect(200)["policy"].clone();
        assert_eq!(policy, again, "a person stays in their arm");
        policies.insert(policy.as_str().unwrap().to_owned());
        let switches = json!({ "personalisation": false });
        assert!(test.put("/v1/me/switches", &token, switches).await.status.is_success());
        assert_eq!(test.get("/v1/feed", &token).await.expect(200)["policy"], "feed-2/popularity");
    }
    let expected = ["control", "more"].map(|arm| format!("feed-2+follows:{arm}/popularity"));
    assert_eq!(policies, expected.into());
}

/// Two versions of a ranker beside each other, trained on a small simulation.
async fn rankers(test: &TestApp) -> Rankers {
    let lake = Lake::open(test.app.config.storage.data_dir.join("simulated")).await.unwrap();
    let config =
        SimulationConfig { users: 30, videos: 40, creators: 4, days: 2, ..SimulationConfig::new(3, NOW_MS) };
    load_simulation(&lake, &simulate(&config).unwrap(), NOW_MS + 10 * 86_400_000).await.unwrap();
    let dataset = test.app.config.storage.data_dir.join("dataset");
    let split = Split { name: "train".to_owned(), from_ms: 0, until_ms: i64::MAX };
    let options = DatasetOptions { splits: vec![split], ..DatasetOptions::default() };
    build_ranking(&lake, &dataset, &options, &mut |_| ()).await.unwrap();
    let rankers = Rankers::at(test.app.config.storage.models().join("rankers"));
    for seed in [1, 2] {
        let options = TrainOptions {
            dataset: dataset.clone(),
            out: rankers.path(&format!("v{seed}")),
            runs: test.app.config.storage.data_dir.join("runs"),
            hyperparameters: Hyperparameters { minimum_steps: 5, ..Hyperparameters::default() },
            from: None,
            seed,
            device: DeviceChoice::Cpu,
            checkpoint_every: 1000,
            resume: false,
            interrupt: Interrupt::new(),
            progress: Mode::Silent,
        };
        assert!(matches!(train(&options).unwrap(), TrainOutcome::Finished(_)));
    }
    rankers
}

#[tokio::test]
async fn another_ranker_comes_into_force_and_goes_without_a_restart() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let rankers = rankers(&test).await;
    let policy = async || {
        test.app.feed.follow_now();
        test.get("/v1/feed?limit=3", &viewer).await.expect(200)["policy"].as_str().unwrap().to_owned()
    };
    assert_eq!(policy().await, "feed-2/popularity");
    rankers.promote("v1").unwrap();
    let first = policy().await;
    rankers.promote("v2").unwrap();
    let second = policy().await;
    assert!(first.starts_with("feed-2/ranker-") && second != first, "{first} and {second}");
    rankers.roll_back().unwrap();
    assert_eq!(policy().await, first);

    // What cannot be loaded does not come into force, however it came to be named.
    rankers.promote("v2").unwrap();
    std::fs::write(rankers.path("v2").join("weights.safetensors"), "cut short").unwrap();
    assert_eq!(policy().await, first);
    rankers.roll_back().unwrap();
    assert_eq!(policy().await, first);
}

/// Another version with the files of an earlier one.
fn copy(rankers: &Rankers, from: &str, to: &str) {
    std::fs::create_dir(rankers.path(to)).unwrap();
    for file in ["model.json", "weights.safetensors"] {
        std::fs::copy(rankers.path(from).join(file), rankers.path(to).join(file)).unwrap();
    }
}

#[tokio::test]
async fn a_shadow_that_is_gone_holds_up_neither_a_rollback_nor_a_start() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let rankers = rankers(&test).await;
    copy(&rankers, "v2", "v3");
    let policy = async || {
        test.app.feed.follow_now();
        test.get("/v1/feed?limit=3", &viewer).await.expect(200)["policy"].as_str().unwrap().to_owned()
    };
    rankers.promote("v1").unwrap();
    let first = policy().await;
    rankers.promote("v2").unwrap();
    rankers.shadow(Some("v3")).unwrap();
    assert_ne!(policy().await, first);

    std::fs::remove_dir_all(rankers.path("v3")).unwrap();
    rankers.roll_back().unwrap();
    assert_eq!(policy().await, first);
    let models = test.app.config.storage.models();
    let started = FeedState::load(&models, None, &test.app.interactions.features()).unwrap().rankers();
    assert!(started.champion.is_some() && started.shadow.is_none());
}

#[tokio::test]
async fn a_ranker_in_the_shadow_is_logged_and_changes_nothing() {
    let test = platform().await;
    let (viewer, private) = (test.user("viv").await, test.user("priv").await);
    let switches = json!({ "personalisation": false });
    assert!(test.put("/v1/me/switches", &private, switches).await.status.is_success());
    let rankers = rankers(&test).await;
    rankers.promote("v1").unwrap();
    test.app.feed.follow_now();
    let before = test.get("/v1/feed?limit=6", &viewer).await.expect(200);
    rankers.shadow(Some("v2")).unwrap();
    test.app.feed.follow_now();
    let with = test.get("/v1/feed?limit=6", &viewer).await.expect(200);
    assert_eq!((&before["policy"], ids(&before).len()), (&with["policy"], ids(&with).len()));
    test.get("/v1/feed?limit=6", &private).await.expect(200);

    // One that gives no numbers must not keep from the lake what was shown.
    copy(&rankers, "v2", "v3");
    let path = rankers.path("v3").join("weights.safetensors");
    let mut weights = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    weights[header..].fill(0xff);
    std::fs::write(&path, weights).unwrap();
    rankers.shadow(Some("v3")).unwrap();
    test.app.feed.follow_now();
    test.get("/v1/feed?limit=6", &viewer).await.expect(200);

    let analyst = test.token("ann", Role::Analyst).await;
    let question = json!({ "query":
        "select user_id, count(*) as shown,
            count(*) filter (where features like '%\"shadow:v2\":1%') as tried,
            count(*) filter (where features like '%\"shadow:v3\":1%') as broken,
            count(*) filter (where features like '%\"shadow_predicted_like\"%'
                and features like '%\"shadow_predicted_watch_ms\"%' and features like '%\"shadow_value\"%') as said,
            count(*) filter (where features like '%shadow%') as touched
         from events where kind = 'impression' group by user_id order by user_id" });
    let expected = json!([
        { "user_id": "priv", "shown": 6, "tried": 0, "broken": 0, "said": 0, "touched": 0 },
        { "user_id": "viv", "shown": 18, "tried": 6, "broken": 6, "said": 6, "touched": 12 }
    ]);
    let mut rows = Value::Null;
    for _ in 0..200 {
        settle(&test.app).await;
        rows = test.post("/v1/sql", &analyst, question.clone()).await.expect(200)["rows"].clone();
        if rows == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn the_city_of_a_request_counts_only_where_location_is_allowed_and_is_kept_nowhere() {
    // Made-up cities of documentation addresses, written with the `mmdb_writer` package.
    let cities = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/feed/fixtures/cities.mmdb");
    let test = TestApp::with(|config| config.server.cities = Some(cities)).await;
    for creator in ["ada", "bob"] {
        let token = test.user(creator).await;
        let place = json!({ "place": if creator == "ada" { "springfield" } else { "Shelbyville" } });
        assert!(test.put("/v1/me", &token, place).await.status.is_success());
        test.publish(creator, "a red ball bounces twice", &[]).await;
    }
    settle(&test.app).await;
    let viewer = test.user("viv").await;
    // Who is on the page, and why.
    let page = async |address: &str| -> Vec<(String, String)> {
        // What was seen does not hide what is near.
        test.app.clock.advance_ms(2 * 86_400_000);
        let request = Request::builder()
            .uri("/v1/feed?limit=2")
            .header(header::AUTHORIZATION, format!("Bearer {viewer}"))
            .extension(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 4000)));
        let page = test.send(request.body(Body::empty()).unwrap()).await.expect(200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| (text(&item["post"]["creator_id"]), text(&item["reason"]))).collect()
    };
    let near = async |address: &str| -> Vec<String> {
        let page = page(address).await.into_iter();
        page.filter(|(_, reason)| reason == "popular near you").map(|(creator, _)| creator).collect()
    };
    let switch = async |location: bool| {
        let switches = json!({ "personalisation": true, "location": location, "conversation_history": true });
        assert!(test.put("/v1/me/switches", &viewer, switches).await.status.is_success());
    };
    switch(true).await;
    assert!(near("198.51.100.7").await.is_empty(), "nobody knows where that is");
    assert_eq!(near("203.0.113.5").await, ["ada"], "however she writes it");
    assert_eq!(near("::ffff:203.0.113.200").await, ["bob"]);
    switch(false).await;
    let anywhere = page("198.51.100.7").await;
    assert!(anywhere.iter().all(|(_, reason)| reason != "popular near you"));
    for address in ["203.0.113.5", "203.0.113.200"] {
        assert_eq!(page(address).await, anywhere);
    }

    // The tables of the lake are compressed and are asked; everything else is searched as it lies on the disk.
    let analyst = test.token("ann", Role::Analyst).await;
    let question = json!({ "query": "select * from events where kind = 'impression'" });
    let mut logged = Value::Null;
    for _ in 0..200 {
        settle(&test.app).await;
        logged = test.post("/v1/sql", &analyst, question.clone()).await.expect(200)["rows"].clone();
        if logged.as_array().is_some_and(|rows| rows.len() == 12) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(logged.as_array().unwrap().len(), 12);
    let shown: Vec<String> =
        sqlx::query_scalar("SELECT reason || policy || features || why FROM impressions")
            .fetch_all(test.app.db.read())
            .await
            .unwrap();
    let kept = format!("{logged}{shown:?}").to_lowercase();
    for secret in ["203.0.113.", "springfield", "shelbyville"] {
        assert!(!kept.contains(secret), "{secret}");
    }
    let mut files = vec![test.app.config.storage.data_dir.clone()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(10).any(|part| part == b"203.0.113."), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn retrieval_leads_a_person_on_from_what_they_had_and_only_where_they_allow_it() {
    let test = platform().await;
    let viewer = test.user("viv").await;
    let all = ids(&test.get("/v1/feed?limit=6", &viewer).await.expect(200));
    let storage = &test.app.config.storage;
    // Others went from each clip to the next; the last two nobody had yet.
    let lines = (0..40).flat_map(|person| {
        let videos = &all[..4];
        (0..4).map(move |step| format!("p{person} {}\n", videos[(person + step) % 4]))
    });
    let sequences = storage.data_dir.join("histories.txt");
    std::fs::write(&sequences, lines.collect::<String>()).unwrap();
    let options = retrieval::train::TrainOptions {
        sequences,
        out: storage.models().join("retrieval"),
        runs: storage.data_dir.join("runs"),
        hyperparameters: retrieval::hyperparameters::Hyperparameters {
            model: RetrieverConfig { width: 8, blocks: 1, heads: 1, hidden: 16, length: 8 },
            epochs: 2,
            positions: 40,
            ..Default::default()
        },
        seed: 1,
        device: DeviceChoice::Cpu,
        time_limit: None,
        resume: false,
        interrupt: Interrupt::new(),
        progress: Mode::Silent,
    };
    retrieval::train::train(&options).unwrap();
    let test = test.restarted().await;

    let like = json!([{ "event_id": EventId::derived("test", 1, "like"), "kind": "like",
        "event_time_ms": NOW_MS, "video_id": all[0] }]);
    test.post("/v1/events", &viewer, like).await.expect(200);
    test.app.clock.advance_ms(2 * 86_400_000);
    let page = test.get("/v1/feed?limit=6", &viewer).await.expect(200);
    let items = page["items"].as_array().unwrap();
    let led: HashSet<&str> = items
        .iter()
        .filter(|item| item["reason"] == "what people who watched the same went on to")
        .map(|item| item["post"]["video_id"].as_str().unwrap())
        .collect();
    // All but what they had: those nobody had yet come in by what their captions have in common with others'.
    assert_eq!(led, all[1..].iter().map(String::as_str).collect());

    let switches = json!({ "personalisation": false, "location": true, "conversation_history": true });
    assert!(test.put("/v1/me/switches", &viewer, switches).await.status.is_success());
    let page = test.get("/v1/feed?limit=6", &viewer).await.expect(200);
    assert!(page["items"].as_array().unwrap().iter().all(|item| item["source"] != "sequence"));

    std::fs::write(test.app.config.storage.models().join("retrieval/config.json"), "{").unwrap();
    let config = test.app.config.clone();
    let error =
        FeedState::load(&config.storage.models(), None, &test.app.interactions.features()).unwrap_err();
    assert!(error.to_string().contains("retrieval"), "{error}");
}
