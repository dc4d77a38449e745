//! The body of `POST /v1/videos`: multipart, as OpenAI's clients send it, or JSON. What leaves is
//! a [`RawDraft`]; a field that this server cannot honour is refused by name, never ignored.

use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::credits::QuoteId;
use crate::error::{ApiError, ApiResult, Json};
use crate::generations::draft::RawDraft;

/// Longest text field of a form, in bytes.
const FIELD_MAX_BYTES: usize = 64 * 1024;
const SUPPORTED: &str = "prompt, model, seconds, size, seed, cameos, characters, quote_id";

/// Seeds above this would not survive a client that reads JSON numbers as doubles.
const SEED_MAX: u64 = (1 << 53) - 1;

/// A video to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct CreateBody {
    pub(super) raw: RawDraft,
    pub(super) quote_id: Option<QuoteId>,
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
        let form = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("multipart/form-data"));
        if form { Self::from_form(request, app).await } else { Self::from_json(request, app).await }
    }
}

impl CreateBody {
    async fn from_json(request: Request, app: &App) -> ApiResult<Self> {
        let Json(fields) = Json::<serde_json::Map<String, Value>>::from_request(request, app).await?;
        let mut body = Self::default();
        for (name, value) in fields {
            for text in texts(&name, value)? {
                body.set(&name, text)?;
            }
        }
        Ok(body)
    }

    async fn from_form(request: Request, app: &App) -> ApiResult<Self> {
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
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            // Known before it is read, so that an unsupported upload is not buffered.
            let key = key_of(&name);
            check_supported(key)?;
            let content = field.bytes().await.map_err(broken)?;
            if content.len() > FIELD_MAX_BYTES {
                return Err(ApiError::bad_request(
                    key,
                    format!("`{key}` is longer than {FIELD_MAX_BYTES} bytes"),
                ));
            }
            let text = String::from_utf8(content.to_vec())
                .map_err(|_| ApiError::bad_request(key, format!("`{key}` is not UTF-8 text")))?;
            body.set(key, text)?;
        }
        Ok(body)
    }

    fn set(&mut self, name: &str, text: String) -> ApiResult<()> {
        check_supported(name)?;
        match name {
            "prompt" => self.raw.prompt = Some(text),
            "model" => self.raw.model = Some(text),
            "seconds" => self.raw.seconds = Some(text),
            "size" => self.raw.size = Some(text),
            "seed" => self.raw.seed = Some(parse_seed(&text)?),
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

fn check_supported(name: &str) -> ApiResult<()> {
    let detail = match name {
        "prompt" | "model" | "seconds" | "size" | "seed" | "cameos" | "characters" | "quote_id" => return Ok(()),
        "input_reference" => {
            "`input_reference` is not supported: this model starts from the prompt; show a likeness with `cameos`"
                .to_owned()
        }
        other => format!("`{other}` is not supported here; the fields are {SUPPORTED}"),
    };
    Err(ApiError::bad_request(name, detail))
}

/// The texts of a JSON field: a scalar is one, a list is several, null is none.
fn texts(name: &str, value: Value) -> ApiResult<Vec<String>> {
    let refused = || ApiError::bad_request(name, format!("`{name}` has the wrong type"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Number(number) => Ok(vec![number.to_string()]),
        Value::Array(items) if matches!(name, "cameos" | "characters") => {
            items.into_iter().map(|item| id_of(item).ok_or_else(refused)).collect()
        }
        // An unsupported field is reported as such, whatever its type.
        _ => Err(check_supported(name).err().unwrap_or_else(refused)),
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
