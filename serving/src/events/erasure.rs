//! A person out of the lake, while the server runs: what waits in the outbox and the log is moved first, so that it
//! does not come in afterwards.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use kinora_pipelines::Retention;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::compactor::settle;
use crate::app::App;
use crate::auth::Admin;
use crate::error::{ApiError, ApiResult, Json, Problem};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewErasure {
    user_id: String,
    /// Lets go of all earlier versions of the lake at once, instead of after `lake.history_days`.
    #[serde(default)]
    now: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Erasure {
    /// Rows removed, by table.
    removed_rows: BTreeMap<String, u64>,
    /// Rows of others that no longer name the person as a clip's creator.
    anonymised_rows: u64,
    /// Days until no earlier version of the lake holds the person, at most.
    gone_after_days: u32,
}

/// What is left of a person in the lake's files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Traces {
    /// Files that were read: all of the lake's.
    files: u64,
    bytes: u64,
    found: Vec<Trace>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trace {
    file: String,
    values: u64,
    /// Only earlier versions of the lake hold it.
    is_history: bool,
}

/// Take a person out of the lake. For admins. Revoke their tokens first: what they do later comes in again. Twice is as
/// good as once.
#[utoipa::path(
    post, path = "/v1/lake/erasures", tag = "events", request_body = NewErasure,
    responses((status = 200, body = Erasure), (status = 400, body = Problem), (status = 403, body = Problem)),
    security(("bearer" = []))
)]
pub(super) async fn erase(
    State(app): State<App>,
    Admin(admin): Admin,
    Json(asked): Json<NewErasure>,
) -> ApiResult<Json<Erasure>> {
    if asked.user_id.trim().is_empty() {
        return Err(ApiError::bad_request("user_id", "`user_id` is empty"));
    }
    tracing::info!(admin = admin.user_id.as_str(), "a person is erased from the lake");
    // On its own: a caller that hangs up does not leave it half done.
    let work = tokio::spawn(async move {
        settle(&app).await;
        let erased = app.lake.erase(&UserId::new(asked.user_id)).await?;
        let mut retention = app.config.lake.retention();
        if asked.now {
            retention = Retention { history: std::time::Duration::ZERO, ..retention };
            app.lake.retain(&retention, app.clock.now_ms()).await?;
        }
        let days = if asked.now { 0 } else { app.config.lake.history_days + 1 };
        Ok::<_, kinora_pipelines::PipelineError>((erased, days))
    });
    let (erased, gone_after_days) = work.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    Ok(Json(Erasure {
        removed_rows: erased.removed_rows,
        anonymised_rows: erased.anonymised_rows,
        gone_after_days,
    }))
}

/// Find what the lake's files hold of a person: every file is read. For admins.
#[utoipa::path(
    get, path = "/v1/lake/erasures/{user_id}", tag = "events", params(("user_id" = String, Path)),
    responses((status = 200, body = Traces), (status = 403, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn traces(
    State(app): State<App>,
    Admin(admin): Admin,
    Path(user_id): Path<String>,
) -> ApiResult<Json<Traces>> {
    tracing::info!(admin = admin.user_id.as_str(), "the lake is searched for a person");
    let traces = app.lake.traces(&UserId::new(user_id)).await.map_err(ApiError::internal)?;
    let trace = |it: kinora_pipelines::lake::Trace| Trace {
        file: it.file.display().to_string(),
        values: it.values,
        is_history: it.is_history,
    };
    let found = traces.found.into_iter().map(trace).collect();
    Ok(Json(Traces { files: traces.files, bytes: traces.bytes, found }))
}

#[cfg(test)]
mod tests {
    use kinora_schema::EventId;
    use serde_json::json;

    use crate::auth::Role;
    use crate::testing::{NOW_MS, TestApp};

    #[tokio::test]
    async fn an_admin_takes_a_person_out_with_what_still_waits_and_sees_that_they_are_gone() {
        let test = TestApp::new().await;
        let root = test.token("root", Role::Admin).await;
        let event = |number: u64, user: &str| {
            json!({
                "event_id": EventId::derived("erasure", number, "event"), "kind": "impression",
                "event_time_ms": NOW_MS, "user_id": user, "video_id": "v1", "surface": "feed"
            })
        };
        let events = json!([event(0, "somebody-who-goes"), event(1, "bob"), event(2, "somebody-who-goes")]);
        test.post("/v1/events", &root, events).await.expect(200);
        let erased = test
            .post("/v1/lake/erasures", &root, json!({ "user_id": "somebody-who-goes" }))
            .await
            .expect(200);
        assert_eq!((&erased["removed_rows"]["events"], &erased["gone_after_days"]), (&2.into(), &8.into()));
        let path = "/v1/lake/erasures/somebody-who-goes";
        let left = test.get(path, &root).await.expect(200);
        let found = left["found"].as_array().unwrap();
        assert!(!found.is_empty() && found.iter().all(|trace| trace["is_history"] == true), "{left}");
        let now = json!({ "user_id": "somebody-who-goes", "now": true });
        test.post("/v1/lake/erasures", &root, now).await.expect(200);
        let left = test.get(path, &root).await.expect(200);
        assert_eq!(left["found"], json!([]));
        let asked = json!({ "query": "select user_id from events" });
        let answer = test.post("/v1/sql", &root, asked).await.expect(200);
        assert_eq!(answer["rows"], json!([{ "user_id": "bob" }]));

        let ada = test.user("ada").await;
        test.post("/v1/lake/erasures", &ada, json!({ "user_id": "bob" })).await.expect(403);
        test.get("/v1/lake/erasures/bob", &ada).await.expect(403);
        test.post("/v1/lake/erasures", &root, json!({ "user_id": " " })).await.expect(400);
    }
}
