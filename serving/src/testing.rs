//! An installation for tests: a real [`App`] in a temporary directory under a clock that stands
//! still, asked through its router.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use kinora_schema::UserId;
use kinora_training::generate::Generator;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::app::{App, router};
use crate::auth::{NewToken, Role, create_token};
use crate::clock::Clock;
use crate::config::Config;
use crate::generations::admission::{Request as AdmissionRequest, admit};
use crate::generations::draft::RawDraft;
use crate::generations::journey::{Engine, RenderedMedia, Signed};
use crate::generations::worker;
use crate::posts::{Post, publish_video};

/// 2026-11-22T14:00:00Z.
pub(crate) const NOW_MS: i64 = 1_795_356_000_000;

pub(crate) struct TestApp {
    pub(crate) app: App,
    router: Router,
    dir: TempDir,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The JSON body of an answer that must have this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The model, loaded once for all tests.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE
        .get_or_init(|| {
            Engine::new(Generator::shipped(kinora_harness::device::DeviceChoice::Cpu).unwrap()).with_steps(2)
        })
        .clone()
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration than the default.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = dir.path().to_owned();
        change(&mut config);
        let app = Box::pin(App::open_with(config, Clock::fixed(NOW_MS), engine())).await.unwrap();
        Self { router: router(app.clone()), app, dir }
    }

    /// The same installation after a restart.
    pub(crate) async fn restarted(self) -> Self {
        let Self { app, router, dir } = self;
        let (config, clock) = (app.config.clone(), app.clock.clone());
        app.db.close().await;
        // Impressions are logged behind the response: the log is in use until the last of them is.
        let interactions = Arc::downgrade(&app.interactions);
        drop((app, router));
        while interactions.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let app = Box::pin(App::open_with(config, clock, engine())).await.unwrap();
        Self { router: crate::app::router(app.clone()), app, dir }
    }

    pub(crate) async fn token(&self, user_id: &str, role: Role) -> String {
        let new = NewToken::new(UserId::from(user_id), role);
        create_token(&self.app.db, new, self.app.clock.now_ms()).await.unwrap().token
    }

    /// A token of an ordinary adult.
    pub(crate) async fn user(&self, user_id: &str) -> String {
        let mut new = NewToken::new(UserId::from(user_id), Role::User);
        new.birth_year = Some(1990);
        create_token(&self.app.db, new, self.app.clock.now_ms()).await.unwrap().token
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
        Answer { status, headers, bytes }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::GET, path, token, None).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, token, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.ask(Method::PUT, path, token, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::DELETE, path, token, None).await
    }

    /// A cameo of the token's owner, with its consent on record.
    pub(crate) async fn enrol(&self, token: &str, audience: &str) -> String {
        let mut picture = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 4, y as u8 * 4, 90]))
            .write_to(&mut picture, image::ImageFormat::Png)
            .unwrap();
        let mut form = Vec::new();
        let fields = [("name", "me"), ("statement", "I agree"), ("attested", "true"), ("audience", audience)];
        for (name, value) in fields {
            let head = format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            form.extend(head.as_bytes());
        }
        form.extend(b"--x\r\ncontent-disposition: form-data; name=\"picture\"; filename=\"me.png\"\r\n\r\n");
        form.extend(picture.into_inner());
        form.extend(b"\r\n--x--\r\n");
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/cameos")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=x");
        let cameo = self.send(request.body(Body::from(form)).unwrap()).await.expect(201);
        cameo["cameo_id"].as_str().unwrap().to_owned()
    }

    /// A post of `user_id` whose clip was not rendered for it: for tests of what comes after.
    pub(crate) async fn publish(&self, user_id: &str, prompt: &str, cameos: &[&str]) -> Post {
        let raw = RawDraft {
            prompt: Some(prompt.to_owned()),
            cameos: cameos.iter().map(|id| (*id).to_owned()).collect(),
            ..RawDraft::default()
        };
        let user_id = UserId::from(user_id);
        let request = AdmissionRequest {
            user_id: user_id.clone(),
            raw,
            quote_id: None,
            idempotency_key: None,
            video_id: None,
            event: None,
        };
        admit(&self.app, request).await.unwrap();
        let lease = worker::claim(&self.app, "test").await.unwrap().unwrap();
        let media = RenderedMedia {
            mp4: "clip".into(),
            thumbnail: "picture".into(),
            spritesheet: "pictures".into(),
            duration_ms: 4000,
        };
        let signed = Signed::of(lease.job.draft(), media);
        worker::finish(&self.app, &lease, &signed).await.unwrap();
        publish_video(&self.app, &user_id, &lease.job.video_id, None).await.unwrap()
    }

    /// Renders every job that waits, as the workers of a running server would.
    pub(crate) async fn render(&self) {
        while let Some(lease) = worker::claim(&self.app, "test").await.unwrap() {
            worker::work(&self.app, &lease).await.unwrap();
        }
    }
}
