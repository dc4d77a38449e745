//! The shared vocabulary of Kinora: ids, events, table schemas and the ranking example.
//!
//! Every other crate speaks in these types. Nothing here does I/O, reads a clock or draws a
//! random number, and nothing here depends on another Kinora crate.

pub mod event;
pub mod id;
pub mod ranking;
pub mod table;

pub use event::{Event, EventKind, Rejection, SCHEMA_VERSION};
pub use id::{CreatorId, EventId, UserId, VideoId};
