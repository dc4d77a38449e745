//! What a clip is worth: by the ranker's predictions where they are allowed and there, else by
//! how people at large have taken to it.

mod less_like;
mod personal;
mod popularity;
mod steered;

pub use less_like::LessLike;
pub use personal::Personal;
pub use popularity::Popularity;
pub use steered::Steered;
