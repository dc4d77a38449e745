//! The API's description at `/openapi.json`: what the handlers' attributes say, completed to what OpenAPI
//! 3.1 asks of a document that clients are generated from.

use axum::http::StatusCode;
use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Kinora",
        description = "Feed, generation, cameos, safety and analytics of an AI short-video platform."
    ),
    modifiers(&BearerScheme)
)]
struct Document;

struct BearerScheme;

impl utoipa::Modify for BearerScheme {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`kn_...`, from `kinora token create` or `POST /v1/tokens`"))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// What every path is added to.
pub(crate) fn document() -> OpenApi {
    Document::openapi()
}

/// Names each operation once, describes each response, and leaves bytes without a JSON schema.
pub(crate) fn complete(mut openapi: OpenApi) -> OpenApi {
    for item in openapi.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation);
        }
    }
    openapi
}

fn complete_operation(operation: &mut Operation) {
    // Handlers are named within their module, which is their tag.
    if let (Some(id), Some(tag)) = (&operation.operation_id, operation.tags.iter().flatten().next()) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            let reason = status.parse().ok().and_then(|code: StatusCode| code.canonical_reason());
            reason.unwrap_or("Other").clone_into(&mut response.description);
        }
        for (media_type, content) in &mut response.content {
            if let RefOr::T(content) = content
                && !media_type.contains("json")
                && !media_type.starts_with("text/")
            {
                content.schema = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use crate::testing::TestApp;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[tokio::test]
    async fn a_client_can_be_generated_from_the_document() {
        let test = TestApp::new().await;
        let document = test.get("/openapi.json", "").await.expect(200);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let mut ids = HashSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} names {method} {path} and another");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let text = response["description"].as_str().unwrap_or_default();
                    assert!(!text.is_empty(), "{method} {path} does not describe {status}");
                }
            }
        }
        let content = &document["paths"]["/v1/videos/{video_id}/content"]["get"]["responses"]["200"];
        assert!(content["content"]["video/mp4"].is_object(), "{content}");
        assert!(content["content"]["video/mp4"]["schema"].is_null(), "bytes are no JSON array: {content}");
    }
}
