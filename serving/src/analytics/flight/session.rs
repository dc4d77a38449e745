//! Who asks: a token's id and the token buy a bearer for an hour, and every call is checked against the token
//! that it was bought with.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use kinora_schema::UserId;
use ring::{hmac, rand};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::app::App;
use crate::auth::{self, Role};

/// Credentials with and without padding: Go's client leaves it out.
const CREDENTIALS: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));
/// How long a bearer is good for.
const BEARER_MS: i64 = 3_600_000;

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) user_id: UserId,
    pub(super) role: Role,
}

/// What bearers are signed with; a server that starts again asks its clients to sign in again.
pub(super) struct BearerKey(hmac::Key);

impl BearerKey {
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self(hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())?))
    }

    /// A bearer for the token with this id.
    fn sign(&self, token_id: &str, until_ms: i64) -> String {
        let claim = format!("{until_ms}.{token_id}");
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, claim.as_bytes()));
        format!("{tag}.{claim}")
    }

    /// The id of the token that a bearer was bought with.
    fn verify(&self, bearer: &str, now_ms: i64) -> Option<String> {
        let (tag, claim) = bearer.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, claim.as_bytes(), &tag).ok()?;
        let (until_ms, token_id) = claim.split_once('.')?;
        (until_ms.parse::<i64>().ok()? > now_ms).then(|| token_id.to_owned())
    }
}

/// Signs in with a token's id and the token, as `Basic` credentials.
pub(super) async fn sign_in(app: &App, key: &BearerKey, metadata: &MetadataMap) -> Result<String, Status> {
    const WRONG: &str = "the user is a token's id and the password the token: one of them is wrong";
    let wrong = || Status::unauthenticated(WRONG);
    let credentials = credentials(metadata, "basic ")?.ok_or_else(wrong)?;
    let credentials = CREDENTIALS.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let credentials = credentials.ok_or_else(wrong)?;
    let (token_id, token) = credentials.split_once(':').ok_or_else(wrong)?;
    let now_ms = app.clock.now_ms();
    let (known_id, viewer) = auth::token_of(&app.db, token, now_ms).await.map_err(|_| wrong())?;
    if known_id != token_id {
        return Err(wrong());
    }
    app.desk.policy(viewer.role).map_err(|error| Status::permission_denied(error.to_string()))?;
    Ok(key.sign(token_id, now_ms + BEARER_MS))
}

/// Who calls, if that may be: by a bearer of [`sign_in`], or by a token itself.
pub(super) async fn asker(app: &App, key: &BearerKey, metadata: &MetadataMap) -> Result<Asker, Status> {
    const REFUSED: &str = "the token is unknown, expired or revoked: sign in again";
    let Some(bearer) = credentials(metadata, "bearer ")? else {
        return Err(Status::unauthenticated("sign in with a token's id and the token"));
    };
    let now_ms = app.clock.now_ms();
    let viewer = match key.verify(bearer, now_ms) {
        Some(token_id) => auth::viewer_by_id(&app.db, &token_id, now_ms).await,
        None => auth::viewer_of(&app.db, bearer, now_ms).await,
    };
    let viewer = viewer.map_err(|_| Status::unauthenticated(REFUSED))?;
    Ok(Asker { user_id: viewer.user_id, role: viewer.role })
}

/// What follows the scheme in the `authorization` header; nothing where there is none, or of another scheme.
fn credentials<'a>(metadata: &'a MetadataMap, scheme: &str) -> Result<Option<&'a str>, Status> {
    let Some(header) = metadata.get("authorization") else { return Ok(None) };
    let header =
        header.to_str().map_err(|_| Status::unauthenticated("the authorization header is no text"))?;
    let named = header.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    Ok(named.then(|| header[scheme.len()..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_good_for_its_token_and_its_hour_alone() {
        let (key, other) = (BearerKey::new().unwrap(), BearerKey::new().unwrap());
        let bearer = key.sign("tok_1", 1000);
        assert_eq!(key.verify(&bearer, 999).as_deref(), Some("tok_1"));
        assert_eq!(key.verify(&bearer, 1000), None);
        assert_eq!(other.verify(&bearer, 999), None);
        for altered in [
            bearer.replace("tok_1", "tok_2"),
            bearer.replace("1000", "9000"),
            String::new(),
            "..".to_owned(),
            bearer[1..].to_owned(),
        ] {
            assert_eq!(key.verify(&altered, 0), None, "{altered}");
        }
    }
}
