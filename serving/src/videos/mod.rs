//! Videos over OpenAI's wire contract: create, poll, list, download, delete, remix, edit, extend. Errors under
//! this path take OpenAI's shape; "not ready" is never 409, which its clients would retry.
//!
//! A draft is its owner's alone. Consent is asked again at each download.

use axum::extract::{self, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kinora_schema::{CreatorId, EventId, EventKind, VideoId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Viewer;
use crate::credits::QuoteId;
use crate::error::{ApiError, ApiResult, Json, Path, Query};
use crate::events::server_event;
use crate::generations::admission::{self, Request};
use crate::generations::assets::{self, Asset};
use crate::generations::draft::{Derivation, Origin, RawDraft, check_editable, seconds_again};
use crate::generations::job_for;
use crate::generations::queue::{self, Job, JobState, Page};
use crate::media::Variant;
use crate::posts::{self, Post};
use body::{CreateBody, CreateVideo, EditVideo, ExtendVideo, FromVideoBody, Named};
use view::{DeletedVideo, Video, VideoList};

mod body;
mod view;

#[cfg(test)]
mod tests;

/// How soon a client should look again.
const POLL_AFTER_MS: HeaderValue = HeaderValue::from_static("500");
const PAGE_SIZE: u32 = 20;
/// Largest form that brings back a video; it is hashed as it comes, not held.
const UPLOAD_MAX_BYTES: usize = 64 << 20;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(retrieve, remove))
        .routes(routes!(content))
        .routes(routes!(remix))
        .routes(routes!(edit).layer(DefaultBodyLimit::max(UPLOAD_MAX_BYTES)))
        .routes(routes!(extend).layer(DefaultBodyLimit::max(UPLOAD_MAX_BYTES)))
        .routes(routes!(create_character))
        .routes(routes!(get_character))
}

/// Ask for a video. It is queued; poll it until it is completed.
#[utoipa::path(
    post, path = "/v1/videos", tag = "videos",
    request_body(content(
        (CreateVideo = "multipart/form-data"),
        (CreateVideo = "application/json")
    )),
    params(("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key is the same video")),
    responses((status = 200, body = Video), (status = 400), (status = 402), (status = 403), (status = 429)),
    security(("bearer" = []))
)]
async fn create(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    body: CreateBody,
) -> ApiResult<Response> {
    let request = Request {
        user_id: viewer.user_id,
        raw: body.raw,
        quote_id: body.quote_id,
        idempotency_key: idempotency_key(&headers)?,
        video_id: None,
        event: None,
    };
    let job = admission::admit(&app, request).await?;
    let mut conn = app.db.read().acquire().await?;
    Ok(pollable(Video::of(&mut conn, &app.engine, job).await?))
}

fn pollable(video: Video) -> Response {
    let mut response = Json(video).into_response();
    response.headers_mut().insert(HeaderName::from_static("openai-poll-after-ms"), POLL_AFTER_MS);
    response
}

fn idempotency_key(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= 255 => Ok(Some(key.to_owned())),
        _ => Err(ApiError::bad_request(
            "Idempotency-Key",
            "`Idempotency-Key` must be 1 to 255 printable characters",
        )),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The id after which the page begins.
    after: Option<String>,
    /// Videos in the page, 20 unless told.
    limit: Option<u32>,
    /// `desc` (newest first, default) or `asc`.
    order: Option<String>,
}

/// List your videos.
#[utoipa::path(
    get, path = "/v1/videos", tag = "videos", params(ListQuery),
    responses((status = 200, body = VideoList)), security(("bearer" = []))
)]
async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<VideoList>> {
    let ascending = match query.order.as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(ApiError::bad_request("order", "`order` must be `asc` or `desc`")),
    };
    let limit = query.limit.unwrap_or(PAGE_SIZE).clamp(1, app.config.limits.page_size_max);
    let mut conn = app.db.read().acquire().await?;
    let page = Page { after: query.after.map(VideoId::from), limit, ascending };
    let mut jobs = queue::list(&mut conn, &viewer.user_id, &page).await?;
    let has_more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let mut data = Vec::with_capacity(jobs.len());
    for job in jobs {
        data.push(Video::of(&mut conn, &app.engine, job).await?);
    }
    Ok(Json(VideoList {
        object: "list".to_owned(),
        first_id: data.first().map(|video| video.id.clone()),
        last_id: data.last().map(|video| video.id.clone()),
        data,
        has_more,
    }))
}

/// Look at a video: its status, progress and, once failed, why.
#[utoipa::path(
    get, path = "/v1/videos/{video_id}", tag = "videos", params(("video_id" = String, Path)),
    responses((status = 200, body = Video), (status = 404)), security(("bearer" = []))
)]
async fn retrieve(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
) -> ApiResult<Response> {
    let job = job_for(&app, &VideoId::new(video_id), &viewer).await?;
    let mut conn = app.db.read().acquire().await?;
    Ok(pollable(Video::of(&mut conn, &app.engine, job).await?))
}

/// Delete a video, or cancel its generation. Its posts go with it.
#[utoipa::path(
    delete, path = "/v1/videos/{video_id}", tag = "videos", params(("video_id" = String, Path)),
    responses((status = 200, body = DeletedVideo), (status = 404)), security(("bearer" = []))
)]
async fn remove(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
) -> ApiResult<Json<DeletedVideo>> {
    let video_id = VideoId::new(video_id);
    let job = job_for(&app, &video_id, &viewer).await?;
    if job.user_id != viewer.user_id {
        return Err(ApiError::forbidden("only its owner may delete a video; moderators decide on reports"));
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    queue::cancel(&mut tx, &video_id, now_ms).await?;
    queue::forget(&mut tx, &video_id, now_ms).await?;
    let asset = assets::erase(&mut tx, &video_id).await?;
    tx.commit().await?;
    app.interactions.outbox_wake.notify_one();
    if let Some(asset) = asset {
        app.media.delete(&asset.object).await.map_err(ApiError::internal)?;
    }
    Ok(Json(DeletedVideo { id: video_id.into_string(), object: "video.deleted".to_owned(), deleted: true }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ContentQuery {
    /// `video` (default), `thumbnail` or `spritesheet`.
    variant: Option<String>,
}

/// Download a finished video, or a picture of it. Byte ranges are honoured.
#[utoipa::path(
    get, path = "/v1/videos/{video_id}/content", tag = "videos",
    params(("video_id" = String, Path), ContentQuery),
    responses(
        (status = 200, content_type = "video/mp4", body = Vec<u8>),
        (status = 206, content_type = "video/mp4", body = Vec<u8>),
        (status = 403), (status = 404), (status = 416)
    ),
    security(("bearer" = []))
)]
async fn content(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
    Query(query): Query<ContentQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let name = query.variant.as_deref().unwrap_or("video");
    let variant = Variant::parse(name).ok_or_else(|| {
        ApiError::bad_request(
            "variant",
            format!("`variant` is `{name}`; choose video, thumbnail or spritesheet"),
        )
    })?;
    let video_id = VideoId::new(video_id);
    let mut conn = app.db.read().acquire().await?;
    match queue::load(&mut conn, &video_id).await? {
        Some(job) if job.user_id == viewer.user_id && job.state != JobState::Done && !job.deleted => {
            let detail = match job.error {
                Some((_, message)) => format!("the video has no content: {message}"),
                None => "the video is not ready; poll it until its status is `completed`".to_owned(),
            };
            return Err(ApiError::Rejected { status: StatusCode::NOT_FOUND, detail });
        }
        Some(_) => {}
        None => return Err(ApiError::NotFound("video")),
    }
    let asset = assets::viewable(&mut conn, &video_id, &viewer).await?;
    drop(conn);
    app.media.respond(&asset.object, variant, &headers).await.map_err(ApiError::internal)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RemixVideo {
    /// What the new clip shall show.
    prompt: String,
    /// Accepts a price quoted by `POST /v1/generations/quote`.
    #[serde(default)]
    quote_id: Option<QuoteId>,
}

/// Make a video again with other words. It starts from the same noise, keeps the length and size,
/// and inherits every cameo: its owners must permit you too.
#[utoipa::path(
    post, path = "/v1/videos/{video_id}/remix", tag = "videos", params(("video_id" = String, Path)),
    request_body = RemixVideo,
    responses((status = 200, body = Video), (status = 403), (status = 404)), security(("bearer" = []))
)]
async fn remix(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<RemixVideo>,
) -> ApiResult<Response> {
    let parent = Parent::of(&app, &VideoId::new(video_id), &viewer).await?;
    let seconds = seconds_again(parent.job.total_seconds());
    let raw =
        RawDraft { prompt: Some(body.prompt), seconds: Some(seconds.to_string()), ..RawDraft::default() };
    derive(&app, &viewer, &headers, parent, Derivation::Remix, raw, body.quote_id).await
}

/// Change a video: half of what it shows stays, the rest follows the new words. It inherits every cameo, whose
/// owners must permit you too.
#[utoipa::path(
    post, path = "/v1/videos/edits", tag = "videos",
    request_body(content((EditVideo = "multipart/form-data"), (EditVideo = "application/json"))),
    responses((status = 200, body = Video), (status = 400), (status = 403), (status = 404)),
    security(("bearer" = []))
)]
async fn edit(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    request: extract::Request,
) -> ApiResult<Response> {
    let body = FromVideoBody::edit(request, &app).await?;
    let parent = Parent::named(&app, body.parent, &viewer).await?;
    let seconds = parent.job.total_seconds();
    check_editable(seconds)?;
    let raw = RawDraft { prompt: body.prompt, seconds: Some(seconds.to_string()), ..RawDraft::default() };
    derive(&app, &viewer, &headers, parent, Derivation::Edit, raw, body.quote_id).await
}

/// Go on with a video: the answer's `seconds` are those of both together. It inherits every cameo, whose owners
/// must permit you too.
#[utoipa::path(
    post, path = "/v1/videos/extensions", tag = "videos",
    request_body(content((ExtendVideo = "multipart/form-data"), (ExtendVideo = "application/json"))),
    responses((status = 200, body = Video), (status = 400), (status = 403), (status = 404)),
    security(("bearer" = []))
)]
async fn extend(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    request: extract::Request,
) -> ApiResult<Response> {
    let body = FromVideoBody::extend(request, &app).await?;
    let parent = Parent::named(&app, body.parent, &viewer).await?;
    let derivation = Derivation::Extension { of_seconds: parent.job.total_seconds() };
    let raw = RawDraft { prompt: body.prompt, seconds: body.seconds, ..RawDraft::default() };
    derive(&app, &viewer, &headers, parent, derivation, raw, body.quote_id).await
}

/// A video that this viewer may make another one from.
struct Parent {
    job: Job,
    asset: Asset,
    post: Option<Post>,
}

impl Parent {
    async fn named(app: &App, name: Named, viewer: &Viewer) -> ApiResult<Self> {
        let video_id = match name {
            Named::Id(video_id) => video_id,
            Named::File { sha256 } => {
                let mut conn = app.db.read().acquire().await?;
                let unknown = "`video` is no file of this server: give one as it was downloaded, or its id";
                let found = assets::of_file(&mut conn, &sha256).await?;
                found.ok_or_else(|| ApiError::bad_request("video", unknown))?
            }
        };
        Self::of(app, &video_id, viewer).await
    }

    async fn of(app: &App, video_id: &VideoId, viewer: &Viewer) -> ApiResult<Self> {
        let mut conn = app.db.read().acquire().await?;
        let asset = assets::viewable(&mut conn, video_id, viewer).await?;
        let job = queue::load(&mut conn, video_id).await?.ok_or(ApiError::NotFound("video"))?;
        let post = posts::of_video(&mut conn, video_id).await?;
        Ok(Self { job, asset, post })
    }
}

/// Asks for a video that is made from another, and of its size. The lake learns of it where the other is a post.
async fn derive(
    app: &App,
    viewer: &Viewer,
    headers: &HeaderMap,
    parent: Parent,
    derivation: Derivation,
    raw: RawDraft,
    quote_id: Option<QuoteId>,
) -> ApiResult<Response> {
    let Parent { job, asset, post } = parent;
    let raw = RawDraft {
        size: Some(job.size.to_string()),
        // The noise that the beginning came from would only begin it again.
        seed: (!matches!(derivation, Derivation::Extension { .. })).then_some(job.seed),
        origin: Some(Origin { parent: job.video_id.clone(), derivation }),
        ..raw
    };
    let new_id = admission::new_video_id();
    let event = post.map(|post| {
        // Its id comes from the new video's, so that telling it twice stores it once.
        let event_id = EventId::derived(new_id.as_str(), 0, EventKind::Remix.as_str());
        let mut event =
            server_event(event_id, EventKind::Remix, app.clock.now_ms(), &viewer.user_id, &job.video_id);
        event.creator_id = Some(CreatorId::new(post.creator_id));
        event.duration_ms = Some(asset.duration_ms);
        event
    });
    let request = Request {
        user_id: viewer.user_id.clone(),
        raw,
        quote_id,
        idempotency_key: idempotency_key(headers)?,
        video_id: Some(new_id),
        event,
    };
    let job = admission::admit(app, request).await?;
    let mut conn = app.db.read().acquire().await?;
    Ok(pollable(Video::of(&mut conn, &app.engine, job).await?))
}

fn unsupported(what: &str, instead: &str) -> ApiError {
    ApiError::BadRequest { param: None, detail: format!("{what} is not supported by this model; {instead}") }
}

/// Not supported: likenesses are enrolled with consent as cameos.
#[utoipa::path(post, path = "/v1/videos/characters", tag = "videos", responses((status = 400)), security(("bearer" = [])))]
async fn create_character(_: Viewer) -> ApiError {
    unsupported("a character from a video", "enrol a likeness with its owner's consent by POST /v1/cameos")
}

/// Not supported: likenesses are enrolled with consent as cameos.
#[utoipa::path(
    get, path = "/v1/videos/characters/{character_id}", tag = "videos", params(("character_id" = String, Path)),
    responses((status = 404)), security(("bearer" = []))
)]
async fn get_character(_: Viewer, Path(_character_id): Path<String>) -> ApiError {
    ApiError::NotFound("character; GET /v1/cameos lists the likenesses that you may use")
}
