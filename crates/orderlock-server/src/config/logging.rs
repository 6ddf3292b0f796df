//! The level and the format of the log.

use std::fmt;
use std::str::FromStr;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is neither `text` nor `json`")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// What is logged: a level, or directives like `info,orderlock=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(pub String);

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl LogLevel {
    /// The directives of the filter. A level alone is meant for this program: beyond `info`,
    /// drivers log the statements that they send, with customers and documents in them, so that
    /// only who names a driver hears more of it.
    #[must_use]
    pub fn directives(&self) -> String {
        let directive = |part: &str| {
            let verbose = ["debug", "trace"].contains(&part.to_ascii_lowercase().as_str());
            if verbose {
                format!("info,orderlock={part}")
            } else {
                part.to_owned()
            }
        };
        self.0
            .split(',')
            .map(directive)
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl FromStr for LogLevel {
    type Err = String;

    /// Only with known levels: a filter would take any other word as the name of a module, and
    /// then log nothing else.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_known = |level: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
        let is_module = |module: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            !module.is_empty() && module.chars().all(fits)
        };
        let fits = text.split(',').all(|part| match part.split_once('=') {
            Some((module, level)) => is_module(module) && is_known(level),
            None => is_known(part),
        });
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            format!(
                "`{text}` is not a level; write error, warn, info, debug or trace, or more of it \
                 by module, like info,orderlock=debug"
            )
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_this_program() {
        for (level, directives) in [
            ("debug", "info,orderlock=debug"),
            ("TRACE", "info,orderlock=TRACE"),
            ("warn", "warn"),
            (
                "debug,tokio_postgres=debug",
                "info,orderlock=debug,tokio_postgres=debug",
            ),
            ("info,orderlock_core=trace", "info,orderlock_core=trace"),
        ] {
            let level: LogLevel = level.parse().unwrap();
            assert_eq!(level.directives(), directives);
        }
    }

    #[test]
    fn a_level_is_one_that_logs_know() {
        for text in [
            "error",
            "INFO",
            "info,orderlock=debug",
            "orderlock::http=trace",
        ] {
            assert_eq!(text.parse::<LogLevel>().unwrap().to_string(), text);
        }
        for text in [
            "loud",
            "",
            "3",
            "info,",
            "orderlock=loud",
            "=info",
            "=;=",
            "off",
        ] {
            let error = text.parse::<LogLevel>().unwrap_err();
            assert!(
                error.contains("error, warn, info, debug or trace"),
                "{error}"
            );
        }
    }
}
