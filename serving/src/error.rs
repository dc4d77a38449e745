//! Every refusal the API can give, and the only place that knows status codes. A handler returns
//! an [`ApiError`]; the request layer ([`crate::ops::request`]) renders it as RFC 9457
//! problem+json, or in OpenAI's shape under `/v1/videos`.
//!
//! INVARIANT: what went wrong inside is logged with the request id and never sent to the client.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;
use utoipa::ToSchema;

use crate::credits::Quote;

/// Why a request was refused, in words for the client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApiError {
    /// A field or parameter is not acceptable; `param` names it.
    #[error("{detail}")]
    BadRequest { param: Option<String>, detail: String },
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("{0}")]
    Forbidden(String),
    /// The named kind of thing does not exist, or not for this viewer.
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("{0}")]
    Conflict(String),
    /// `If-Match` does not name the current version.
    #[error("{0}")]
    PreconditionFailed(String),
    #[error("{0}")]
    TooLarge(String),
    /// The words in `param` ask for something that the policy refuses.
    #[error("the {param} was refused by the safety policy ({category})")]
    Moderated { param: &'static str, category: String },
    /// The price of going on, and how to accept it.
    #[error(
        "the daily allotment is used up and demand is at its peak: this generation costs {} credits; \
         send quote_id {} to accept", .0.credits, .0.quote_id
    )]
    PaymentRequired(Box<Quote>),
    #[error("this generation costs {needed} credits and the balance is {balance}")]
    InsufficientCredits { needed: i64, balance: i64 },
    #[error("the daily limit of {limit_minutes} minutes is reached; the feed opens again at midnight UTC")]
    FeedLimitReached { limit_minutes: u32, resets_at_ms: i64 },
    /// Too much at once; try again after the named time.
    #[error("{detail}")]
    TooManyRequests { detail: String, retry_after_s: u64 },
    #[error("{0}")]
    Unavailable(String),
    /// What an extractor or a layer refused, with the status it chose.
    #[error("{detail}")]
    Rejected { status: StatusCode, detail: String },
    #[error("something went wrong on the server; the request id finds it in the log")]
    Internal(#[source] anyhow::Error),
}

/// An RFC 9457 problem, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What happened and what to do, on one line.
    pub detail: String,
    /// The request id, as in the `x-request-id` header and the server's log.
    pub instance: String,
    /// Members particular to the kind: `param`, `quote`, `resets_at_ms`, `category`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub members: Map<String, Value>,
}

pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub fn bad_request(param: &str, detail: impl Into<String>) -> Self {
        Self::BadRequest { param: Some(param.to_owned()), detail: detail.into() }
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::Forbidden(detail.into())
    }

    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::Internal(source.into())
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } | Self::Moderated { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::FeedLimitReached { .. } => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::PaymentRequired(_) | Self::InsufficientCredits { .. } => StatusCode::PAYMENT_REQUIRED,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Rejected { status, .. } => *status,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Moderated { param: "prompt", .. } => "prompt-refused",
            Self::Moderated { .. } => "words-refused",
            Self::PaymentRequired(_) => "payment-required",
            Self::InsufficientCredits { .. } => "insufficient-credits",
            Self::FeedLimitReached { .. } => "feed-limit-reached",
            other => kind_of(other.status()),
        }
    }

    fn members(&self) -> Map<String, Value> {
        let members = match self {
            Self::BadRequest { param: Some(param), .. } => json!({ "param": param }),
            Self::Moderated { param, category } => json!({ "param": param, "category": category }),
            Self::PaymentRequired(quote) => json!({ "param": "quote_id", "quote": quote }),
            Self::InsufficientCredits { needed, balance } => json!({ "needed": needed, "balance": balance }),
            Self::FeedLimitReached { limit_minutes, resets_at_ms } => {
                json!({ "limit_minutes": limit_minutes, "resets_at_ms": resets_at_ms })
            }
            _ => Value::Null,
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

impl Problem {
    /// The problem for a status that a layer or the router itself answered with.
    pub(crate) fn of_status(status: StatusCode, detail: &str) -> Self {
        Self {
            kind: kind_of(status).to_owned(),
            title: title_of(status),
            status: status.as_u16(),
            detail: detail.to_owned(),
            instance: String::new(),
            members: Map::new(),
        }
    }

    /// The body in RFC 9457's shape.
    pub(crate) fn into_problem_json(self) -> (HeaderValue, Vec<u8>) {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (HeaderValue::from_static("application/problem+json"), body)
    }

    /// The body in the shape that OpenAI's clients read.
    pub(crate) fn into_openai_json(self) -> (HeaderValue, Vec<u8>) {
        let kind = match self.status {
            500.. => "server_error",
            429 => "rate_limit_error",
            _ => "invalid_request_error",
        };
        let code =
            if self.status == 401 { "invalid_api_key".to_owned() } else { self.kind.replace('-', "_") };
        let param = self.members.get("param").cloned().unwrap_or(Value::Null);
        let error = json!({ "message": self.detail, "type": kind, "param": param, "code": code });
        let mut body = json!({ "error": error });
        if let Some(quote) = self.members.get("quote") {
            body["error"]["quote"] = quote.clone();
        }
        (HeaderValue::from_static("application/json"), body.to_string().into_bytes())
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad-request",
        401 => "unauthorized",
        402 => "payment-required",
        403 => "forbidden",
        404 => "not-found",
        405 => "method-not-allowed",
        408 => "timeout",
        409 => "conflict",
        412 => "precondition-failed",
        413 => "too-large",
        415 => "unsupported-media-type",
        416 => "range-not-satisfiable",
        422 => "unprocessable",
        429 => "too-many-requests",
        503 => "unavailable",
        500.. => "internal",
        _ => "refused",
    }
}

fn title_of(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Refused").to_owned()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Internal(source) = &self {
            // The request layer's span adds the request id.
            tracing::error!(error = format!("{source:#}"), "internal error");
        }
        let status = self.status();
        let problem = Problem {
            kind: self.kind().to_owned(),
            title: title_of(status),
            status: status.as_u16(),
            detail: self.to_string(),
            instance: String::new(),
            members: self.members(),
        };
        let mut response = status.into_response();
        if let Self::TooManyRequests { retry_after_s, .. } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(source: sqlx::Error) -> Self {
        Self::internal(source)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::Rejected { status: rejection.status(), detail: one_line(&rejection.body_text()) }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::Rejected { status: rejection.status(), detail: one_line(&rejection.body_text()) }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Rejected { status: rejection.status(), detail: one_line(&rejection.body_text()) }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

/// [`axum::Json`] whose rejection is an [`ApiError`].
#[derive(Clone, Copy, Debug, Default, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub struct Json<T>(pub T);

/// [`axum::extract::Path`] whose rejection is an [`ApiError`].
#[derive(Clone, Copy, Debug, Default, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// [`axum::extract::Query`] whose rejection is an [`ApiError`].
#[derive(Clone, Copy, Debug, Default, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
