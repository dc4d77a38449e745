//! Enrolling a likeness: a form enters (name, picture, statement of consent, attestation), an
//! active cameo leaves with the receipt of what was agreed to. The picture is forgotten as soon
//! as its template is made.
//!
//! INVARIANT: without an attested statement nothing is stored; a minor's likeness needs a
//! guardian.

use axum::extract::State;
use axum::extract::multipart::{Multipart, MultipartError, MultipartRejection};
use axum::http::StatusCode;
use bytes::Bytes;
use utoipa::ToSchema;
use uuid::Uuid;

use super::consent::Audience;
use super::likeness::{self, Template};
use super::{Cameo, check_audience, judged, load};
use crate::app::App;
use crate::auth::Viewer;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Problem};
use crate::guardians::AgeBand;
use crate::people::{self, Person};
use crate::safety;

const MAX_NAME_CHARS: usize = 60;
const MAX_STATEMENT_CHARS: usize = 2000;
/// Cameos that a person may have at the same time, erased ones not counted.
const MAX_CAMEOS: i64 = 10;

/// The form as a client sends it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the multipart form in the OpenAPI description")]
struct EnrolmentForm {
    name: String,
    /// PNG or JPEG. Only a 32 x 32 template of it is kept, encrypted.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    picture: String,
    /// The statement of consent, in the words that the person was shown.
    statement: String,
    /// `true`: the person attests that the picture shows themselves and that they agree.
    attested: String,
    /// `only_me` (the default), `approved`, `mutuals` or `everyone`.
    audience: Option<String>,
}

#[derive(Debug)]
struct Enrolment {
    name: String,
    statement: String,
    audience: Audience,
}

/// Enrol your likeness as a cameo.
#[utoipa::path(
    post, path = "/v1/cameos", tag = "cameos",
    request_body(content = EnrolmentForm, content_type = "multipart/form-data"),
    responses((status = 201, body = Cameo), (status = 400, body = Problem), (status = 403, body = Problem)),
    security(("bearer" = []))
)]
pub(super) async fn enrol(
    State(app): State<App>,
    viewer: Viewer,
    form: Result<Multipart, MultipartRejection>,
) -> ApiResult<(StatusCode, Json<Cameo>)> {
    let form = form.map_err(|rejection| ApiError::Rejected {
        status: rejection.status(),
        detail: "send the cameo as multipart/form-data".to_owned(),
    })?;
    let (enrolment, picture) = Enrolment::read(form, app.config.safety.cameo_picture_bytes).await?;
    let now_ms = app.clock.now_ms();
    // Before the picture is decoded, and again in the transaction that relies on it.
    let mut conn = app.db.read().acquire().await?;
    let owner = people::load(&mut conn, &viewer.user_id).await?;
    check_owner(&mut conn, &owner, now_ms).await?;
    drop(conn);
    let template = likeness::decode(picture).await?;
    let mut tx = app.db.write().await?;
    let owner = people::load(&mut tx, &viewer.user_id).await?;
    check_owner(&mut tx, &owner, now_ms).await?;
    check_audience(&owner, enrolment.audience, now_ms)?;
    let cameo_id = store(&mut tx, &owner, &enrolment, &template, now_ms).await?;
    let cameo = load(&mut tx, &cameo_id).await?;
    let cameo = judged(&mut tx, cameo, &viewer, now_ms).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(cameo)))
}

/// Whoever is not known to be an adult needs an active guardian, and nobody needs dozens of
/// likenesses.
async fn check_owner(conn: &mut Conn, owner: &Person, now_ms: i64) -> ApiResult<()> {
    let (guardians, cameos): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM guardian_links WHERE teen_id = ?1 AND state = 'active'),
                (SELECT count(*) FROM cameos WHERE owner_id = ?1 AND state IN ('active', 'suspended'))",
    )
    .bind(&owner.user_id)
    .fetch_one(conn)
    .await?;
    if guardians == 0 {
        match owner.band(now_ms) {
            AgeBand::Adult => {}
            AgeBand::Teen => return Err(ApiError::forbidden("a teen enrols a cameo with a linked guardian")),
            AgeBand::Unknown => {
                return Err(ApiError::forbidden(
                    "a cameo is for adults and guarded teens; record your `birth_year` with PUT /v1/me first",
                ));
            }
        }
    }
    if cameos >= MAX_CAMEOS {
        return Err(ApiError::Conflict(format!("you have {MAX_CAMEOS} cameos; revoke one first")));
    }
    Ok(())
}

async fn store(
    conn: &mut Conn,
    owner: &Person,
    enrolment: &Enrolment,
    template: &Template,
    now_ms: i64,
) -> ApiResult<String> {
    let cameo_id = format!("cam_{}", Uuid::now_v7().simple());
    sqlx::query(
        "INSERT INTO cameos (cameo_id, owner_id, name, state, audience, created_ms)
         VALUES (?, ?, ?, 'active', ?, ?)",
    )
    .bind(&cameo_id)
    .bind(&owner.user_id)
    .bind(&enrolment.name)
    .bind(enrolment.audience.as_str())
    .bind(now_ms)
    .execute(&mut *conn)
    .await?;
    likeness::store(conn, &cameo_id, template).await?;
    sqlx::query(
        "INSERT INTO consent_receipts (receipt_id, cameo_id, person_id, statement, given_ms)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(format!("rct_{}", Uuid::now_v7().simple()))
    .bind(&cameo_id)
    .bind(&owner.user_id)
    .bind(&enrolment.statement)
    .bind(now_ms)
    .execute(&mut *conn)
    .await?;
    safety::audit(conn, "cameo_enrolled", &cameo_id, now_ms).await?;
    Ok(cameo_id)
}

impl Enrolment {
    /// The fields, and the picture.
    async fn read(mut form: Multipart, picture_bytes_max: usize) -> ApiResult<(Self, Bytes)> {
        let (mut name, mut picture, mut statement) = (None, None, None);
        let (mut attested, mut audience) = (false, Audience::OnlyMe);
        while let Some(field) = form.next_field().await.map_err(refused)? {
            match field.name().unwrap_or_default() {
                "name" => name = Some(field.text().await.map_err(refused)?),
                "statement" => statement = Some(field.text().await.map_err(refused)?),
                "attested" => attested = field.text().await.map_err(refused)? == "true",
                "audience" => {
                    let text = field.text().await.map_err(refused)?;
                    audience = Audience::ALL
                        .into_iter()
                        .find(|audience| audience.as_str() == text)
                        .ok_or_else(|| {
                            ApiError::bad_request(
                                "audience",
                                "`audience` must be only_me, approved, mutuals or everyone",
                            )
                        })?;
                }
                "picture" => {
                    let bytes = field.bytes().await.map_err(refused)?;
                    if bytes.len() > picture_bytes_max {
                        let detail = format!("`picture` is larger than {picture_bytes_max} bytes");
                        return Err(ApiError::TooLarge(detail));
                    }
                    picture = Some(bytes);
                }
                other => {
                    return Err(ApiError::bad_request(
                        other,
                        format!(
                            "unknown field `{other}`; expected name, picture, statement, attested, audience"
                        ),
                    ));
                }
            }
        }
        if !attested {
            let detail = "`attested` must be `true`: without consent there is no cameo";
            return Err(ApiError::bad_request("attested", detail));
        }
        let enrolment = Self {
            name: text_of("name", name, MAX_NAME_CHARS)?,
            statement: text_of("statement", statement, MAX_STATEMENT_CHARS)?,
            audience,
        };
        let picture = picture.ok_or_else(|| ApiError::bad_request("picture", "`picture` is missing"))?;
        Ok((enrolment, picture))
    }
}

fn text_of(param: &str, text: Option<String>, most: usize) -> ApiResult<String> {
    let text = text.unwrap_or_default().trim().to_owned();
    if text.is_empty() || text.chars().count() > most {
        return Err(ApiError::bad_request(param, format!("`{param}` must have 1 to {most} characters")));
    }
    Ok(text)
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn refused(error: MultipartError) -> ApiError {
    ApiError::Rejected { status: error.status(), detail: error.body_text().replace('\n', " ") }
}
