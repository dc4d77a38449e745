//! What a person asks for, parsed: the raw fields of a request go in, a [`Draft`] whose every
//! field is one that the model supports comes out, or the field that is not acceptable and why.

use kinora_schema::{UserId, VideoId};

use crate::error::{ApiError, ApiResult};

/// The model's name, in answers and in provenance.
pub const MODEL: &str = "kinora-nano";
/// Longest prompt accepted, in bytes.
pub const PROMPT_MAX_BYTES: usize = 1000;
/// Cameos that one clip can show.
pub const CAMEOS_MAX: usize = 1;

/// Picture sizes that can be asked for: squares, and those of OpenAI's API.
const SIZES: [FrameSize; 7] = [
    FrameSize { width: 128, height: 128 },
    FrameSize { width: 256, height: 256 },
    FrameSize { width: 512, height: 512 },
    FrameSize { width: 720, height: 1280 },
    FrameSize { width: 1280, height: 720 },
    FrameSize { width: 1024, height: 1792 },
    FrameSize { width: 1792, height: 1024 },
];
const SECONDS: [u32; 3] = [4, 8, 12];
/// Longest clip that can be changed, and longest that extensions may lead to, in seconds.
const EDIT_MAX_S: u32 = 12;
const EXTENDED_MAX_S: u32 = 60;

/// Width and height of a clip, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSize {
    pub width: u32,
    pub height: u32,
}

impl Default for FrameSize {
    fn default() -> Self {
        Self { width: 256, height: 256 }
    }
}

impl std::fmt::Display for FrameSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The fields of a request, as they came.
#[derive(Clone, Debug, Default)]
pub struct RawDraft {
    pub prompt: Option<String>,
    pub model: Option<String>,
    pub seconds: Option<String>,
    pub size: Option<String>,
    pub seed: Option<u64>,
    pub cameos: Vec<String>,
    pub origin: Option<Origin>,
}

/// The clip that another one is made from. Its cameos are inherited and can never be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub parent: VideoId,
    pub derivation: Derivation,
}

/// How a clip is made from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// Other words, from the same noise.
    Remix,
    /// Other words, from half of what is there.
    Edit,
    /// It, and what follows.
    Extension { of_seconds: u32 },
}

impl Derivation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Remix => "remix",
            Self::Edit => "edit",
            Self::Extension { .. } => "extension",
        }
    }

    /// Seconds of the clip that were there before.
    pub fn seconds_before(self) -> u32 {
        if let Self::Extension { of_seconds } = self { of_seconds } else { 0 }
    }

    pub fn parse(name: &str, seconds_before: u32) -> Option<Self> {
        match name {
            "remix" => Some(Self::Remix),
            "edit" => Some(Self::Edit),
            "extension" => Some(Self::Extension { of_seconds: seconds_before }),
            _ => None,
        }
    }
}

/// A clip to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub video_id: VideoId,
    pub user_id: UserId,
    pub prompt: String,
    /// Seconds to be made; those that an extension goes on from come before them.
    pub seconds: u32,
    pub size: FrameSize,
    pub seed: u64,
    pub cameos: Vec<String>,
    pub origin: Option<Origin>,
}

impl Draft {
    /// Seconds of the whole clip, with those that an extension goes on from.
    pub fn total_seconds(&self) -> u32 {
        seconds_before(self.origin.as_ref()) + self.seconds
    }
}

/// Seconds of a clip of this origin that were there before it.
pub fn seconds_before(origin: Option<&Origin>) -> u32 {
    origin.map_or(0, |origin| origin.derivation.seconds_before())
}

impl RawDraft {
    /// Checks every field. A seed that was not given is derived from the new video's id, so that
    /// it is recorded and the clip can be made again.
    pub fn parse(self, video_id: VideoId, user_id: UserId) -> ApiResult<Draft> {
        let prompt = self.prompt.unwrap_or_default().trim().to_owned();
        if prompt.is_empty() {
            return Err(ApiError::bad_request("prompt", "`prompt` is required"));
        }
        if prompt.len() > PROMPT_MAX_BYTES {
            let detail = format!("`prompt` is longer than {PROMPT_MAX_BYTES} bytes");
            return Err(ApiError::bad_request("prompt", detail));
        }
        if let Some(model) = &self.model
            && !is_known_model(model)
        {
            let detail =
                format!("model `{model}` is not served here; use `{MODEL}` (names of `sora` stand for it)");
            return Err(ApiError::bad_request("model", detail));
        }
        let mut cameos = self.cameos;
        cameos.sort();
        cameos.dedup();
        check_cameos(&cameos)?;
        let seed = self.seed.unwrap_or_else(|| seed_of(&video_id));
        let seconds = parse_seconds(self.seconds.as_deref())?;
        let before = seconds_before(self.origin.as_ref());
        if before > 0 && before + seconds > EXTENDED_MAX_S {
            let detail = format!(
                "{before} and {seconds} seconds are more than the {EXTENDED_MAX_S} that a clip may have"
            );
            return Err(ApiError::bad_request("seconds", detail));
        }
        Ok(Draft {
            video_id,
            user_id,
            prompt,
            seconds,
            size: parse_size(self.size.as_deref())?,
            seed,
            cameos,
            origin: self.origin,
        })
    }
}

/// The length of a clip that is made again with other words: that of its parent, where the model makes such.
pub fn seconds_again(parent_seconds: u32) -> u32 {
    SECONDS.into_iter().rev().find(|seconds| *seconds <= parent_seconds).unwrap_or(SECONDS[0])
}

/// Refuses to change a clip that is longer than the model can change.
pub fn check_editable(parent_seconds: u32) -> ApiResult<()> {
    if parent_seconds > EDIT_MAX_S {
        let detail = format!("the video lasts {parent_seconds} seconds; up to {EDIT_MAX_S} can be edited");
        return Err(ApiError::bad_request("video", detail));
    }
    Ok(())
}

/// Refuses more likenesses than one clip can show.
pub fn check_cameos(cameos: &[String]) -> ApiResult<()> {
    if cameos.len() > CAMEOS_MAX {
        let detail = format!(
            "{MODEL} shows at most {CAMEOS_MAX} cameo in a clip, and this one needs {}",
            cameos.len()
        );
        return Err(ApiError::bad_request("cameos", detail));
    }
    Ok(())
}

fn is_known_model(name: &str) -> bool {
    name == MODEL || name == "sora" || name.starts_with("sora-")
}

fn parse_seconds(text: Option<&str>) -> ApiResult<u32> {
    let Some(text) = text else { return Ok(SECONDS[0]) };
    text.parse().ok().filter(|seconds| SECONDS.contains(seconds)).ok_or_else(|| {
        ApiError::bad_request(
            "seconds",
            format!("`seconds` is `{text}`; this model makes clips of 4, 8 or 12"),
        )
    })
}

fn parse_size(text: Option<&str>) -> ApiResult<FrameSize> {
    let Some(text) = text else { return Ok(FrameSize::default()) };
    SIZES.into_iter().find(|size| size.to_string() == text).ok_or_else(|| {
        let sizes = SIZES.map(|size| size.to_string()).join(", ");
        ApiError::bad_request("size", format!("`size` is `{text}`; choose one of {sizes}"))
    })
}

fn seed_of(video_id: &VideoId) -> u64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(video_id.as_str());
    // Six bytes, so that a client that reads JSON numbers as doubles can send it back.
    digest.iter().take(6).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: RawDraft) -> ApiResult<Draft> {
        raw.parse("video_1".into(), "ada".into())
    }

    fn prompt() -> RawDraft {
        RawDraft { prompt: Some(" a red ball bounces twice ".to_owned()), ..RawDraft::default() }
    }

    #[test]
    fn the_defaults_are_four_seconds_square_and_a_recorded_seed() {
        let draft = parse(prompt()).unwrap();
        assert_eq!(draft.prompt, "a red ball bounces twice");
        assert_eq!((draft.seconds, draft.size.to_string()), (4, "256x256".to_owned()));
        assert_eq!(draft.seed, parse(prompt()).unwrap().seed);
    }

    #[test]
    fn openai_model_names_and_sizes_are_accepted() {
        let raw = RawDraft {
            model: Some("sora-2-pro".to_owned()),
            size: Some("1280x720".to_owned()),
            seconds: Some("12".to_owned()),
            ..prompt()
        };
        let draft = parse(raw).unwrap();
        assert_eq!((draft.size, draft.seconds), (FrameSize { width: 1280, height: 720 }, 12));
    }

    #[test]
    fn each_refusal_names_its_field() {
        let cases = [
            ("prompt", RawDraft { prompt: Some("  ".to_owned()), ..prompt() }),
            ("prompt", RawDraft { prompt: Some("x".repeat(PROMPT_MAX_BYTES + 1)), ..prompt() }),
            ("model", RawDraft { model: Some("dall-e".to_owned()), ..prompt() }),
            ("seconds", RawDraft { seconds: Some("5".to_owned()), ..prompt() }),
            ("size", RawDraft { size: Some("1x1".to_owned()), ..prompt() }),
            ("cameos", RawDraft { cameos: vec!["a".to_owned(), "b".to_owned()], ..prompt() }),
        ];
        for (field, raw) in cases {
            match parse(raw).unwrap_err() {
                ApiError::BadRequest { param, detail } => {
                    assert_eq!(param.as_deref(), Some(field));
                    assert!(!detail.contains('\n'), "{detail}");
                }
                other => panic!("{field}: {other}"),
            }
        }
    }
}
