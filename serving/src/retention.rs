//! What is kept for a while only: rows that recognise a retried request, and rows that say what
//! the feed showed (the lake keeps that for good), are deleted once they are a week old.

use crate::clock::DAY_MS;
use crate::db::Db;
use crate::error::ApiResult;

const KEEP_MS: i64 = 7 * DAY_MS;
/// Rows deleted in one transaction: others wait for it.
const BATCH: u32 = 5000;

pub(crate) async fn prune(db: &Db, now_ms: i64) -> ApiResult<()> {
    for statement in [
        "DELETE FROM idempotency WHERE rowid IN
             (SELECT rowid FROM idempotency WHERE created_ms < ? LIMIT ?)",
        "DELETE FROM impressions WHERE rowid IN
             (SELECT rowid FROM impressions WHERE served_ms < ? LIMIT ?)",
    ] {
        loop {
            let mut tx = db.write().await?;
            let deleted = sqlx::query(statement).bind(now_ms - KEEP_MS).bind(BATCH).execute(&mut *tx).await?;
            tx.commit().await?;
            if deleted.rows_affected() < u64::from(BATCH) {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request, header};
    use serde_json::json;

    use super::*;
    use crate::testing::TestApp;

    #[tokio::test]
    async fn what_is_a_week_old_is_forgotten_and_what_is_younger_is_not() {
        let test = TestApp::new().await;
        let ada = test.user("ada").await;
        let create = || {
            let request = Request::builder()
                .method(Method::POST)
                .uri("/v1/videos")
                .header(header::AUTHORIZATION, format!("Bearer {ada}"))
                .header(header::CONTENT_TYPE, "application/json")
                .header("idempotency-key", "one");
            test.send(
                request.body(Body::from(json!({ "prompt": "a red ball bounces" }).to_string())).unwrap(),
            )
        };
        let first = create().await.expect(200);
        test.publish("ada", "a blue ball bounces", &[]).await;
        let page = test.get("/v1/feed", &ada).await.expect(200);
        let why = format!("/v1/feed/explain/{}", page["items"][0]["impression_id"].as_str().unwrap());
        for (later_ms, kept) in [(KEEP_MS, true), (1, false)] {
            test.app.clock.advance_ms(later_ms);
            prune(&test.app.db, test.app.clock.now_ms()).await.unwrap();
            assert_eq!(test.get(&why, &ada).await.status.is_success(), kept);
            assert_eq!(create().await.expect(200)["id"] == first["id"], kept);
        }
    }
}
