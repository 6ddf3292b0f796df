//! What a law says about one place.

use std::fmt;

/// Whether a finding stops the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The finding is printed, and the step goes on.
    Warning,
    /// It fails the step.
    Error,
}

/// One place where a law is broken, or nearly so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    path: String,
    line: usize,
    reason: String,
}

impl Finding {
    /// A broken law. Lines count from 1.
    pub(super) fn error(path: &str, line: usize, reason: impl Into<String>) -> Self {
        Self {
            weight: Weight::Error,
            path: path.into(),
            line,
            reason: reason.into(),
        }
    }

    /// A law that is close to being broken.
    pub(super) fn warning(path: &str, line: usize, reason: impl Into<String>) -> Self {
        Self {
            weight: Weight::Warning,
            ..Self::error(path, line, reason)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            weight,
            path,
            line,
            reason,
        } = self;
        let word = match weight {
            Weight::Warning => "warning",
            Weight::Error => "error",
        };
        write!(f, "{path}:{line}: {word}: {reason}")
    }
}
