//! The feed over HTTP: who asks and what they allow go in, a page of posts comes out, and what was
//! shown is logged with the place, policy, probability and features that it was shown with.
//!
//! The ranking itself is `kinora_ranking::feed::recipe`, a pure function: this slice gathers its
//! values and records its answer. INVARIANT: the switches, blocks and guardians' limits in force
//! at this moment decide what the recipe may see.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use kinora_ranking::feed::recipe;
use kinora_ranking::feed::{FeedItem, FeedPage, Inputs, Weights, Why};
use kinora_schema::ranking::{RankingInput, Task};
use kinora_schema::{CreatorId, Event, EventId, EventKind, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Viewer;
use crate::error::{ApiError, ApiResult, Json, Problem, Query};
use crate::events::server_event;
use crate::guardians;
use crate::posts::Post;
pub(crate) use controls::see_less;
use gather::{Asked, Pool, gather};
use place::Address;
pub use place::CitiesError;
pub use state::{FeedError, FeedState};
use state::{InForce, Shadow};

mod controls;
mod explain;
mod gather;
mod place;
mod state;

#[cfg(test)]
mod tests;

const SURFACE: &str = "feed";
const PAGE_SIZE: u32 = 10;
const PAGE_SIZE_MAX: u32 = 50;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(feed))
        .routes(routes!(explain::explain))
        .routes(routes!(explain::missing))
        .routes(routes!(controls::steered, controls::steer, controls::unsteer))
        .routes(routes!(controls::less_list))
        .routes(routes!(controls::less, controls::unless))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FeedParameters {
    /// Posts in the page, 10 unless told, at most 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before, to scroll on. Without it a new scroll begins.
    cursor: Option<String>,
}

/// A page of the feed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page {
    pub items: Vec<Item>,
    /// Where the scroll goes on; absent once there is nothing more to show.
    pub next_cursor: Option<String>,
    /// The recipe and model that made the page.
    pub policy: String,
    /// Whether personal signals were used.
    pub personalised: bool,
}

/// A post in the feed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Item {
    pub post: Post,
    /// Name it as `impression_id` in the events that follow from it.
    pub impression_id: String,
    /// Zero-based place in the scroll.
    pub position: usize,
    pub source: String,
    /// Why it is here, in words for the person.
    pub reason: String,
    pub score: Option<f32>,
}

/// Your feed.
#[utoipa::path(
    get, path = "/v1/feed", tag = "feed", params(FeedParameters),
    responses((status = 200, body = Page), (status = 403, body = Problem, description = "the daily limit is reached")),
    security(("bearer" = []))
)]
async fn feed(
    State(app): State<App>,
    viewer: Viewer,
    address: Address,
    Query(parameters): Query<FeedParameters>,
) -> ApiResult<Json<Page>> {
    let now_ms = app.clock.now_ms();
    guardians::check_scroll(&app.db, &app.config, &viewer.user_id, now_ms).await?;
    let limit = parameters.limit.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE_MAX) as usize;

    let (asked, pool) =
        gather(&app, &viewer.user_id, Some(&address), parameters.cursor, limit, now_ms).await?;
    let Ranked { page, inputs, in_force } = rank(&app, &asked, &pool).await?;

    let shown: Vec<Shown> =
        page.items.iter().filter_map(|item| Shown::of(&asked, &pool, item, now_ms)).collect();
    record(&app, &asked, &shown).await?;
    let mut events: Vec<Event> = shown.iter().map(|shown| shown.event.clone()).collect();
    let interactions = app.interactions.clone();
    let weights = app.config.feed.recipe(&asked.query).weights;
    tokio::spawn(async move {
        // Behind the response: what is tried in the shadow takes no time of anybody's. And whatever becomes of
        // it, what was shown is logged.
        let shown = events.clone();
        let scored = tokio::task::spawn_blocking(move || {
            if let Some(shadow) = &in_force.shadow {
                shadow.score(&inputs, &weights, &mut events);
            }
            events
        });
        let events = scored.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the ranker in the shadow did not end; impressions are logged without it");
            shown
        });
        if let Err(error) = interactions.append(events).await {
            tracing::warn!(error = %error, "impressions were served but not logged");
        }
    });

    let next_cursor = (!shown.is_empty()).then(|| asked.scroll_id.clone());
    Ok(Json(Page {
        items: shown.into_iter().map(|shown| shown.item).collect(),
        next_cursor,
        policy: page.policy,
        personalised: asked.query.personalised,
    }))
}

/// A page, and what it was ranked by.
struct Ranked {
    page: FeedPage,
    /// Of the clips on the page; empty where nothing personal may be used.
    inputs: Inputs,
    in_force: Arc<InForce>,
}

/// Computes features and scores on a blocking thread.
async fn rank(app: &App, asked: &Asked, pool: &Pool) -> ApiResult<Ranked> {
    let app = app.clone();
    let query = asked.query.clone();
    let mut candidates = pool.candidates.clone();
    tokio::task::spawn_blocking(move || {
        let features = app.interactions.features();
        let viewer = Some(&query.user_id).filter(|_| query.personalised);
        let viewing = features.viewing(viewer, query.now_ms, SURFACE);
        let mut inputs: Inputs = candidates
            .iter()
            .map(|candidate| (candidate.video_id.clone(), viewing.input(&candidate.video_id)))
            .collect();
        app.feed.set_engagement(&query, &mut candidates, &features);
        drop(features);
        let recipe = app.config.feed.recipe(&query);
        let in_force = app.feed.rankers();
        let page = recipe::rank(&query, candidates, &inputs, in_force.champion.as_ref(), &recipe);
        let shown = |video_id: &VideoId| page.items.iter().any(|item| item.candidate.video_id == *video_id);
        inputs.retain(|video_id, _| query.personalised && shown(video_id));
        Ranked { page, inputs, in_force }
    })
    .await
    .map_err(ApiError::internal)
}

impl Shadow {
    /// Logs what this version expects of what was shown, beside what the champion expected.
    fn score(&self, inputs: &Inputs, weights: &Weights, events: &mut [Event]) {
        let (events, inputs): (Vec<&mut Event>, Vec<&RankingInput>) = events
            .iter_mut()
            .filter_map(|event| {
                let input = inputs.get(&event.video_id)?;
                Some((event, input))
            })
            .unzip();
        let predictions = match self.ranker.score(inputs) {
            Ok(predictions) => predictions,
            Err(error) => {
                tracing::warn!(%error, version = self.version, "the ranker in the shadow gave no scores");
                return;
            }
        };
        for (event, prediction) in events.into_iter().zip(predictions) {
            let expected = Task::ALL
                .into_iter()
                .map(|task| (format!("shadow_predicted_{}", task.as_str()), prediction.probability(task)));
            let all = expected.chain([
                ("shadow_predicted_watch_ms".to_owned(), prediction.watch_ms),
                ("shadow_value".to_owned(), weights.value(&prediction)),
                (format!("shadow:{}", self.version), 1.0),
            ]);
            // With a feature that is no number the lake would refuse the impression itself.
            event.features.extend(all.filter(|(_, value)| value.is_finite()));
        }
    }
}

/// One item as it is answered and as it is logged.
struct Shown {
    item: Item,
    propensity: f32,
    features: BTreeMap<String, f32>,
    why: Why,
    event: Event,
}

impl Shown {
    fn of(asked: &Asked, pool: &Pool, chosen: &FeedItem, now_ms: i64) -> Option<Self> {
        let video_id = &chosen.candidate.video_id;
        let post = pool.posts.get(video_id)?.clone();
        let position = asked.query.scrolled.len() + chosen.position;
        let impression_id = EventId(Uuid::now_v7());
        let mut event =
            server_event(impression_id, EventKind::Impression, now_ms, &asked.query.user_id, video_id);
        event.creator_id = Some(chosen.candidate.creator_id.clone());
        event.duration_ms = Some(post.duration_ms);
        event.position = i32::try_from(position).ok();
        event.surface = Some(SURFACE.to_owned());
        event.policy = Some(chosen.policy.clone());
        event.propensity = Some(chosen.propensity);
        event.features = chosen.features.clone();
        let item = Item {
            post,
            impression_id: impression_id.to_string(),
            position,
            source: chosen.source.as_str().to_owned(),
            reason: asked.reason(chosen).to_owned(),
            score: Some(chosen.score).filter(|score| score.is_finite()),
        };
        Some(Self {
            item,
            propensity: chosen.propensity,
            features: chosen.features.clone(),
            why: chosen.why.clone(),
            event,
        })
    }
}

/// Keeps what was shown, so that the next page of the scroll goes on and any item is explained.
async fn record(app: &App, asked: &Asked, shown: &[Shown]) -> ApiResult<()> {
    if shown.is_empty() {
        return Ok(());
    }
    let user_id = &asked.query.user_id;
    let page_ms = shown.iter().map(|shown| shown.item.post.duration_ms).sum();
    let mut tx = app.db.write().await?;
    guardians::page_served(&mut tx, user_id, page_ms, asked.query.now_ms).await?;
    for Shown { item, propensity, features, why, event } in shown {
        sqlx::query(
            "INSERT INTO impressions
                 (id, user_id, video_id, scroll_id, position, source, reason, policy, score, propensity,
                  features, why, served_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&item.impression_id)
        .bind(user_id.as_str())
        .bind(&item.post.video_id)
        .bind(&asked.scroll_id)
        .bind(item.position as i64)
        .bind(&item.source)
        .bind(&item.reason)
        .bind(event.policy.as_deref().unwrap_or_default())
        .bind(item.score)
        .bind(*propensity)
        .bind(serde_json::to_string(features).map_err(ApiError::internal)?)
        .bind(serde_json::to_string(why).map_err(ApiError::internal)?)
        .bind(event.event_time_ms)
        .execute(&mut *tx)
        .await?;
    }
    Ok(tx.commit().await?)
}

/// The creator's id of a post.
fn creator_of(post: &Post) -> CreatorId {
    CreatorId::from(post.creator_id.as_str())
}
