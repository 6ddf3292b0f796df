//! The log: events on stderr, so that stdout stays what the program prints for people.
//!
//! Logging never waits for the reader of the log: lines go through a bounded queue to a thread of
//! their own. What finds the queue full is dropped and counted, and so is what repeats itself too
//! often.

mod queue;
mod repeats;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use self::queue::Queue;
use self::repeats::{Counted, Repeats};
use crate::config::{ConfigError, LogFormat, Settings};

/// How long the last lines may take to leave.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How much of a panic's message is logged.
const MESSAGE_MAX: usize = 512;

/// The queue of this process, once the log is started.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Starts the log for the whole process.
///
/// # Errors
/// [`ConfigError`] if the level is none, or the log has no thread.
pub fn start(settings: &Settings) -> Result<(), ConfigError> {
    let filter = EnvFilter::builder()
        .parse(settings.log_level.directives())
        .map_err(|error| {
            ConfigError::new(format!("`log_level` is `{}`: {error}.", settings.log_level))
        })?;
    let repeats = Arc::new(Repeats::default());
    let queue = Queue::start(io::stderr(), Arc::clone(&repeats))
        .map_err(|error| ConfigError::new(format!("The log cannot be started: {error}.")))?;
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(queue.clone())
        .log_internal_errors(false);
    let counted = Counted(repeats);
    // A log that was started before, by a test, stays.
    let _started_before = match settings.log_format {
        LogFormat::Text => log.with_ansi(false).finish().with(counted).try_init(),
        LogFormat::Json => {
            let log = log.json().flatten_event(true);
            log.finish().with(counted).try_init()
        }
    };
    // The standard hook writes to stderr itself, and would block there until the text is read.
    std::panic::set_hook(Box::new(panicked));
    let _started_before = QUEUE.set(queue);
    Ok(())
}

/// Says the last words of the program after all that was logged, and waits a moment until they have
/// left. There may be no reader left.
pub fn end(words: &str) {
    let line = if words.is_empty() {
        String::new()
    } else {
        format!("{words}\n")
    };
    match QUEUE.get() {
        Some(queue) => {
            queue.push(line.as_bytes());
            queue.flush(LAST_LINES);
        }
        None => {
            let _unread = io::Write::write_all(&mut io::stderr(), line.as_bytes());
        }
    }
}

fn panicked(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or_default();
    let message: String = message.chars().take(MESSAGE_MAX).collect();
    let place = panic.location().map(ToString::to_string);
    // Only if the environment asks for it.
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(place, panic = message, trace, "a panic");
}
