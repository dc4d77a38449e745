//! What the recipe is given: the person's query with what is in force for them, and the clips
//! there are with the facts that decide whether they may be shown.

use std::collections::{HashMap, HashSet};

use kinora_ranking::RankingError;
use kinora_ranking::feed::{
    AgeBand, CameoConsent, Candidate, Engagement, FeedItem, FeedQuery, Moderation, SourceKind, Steering,
};
use kinora_schema::ranking::{HistoryItem, Task};
use kinora_schema::{CreatorId, UserId, VideoId};
use sqlx::FromRow;
use uuid::Uuid;

use super::place::Address;
use super::{SURFACE, controls, creator_of};
use crate::app::App;
use crate::clock::DAY_MS;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult};
use crate::generations::assets;
use crate::guardians::{self, in_force};
use crate::people;
use crate::posts::Post;

/// Newest posts that are considered.
const POOL: i64 = 2000;
/// Posts of any age that retrieval adds at most.
const RETRIEVED: usize = 300;
/// Clips that were liked last, and posts that are added for being like each of them.
const LIKED: usize = 3;
const ALIKE: usize = 40;
/// How long a clip that was shown does not come again.
const SEEN_MS: i64 = DAY_MS;
const CURSOR_MAX_BYTES: usize = 64;

/// Who asks, and the clips that there are for them.
pub(super) async fn gather(
    app: &App,
    user_id: &UserId,
    address: Option<&Address>,
    cursor: Option<String>,
    limit: usize,
    now_ms: i64,
) -> ApiResult<(Asked, Pool)> {
    let mut asked = Asked::gather(app, user_id, address, cursor, limit, now_ms).await?;
    let mut pool = Pool::newest(app).await?;
    let Sought { next, alike } = seek(app, &asked.query, &pool).await?;
    pool.add(app, &next).await?;
    pool.add(app, &alike).await?;
    asked.query.retrieved = next;
    asked.query.alike = alike;
    Ok((asked, pool))
}

/// What retrieval finds for a person, best first.
#[derive(Default)]
struct Sought {
    /// By all that they had before.
    next: Vec<VideoId>,
    /// By each of the clips that they liked last.
    alike: Vec<VideoId>,
}

/// What retrieval finds for the person, where there is a model and they allow it.
async fn seek(app: &App, query: &FeedQuery, pool: &Pool) -> ApiResult<Sought> {
    if !query.personalised || app.feed.seeker.is_none() {
        return Ok(Sought::default());
    }
    let (app, user_id, now_ms) = (app.clone(), query.user_id.clone(), query.now_ms);
    let newest: Vec<VideoId> = pool.candidates.iter().map(|clip| clip.video_id.clone()).collect();
    let found = tokio::task::spawn_blocking(move || {
        let Some(seeker) = &app.feed.seeker else { return Ok(Sought::default()) };
        let (person, liked, new) = {
            let features = app.interactions.features();
            let viewing = features.viewing(Some(&user_id), now_ms, SURFACE);
            let new: Vec<_> =
                newest.into_iter().map(|video| (features.video_tokens(&video), video)).collect();
            let person = viewing.person();
            let is_liked = |item: &&HistoryItem| item.outcomes & (1 << Task::Like.index()) != 0;
            let liked = person.history.iter().rev().filter(is_liked).take(LIKED).map(|item| &item.video_id);
            let liked: Vec<_> = liked.map(|video| (features.video_tokens(video), video.clone())).collect();
            (person, liked, new)
        };
        let history = || person.history.iter().map(|item| item.video_id.as_str());
        let new = || new.iter().map(|(tokens, video)| (video.as_str(), &**tokens));
        let ids = |found: Vec<String>| found.into_iter().map(VideoId::new);
        let next = ids(seeker.seek(history(), new(), RETRIEVED)?).collect();
        let mut alike = Vec::new();
        for (tokens, video) in &liked {
            alike.extend(ids(seeker.alike((video.as_str(), tokens), history(), new(), ALIKE)?));
        }
        Ok(Sought { next, alike })
    });
    match found.await.map_err(ApiError::internal)? {
        Ok(found) => Ok(found),
        // A feed without retrieval is better than no feed.
        Err::<_, RankingError>(error) => {
            tracing::warn!(%error, "the feed goes without retrieval");
            Ok(Sought::default())
        }
    }
}

/// The person's query, and what the answer needs to say why.
pub(super) struct Asked {
    pub(super) query: FeedQuery,
    pub(super) scroll_id: String,
    follows: HashSet<CreatorId>,
}

impl Asked {
    async fn gather(
        app: &App,
        user_id: &UserId,
        address: Option<&Address>,
        cursor: Option<String>,
        limit: usize,
        now_ms: i64,
    ) -> ApiResult<Self> {
        let mut conn = app.db.read().acquire().await?;
        let settings = in_force(&mut conn, &app.config, user_id, now_ms).await?;
        let person = people::load(&mut conn, user_id).await?;
        let follows: HashSet<CreatorId> =
            people::following(&mut conn, user_id).await?.into_iter().map(creator).collect();
        let mut following = follows.clone();
        if settings.settings.conversation_history {
            following.extend(talks_with(&mut conn, user_id).await?);
        }
        let blocked = people::blocked_either_way(&mut conn, user_id).await?;
        let scroll_id = cursor
            .filter(|cursor| cursor.len() <= CURSOR_MAX_BYTES)
            .unwrap_or_else(|| format!("scroll_{}", Uuid::now_v7().simple()));
        // The place that they gave, else the city that they ask from: neither, unless they allow it.
        let location = settings.settings.location.then(|| {
            let city = || address?.city(app.feed.cities.as_ref()?);
            person.place.or_else(city)
        });
        let location = location.flatten();
        let query = FeedQuery {
            user_id: user_id.clone(),
            now_ms,
            personalised: settings.settings.personalisation,
            age: match settings.band {
                guardians::AgeBand::Adult => AgeBand::Adult,
                guardians::AgeBand::Teen | guardians::AgeBand::Unknown => AgeBand::Teen,
            },
            sensitive: settings.settings.sensitive,
            blocked: blocked.into_iter().map(creator).collect(),
            following,
            seen: seen(&mut conn, user_id, now_ms - SEEN_MS).await?,
            scrolled: scrolled(&mut conn, user_id, &scroll_id).await?,
            location,
            retrieved: Vec::new(),
            alike: Vec::new(),
            steering: Steering::of(&controls::words(&mut conn, user_id).await?),
            less: controls::unwanted(&mut conn, user_id).await?,
            limit,
            seed: seed_of(&scroll_id),
        };
        Ok(Self { query, scroll_id, follows })
    }

    /// Why an item is here. Whom the person only talks with is not whom they follow.
    pub(super) fn reason(&self, item: &FeedItem) -> &'static str {
        let follows = self.follows.contains(&item.candidate.creator_id);
        if item.source == SourceKind::Following && !follows {
            "from someone you talk with"
        } else {
            item.reason()
        }
    }
}

fn creator(user_id: UserId) -> CreatorId {
    CreatorId::new(user_id.into_string())
}

/// What is explored differs from scroll to scroll.
fn seed_of(scroll_id: &str) -> u64 {
    use sha2::{Digest, Sha256};
    Sha256::digest(scroll_id).iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

async fn seen(conn: &mut Conn, user_id: &UserId, since_ms: i64) -> ApiResult<HashSet<VideoId>> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT video_id FROM impressions WHERE user_id = ? AND served_ms > ?")
            .bind(user_id.as_str())
            .bind(since_ms)
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().map(VideoId::new).collect())
}

async fn scrolled(conn: &mut Conn, user_id: &UserId, scroll_id: &str) -> ApiResult<HashSet<VideoId>> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT video_id FROM impressions WHERE user_id = ? AND scroll_id = ?")
            .bind(user_id.as_str())
            .bind(scroll_id)
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().map(VideoId::new).collect())
}

/// People with whom the person exchanged messages both ways: used only where they allow their
/// conversations to be linked.
async fn talks_with(conn: &mut Conn, user_id: &UserId) -> ApiResult<Vec<CreatorId>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT sent.reader_id FROM messages sent
         JOIN messages got ON got.sender_id = sent.reader_id AND got.reader_id = sent.sender_id
         WHERE sent.sender_id = ?",
    )
    .bind(user_id.as_str())
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(CreatorId::new).collect())
}

/// The clips there are, and the posts that they came in.
pub(super) struct Pool {
    pub(super) candidates: Vec<Candidate>,
    pub(super) posts: HashMap<VideoId, Post>,
}

#[derive(FromRow)]
struct PoolRow {
    #[sqlx(flatten)]
    post: Post,
    asset_state: String,
    place: Option<String>,
    has_cameo: bool,
}

impl Pool {
    /// The newest clips.
    async fn newest(app: &App) -> ApiResult<Self> {
        let mut conn = app.db.read().acquire().await?;
        let rows = sqlx::query_as(
            "SELECT d.*, EXISTS (SELECT 1 FROM asset_cameos c WHERE c.asset_id = d.video_id) AS has_cameo
             FROM post_details d WHERE d.state = 'published'
             ORDER BY d.published_ms DESC, d.id LIMIT ?",
        );
        let rows = rows.bind(POOL).fetch_all(&mut *conn).await?;
        let mut pool = Self { candidates: Vec::new(), posts: HashMap::new() };
        pool.take(&mut conn, rows).await;
        Ok(pool)
    }

    /// Adds clips that were found elsewhere, however old they are.
    async fn add(&mut self, app: &App, videos: &[VideoId]) -> ApiResult<()> {
        let missing: Vec<&VideoId> = videos.iter().filter(|video| !self.posts.contains_key(*video)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut conn = app.db.read().acquire().await?;
        let rows = sqlx::query_as(
            "SELECT d.*, EXISTS (SELECT 1 FROM asset_cameos c WHERE c.asset_id = d.video_id) AS has_cameo
             FROM post_details d WHERE d.state = 'published'
             AND d.video_id IN (SELECT value FROM json_each(?)) ORDER BY d.published_ms DESC, d.id",
        );
        let ids = serde_json::to_string(&missing).map_err(ApiError::internal)?;
        let rows = rows.bind(ids).fetch_all(&mut *conn).await?;
        self.take(&mut conn, rows).await;
        Ok(())
    }

    async fn take(&mut self, conn: &mut Conn, rows: Vec<PoolRow>) {
        for row in rows {
            let video_id = VideoId::from(row.post.video_id.as_str());
            let cameo = if row.has_cameo { consent(conn, &video_id).await } else { CameoConsent::NotUsed };
            self.candidates.push(Candidate {
                video_id: video_id.clone(),
                creator_id: creator_of(&row.post),
                created_ms: row.post.published_ms,
                duration_ms: row.post.duration_ms,
                topic: Some(row.post.topic.clone()),
                caption: row.post.caption.clone(),
                location: row.place,
                moderation: if row.asset_state == "published" {
                    Moderation::Cleared
                } else {
                    Moderation::Hidden
                },
                cameo,
                // What this model can draw is for everyone; nothing is marked sensitive yet.
                audience: AgeBand::Teen,
                sensitive: false,
                engagement: Engagement::default(),
            });
            self.posts.insert(video_id, row.post);
        }
    }
}

/// A consent that cannot be looked up is not held.
async fn consent(conn: &mut Conn, video_id: &VideoId) -> CameoConsent {
    let permitted = match assets::load(conn, video_id).await {
        Ok(Some(asset)) => assets::permitted(conn, &asset).await,
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    match permitted {
        Ok(true) => CameoConsent::Held,
        Ok(false) => CameoConsent::Revoked,
        Err(_) => CameoConsent::Unknown,
    }
}
