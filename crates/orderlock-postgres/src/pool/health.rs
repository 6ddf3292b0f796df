//! What the server guarantees now: flushes, standbys, writes. It is looked at with each new connection and with each renewal of
//! a session, because all of it can change while a node runs: by a reload of the settings, by a
//! fail-over to a server that was set up otherwise.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::pool::settings::Level;
use crate::sql::error::Failure;
use crate::sql::rows::Columns;
use crate::sql::statement::Sql;

/// What the server says of itself and of this connection. The parameters: settings that the
/// connection was given, and their values; processes of the server's, and when they began.
pub(crate) static LOOK: Sql = Sql {
    text: "SELECT current_setting('server_version_num')::int,
            current_setting('fsync')::bool AND current_setting('full_page_writes')::bool,
            current_setting('synchronous_standby_names') <> '',
            pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
            (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
            (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
            pg_backend_pid(),
            (SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity
                WHERE pid = pg_backend_pid()),
            ARRAY(SELECT s.name FROM unnest($1, $2) AS given (name, value)
                JOIN pg_settings s ON s.name = given.name
                WHERE s.setting <> given.value ORDER BY s.name),
            ARRAY(SELECT p.pid FROM unnest($3, $4) AS p (pid, began) JOIN pg_stat_activity a
                ON a.pid = p.pid AND (extract(epoch FROM a.backend_start) * 1000000)::bigint = p.began)",
    types: &[&[
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
    ]],
};

/// One run of a server, from its start to its end: by the moment of the start, in microseconds. A standby
/// has another one than its primary, and so has a server that was started with a backup in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerRun(pub(crate) i64);

/// A process of the server's that serves one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) pid: i32,
    /// When it began, so that it is not taken for another one of its number later.
    pub(crate) began: i64,
}

/// One look.
#[derive(Debug)]
pub(crate) struct ServerReport {
    pub(crate) version: i32,
    pub(crate) seen: Seen,
    pub(crate) run: ServerRun,
    /// None if the server does not say.
    pub(crate) backend: Option<Backend>,
    /// Settings that do not hold.
    pub(crate) lost: Vec<String>,
    /// Which of the processes that were asked for are still there.
    pub(crate) still_there: Vec<i32>,
}

impl ServerReport {
    pub(crate) fn read(row: &Row) -> Result<Self, Failure> {
        let mut columns = Columns::of(row);
        let version = columns.next()?;
        let seen = Seen {
            flushes: columns.next()?,
            standbys: columns.next()?,
            read_only: columns.next()?,
            level: Level::of(columns.next::<Option<&str>>()?.unwrap_or_default()),
        };
        let run = ServerRun(columns.next()?);
        let pid = columns.next()?;
        let began: Option<i64> = columns.next()?;
        Ok(Self {
            version,
            seen,
            run,
            backend: began.map(|began| Backend { pid, began }),
            lost: columns.next()?,
            still_there: columns.next()?,
        })
    }
}

/// What was seen of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether what is flushed reaches the disk, whole.
    pub(crate) flushes: bool,
    /// Whether commits wait for standbys.
    pub(crate) standbys: bool,
    pub(crate) read_only: bool,
    /// What commits wait for at least, by its settings.
    pub(crate) level: Level,
}

impl Seen {
    /// Of two looks at what may be two servers, the worse.
    fn or_worse(self, other: Self) -> Self {
        Self {
            flushes: self.flushes && other.flushes,
            standbys: self.standbys && other.standbys,
            read_only: self.read_only || other.read_only,
            level: self.level.max(other.level),
        }
    }

    /// What an answered settle survives.
    pub(crate) fn durability(self) -> &'static str {
        if !self.flushes {
            "does NOT survive power loss of the database's server, which runs without `fsync` or \
             `full_page_writes`; it survives the death of any node"
        } else if self.standbys {
            "survives power loss of the database's server and fail-over: each commit is flushed, \
             there and at a standby, before it is answered"
        } else {
            "survives power loss of the database's server, which flushes each commit before it is \
             answered; a fail-over to a standby may lose the last answers, because no standby is \
             waited for (`synchronous_standby_names`)"
        }
    }
}

/// What is known of the server.
#[derive(Debug)]
pub(crate) struct Health(Mutex<Seen>);

impl Health {
    pub(crate) fn new(seen: Seen) -> Self {
        Self(Mutex::new(seen))
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a new connection, which may be one to another server than the others.
    pub(crate) fn connected(&self, seen: Seen) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.or_worse(seen);
    }

    /// Takes note of a look that was due: it says how things are.
    pub(crate) fn looked(&self, seen: Seen) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != seen {
            tracing::info!(
                durability = seen.durability(),
                "what the database promises has changed"
            );
        }
        *known = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen {
        flushes: true,
        standbys: true,
        read_only: false,
        level: Level::On,
    };

    #[test]
    fn durability_is_not_promised_where_the_settings_do_not_give_it() {
        assert!(SEEN.durability().contains("and fail-over"));
        let alone = Seen {
            standbys: false,
            ..SEEN
        };
        assert!(alone.durability().contains("may lose"));
        let lax = Seen {
            flushes: false,
            ..SEEN
        };
        assert!(lax.durability().contains("NOT"));
    }

    #[test]
    fn of_two_servers_the_worse_is_told_until_the_next_look() {
        let health = Health::new(SEEN);
        let lax = Seen {
            flushes: false,
            ..SEEN
        };
        health.connected(lax);
        health.connected(SEEN);
        assert_eq!(health.seen(), lax);
        health.looked(SEEN);
        assert_eq!(health.seen(), SEEN);
    }
}
