//! Provenance: an MP4 goes in, the same MP4 with a signed C2PA manifest comes out.
//!
//! The installation makes its own certificate authority and signing certificate at first start
//! and keeps the signing key under `DATA/keys` (mode 0600); the authority's key is never
//! written. INVARIANT: an existing key is never replaced, and one that cannot be read is an
//! error, because clips already signed refer to it.

use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use c2pa::{Builder, Context, DigitalSourceType, Reader, SigningAlg, ValidationState};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use crate::private;

const MP4: &str = "video/mp4";
const GENERATION: &str = "org.kinora.generation";
const ORGANISATION: &str = "Kinora installation (self-signed)";
const VALID_YEARS: i32 = 20;

/// Why a clip could not be signed or read back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SigningError {
    #[error("cannot use the signing key {}; restore it, or move its folder away to start a new identity", path.display())]
    Key { path: PathBuf, source: std::io::Error },
    #[error("the signing key or certificate in {} is not valid; restore it from a backup", path.display())]
    Credentials { path: PathBuf, source: Box<c2pa::Error> },
    #[error("cannot make a signing certificate")]
    Certificate(#[source] rcgen::Error),
    #[error("cannot sign the clip")]
    Sign(#[source] Box<c2pa::Error>),
    #[error("cannot read the clip's provenance")]
    Read(#[source] Box<c2pa::Error>),
}

/// What the manifest says of a clip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub asset_id: String,
    /// Name of the model that made it.
    pub model: String,
    /// When it was made, RFC 3339.
    pub when: String,
}

/// Signs clips as this installation.
pub struct ContentSigner {
    context: Arc<Context>,
    signer: c2pa::BoxedSigner,
    chain_path: PathBuf,
}

impl std::fmt::Debug for ContentSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentSigner").field("chain_path", &self.chain_path).finish_non_exhaustive()
    }
}

impl ContentSigner {
    /// Reads the installation's key from `keys_dir`, making it first where there is none.
    /// `year` is the current year, which bounds a new certificate's validity.
    pub fn open(keys_dir: &Path, year: i32) -> Result<Self, SigningError> {
        let key_path = keys_dir.join("content-signing.key.pem");
        let chain_path = keys_dir.join("content-signing.chain.pem");
        if !key_path.exists() && !chain_path.exists() {
            create_identity(keys_dir, &key_path, &chain_path, year)?;
        }
        let read = |path: &Path| fs::read(path).map_err(|source| key_error(path, source));
        let (chain, key) = (read(&chain_path)?, read(&key_path)?);
        let credentials =
            |source| SigningError::Credentials { path: keys_dir.to_owned(), source: Box::new(source) };
        let signer =
            c2pa::create_signer::from_keys(&chain, &key, SigningAlg::Es256, None).map_err(credentials)?;
        let context = context(&chain).map_err(credentials)?.into_shared();
        Ok(Self { context, signer, chain_path })
    }

    /// The public certificate chain, for those who check clips elsewhere.
    pub fn chain_path(&self) -> &Path {
        &self.chain_path
    }

    /// Embeds a signed manifest in `mp4`. `parent` is the clip that this one remixes, whose own
    /// manifest is carried along.
    pub fn sign(&self, mp4: &[u8], claim: &Claim, parent: Option<&[u8]>) -> Result<Vec<u8>, SigningError> {
        let refused = |source| SigningError::Sign(Box::new(source));
        let definition = json!({
            "title": format!("{}.mp4", claim.asset_id),
            "format": MP4,
            "claim_generator_info": [{ "name": "Kinora", "version": env!("CARGO_PKG_VERSION") }],
            "assertions": [{ "label": GENERATION, "data": claim }],
        });
        let mut builder =
            Builder::from_shared_context(&self.context).with_definition(definition).map_err(refused)?;
        builder
            .add_action(json!({
                "action": "c2pa.created",
                "when": claim.when,
                "digitalSourceType": DigitalSourceType::TrainedAlgorithmicMedia,
                "softwareAgent": { "name": claim.model },
            }))
            .map_err(refused)?;
        if let Some(parent) = parent {
            let ingredient = json!({ "title": "remixed clip", "relationship": "inputTo" }).to_string();
            builder.add_ingredient_from_stream(ingredient, MP4, &mut Cursor::new(parent)).map_err(refused)?;
        }
        let mut signed = Cursor::new(Vec::with_capacity(mp4.len() + 32_768));
        builder.sign(self.signer.as_ref(), MP4, &mut Cursor::new(mp4), &mut signed).map_err(refused)?;
        Ok(signed.into_inner())
    }

    /// Reads a clip's provenance back: `None` where it carries none. Only a clip that this
    /// installation signed, unaltered since, is `Authentic`.
    pub fn verify(&self, mp4: &[u8]) -> Result<Option<Provenance>, SigningError> {
        let reader = match Reader::from_shared_context(&self.context).with_stream(MP4, Cursor::new(mp4)) {
            Ok(reader) => reader,
            Err(c2pa::Error::JumbfNotFound) => return Ok(None),
            Err(source) => return Err(SigningError::Read(Box::new(source))),
        };
        let standing = match reader.validation_state() {
            ValidationState::Trusted => Standing::Authentic,
            ValidationState::Valid => Standing::OtherSigner,
            ValidationState::Invalid => Standing::Altered,
        };
        let manifest = reader.active_manifest();
        Ok(Some(Provenance {
            standing,
            claim: manifest.and_then(|manifest| manifest.find_assertion(GENERATION).ok()),
            ingredients: manifest.map_or(0, |manifest| manifest.ingredients().len()),
        }))
    }
}

/// What a clip's manifest proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub standing: Standing,
    pub claim: Option<Claim>,
    /// Number of clips that it was made from.
    pub ingredients: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Signed by this installation and unaltered.
    Authentic,
    /// Unaltered, signed by someone whom this installation does not know.
    OtherSigner,
    /// The content or the manifest was changed after signing.
    Altered,
}

/// Checks are made against this installation's own authority; nothing is ever fetched.
fn context(chain: &[u8]) -> Result<Context, c2pa::Error> {
    let anchors = String::from_utf8_lossy(chain);
    Context::new().with_settings(json!({
        "trust": { "user_anchors": anchors },
        "verify": { "verify_after_sign": false, "remote_manifest_fetch": false, "ocsp_fetch": false },
    }))
}

/// A certificate authority and an end-entity certificate as C2PA's certificate profile asks
/// (ECDSA P-256, digital signature, e-mail protection). The key is written before the chain, so
/// that a crash between the two is reported and never signs with a key that has no certificate.
fn create_identity(
    keys_dir: &Path,
    key_path: &Path,
    chain_path: &Path,
    year: i32,
) -> Result<(), SigningError> {
    let (chain, key) = certificates(year).map_err(SigningError::Certificate)?;
    private::create_dir(keys_dir).map_err(|source| key_error(keys_dir, source))?;
    write_private(key_path, key.as_bytes()).map_err(|source| key_error(key_path, source))?;
    write_private(chain_path, chain.as_bytes()).map_err(|source| key_error(chain_path, source))?;
    File::open(keys_dir).and_then(|dir| dir.sync_all()).map_err(|source| key_error(keys_dir, source))
}

fn certificates(year: i32) -> Result<(String, String), rcgen::Error> {
    let not_before = date_time_ymd(year - 1, 1, 1);
    let not_after = date_time_ymd(year + VALID_YEARS, 1, 1);

    let mut authority = CertificateParams::new(Vec::default())?;
    authority.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
    authority.distinguished_name.push(DnType::CommonName, "Kinora content authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.use_authority_key_identifier_extension = true;
    (authority.not_before, authority.not_after) = (not_before, not_after);
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut leaf = CertificateParams::new(Vec::default())?;
    leaf.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
    leaf.distinguished_name.push(DnType::CommonName, "Kinora content signing");
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (not_before, not_after);
    let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let leaf_certificate = leaf.signed_by(&leaf_key, &issuer)?;

    Ok((format!("{}{}", leaf_certificate.pem(), authority_certificate.pem()), leaf_key.serialize_pem()))
}

fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn key_error(path: &Path, source: std::io::Error) -> SigningError {
    SigningError::Key { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
