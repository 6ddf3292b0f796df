//! The order manager: an HTTP service with an order model, over an embedded or a shared store.
//!
//! The binary `orderlock` is this crate: `orderlock serve`, `orderlock health`, `orderlock openapi`.
//! [`app`] builds the router alone, to mount in a service of your own or in a test. The repository's
//! `docs/order-manager.md` explains routes and settings, `docs/glossary.md` the special words.

pub mod cli;
pub mod config;
mod connections;
mod descriptors;
pub mod http;
pub mod log;
mod opened;
pub mod probe;
pub mod serve;
mod signals;
mod welcome;

pub use http::{BodyLimits, Context, app};

/// Why the program failed, in one paragraph for the person who started it. It may contain the store's
/// address, but never its password.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command line or a setting is wrong: exit code 2.
    #[error("{0}")]
    Usage(#[from] config::ConfigError),
    /// A failure at the start or while running: exit code 1.
    #[error("{}", config::hide(&format!("{:#}", .0)))]
    Running(#[from] anyhow::Error),
}
