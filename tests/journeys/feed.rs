//! The feed ranks what a person likes first, and knows nothing of them once they say so.

use std::fs;

use serde_json::{Value, json};

use crate::program::{Client, Server, kinora, say, succeed, succeed_json, turn};

const TOPICS: [(&str, &str); 3] = [
    ("bounce", "bounces twice"),
    ("throw", "is thrown into the hoop"),
    ("collide", "and a white ball collide"),
];
const COLOURS: [&str; 3] = ["red", "green", "purple"];
const VIEWERS: usize = 40;

/// How much `user` likes a clip of this topic and colour, from the simulation's truth. Only the order matters.
fn affinity(truth: &Value, user: &str, topic: &str, colour: &str) -> f64 {
    let taste = &truth["users"][user];
    let other = if topic == "collide" { &taste["colours"]["white"] } else { &taste["colours"][colour] };
    let colours = f64::midpoint(taste["colours"][colour].as_f64().unwrap(), other.as_f64().unwrap());
    1.4 * taste["topics"][topic].as_f64().unwrap() + colours
}

/// Share of pairs of a page whose better-liked clip comes first.
fn pairs_in_order(liked: &[f64]) -> f64 {
    let mut in_order = 0.0;
    let mut pairs = 0.0;
    for (place, earlier) in liked.iter().enumerate() {
        for later in &liked[place + 1..] {
            pairs += 1.0;
            in_order += f64::from(u8::from(earlier > later));
        }
    }
    in_order / pairs
}

/// Serves a simulated platform with a trained ranker and one published clip of every topic in
/// every colour.
fn platform() -> (tempfile::TempDir, Server, Value) {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let truth = here.join("truth.json");
    succeed(kinora(here).args(["simulate", "--seed", "11", "--truth"]).arg(&truth));
    let dataset = here.join("set");
    succeed(kinora(here).args(["dataset", "ranking", "--out"]).arg(&dataset));
    succeed(kinora(here).args(["train", "ranker", "--seed", "1", "--dataset"]).arg(&dataset));
    let model = here.join("models/rankers/v1");
    let report = succeed_json(
        kinora(here).args(["eval", "ranker", "--model"]).arg(model).arg("--dataset").arg(&dataset),
    );
    say(&format!("simulated platform, held-out days: click AUC {}", report["tasks"]["click"]["auc"]));

    let server = Server::on(here);
    let creator = server.user("studio");
    let mut videos = Vec::new();
    for (_, event) in TOPICS {
        for colour in COLOURS {
            let prompt = format!("a {colour} ball {event}");
            let video = creator.post("/v1/videos", &json!({ "prompt": prompt, "seed": 5 })).ok();
            videos.push((video["id"].as_str().unwrap().to_owned(), prompt));
        }
    }
    for (id, prompt) in videos {
        assert_eq!(creator.wait_for_video(&id)["status"], "completed", "{prompt}");
        creator.post("/v1/posts", &json!({ "video_id": id, "caption": prompt })).ok();
    }
    let truth = serde_json::from_slice(&fs::read(truth).unwrap()).unwrap();
    (dir, server, truth)
}

fn captions(viewer: &Client) -> Vec<String> {
    let page = viewer.get("/v1/feed?limit=9").ok();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["post"]["caption"].as_str().unwrap().to_owned())
        .collect()
}

fn topic_and_colour(caption: &str) -> (&'static str, &'static str) {
    let (topic, _) = TOPICS.into_iter().find(|(_, event)| caption.contains(event)).unwrap();
    let colour = COLOURS.into_iter().find(|colour| caption.contains(colour)).unwrap();
    (topic, colour)
}

#[test]
fn the_feed_ranks_what_a_simulated_person_likes_and_forgets_who_they_are_when_told_to() {
    let _turn = turn();
    let (_dir, server, truth) = platform();

    let mut shares = Vec::new();
    for number in 1..=VIEWERS {
        let user = format!("u{number:04}");
        let page = captions(&server.user(&user));
        assert_eq!(page.len(), 9, "{page:?}");
        let liked: Vec<f64> = page
            .iter()
            .map(|caption| {
                let (topic, colour) = topic_and_colour(caption);
                affinity(&truth, &user, topic, colour)
            })
            .collect();
        shares.push(pairs_in_order(&liked));
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    say(&format!(
        "pairs of new clips that {VIEWERS} simulated people's feeds order by their taste: {mean:.3} (chance 0.5)"
    ));
    assert!(mean > 0.6, "the feed orders {mean:.3} of pairs as its viewers would; chance is 0.5");

    // Two people whose tastes and histories differ, with personalisation off, see one feed.
    let strangers: Vec<Vec<String>> = (VIEWERS + 1..=VIEWERS + 2)
        .map(|number| {
            let viewer = server.user(&format!("u{number:04}"));
            viewer.put("/v1/me/switches", &json!({ "personalisation": false })).ok();
            captions(&viewer)
        })
        .collect();
    assert_eq!(strangers[0].len(), 9);
    assert_eq!(strangers[0], strangers[1]);
}
