//! The order manager: an HTTP service with an order model over an embedded or a shared store.

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

/// Why the program ended badly, in one paragraph for the person who started it. What a driver says
/// may repeat the address that it was given, but for the password.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The command line or a setting is wrong: exit code 2.
    #[error("{0}")]
    Usage(#[from] config::ConfigError),
    /// It failed at its start or while it ran: exit code 1.
    #[error("{}", config::hide(&format!("{:#}", .0)))]
    Running(#[from] anyhow::Error),
}
