//! The frame of one record: length and CRC-32 of the payload (both `u32`, little endian), then the
//! payload, an event as JSON. A frame that is cut short or does not match its CRC ends the log, unless
//! there are whole ones behind it: that is damage.

use kinora_schema::Event;

use super::{LogError, MAX_RECORD_BYTES};

const HEADER_BYTES: usize = 8;

pub(super) fn encode(event: &Event, out: &mut Vec<u8>) -> Result<(), LogError> {
    let payload = serde_json::to_vec(event).map_err(LogError::Encode)?;
    if payload.len() > MAX_RECORD_BYTES {
        return Err(LogError::TooLarge { bytes: payload.len() });
    }
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(())
}

/// The payloads of the whole frames at the front of `bytes`.
pub(super) fn payloads(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (payload, after) = split(rest)?;
        rest = after;
        Some(payload)
    })
}

/// Number of whole frames at the front of `bytes`, and the bytes that they take.
pub(super) fn count(bytes: &[u8]) -> (u64, usize) {
    payloads(bytes)
        .fold((0, 0), |(records, length), payload| (records + 1, length + HEADER_BYTES + payload.len()))
}

/// Whether there is a whole frame anywhere in `bytes`. Where one begins cannot be known behind a bad
/// one, so every place is tried; JSON has no zero bytes, which rules nearly all of them out.
pub(super) fn any(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|start| split(&bytes[start..]).is_some())
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(header[4..].try_into().ok()?);
    // A run of zeros, as a file system may leave behind a crash, is an empty payload with a valid
    // CRC: no event is empty.
    if length == 0 || length > MAX_RECORD_BYTES {
        return None;
    }
    let (payload, after) = rest.split_at_checked(length)?;
    (crc32fast::hash(payload) == crc).then_some((payload, after))
}
