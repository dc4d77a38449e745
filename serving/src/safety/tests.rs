//! What must hold of reports, decisions, appeals and the audit log, asked through the router.

use serde_json::{Value, json};

use crate::auth::Role;
use crate::clock::DAY_MS;
use crate::testing::TestApp;

/// A published clip of `creator`, reported by `viewer`, with a moderator at hand and another for
/// the second look.
struct Scene {
    test: TestApp,
    creator: String,
    viewer: String,
    moderator: String,
    second: String,
    video_id: String,
    case_id: String,
}

async fn scene() -> Scene {
    let test = TestApp::new().await;
    let (creator, viewer) = (test.user("creator").await, test.user("viewer").await);
    let moderator = test.token("mod", Role::Moderator).await;
    let second = test.token("second", Role::Moderator).await;
    let video_id = test.publish("creator", "a red ball bounces twice", &[]).await.video_id;
    let report = json!({"video_id": video_id, "reason": "spam", "details": "the same again"});
    let report = test.post("/v1/reports", &viewer, report).await.expect(201);
    let case_id = report["case_id"].as_str().unwrap().to_owned();
    Scene { test, creator, viewer, moderator, second, video_id, case_id }
}

impl Scene {
    async fn decide(&self, action: &str) -> Value {
        self.decide_case(&self.case_id, action).await
    }

    async fn decide_case(&self, case_id: &str, action: &str) -> Value {
        let path = format!("/v1/moderation/cases/{case_id}/decision");
        let decision = json!({"action": action, "ground": "incompatible_with_terms", "facts": "seen"});
        self.test.post(&path, &self.moderator, decision).await.expect(201)
    }

    /// A successful appeal of the creator.
    async fn overturn(&self, statement: &Value) {
        let appeal = json!({"statement_id": statement["puid"], "text": "look again"});
        let appeal = self.test.post("/v1/appeals", &self.creator, appeal).await.expect(201);
        let path = format!("/v1/moderation/appeals/{}/decision", appeal["appeal_id"].as_str().unwrap());
        let decision = json!({"outcome": "overturned", "reasons": "right"});
        self.test.post(&path, &self.second, decision).await.expect(200);
    }

    async fn report(&self, reason: &str) -> crate::testing::Answer {
        let report = json!({"video_id": self.video_id, "reason": reason});
        self.test.post("/v1/reports", &self.viewer, report).await
    }

    async fn state(&self) -> String {
        sqlx::query_scalar("SELECT state FROM assets WHERE id = ?")
            .bind(&self.video_id)
            .fetch_one(self.test.app.db.read())
            .await
            .unwrap()
    }

    async fn served(&self) -> bool {
        let path = format!("/v1/videos/{}/content", self.video_id);
        self.test.get(&path, &self.viewer).await.status.is_success()
    }
}

#[tokio::test]
async fn reports_join_one_case_and_the_gravest_comes_first() {
    let scene = scene().await;
    let other = scene.test.publish("creator", "a blue ball bounces", &[]).await.video_id;
    let grave = json!({"video_id": other, "reason": "minor_safety"});
    let grave = scene.test.post("/v1/reports", &scene.viewer, grave).await.expect(201);
    let again = json!({"video_id": scene.video_id, "reason": "violence"});
    let again = scene.test.post("/v1/reports", &scene.creator, again).await.expect(201);
    assert_eq!(again["case_id"], scene.case_id.as_str());

    let queue = scene.test.get("/v1/moderation/cases", &scene.moderator).await.expect(200);
    let cases: Vec<_> = queue["cases"].as_array().unwrap().iter().map(|case| &case["case_id"]).collect();
    assert_eq!(cases, [&grave["case_id"], &json!(scene.case_id)]);
    let reports = queue["cases"][1]["reports"].as_array().unwrap();
    let reasons: Vec<_> = reports.iter().map(|report| &report["reason"]).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.contains(&&json!("spam")) && reasons.contains(&&json!("violence")), "{reasons:?}");
    assert_eq!(queue["cases"][1]["severity"], 2);

    scene.test.get("/v1/moderation/cases", &scene.viewer).await.expect(403);
    let unknown = json!({"video_id": "video_none", "reason": "spam"});
    scene.test.post("/v1/reports", &scene.viewer, unknown).await.expect(404);
}

#[tokio::test]
async fn a_decision_takes_effect_at_once_and_says_why() {
    for (action, served, visibility) in [
        ("keep", true, "none"),
        ("quarantine", false, "content_disabled"),
        ("remove", false, "content_removed"),
    ] {
        let scene = scene().await;
        assert!(scene.served().await);
        let statement = scene.decide(action).await;
        assert_eq!(scene.served().await, served, "{action}");
        assert_eq!(statement["decision_visibility"], visibility);
        assert_eq!(statement["category"], "spam");
        assert_eq!(statement["automated_decision"], false);
        for person in [&scene.creator, &scene.viewer] {
            let statements = scene.test.get("/v1/statements", person).await.expect(200);
            assert_eq!(statements["statements"][0], statement);
            let notices = scene.test.get("/v1/notifications", person).await.expect(200);
            assert_eq!(notices["notifications"][0]["kind"], "moderation_decision");
        }
        let stranger = scene.test.user("stranger").await;
        assert_eq!(scene.test.get("/v1/statements", &stranger).await.expect(200)["statements"], json!([]));
        let path = format!("/v1/moderation/cases/{}/decision", scene.case_id);
        let again = json!({"action": "keep", "ground": "illegal_content", "facts": "x"});
        scene.test.post(&path, &scene.moderator, again.clone()).await.expect(409);
        scene.test.post(&path, &scene.viewer, again).await.expect(403);
    }
}

#[tokio::test]
async fn an_appeal_can_bring_a_video_back() {
    let scene = scene().await;
    let statement = scene.decide("remove").await;
    let appeal = json!({"statement_id": statement["puid"], "text": "it is a ball"});
    let stranger = scene.test.user("stranger").await;
    scene.test.post("/v1/appeals", &stranger, appeal.clone()).await.expect(404);
    let filed = scene.test.post("/v1/appeals", &scene.creator, appeal.clone()).await.expect(201);
    assert_eq!(scene.test.post("/v1/appeals", &scene.creator, appeal).await.expect(200), filed);
    let queue = scene.test.get("/v1/moderation/appeals", &scene.moderator).await.expect(200);
    assert_eq!(queue["appeals"].as_array().unwrap().len(), 1);
    assert_eq!(queue["appeals"][0]["appeal_id"], filed["appeal_id"]);
    assert_eq!(queue["appeals"][0]["statement"], statement);

    let path = format!("/v1/moderation/appeals/{}/decision", filed["appeal_id"].as_str().unwrap());
    let decision = json!({"outcome": "overturned", "reasons": "it is a ball indeed"});
    scene.test.post(&path, &scene.viewer, decision.clone()).await.expect(403);
    let same = scene.test.post(&path, &scene.moderator, decision.clone()).await.expect(403);
    assert!(same["detail"].as_str().unwrap().contains("another moderator"), "{same}");
    let decided = scene.test.post(&path, &scene.second, decision.clone()).await.expect(200);
    assert_eq!(decided["state"], "overturned");
    let own = scene.test.get("/v1/appeals", &scene.creator).await.expect(200);
    assert_eq!(own["appeals"], json!([decided]));
    let others = scene.test.get("/v1/appeals", &scene.viewer).await.expect(200);
    assert_eq!(others["appeals"], json!([]));
    assert!(scene.served().await);
    scene.test.post(&path, &scene.second, decision).await.expect(409);
}

#[tokio::test]
async fn an_overturned_decision_brings_back_only_what_nothing_else_keeps_down() {
    // The owner has deleted the post meanwhile.
    let scene = scene().await;
    let statement = scene.decide("remove").await;
    let post: String =
        sqlx::query_scalar("SELECT id FROM posts").fetch_one(scene.test.app.db.read()).await.unwrap();
    scene.test.delete(&format!("/v1/posts/{post}"), &scene.creator).await.expect(204);
    scene.overturn(&statement).await;
    assert_eq!(scene.state().await, "draft");

    // Another case on the video was decided before or after.
    for (first, second, overturned, state) in [
        ("remove", "remove", 0, "tombstoned"),
        ("quarantine", "remove", 0, "tombstoned"),
        ("quarantine", "remove", 1, "quarantined"),
        ("remove", "keep", 0, "published"),
        ("quarantine", "keep", 0, "published"),
    ] {
        let scene = self::scene().await;
        let mut statements = vec![scene.decide(first).await];
        scene.test.app.clock.advance_ms(1);
        let case = scene.report("spam").await.expect(201);
        statements.push(scene.decide_case(case["case_id"].as_str().unwrap(), second).await);
        scene.overturn(&statements[overturned]).await;
        assert_eq!(scene.state().await, state, "{first}, {second}, {overturned}");
    }
}

#[tokio::test]
async fn a_retried_report_is_the_first_and_the_gravest_names_the_decision() {
    let scene = scene().await;
    let again = scene.report("spam").await.expect(200);
    assert_eq!(again["case_id"], scene.case_id.as_str());
    scene.report("hate").await.expect(201);
    scene.report("violence").await.expect(201);
    let reports: i64 =
        sqlx::query_scalar("SELECT count(*) FROM reports").fetch_one(scene.test.app.db.read()).await.unwrap();
    assert_eq!(reports, 3);
    assert_eq!(scene.decide("keep").await["category"], "hate");
}

#[tokio::test]
async fn whoever_reported_can_appeal_too_and_the_case_opens_again() {
    let scene = scene().await;
    let statement = scene.decide("keep").await;
    let appeal = json!({"statement_id": statement["puid"], "text": "look again"});
    let filed = scene.test.post("/v1/appeals", &scene.viewer, appeal).await.expect(201);
    let path = format!("/v1/moderation/appeals/{}/decision", filed["appeal_id"].as_str().unwrap());
    let decision = json!({"outcome": "overturned", "reasons": "right"});
    scene.test.post(&path, &scene.second, decision).await.expect(200);
    let queue = scene.test.get("/v1/moderation/cases", &scene.moderator).await.expect(200);
    assert_eq!(queue["cases"][0]["case_id"], scene.case_id.as_str());
    scene.decide("remove").await;
    assert!(!scene.served().await);
}

#[tokio::test]
async fn an_appeal_comes_in_time_and_never_brings_back_a_revoked_likeness() {
    let scene = scene().await;
    let statement = scene.decide("remove").await;
    scene.test.app.clock.advance_ms(184 * DAY_MS);
    let appeal = json!({"statement_id": statement["puid"], "text": "too late"});
    scene.test.post("/v1/appeals", &scene.creator, appeal).await.expect(403);

    let test = TestApp::new().await;
    let (owner, creator) = (test.user("owner").await, test.user("creator").await);
    let moderator = test.token("mod", Role::Moderator).await;
    let cameo = test.enrol(&owner, "everyone").await;
    let video_id = test.publish("creator", "a red ball bounces", &[&cameo]).await.video_id;
    let report = json!({"video_id": video_id, "reason": "likeness"});
    let report = test.post("/v1/reports", &owner, report).await.expect(201);
    let path = format!("/v1/moderation/cases/{}/decision", report["case_id"].as_str().unwrap());
    let decision =
        json!({"action": "quarantine", "ground": "incompatible_with_terms", "facts": "to be looked at"});
    let statement = test.post(&path, &moderator, decision).await.expect(201);
    test.post(&format!("/v1/cameos/{cameo}/revoke"), &owner, json!({})).await.expect(200);
    let appeal = json!({"statement_id": statement["puid"], "text": "mine"});
    let appeal = test.post("/v1/appeals", &creator, appeal).await.expect(201);
    let path = format!("/v1/moderation/appeals/{}/decision", appeal["appeal_id"].as_str().unwrap());
    let second = test.token("second", Role::Moderator).await;
    test.post(&path, &second, json!({"outcome": "overturned", "reasons": "fine"})).await.expect(200);
    let content = test.get(&format!("/v1/videos/{video_id}/content"), &creator).await;
    assert!(!content.status.is_success(), "{}", content.status);
}

#[tokio::test]
async fn reports_and_the_audit_log_are_final_and_the_log_names_no_person() {
    let scene = scene().await;
    scene.decide("quarantine").await;
    let mut tx = scene.test.app.db.write().await.unwrap();
    for statement in [
        "DELETE FROM reports",
        "UPDATE reports SET reason = 'other'",
        "DELETE FROM audit_log",
        "UPDATE audit_log SET action = 'nothing'",
    ] {
        assert!(sqlx::query(statement).execute(&mut *tx).await.is_err(), "{statement}");
    }
    drop(tx);
    let log = scene.test.get("/v1/audit", &scene.moderator).await.expect(200);
    let actions: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["video_reported", "case_decided"]);
    for person in ["creator", "viewer", "mod"] {
        assert!(!log.to_string().contains(&format!("\"{person}\"")), "{log}");
    }
    let last = log["entries"][1]["seq"].as_i64().unwrap();
    let rest = scene.test.get(&format!("/v1/audit?after={last}"), &scene.moderator).await.expect(200);
    assert_eq!(rest["entries"], json!([]));
}
