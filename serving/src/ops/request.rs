//! The layer that every request passes: a request id enters the span and leaves as a header, a
//! refusal is rendered in the shape that its path speaks, the time taken is measured, and one log
//! line is written with the route's template (never the path itself, which may name a person).

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; \
     manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known_method(request.method());
    let speaks_openai = is_openai(request.uri().path());

    let span = tracing::info_span!("request", request_id = id, method, route);
    let mut response = async {
        let response = next.run(request).await;
        let elapsed = started.elapsed();
        let status = response.status().as_u16();
        tracing::info!(status, latency_ms = elapsed.as_millis() as u64, "served");
        response
    }
    .instrument(span)
    .await;

    let labels =
        [("method", method.to_owned()), ("route", route), ("status", response.status().as_u16().to_string())];
    metrics::counter!("kinora_http_requests_total", &labels).increment(1);
    metrics::histogram!("kinora_http_request_seconds", &labels).record(started.elapsed().as_secs_f64());

    render_refusal(&mut response, &id, speaks_openai);
    finish_headers(response.headers_mut(), &id);
    response
}

/// A client may invent methods; a metric with a label for each would grow without end.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// The client's own id where it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty() && value.len() <= 64)
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)))
        .map_or_else(|| format!("req_{}", Uuid::now_v7().simple()), str::to_owned)
}

fn is_openai(path: &str) -> bool {
    path.strip_prefix("/v1/videos").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Gives a refusal its body: the handler's own problem, or one for the bare status of a layer.
fn render_refusal(response: &mut Response, id: &str, speaks_openai: bool) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let mut problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if has_own_json(response.headers()) => return,
        None => Problem::of_status(status, detail_of(status)),
    };
    id.clone_into(&mut problem.instance);
    let (content_type, body) =
        if speaks_openai { problem.into_openai_json() } else { problem.into_problem_json() };
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
}

/// A handler that chose its own error body in JSON (readiness, say) keeps it.
fn has_own_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

fn detail_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 => "there is nothing at this path; /openapi.json lists what there is",
        405 => "this path does not take this method; /openapi.json lists those it takes",
        // The timeout layer's answer.
        503 => "the request took too long and was given up; try again",
        413 => "the body is larger than this server accepts",
        416 => "the range lies outside the content",
        _ => "the request was refused",
    }
}

fn finish_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
