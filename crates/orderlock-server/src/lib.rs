//! The order manager: an HTTP service with an order model over an embedded or a shared store.

pub mod cli;
pub mod config;
mod connections;
pub mod http;
pub mod log;
mod opened;
pub mod probe;
pub mod serve;
mod signals;
mod welcome;

pub use http::{BodyLimits, Context, app};

/// Why the program ended badly, in one paragraph for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The command line or a setting is wrong: exit code 2.
    #[error("{0}")]
    Usage(#[from] config::ConfigError),
    /// It failed at its start or while it ran: exit code 1.
    #[error("{0:#}")]
    Running(#[from] anyhow::Error),
}
