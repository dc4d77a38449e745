//! Screening of what was rendered, before it is signed: facts of the clip enter, a verdict leaves.
//!
//! INVARIANT: fails closed. A clip whose facts are not those of a clip that was asked for is
//! refused.

use super::policy::{Verdict, screen};

/// How far from what was asked for a clip's length may be, in milliseconds: a few frames' rounding.
const DURATION_TOLERANCE_MS: i64 = 500;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// People in one scene.
const MAX_CAMEOS: usize = 2;

/// What is known of a rendered clip.
#[derive(Clone, Copy, Debug)]
pub struct RenderedFacts<'a> {
    /// The words that it was made from. They are screened again: the policy may have changed
    /// while the job waited.
    pub prompt: &'a str,
    pub duration_ms: i64,
    /// Seconds that were asked for, those that an extension goes on from included.
    pub asked_seconds: u32,
    pub bytes: usize,
    pub cameos: usize,
}

/// Decides whether a rendered clip may be signed and stored.
pub fn clear(facts: &RenderedFacts<'_>) -> Verdict {
    let plausible = facts.duration_ms > 0
        && (facts.duration_ms - 1000 * i64::from(facts.asked_seconds)).abs() <= DURATION_TOLERANCE_MS
        && (1..=MAX_BYTES).contains(&facts.bytes)
        && facts.cameos <= MAX_CAMEOS;
    if plausible {
        screen(facts.prompt)
    } else {
        Verdict::Refused { category: "implausible_output".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plausible_clip_of_an_allowed_prompt_is_cleared() {
        let fine = RenderedFacts {
            prompt: "a red ball bounces",
            duration_ms: 4000,
            asked_seconds: 4,
            bytes: 90_000,
            cameos: 1,
        };
        assert_eq!(clear(&fine), Verdict::Allowed);
        for refused in [
            RenderedFacts { prompt: "a beheading", ..fine },
            RenderedFacts { duration_ms: 0, ..fine },
            RenderedFacts { duration_ms: 12_000, ..fine },
            RenderedFacts { bytes: 0, ..fine },
            RenderedFacts { cameos: 3, ..fine },
        ] {
            assert_ne!(clear(&refused), Verdict::Allowed, "{refused:?}");
        }
    }
}
