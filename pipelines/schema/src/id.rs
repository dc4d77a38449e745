//! Newtype ids, so that a user can never be passed where a video is expected.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest id accepted at any boundary, in bytes.
pub const MAX_ID_BYTES: usize = 128;

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }
    };
}

string_id! {
    /// A person on the platform: a viewer, and a creator when they publish.
    UserId
}
string_id! {
    /// A published clip.
    VideoId
}
string_id! {
    /// Who published a clip. Equal to a [`UserId`] where the creator has an account.
    CreatorId
}

/// The client's id of an event (a UUID, v7 recommended): a retry carries the same id and is
/// stored once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl EventId {
    /// An id derived from the row it names, so that importing the same file twice stores each
    /// row once.
    pub fn derived(source: &str, row: u64, kind: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("kinora:{source}:{row}:{kind}").as_bytes()))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
