//! The queue's invariants under any order of claims, commits, cancellations and time.

mod consent;
mod progress;

use std::collections::HashMap;

use bytes::Bytes;
use kinora_schema::VideoId;
use proptest::prelude::*;

use super::draft::{Draft, FrameSize};
use super::journey::{Consented, RenderedMedia, Signed};
use super::queue::{self, ATTEMPTS_MAX, Commit, JobState, LEASE_MS, Lease, Renewal};
use crate::db::Db;
use crate::media::Stored;

fn draft(number: usize) -> Draft {
    Draft {
        video_id: VideoId::new(format!("video_{number}")),
        user_id: "ada".into(),
        prompt: "a red ball bounces twice".to_owned(),
        seconds: 4,
        size: FrameSize::default(),
        seed: 7,
        cameos: Vec::new(),
        origin: None,
    }
}

fn signed(draft: Draft) -> Signed {
    let bytes = Bytes::from_static(b"clip");
    let media =
        RenderedMedia { mp4: bytes.clone(), thumbnail: bytes.clone(), spritesheet: bytes, duration_ms: 4000 };
    Signed::of(draft, media)
}

fn stored(lease: &Lease) -> Stored {
    let object = format!("videos/{}-{}", lease.job.video_id, lease.fence);
    Stored { object, bytes: 4, sha256: String::new() }
}

async fn commit(db: &Db, lease: &Lease, now_ms: i64) -> Commit {
    let mut tx = db.write().await.unwrap();
    let signed = signed(lease.job.draft());
    let commit = queue::commit(&mut tx, lease, &signed, &stored(lease), now_ms).await.unwrap();
    if commit == Commit::Committed {
        tx.commit().await.unwrap();
    }
    commit
}

async fn claim(db: &Db, now_ms: i64) -> Option<Lease> {
    let mut tx = db.write().await.unwrap();
    let lease = queue::claim(&mut tx, "worker", now_ms).await.unwrap();
    tx.commit().await.unwrap();
    lease
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue,
    Claim,
    Renew(prop::sample::Index),
    Commit(prop::sample::Index),
    Fail(prop::sample::Index),
    Release(prop::sample::Index),
    Cancel(prop::sample::Index),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        3 => Just(Step::Enqueue),
        4 => Just(Step::Claim),
        1 => any().prop_map(Step::Renew),
        3 => any().prop_map(Step::Commit),
        1 => any().prop_map(Step::Fail),
        1 => any().prop_map(Step::Release),
        1 => any().prop_map(Step::Cancel),
        2 => (1..2 * LEASE_MS).prop_map(Step::Wait),
    ]
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
    let mut now_ms = 1_000;
    let mut leases: Vec<Lease> = Vec::new();
    let mut jobs = 0;
    let mut commits: HashMap<VideoId, i64> = HashMap::new();
    let mut latest: HashMap<VideoId, i64> = HashMap::new();
    for step in steps {
        match step {
            Step::Enqueue => {
                jobs += 1;
                let mut tx = db.write().await.unwrap();
                queue::insert(&mut tx, &Consented::of(draft(jobs), Vec::new()), now_ms).await.unwrap();
                tx.commit().await.unwrap();
            }
            Step::Claim => {
                if let Some(lease) = claim(&db, now_ms).await {
                    let known = latest.insert(lease.job.video_id.clone(), lease.fence);
                    assert!(known.is_none_or(|known| lease.fence > known), "fences only grow");
                    assert!(!commits.contains_key(&lease.job.video_id), "a finished job is not taken up");
                    leases.push(lease);
                }
            }
            Step::Commit(_) | Step::Renew(_) | Step::Fail(_) | Step::Release(_) if leases.is_empty() => {}
            Step::Commit(at) => {
                let lease = &leases[at.index(leases.len())];
                if commit(&db, lease, now_ms).await == Commit::Committed {
                    let id = &lease.job.video_id;
                    assert_eq!(latest[id], lease.fence, "only the latest claim commits");
                    assert_eq!(commits.insert(id.clone(), lease.fence), None, "a job commits once");
                }
            }
            Step::Renew(at) => {
                let lease = &leases[at.index(leases.len())];
                let mut tx = db.write().await.unwrap();
                let renewal = queue::renew(&mut tx, lease, 50, now_ms).await.unwrap();
                tx.commit().await.unwrap();
                if renewal == Renewal::Held {
                    assert_eq!(latest[&lease.job.video_id], lease.fence, "only the latest claim renews");
                }
            }
            Step::Fail(at) => {
                let mut tx = db.write().await.unwrap();
                queue::fail(&mut tx, &leases[at.index(leases.len())], "code", "why", now_ms).await.unwrap();
                tx.commit().await.unwrap();
            }
            Step::Release(at) => {
                let mut tx = db.write().await.unwrap();
                queue::release(&mut tx, &leases[at.index(leases.len())]).await.unwrap();
                tx.commit().await.unwrap();
            }
            Step::Cancel(_) if jobs == 0 => {}
            Step::Cancel(at) => {
                let id = draft(at.index(jobs) + 1).video_id;
                let mut tx = db.write().await.unwrap();
                queue::cancel(&mut tx, &id, now_ms).await.unwrap();
                tx.commit().await.unwrap();
            }
            Step::Wait(ms) => now_ms += ms,
        }
    }
    let mut conn = db.read().acquire().await.unwrap();
    for number in 1..=jobs {
        let job = queue::load(&mut conn, &draft(number).video_id).await.unwrap().unwrap();
        let assets: i64 = sqlx::query_scalar("SELECT count(*) FROM assets WHERE id = ?")
            .bind(job.video_id.as_str())
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        assert_eq!(assets, i64::from(job.state == JobState::Done), "a job is done when it has its clip");
        assert_eq!(commits.contains_key(&job.video_id), job.state == JobState::Done);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn each_job_commits_at_most_once_and_only_by_its_latest_claim(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

#[tokio::test]
async fn a_job_whose_workers_keep_dying_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
    let mut tx = db.write().await.unwrap();
    queue::insert(&mut tx, &Consented::of(draft(1), Vec::new()), 0).await.unwrap();
    tx.commit().await.unwrap();
    let mut now_ms = 0;
    for _ in 0..ATTEMPTS_MAX {
        assert!(claim(&db, now_ms).await.is_some());
        assert!(claim(&db, now_ms + LEASE_MS).await.is_none(), "a lease holds to its end");
        now_ms += LEASE_MS + 1;
    }
    assert!(claim(&db, now_ms).await.is_none());
    let mut conn = db.read().acquire().await.unwrap();
    let job = queue::load(&mut conn, &draft(1).video_id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.error.unwrap().0, "attempts_exhausted");
}

#[tokio::test]
async fn the_longest_waiting_job_is_taken_first_and_others_are_ahead_of_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
    for (number, created_ms) in [(1, 30), (2, 10), (3, 20)] {
        let mut tx = db.write().await.unwrap();
        queue::insert(&mut tx, &Consented::of(draft(number), Vec::new()), created_ms).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut conn = db.read().acquire().await.unwrap();
    let last = queue::load(&mut conn, &draft(1).video_id).await.unwrap().unwrap();
    assert_eq!(queue::ahead_of(&mut conn, &last).await.unwrap(), 2);
    let mut order = Vec::new();
    while let Some(lease) = claim(&db, 40).await {
        order.push(lease.job.video_id.into_string());
    }
    assert_eq!(order, ["video_2", "video_3", "video_1"]);
}
