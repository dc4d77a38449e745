//! What a clip is worth: by the ranker's predictions where they are allowed and there, else by
//! how people at large have taken to it.

mod personal;
mod popularity;

pub use personal::Personal;
pub use popularity::Popularity;
