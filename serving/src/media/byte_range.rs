//! `Range`, `If-Range` and `If-None-Match` (RFC 9110), for one range of bytes. A header that
//! cannot be understood is ignored, as the standard asks; a range past the end is refused.

use axum::http::{HeaderMap, header};

/// Bytes `start..end` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    pub(super) end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    Whole,
    Part(ByteRange),
    Unsatisfiable,
}

pub(super) fn requested(headers: &HeaderMap, etag: &str, size: u64) -> Requested {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = header(header::RANGE) else {
        return Requested::Whole;
    };
    match header(header::IF_RANGE) {
        Some(validator) if validator != etag => Requested::Whole,
        _ => parse(range, size),
    }
}

pub(super) fn if_none_match(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').map(str::trim).any(|tag| tag == etag || tag == "*"))
}

fn parse(range: &str, size: u64) -> Requested {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-'))
    else {
        return Requested::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Requested::Whole,
        (Ok(first), _) if first >= size => Requested::Unsatisfiable,
        (Ok(first), Ok(last)) => {
            Requested::Part(ByteRange { start: first, end: size.min(last.saturating_add(1)) })
        }
        (Ok(first), Err(_)) if last.is_empty() => Requested::Part(ByteRange { start: first, end: size }),
        (Err(_), Ok(0)) if first.is_empty() => Requested::Unsatisfiable,
        (Err(_), Ok(suffix)) if first.is_empty() && size > 0 => {
            Requested::Part(ByteRange { start: size.saturating_sub(suffix), end: size })
        }
        _ => Requested::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(range: &str, size: u64) -> Requested {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        requested(&headers, "\"a\"", size)
    }

    #[test]
    fn the_forms_that_players_send() {
        let part = |start, end| Requested::Part(ByteRange { start, end });
        assert_eq!(ask("bytes=0-", 10), part(0, 10));
        assert_eq!(ask("bytes=2-4", 10), part(2, 5));
        assert_eq!(ask("bytes=2-400", 10), part(2, 10));
        assert_eq!(ask("bytes=-3", 10), part(7, 10));
        assert_eq!(ask("bytes=-30", 10), part(0, 10));
        assert_eq!(ask("bytes=10-", 10), Requested::Unsatisfiable);
        assert_eq!(ask("bytes=-0", 10), Requested::Unsatisfiable);
        assert_eq!(ask("bytes=4-2", 10), Requested::Whole);
        assert_eq!(ask("bytes=0-1,3-4", 10), Requested::Whole);
        assert_eq!(ask("lines=0-1", 10), Requested::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=2-4".parse().unwrap());
        headers.insert(header::IF_RANGE, "\"b\"".parse().unwrap());
        assert_eq!(requested(&headers, "\"a\"", 10), Requested::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(range in "bytes=[0-9]{0,20}-[0-9]{0,20}", size in 0_u64..1000) {
            if let Requested::Part(part) = ask(&range, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
