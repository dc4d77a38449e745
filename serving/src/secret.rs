//! Randomness and authenticated encryption, in one place so that both are chosen once:
//! the operating system's generator, and ChaCha20-Poly1305 with a fresh nonce for every message.
//!
//! INVARIANT: what was sealed opens only under the same key and the same context.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use rand::{Rng as _, RngCore as _};
use thiserror::Error;

pub(crate) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// No letter or digit that is easily taken for another.
const CODE_ALPHABET: &[u8] = b"ABCDEFGHJKMNPQRSTVWXYZ23456789";

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SecretError {
    #[error("cannot encrypt")]
    Seal,
    #[error("the key does not open this, or it was altered")]
    Open,
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A code of `length` characters that can be read out loud and typed.
pub(crate) fn code(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(CODE_ALPHABET[rng.random_range(0..CODE_ALPHABET.len())])).collect()
}

/// Encrypts under `key`, bound to `context`; the nonce goes in front.
pub(crate) fn seal(key: &[u8; KEY_BYTES], context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SecretError> {
    let nonce = random::<NONCE_BYTES>();
    let ciphertext = ChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: context })
        .map_err(|_| SecretError::Seal)?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// Decrypts what [`seal`] made under the same key and context.
pub(crate) fn open(key: &[u8; KEY_BYTES], context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SecretError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SecretError::Open)?;
    ChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: context })
        .map_err(|_| SecretError::Open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_same_key_and_context_open(plaintext: Vec<u8>, context: Vec<u8>, flip in 0_usize..44) {
            let key = random();
            let mut sealed = seal(&key, &context, &plaintext).unwrap();
            prop_assert_eq!(open(&key, &context, &sealed).unwrap(), plaintext);
            prop_assert_eq!(open(&random(), &context, &sealed), Err(SecretError::Open));
            let other = [context.as_slice(), b"x"].concat();
            prop_assert_eq!(open(&key, &other, &sealed), Err(SecretError::Open));
            let at = flip % sealed.len();
            sealed[at] ^= 1;
            prop_assert_eq!(open(&key, &context, &sealed), Err(SecretError::Open));
        }
    }

    #[test]
    fn a_short_message_does_not_open() {
        assert_eq!(open(&random(), b"", b"short"), Err(SecretError::Open));
    }
}
