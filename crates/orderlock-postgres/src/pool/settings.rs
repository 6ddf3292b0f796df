//! The server's settings that a store rests on, and how each connection gets them.
//!
//! A role's or a database's own settings are meant for other programs, and may be any. So each
//! connection is given these after it is made, and they are read back: what does not hold is told.
//! Behind a pooler nothing can be given to a session, and each transaction begins with them.

use std::time::Duration;

use crate::planted::{Planted, is_planted};
use crate::sql::statement::Commit;

/// The server's version from which a transaction as a whole may be given a time.
const HAS_TRANSACTION_TIMEOUT: i32 = 170_000;

/// How long a batch waits for a row that somebody else keeps locked, as a part of the store's
/// patience, and at most. Others' transactions last for milliseconds; what lasts longer is waited for
/// alone, and not by all who are in the same batch.
const HASTE_PART: u32 = 50;
const HASTE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// What a commit must at least wait for, whatever others have set: an answer rests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The disk, and the standbys' disks, of those that are to be waited for.
    #[default]
    On,
    /// Also that the standbys show it.
    RemoteApply,
}

impl Level {
    pub(crate) fn of(setting: &str) -> Self {
        match setting {
            "remote_apply" => Self::RemoteApply,
            _ => Self::On,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::RemoteApply => "remote_apply",
        }
    }
}

/// A setting of the server.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Whether a promise rests on it, so that it holds whatever the store's address says.
    pub(crate) firm: bool,
}

/// What connections are given, by how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) patience: Duration,
}

impl Settings {
    /// How long a batch waits for a row.
    fn haste(&self) -> Duration {
        if is_planted(Planted::OneLane) {
            return self.lock();
        }
        (self.patience / HASTE_PART).clamp(HASTE.0, HASTE.1)
    }

    /// The server ends what is late before this side loses its patience: what is late is then known
    /// not to have happened.
    fn statement(&self) -> Duration {
        self.patience * 4 / 5
    }

    /// How long somebody waits for a row who waits alone.
    fn lock(&self) -> Duration {
        self.patience * 2 / 5
    }

    /// What a connection is given. A name that the server does not know is left out.
    pub(crate) fn of_a_session(&self) -> Vec<Setting> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let times = [
            ("statement_timeout", milliseconds(self.statement())),
            (
                "idle_in_transaction_session_timeout",
                milliseconds(self.patience),
            ),
            ("lock_timeout", milliseconds(self.haste())),
            ("transaction_timeout", "0".to_owned()),
            ("idle_session_timeout", "0".to_owned()),
        ];
        let plans = PLANS
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let mut settings: Vec<_> = times
            .into_iter()
            .chain(plans)
            .map(|(name, value)| Setting {
                name,
                value,
                firm: false,
            })
            .collect();
        let firm = FIRM
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        settings.extend(firm.map(|(name, value)| Setting {
            name,
            value,
            firm: true,
        }));
        settings
    }

    /// How transactions begin on a connection.
    pub(crate) fn begins(&self, pooled: Option<i32>, level: Level) -> Begins {
        let begin = |waits: LockWait, commit: Commit| {
            let mut text = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
            let mut set = |name: &str, value: &str| {
                text.push_str(&format!("; SET LOCAL {name} = '{value}'"));
            };
            if let Some(version) = pooled {
                for setting in self.of_a_session() {
                    let known =
                        setting.name != "transaction_timeout" || version >= HAS_TRANSACTION_TIMEOUT;
                    // A session's own are of no use in a transaction.
                    if known
                        && !setting.name.starts_with("default_")
                        && setting.name != "lock_timeout"
                    {
                        set(setting.name, &setting.value);
                    }
                }
            }
            match waits {
                LockWait::Briefly if pooled.is_none() => {}
                LockWait::Briefly => set("lock_timeout", &self.haste().as_millis().to_string()),
                LockWait::Patiently => set("lock_timeout", &self.lock().as_millis().to_string()),
            }
            match commit {
                Commit::Unflushed => set("synchronous_commit", "off"),
                Commit::Flushed if pooled.is_some() => set("synchronous_commit", level.as_str()),
                Commit::Flushed => {}
            }
            text
        };
        Begins {
            texts: [
                [
                    begin(LockWait::Briefly, Commit::Flushed),
                    begin(LockWait::Briefly, Commit::Unflushed),
                ],
                [
                    begin(LockWait::Patiently, Commit::Flushed),
                    begin(LockWait::Patiently, Commit::Unflushed),
                ],
            ],
        }
    }
}

/// How long a piece of work waits for rows that others keep locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockWait {
    /// For as long as others' transactions last that do as they should. Then whoever stands in the
    /// way is looked for.
    Briefly,
    /// For a good part of the patience: nobody else waits behind it.
    Patiently,
}

/// How a transaction begins, for each way to wait and to commit.
#[derive(Debug)]
pub(crate) struct Begins {
    texts: [[String; 2]; 2],
}

impl Begins {
    pub(crate) fn of(&self, waits: LockWait, commit: Commit) -> &str {
        let [hardly, patiently] = &self.texts;
        let [flushed, unflushed] = match waits {
            LockWait::Briefly => hardly,
            LockWait::Patiently => patiently,
        };
        match commit {
            Commit::Flushed => flushed,
            Commit::Unflushed => unflushed,
        }
    }
}

/// A statement goes from row to row by an index, and its plan is made once. Left to itself, the server
/// would plan each batch anew for its number of rows, which takes longer than the batch; and while a
/// table is small it would plan to look through all of it, and keep to that when it has grown. Nor is
/// any of them worth being compiled, or done by several processes.
const PLANS: [(&str, &str); 9] = [
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_nestloop", "on"),
    ("enable_indexscan", "on"),
    ("max_parallel_workers_per_gather", "0"),
];

/// What the promises rest on, beside what a commit waits for. A statement by itself runs at the
/// default isolation. That a commit did not wait for its standby is told by a warning.
const FIRM: [(&str, &str); 3] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("client_min_messages", "notice"),
];

/// How often a connection's server asks whether this side is still there: a process of the server's
/// whose client has gone without a word ends within half a minute, and not after hours.
pub(crate) const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        patience: Duration::from_secs(5),
    };

    #[test]
    fn a_transaction_behind_a_pooler_begins_with_all_that_a_session_would_have() {
        let begins = SETTINGS.begins(Some(150_000), Level::On);
        let text = begins.of(LockWait::Briefly, Commit::Flushed);
        for set in [
            "ISOLATION LEVEL READ COMMITTED",
            "statement_timeout = '4000'",
            "lock_timeout = '100'",
            "jit = 'off'",
            "synchronous_commit = 'on'",
            "client_min_messages = 'notice'",
        ] {
            assert!(text.contains(set), "{set}: {text}");
        }
        assert!(
            !text.contains("transaction_timeout = '0'"),
            "unknown: {text}"
        );
        let begins = SETTINGS.begins(Some(180_000), Level::RemoteApply);
        let text = begins.of(LockWait::Patiently, Commit::Flushed);
        for set in [
            "lock_timeout = '2000'",
            "SET LOCAL transaction_timeout = '0'",
            "synchronous_commit = 'remote_apply'",
        ] {
            assert!(text.contains(set), "{set}: {text}");
        }
    }

    #[test]
    fn a_transaction_of_a_session_that_has_all_says_what_differs() {
        let begins = SETTINGS.begins(None, Level::On);
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        assert_eq!(begins.of(LockWait::Briefly, Commit::Flushed), begin);
        assert_eq!(
            begins.of(LockWait::Patiently, Commit::Unflushed),
            format!(
                "{begin}; SET LOCAL lock_timeout = '2000'; SET LOCAL synchronous_commit = 'off'"
            )
        );
    }
}
