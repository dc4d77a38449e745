//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677).
//!
//! INVARIANT: what is stored of a password, the [`Verifier`], can tell whether somebody knows it, and cannot be
//! used to say so elsewhere.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use crate::secret;

/// Rounds of the key derivation. Tokens cannot be guessed, so the standard's least is enough.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// What is kept of a password (RFC 5803).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verifier {
    salt: [u8; SALT_BYTES],
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

impl Verifier {
    pub(crate) fn of(password: &str) -> Self {
        Self::salted(password, secret::random())
    }

    fn salted(password: &str, salt: [u8; SALT_BYTES]) -> Self {
        let salted = salted_password(password, &salt, ITERATIONS);
        Self {
            salt,
            stored_key: hash(&sign(&salted, b"Client Key")),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// Of a password that nobody knows: a name that is unknown is asked like any other.
    pub(crate) fn of_nobody() -> Self {
        Self { salt: secret::random(), stored_key: secret::random(), server_key: secret::random() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.salt.as_slice(), &self.stored_key, &self.server_key].concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (salt, keys) = bytes.split_first_chunk()?;
        let (stored_key, server_key) = keys.split_first_chunk()?;
        Some(Self { salt: *salt, stored_key: *stored_key, server_key: server_key.try_into().ok()? })
    }
}

/// Why an exchange failed, in words for the log; the client is told no more than that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

/// After the client's first message: what was sent back, and what its last must prove.
#[derive(Debug)]
pub(crate) struct Challenge {
    verifier: Verifier,
    gs2_header: String,
    nonce: String,
    /// Both first messages, which the proof signs.
    signed: String,
}

/// Takes the client's first message; the server's is to be sent.
pub(crate) fn first(message: &[u8], verifier: Verifier) -> Result<(String, Challenge), Refused> {
    first_with(message, verifier, &STANDARD.encode(secret::random::<18>()))
}

fn first_with(message: &[u8], verifier: Verifier, own_nonce: &str) -> Result<(String, Challenge), Refused> {
    let text = std::str::from_utf8(message).map_err(|_| Refused("the first message is not text"))?;
    // `n,,` or `y,,` (with a name to act as between the commas), then `n=user,r=nonce`.
    let mut parts = text.splitn(3, ',');
    let (Some(flag), Some(act_as), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refused("the first message is cut short"));
    };
    if !matches!(flag, "n" | "y") || !act_as.is_empty() {
        return Err(Refused("channel binding or another name was asked for"));
    }
    let nonce = attribute(bare, 'r').filter(|nonce| !nonce.is_empty()).ok_or(Refused("there is no nonce"))?;
    let nonce = format!("{nonce}{own_nonce}");
    let answer = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(verifier.salt));
    let challenge =
        Challenge { verifier, gs2_header: format!("{flag},,"), nonce, signed: format!("{bare},{answer}") };
    Ok((answer, challenge))
}

impl Challenge {
    /// Takes the client's last message. What it answers proves to the client that the server knows it too.
    pub(crate) fn last(self, message: &[u8]) -> Result<String, Refused> {
        let text = std::str::from_utf8(message).map_err(|_| Refused("the last message is not text"))?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Refused("there is no proof"))?;
        if attribute(without_proof, 'r') != Some(self.nonce.as_str()) {
            return Err(Refused("the nonce is another"));
        }
        let binding = attribute(without_proof, 'c').and_then(|binding| STANDARD.decode(binding).ok());
        if binding.as_deref() != Some(self.gs2_header.as_bytes()) {
            return Err(Refused("the channel binding is another"));
        }
        let proof: [u8; KEY_BYTES] = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(Refused("the proof cannot be read"))?;
        let signed = format!("{},{without_proof}", self.signed);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(proof, sign)| proof ^ sign).collect();
        // Both are hashes: how long the comparison takes tells nothing of the password.
        if hash(&client_key) != self.verifier.stored_key {
            return Err(Refused("the password is wrong"));
        }
        let signature = sign(&self.verifier.server_key, signed.as_bytes());
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

fn attribute(message: &str, name: char) -> Option<&str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn salted_password(password: &str, salt: &[u8], iterations: NonZeroU32) -> [u8; KEY_BYTES] {
    let mut salted = [0; KEY_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    salted
}

fn sign(key: &[u8], message: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn hash(bytes: &[u8]) -> [u8; KEY_BYTES] {
    let mut hash = [0; KEY_BYTES];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_rfc_is_spoken_word_for_word() {
        let salt: [u8; SALT_BYTES] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = Verifier::salted("pencil", salt);
        let (answer, challenge) =
            first_with(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", verifier, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
                .unwrap();
        assert_eq!(
            answer,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(challenge.last(last).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_is_not_proven_is_refused() {
        let begin = || first_with(b"n,,n=user,r=abc", Verifier::salted("pencil", [7; 16]), "def").unwrap().1;
        let proof = STANDARD.encode([1; 32]);
        for (message, reason) in [
            (format!("c=biws,r=abcdef,p={proof}"), "the password is wrong"),
            (format!("c=biws,r=abcdeg,p={proof}"), "the nonce is another"),
            (format!("c=eSws,r=abcdef,p={proof}"), "the channel binding is another"),
            ("c=biws,r=abcdef,p=AA==".to_owned(), "the proof cannot be read"),
            ("c=biws,r=abcdef".to_owned(), "there is no proof"),
        ] {
            assert_eq!(begin().last(message.as_bytes()), Err(Refused(reason)));
        }
        for message in ["", "n,,", "p=tls-unique,,n=user,r=abc", "n,a=root,n=user,r=abc", "n,,n=user,r="] {
            assert!(first(message.as_bytes(), Verifier::of("pencil")).is_err(), "{message}");
        }
        assert!(first(&[0xff], Verifier::of_nobody()).is_err());
        let verifier = Verifier::of("pencil");
        assert_eq!(Verifier::from_bytes(&verifier.to_bytes()), Some(verifier));
        assert_eq!(Verifier::from_bytes(&[0; 7]), None);
    }
}
