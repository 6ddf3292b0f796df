//! The log: events on stderr, so that stdout stays what the program prints for people.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat, Settings};

/// Starts the log for the whole process.
///
/// # Errors
/// [`ConfigError`] if the level is none.
pub fn start(settings: &Settings) -> Result<(), ConfigError> {
    let filter = EnvFilter::builder()
        .parse(&settings.log_level.0)
        .map_err(|error| {
            ConfigError::new(format!("`log_level` is `{}`: {error}.", settings.log_level))
        })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would tell of a closed stderr on stderr, and panic.
        .log_internal_errors(false);
    // A log that was started before, by a test, stays.
    let _started_before = match settings.log_format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}
