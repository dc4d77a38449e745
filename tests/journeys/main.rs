//! Journeys through the built program: each starts `kinora` as a person would and looks at what
//! comes out. Those that need a browser, Python or the real data sets say so where they are missing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step of a journey that fails ends it, and says where"
)]

mod analyst;
mod bad_input;
mod browser;
mod cameo;
#[cfg(feature = "ballista")]
mod cluster;
mod feed;
mod guardian;
mod kill;
mod kuairand;
mod openai_client;
mod program;
mod resume;
mod structure;
mod video;
