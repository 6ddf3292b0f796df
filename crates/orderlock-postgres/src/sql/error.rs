//! The one mapping from PostgreSQL's errors to the seam's: above all, whether it may have happened.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::StoreError;
use tokio_postgres::error::SqlState;

/// What PostgreSQL leaves to be guessed where a lock was waited for in vain.
const OTHERS: &str = " (another transaction in the database keeps what it needs locked; \
                      pg_stat_activity shows who has one open)";

/// Why a statement did not come to a result. Its words leave out what the server says in detail,
/// because that may quote rows.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused the statement or ended it.
    #[error("PostgreSQL says {}: {message}", code.code())]
    Refused {
        /// The server's code for it.
        code: SqlState,
        /// Its words.
        message: Arc<str>,
    },
    /// The connection broke, or what came over it could not be understood.
    #[error("the connection to PostgreSQL was lost")]
    Lost(#[source] Arc<tokio_postgres::Error>),
    /// There was no answer in time.
    #[error("PostgreSQL did not answer within {0:?}")]
    TimedOut(Duration),
    /// The commit is there, but somebody ended its wait for the standby.
    #[error("the commit did not wait until a standby had confirmed it")]
    Unconfirmed,
    /// There was no connection to ask over: nothing was sent.
    #[error("no connection to PostgreSQL: {0}")]
    Unreachable(Arc<str>),
    /// A row holds what no version of this program has written.
    #[error("a row of the database cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// The work itself says no; the database is well.
    #[error("{0}")]
    Impossible(Arc<str>),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => Self::Refused {
                code: said.code().clone(),
                message: match *said.code() == SqlState::LOCK_NOT_AVAILABLE {
                    true => format!("{}{OTHERS}", said.message()).into(),
                    false => said.message().into(),
                },
            },
            None => Self::Lost(error.into()),
        }
    }
}

impl Failure {
    pub(crate) fn unreadable(what: impl Into<Arc<str>>) -> Self {
        Self::Unreadable(what.into())
    }

    pub(crate) fn impossible(why: impl Into<Arc<str>>) -> Self {
        Self::Impossible(why.into())
    }

    /// The error of something that certainly did not happen.
    pub(crate) fn not_applied(self) -> StoreError {
        let wrap = match &self {
            Self::Unreadable(_) => StoreError::Corrupt,
            Self::Refused { code, .. } => match code.code() {
                // The disk, or a limit on it: `disk_full`, `configuration_limit_exceeded`.
                "53100" | "53400" => StoreError::Full,
                // `read_only_sql_transaction`: a standby, or a server that was made read-only.
                "25006" => StoreError::ReadOnly,
                // `data_corrupted`, `index_corrupted`.
                "XX001" | "XX002" => StoreError::Corrupt,
                _ => StoreError::NotApplied,
            },
            _ => StoreError::NotApplied,
        };
        wrap(Box::new(self))
    }

    /// The same of a write whose values the store can never keep: asking again does not help.
    pub(crate) fn refused(self) -> StoreError {
        if matches!(self, Self::Impossible(_)) || self.is_of_the_values() {
            tracing::warn!(why = %self, "PostgreSQL cannot keep these values");
            return StoreError::Unsupported(
                "PostgreSQL cannot keep these values; the log says why",
            );
        }
        self.not_applied()
    }

    /// The error of something of which nobody knows whether it happened.
    pub(crate) fn unknown(self) -> StoreError {
        StoreError::OutcomeUnknown(Box::new(self))
    }

    /// Whether the server, when it says this of a commit, says that nothing was committed. Of a
    /// commit that was cut short it may say something else although it is there.
    pub(crate) fn denies_the_commit(&self) -> bool {
        let Self::Refused { code, .. } = self else {
            return false;
        };
        // 40003 is `statement_completion_unknown`.
        let code = code.code();
        code != "40003"
            && ["40", "23", "25"]
                .iter()
                .any(|class| code.starts_with(class))
    }

    /// Whether another session may do better: the server has ended this one or is about to, or it
    /// takes no writes, and another one may have become the primary.
    pub(crate) fn ends_the_connection(&self) -> bool {
        let Self::Refused { code, .. } = self else {
            return false;
        };
        ["57P", "08", "25P03", "25006"]
            .iter()
            .any(|class| code.code().starts_with(class))
    }

    /// Whether others stood in the way, so that the same transaction may pass when it is sent
    /// again: a serialization failure, a deadlock.
    pub(crate) fn is_of_the_moment(&self) -> bool {
        let Self::Refused { code, .. } = self else {
            return false;
        };
        [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
    }

    /// Whether somebody else keeps locked what it needs.
    pub(crate) fn is_of_a_lock(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether it lies in the values that were sent: sent again they are refused again. Classes 22 (data), 23 (constraints), 54 (limits).
    pub(crate) fn is_of_the_values(&self) -> bool {
        let Self::Refused { code, .. } = self else {
            return false;
        };
        let code = code.code();
        ["22", "23", "54"]
            .iter()
            .any(|class| code.starts_with(class))
    }
}

impl From<Failure> for StoreError {
    /// For what was only read, or certainly rolled back.
    fn from(failure: Failure) -> Self {
        failure.not_applied()
    }
}

/// What is known of a transaction that did not end as it should.
#[derive(Clone, Debug)]
pub(crate) enum TransactionError {
    /// It was rolled back, or never begun.
    NotApplied(Failure),
    /// It may be committed.
    Unknown(Failure),
}

impl From<TransactionError> for StoreError {
    fn from(broken: TransactionError) -> Self {
        match broken {
            TransactionError::NotApplied(failure) => failure.not_applied(),
            TransactionError::Unknown(failure) => failure.unknown(),
        }
    }
}

impl TransactionError {
    /// The error of a write, the values of which may be at fault.
    pub(crate) fn refused(self) -> StoreError {
        match self {
            Self::NotApplied(failure) => failure.refused(),
            Self::Unknown(failure) => failure.unknown(),
        }
    }

    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::NotApplied(failure) | Self::Unknown(failure) => failure,
        }
    }
}

/// The driver's text for every error of the server, whose own words are its source.
const DRIVER: &str = "db error";

/// An error with all its sources, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if words == DRIVER {
            words = more;
        // Some errors repeat the text of their source.
        } else if more != DRIVER && !words.ends_with(&more) {
            words.push_str(&format!(": {more}"));
        }
        below = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, below) = texts.split_first().expect("a test names at least one");
        let source = (!below.is_empty()).then(|| Box::new(layers(below)));
        Layer { text, source }
    }

    #[test]
    fn the_servers_words_are_not_hidden_behind_the_drivers() {
        let denied = "ERROR: permission denied for schema public";
        assert_eq!(chain(&layers(&["db error", denied])), denied);
        let refused = chain(&layers(&["no table made", "db error", denied]));
        assert_eq!(refused, format!("no table made: {denied}"));
        let repeated = layers(&["lost: closed", "closed"]);
        assert_eq!(chain(&repeated), "lost: closed");
    }
}
