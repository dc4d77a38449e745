//! The HTTP APIs, state, analyst access and the built-in web app.
//!
//! [`Config::load`] reads the configuration, [`App::open`] opens an installation, [`router`] is
//! the whole API over it and [`serve`] runs it. Each slice is one module that holds the router,
//! bodies, handlers and queries of one subject.

pub mod app;
pub mod auth;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
mod openapi;
pub mod ops;
mod private;
mod retention;
mod secret;
mod web;

// People, and what they allow.
pub mod cameos;
pub mod credits;
pub mod guardians;
pub mod messages;
pub mod people;
pub mod safety;

// Clips, and what people do with them.
pub mod analytics;
pub mod events;
pub mod feed;
pub mod generations;
pub mod media;
pub mod posts;
pub mod signing;
pub mod trial;
pub mod videos;

#[cfg(test)]
mod testing;

pub use app::{App, AppError, listen, router, serve};
pub use auth::{MintedToken, NewToken, Role, create_token};
pub use clock::Clock;
pub use config::{Config, ConfigError};
pub use db::{Db, DbError};
pub use error::{ApiError, Problem};
