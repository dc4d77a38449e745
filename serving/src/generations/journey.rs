//! A generation, from a person's words to a signed clip:
//! `Submitted -> Screened -> Consented -> Rendered -> Cleared -> Signed`.
//!
//! INVARIANT: each step takes the type of the step before, and only this file can make one, so a
//! room cannot be skipped: the engine renders only what is [`Consented`], the media store keeps
//! only what is [`Signed`]. Going through them in order compiles:
//!
//! ```
//! use kinora_serving::generations::journey::{Cleared, Engine, Rendered, Screened, Submitted};
//! fn in_order(submitted: Submitted, rendered: Rendered) {
//!     let _: Result<Screened, _> = submitted.screen();
//!     let _: Result<Cleared, _> = rendered.clear();
//! }
//! ```
//!
//! Rendering what nobody consented to does not:
//!
//! ```compile_fail
//! use std::sync::Arc;
//! use kinora_serving::{Db, generations::{Watch, journey::{Engine, Screened}}};
//! async fn without_consent(engine: &Engine, db: &Db, screened: Screened, watch: Arc<Watch>) {
//!     let _ = engine.render(db, screened, watch).await;
//! }
//! ```
//!
//! Nor does storing what is not signed, or making a step's value from nothing:
//!
//! ```compile_fail
//! use kinora_serving::{generations::journey::Cleared, media::MediaStore};
//! async fn unsigned(media: &MediaStore, cleared: Cleared) {
//!     let _ = media.put(&cleared, 1).await;
//! }
//! ```
//!
//! ```compile_fail
//! use kinora_serving::generations::{draft::Draft, journey::Screened};
//! fn forged(draft: Draft) -> Screened {
//!     Screened { draft }
//! }
//! ```

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use kinora_schema::VideoId;
use thiserror::Error;

use super::draft::{Draft, MODEL, check_cameos};
use super::{Watch, assets};
use crate::cameos::{self, Pinned};
use crate::db::{Conn, Db};
use crate::error::{ApiError, ApiResult};
use crate::safety::{self, RenderedFacts, Verdict};
use crate::signing::{Claim, ContentSigner, SigningError};

pub use super::engine::{Engine, EngineError};

/// A well-formed request that nobody has looked at yet.
#[derive(Debug)]
pub struct Submitted {
    draft: Draft,
}

/// Its words passed the safety policy.
#[derive(Debug)]
pub struct Screened {
    draft: Draft,
}

/// Everyone whose likeness it shows permits this person to use it, at a known epoch.
#[derive(Debug)]
pub struct Consented {
    draft: Draft,
    pins: Vec<Pinned>,
}

/// The engine made it.
#[derive(Debug)]
pub struct Rendered {
    draft: Draft,
    pins: Vec<Pinned>,
    media: RenderedMedia,
}

/// What was made passed the safety policy too.
#[derive(Debug)]
pub struct Cleared {
    draft: Draft,
    media: RenderedMedia,
}

/// It carries a signed statement of what it is.
#[derive(Debug)]
pub struct Signed {
    draft: Draft,
    media: RenderedMedia,
}

/// The engine's output: an MP4, two pictures of it, and how long it lasts.
#[derive(Clone, Debug)]
pub struct RenderedMedia {
    pub mp4: Bytes,
    pub thumbnail: Bytes,
    pub spritesheet: Bytes,
    pub duration_ms: i64,
}

/// Why a job ended without a clip.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JourneyError {
    /// Refused by a policy or a person, in words for the client.
    #[error(transparent)]
    Refused(ApiError),
    /// The video that it is made from was erased or withheld while the job waited.
    #[error("the video that this one is made from was removed")]
    ParentRemoved,
    #[error("the job was stopped")]
    Stopped,
    #[error("the engine failed")]
    Engine(#[source] EngineError),
    #[error("the clip could not be signed")]
    Signing(#[from] SigningError),
    #[error("a blocking task died")]
    Task(#[from] tokio::task::JoinError),
}

impl Submitted {
    pub fn new(draft: Draft) -> Self {
        Self { draft }
    }

    /// Fails closed: a policy that cannot decide refuses.
    pub fn screen(self) -> ApiResult<Screened> {
        match safety::screen(&self.draft.prompt) {
            Verdict::Allowed => Ok(Screened { draft: self.draft }),
            Verdict::Refused { category } => Err(ApiError::Moderated { param: "prompt", category }),
        }
    }
}

impl Screened {
    /// Asks for consent as of now, in the transaction that will store the job: for the cameos
    /// that were asked for, and for every cameo in the ancestry of the video that it is made from.
    pub async fn consent(mut self, conn: &mut Conn, now_ms: i64) -> ApiResult<Consented> {
        if let Some(origin) = &self.draft.origin {
            let inherited = assets::cameos_of(conn, &origin.parent).await?;
            self.draft.cameos.extend(inherited);
            self.draft.cameos.sort();
            self.draft.cameos.dedup();
            check_cameos(&self.draft.cameos)?;
        }
        let mut pins = Vec::with_capacity(self.draft.cameos.len());
        for cameo_id in &self.draft.cameos {
            pins.push(cameos::consent(conn, cameo_id, &self.draft.user_id, now_ms).await?);
        }
        Ok(Consented { draft: self.draft, pins })
    }

    /// Takes up a queued job's consent again. A pin whose epoch has moved on is refused: consent
    /// given once is not consent now.
    pub async fn consent_again(self, conn: &mut Conn, pins: Vec<Pinned>) -> ApiResult<Consented> {
        for pin in &pins {
            if !cameos::still_permitted(conn, pin).await? {
                return Err(ApiError::forbidden("consent to a cameo in this video was withdrawn"));
            }
        }
        Ok(Consented { draft: self.draft, pins })
    }
}

impl Consented {
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    pub fn pins(&self) -> &[Pinned] {
        &self.pins
    }
}

impl Engine {
    /// Makes the clip on a blocking thread, reporting progress to `watch` and stopping between
    /// steps when it says so. `parent` is the MP4 of the clip that this one is made from.
    pub async fn render(
        &self,
        db: &Db,
        consented: Consented,
        parent: Option<Bytes>,
        watch: Arc<Watch>,
    ) -> Result<Rendered, JourneyError> {
        let Consented { draft, pins } = consented;
        let likeness = match pins.first() {
            Some(pin) => Some(cameos::template(db, pin).await.map_err(JourneyError::Refused)?),
            None => None,
        };
        let engine = self.clone();
        let asked = draft.clone();
        let media = tokio::task::spawn_blocking(move || {
            engine.make(&asked, likeness.as_ref(), parent.as_deref(), &watch)
        })
        .await?;
        let media = media.map_err(|error| match error {
            EngineError::Stopped => JourneyError::Stopped,
            other => JourneyError::Engine(other),
        })?;
        Ok(Rendered { draft, pins, media })
    }
}

impl Rendered {
    /// The policy's second look, at what was made.
    pub fn clear(self) -> ApiResult<Cleared> {
        let facts = RenderedFacts {
            prompt: &self.draft.prompt,
            duration_ms: self.media.duration_ms,
            asked_seconds: self.draft.total_seconds(),
            bytes: self.media.mp4.len(),
            cameos: self.pins.len(),
        };
        match safety::clear(&facts) {
            Verdict::Allowed => Ok(Cleared { draft: self.draft, media: self.media }),
            Verdict::Refused { category } => Err(ApiError::Moderated { param: "prompt", category }),
        }
    }
}

impl Cleared {
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Signs on a blocking thread. `parent` is the clip that it is made from, whose manifest is kept.
    pub async fn sign(
        self,
        signer: Arc<ContentSigner>,
        now_ms: i64,
        parent: Option<Bytes>,
    ) -> Result<Signed, JourneyError> {
        let Self { draft, mut media } = self;
        let when = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
        let claim = Claim { asset_id: draft.video_id.to_string(), model: MODEL.to_owned(), when };
        let unsigned = media.mp4;
        let signed =
            tokio::task::spawn_blocking(move || signer.sign(&unsigned, &claim, parent.as_deref())).await??;
        media.mp4 = signed.into();
        Ok(Signed { draft, media })
    }
}

impl Signed {
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    pub fn video_id(&self) -> &VideoId {
        &self.draft.video_id
    }

    pub fn mp4(&self) -> &Bytes {
        &self.media.mp4
    }

    pub fn thumbnail(&self) -> &Bytes {
        &self.media.thumbnail
    }

    pub fn spritesheet(&self) -> &Bytes {
        &self.media.spritesheet
    }

    pub fn duration_ms(&self) -> i64 {
        self.media.duration_ms
    }
}

#[cfg(test)]
impl Consented {
    /// For tests of what comes after consent.
    pub(crate) fn of(draft: Draft, pins: Vec<Pinned>) -> Self {
        Self { draft, pins }
    }
}

#[cfg(test)]
impl Signed {
    /// For tests of what comes after signing.
    pub(crate) fn of(draft: Draft, media: RenderedMedia) -> Self {
        Self { draft, media }
    }
}
