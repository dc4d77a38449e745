//! The web app, embedded in the binary: a path enters, the file of `web/` that it names leaves,
//! `/` being `index.html`. Whatever is neither a route nor a file is a 404 problem.
//!
//! INVARIANT: a file is revalidated by its `ETag` before each use, so that a new binary is never
//! mixed with an old binary's modules.

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// The router's fallback.
pub(crate) async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let (Some(file), Some(content_type)) = (Files::get(path), content_type(path)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let etag = etag(&file.metadata.sha256_hash());
    let caching = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if is_current(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, content_type)], file.data.into_owned()).into_response()
}

fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// Weak, because the same file leaves compressed or not.
fn etag(sha256: &[u8; 32]) -> String {
    let short = u64::from_be_bytes(std::array::from_fn(|index| sha256[index]));
    format!("W/\"{short:016x}\"")
}

fn is_current(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|list| list.split(',')).any(|known| known.trim() == etag || known.trim() == "*")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(method: &str, path: &str, if_none_match: Option<&str>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(etag) = if_none_match {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let router: Router = Router::new().fallback(file);
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn text(path: &str) -> String {
        String::from_utf8(Files::get(path).unwrap().data.into_owned()).unwrap()
    }

    #[tokio::test]
    async fn the_root_is_the_app_and_is_revalidated() {
        let response = ask("GET", "/", None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        let etag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body, text("index.html").as_bytes());

        let again = ask("GET", "/", Some(&format!("\"other\", {etag}"))).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask("GET", "/", Some("\"other\"")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn only_files_are_served_and_only_to_be_read() {
        for path in ["/feed", "/v1/nothing", "/../Cargo.toml", "/views/", "/app.js/"] {
            assert_eq!(ask("GET", path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask("POST", "/app.js", None).await.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask("POST", "/v1/nothing", None).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn every_file_has_a_type() {
        for path in Files::iter() {
            let response = ask("GET", &format!("/{path}"), None).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
        }
    }

    /// What the content policy would block, or a misspelt import would break, in a browser.
    #[test]
    fn every_reference_is_embedded_and_nothing_is_inline() {
        let page = text("index.html");
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("<script>"));
        let quoted = |text: &str, before: &str| -> Vec<String> {
            let parts = text.split(before).skip(1);
            parts.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
        };
        let references = [quoted(&page, "href=\"/"), quoted(&page, "src=\"/")].concat();
        assert!(references.contains(&"app.js".to_owned()), "{references:?}");
        for path in references {
            let path = path.split('#').next().unwrap();
            assert!(Files::get(path).is_some(), "index.html names {path}");
        }
        for module in Files::iter().filter(|path| path.ends_with(".js")) {
            let code = text(&module);
            let folder = module.rsplit_once('/').map_or("", |(folder, _)| folder);
            for import in [quoted(&code, "from \""), quoted(&code, "import(\"")].concat() {
                let path = match import.strip_prefix("../") {
                    Some(path) => path.to_owned(),
                    None => format!("{folder}/{}", import.trim_start_matches("./")),
                };
                assert!(Files::get(path.trim_start_matches('/')).is_some(), "{module} imports {import}");
            }
        }
    }
}
