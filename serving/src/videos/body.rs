//! The bodies that ask for a video, anew or from another one: multipart, as OpenAI's clients send it, or JSON.
//! What leaves is a [`RawDraft`]; a field that this server cannot honour is refused by name, never ignored.

use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use kinora_schema::VideoId;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::app::App;
use crate::credits::QuoteId;
use crate::error::{ApiError, ApiResult, Json};
use crate::generations::draft::RawDraft;
use crate::media::hex;

/// Longest text field of a form, in bytes.
const FIELD_MAX_BYTES: usize = 64 * 1024;

/// Seeds above this would not survive a client that reads JSON numbers as doubles.
const SEED_MAX: u64 = (1 << 53) - 1;

/// A video to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct CreateBody {
    pub(super) raw: RawDraft,
    pub(super) quote_id: Option<QuoteId>,
}

/// A change to a video, or its continuation.
#[derive(Clone, Debug)]
pub(super) struct FromVideoBody {
    pub(super) parent: Named,
    pub(super) prompt: Option<String>,
    pub(super) seconds: Option<String>,
    pub(super) quote_id: Option<QuoteId>,
}

/// A video of this server, as clients name it.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Id(VideoId),
    /// SHA-256 of a file that was downloaded here. Nobody could be asked for their consent to any other file.
    File {
        sha256: String,
    },
}

/// The JSON form of a change to a video, for the API's description.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "documents the fields that `set` reads one by one")]
pub(super) struct EditVideo {
    /// What the clip shall show instead.
    prompt: String,
    /// The video to change, up to 12 seconds long: its id, an object with an `id`, or the file as it was
    /// downloaded.
    video: String,
    /// Accepts a price quoted by `POST /v1/generations/quote`.
    quote_id: Option<String>,
}

/// The JSON form of a continuation, for the API's description.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "documents the fields that `set` reads one by one")]
pub(super) struct ExtendVideo {
    /// What the clip goes on to show.
    prompt: String,
    /// The video to go on from: its id, an object with an `id`, or the file as it was downloaded.
    video: String,
    /// Seconds to add: `4` (default), `8` or `12`. The whole may last 60.
    seconds: Option<String>,
    /// Accepts a price quoted by `POST /v1/generations/quote`.
    quote_id: Option<String>,
}

/// Which fields a body may have.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Create,
    Edit,
    Extend,
}

impl Kind {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Create => {
                &["prompt", "model", "seconds", "size", "seed", "cameos", "characters", "quote_id"]
            }
            Self::Edit => &["prompt", "video", "quote_id"],
            Self::Extend => &["prompt", "video", "seconds", "quote_id"],
        }
    }

    fn check(self, name: &str) -> ApiResult<()> {
        if self.fields().contains(&name) {
            return Ok(());
        }
        let detail = if name == "input_reference" {
            // Nobody can be asked whose likeness a picture shows.
            "`input_reference` is not supported: nobody could be asked for their consent to it; show a likeness \
             with `cameos`, and begin with a video of this server by POST /v1/videos/extensions"
                .to_owned()
        } else {
            format!("`{name}` is not supported here; the fields are {}", self.fields().join(", "))
        };
        Err(ApiError::bad_request(name, detail))
    }
}

/// The fields of a body, read.
#[derive(Clone, Debug, Default)]
struct Fields {
    raw: RawDraft,
    video: Option<Named>,
    quote_id: Option<QuoteId>,
}

/// The JSON form of the body, for the API's description.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "documents the fields that `set` reads one by one")]
pub(super) struct CreateVideo {
    /// What the clip shall show.
    prompt: String,
    /// `kinora-nano`; any `sora-*` name stands for it.
    model: Option<String>,
    /// `4` (default), `8` or `12`.
    seconds: Option<String>,
    /// `256x256` (default), other squares, or OpenAI's four sizes.
    size: Option<String>,
    /// The same seed and request make the same clip.
    seed: Option<u64>,
    /// Ids of cameos to show. Their owners must permit it.
    cameos: Option<Vec<String>>,
    /// OpenAI's name for `cameos`: ids, or objects with an `id`.
    characters: Option<Vec<String>>,
    /// Accepts a price quoted by `POST /v1/generations/quote`.
    quote_id: Option<String>,
}

impl FromRequest<App> for CreateBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> ApiResult<Self> {
        let Fields { raw, quote_id, .. } = Fields::read(Kind::Create, request, app).await?;
        Ok(Self { raw, quote_id })
    }
}

impl FromVideoBody {
    pub(super) async fn edit(request: Request, app: &App) -> ApiResult<Self> {
        Self::read(Kind::Edit, request, app).await
    }

    pub(super) async fn extend(request: Request, app: &App) -> ApiResult<Self> {
        Self::read(Kind::Extend, request, app).await
    }

    async fn read(kind: Kind, request: Request, app: &App) -> ApiResult<Self> {
        let Fields { raw, video, quote_id } = Fields::read(kind, request, app).await?;
        let parent =
            video.ok_or_else(|| ApiError::bad_request("video", "`video` is required: give its id"))?;
        Ok(Self { parent, prompt: raw.prompt, seconds: raw.seconds, quote_id })
    }
}

impl Fields {
    async fn read(kind: Kind, request: Request, app: &App) -> ApiResult<Self> {
        let form = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("multipart/form-data"));
        if form {
            Self::from_form(kind, request, app).await
        } else {
            Self::from_json(kind, request, app).await
        }
    }

    async fn from_json(kind: Kind, request: Request, app: &App) -> ApiResult<Self> {
        let Json(fields) = Json::<serde_json::Map<String, Value>>::from_request(request, app).await?;
        let mut body = Self::default();
        for (name, value) in fields {
            for text in texts(kind, &name, value)? {
                body.set(kind, &name, text)?;
            }
        }
        Ok(body)
    }

    async fn from_form(kind: Kind, request: Request, app: &App) -> ApiResult<Self> {
        let broken = |error: axum::extract::multipart::MultipartError| ApiError::Rejected {
            status: error.status(),
            detail: error.body_text().replace('\n', " "),
        };
        let mut form =
            Multipart::from_request(request, app).await.map_err(|rejection| ApiError::Rejected {
                status: rejection.status(),
                detail: rejection.body_text().replace('\n', " "),
            })?;
        let mut body = Self::default();
        while let Some(mut field) = form.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            // Known before it is read, so that an unsupported upload is not buffered.
            let key = key_of(&name);
            kind.check(key)?;
            if key == "video" && field.file_name().is_some() {
                let mut hasher = Sha256::new();
                while let Some(chunk) = field.chunk().await.map_err(broken)? {
                    hasher.update(chunk);
                }
                body.video = Some(Named::File { sha256: hex(&hasher.finalize()) });
                continue;
            }
            let content = field.bytes().await.map_err(broken)?;
            if content.len() > FIELD_MAX_BYTES {
                return Err(ApiError::bad_request(
                    key,
                    format!("`{key}` is longer than {FIELD_MAX_BYTES} bytes"),
                ));
            }
            let text = String::from_utf8(content.to_vec())
                .map_err(|_| ApiError::bad_request(key, format!("`{key}` is not UTF-8 text")))?;
            body.set(kind, key, text)?;
        }
        Ok(body)
    }

    fn set(&mut self, kind: Kind, name: &str, text: String) -> ApiResult<()> {
        kind.check(name)?;
        match name {
            "prompt" => self.raw.prompt = Some(text),
            "model" => self.raw.model = Some(text),
            "seconds" => self.raw.seconds = Some(text),
            "size" => self.raw.size = Some(text),
            "seed" => self.raw.seed = Some(parse_seed(&text)?),
            "video" => self.video = Some(Named::Id(VideoId::new(text))),
            "quote_id" => self.quote_id = Some(QuoteId::new(text)),
            _ => self.raw.cameos.push(text),
        }
        Ok(())
    }
}

/// `characters[0][id]`, as forms spell lists, is `characters`.
fn key_of(name: &str) -> &str {
    name.split('[').next().unwrap_or_default()
}

/// The texts of a JSON field: a scalar is one, a list is several, null is none.
fn texts(kind: Kind, name: &str, value: Value) -> ApiResult<Vec<String>> {
    let refused = || ApiError::bad_request(name, format!("`{name}` has the wrong type"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(_) if name == "video" => Ok(vec![id_of(value).ok_or_else(refused)?]),
        Value::String(text) => Ok(vec![text]),
        Value::Number(number) => Ok(vec![number.to_string()]),
        Value::Array(items) if matches!(name, "cameos" | "characters") => {
            items.into_iter().map(|item| id_of(item).ok_or_else(refused)).collect()
        }
        // An unsupported field is reported as such, whatever its type.
        _ => Err(kind.check(name).err().unwrap_or_else(refused)),
    }
}

fn id_of(item: Value) -> Option<String> {
    match item {
        Value::String(id) => Some(id),
        Value::Object(mut fields) => fields.remove("id").and_then(id_of),
        _ => None,
    }
}

fn parse_seed(text: &str) -> ApiResult<u64> {
    text.parse().ok().filter(|seed| *seed <= SEED_MAX).ok_or_else(|| {
        ApiError::bad_request(
            "seed",
            format!("`seed` is `{text}`; it must be a whole number up to {SEED_MAX}"),
        )
    })
}
