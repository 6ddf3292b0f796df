//! Turns between nodes: who waits for an order that another node holds, and for whom it is kept.
//!
//! A node whose request has found an order held more than once writes that it waits. When it has
//! waited for half a second, nobody else is granted the order, by a hand-over neither: the holder
//! lets it go, and it is kept for the node that has waited longest, as long as that one goes on
//! asking. How long after its last question a node still counts as asking, it says itself, by how long
//! its questions take: a node that is far from the database has its turn as well. The rows decide
//! nothing but whose turn it is; a row that is late, lost or left behind costs that time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orderlock_core::store::{Acquire, WAIT_UNTIL_KEPT};
use tokio_postgres::types::Type;

use crate::sql::columns::columns;
use crate::sql::rows::Id;
use crate::sql::statement::Sql;
use crate::sql::text::text;

/// How long a node's wait counts without another question, at least and at most.
const WITHIN: (Duration, Duration) = (WAIT_UNTIL_KEPT, Duration::from_secs(5));

/// How long a node's questions take, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Duration>);

impl Pace {
    /// For how long the wait counts of a request whose question has taken so long up to now, in
    /// microseconds. What is left of it is a third at most, and the next one may take twice as long.
    pub(crate) fn within(&self, so_far: Duration) -> i64 {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = last.max(so_far * 3 / 2);
        let within = (WITHIN.0 + question * 2).min(WITHIN.1);
        within.as_micros().try_into().unwrap_or(i64::MAX)
    }

    /// Takes note of how long a whole question took.
    pub(crate) fn took(&self, whole: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = whole;
    }
}

/// [`WAIT_UNTIL_KEPT`], as SQL has it.
macro_rules! patience {
    () => {
        "interval '500 milliseconds'"
    };
}

/// Whether a node has asked lately, by its own word of how often it asks. A time that is to come is
/// that of a clock that was set back.
macro_rules! asks {
    ($wait:literal, $now:literal) => {
        concat!(
            $wait,
            ".asked BETWEEN ",
            $now,
            " - ",
            $wait,
            ".within * interval '1 microsecond' AND ",
            $now,
            " + interval '500 milliseconds'"
        )
    };
}

/// Whether an order is kept for another session than this one: for one that has waited for long
/// enough, goes on asking, and did not come after this one.
macro_rules! kept_for_another {
    ($row:literal, $session:literal, $now:literal) => {
        concat!(
            "EXISTS (SELECT FROM waits w WHERE w.order_row = ",
            $row,
            " AND w.session <> ",
            $session,
            " AND w.since <= ",
            $now,
            " - ",
            $crate::verbs::fairness::patience!(),
            " AND ",
            $crate::verbs::fairness::asks!("w", $now),
            " AND NOT EXISTS (SELECT FROM waits own WHERE own.order_row = ",
            $row,
            " AND own.session = ",
            $session,
            " AND (own.since, own.session) < (w.since, w.session) AND ",
            $crate::verbs::fairness::asks!("own", $now),
            "))"
        )
    };
}

pub(crate) use {asks, kept_for_another, patience};

columns! {
    /// Who waits for which order.
    pub(crate) struct WaitRows<'a> of it: &'a Acquire {
        2 tenant: &'a str, TEXT_ARRAY = it.claim.caller.tenant.as_str();
        3 id: &'a str, TEXT_ARRAY = it.claim.order.as_str();
        4 fence: Id, UUID_ARRAY = it.fence.into();
        5 session: Id, UUID_ARRAY = it.session.into();
    }
}

/// Writes that these sessions wait for their orders; those whose grant stands wait no more. One that
/// has not asked for a while begins its wait anew.
pub(crate) static WAIT: Sql = Sql {
    text: text!(
        "WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS now),
        asked AS MATERIALIZED (
            SELECT o.row, r.session, o.fence IS NOT DISTINCT FROM r.fence AS served
            FROM unnest(",
        WaitRows::PARAMETERS,
        ") AS r (",
        WaitRows::NAMES,
        ")
                JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
        ), served AS (
            DELETE FROM waits w USING asked
            WHERE asked.served AND w.order_row = asked.row AND w.session = asked.session
        )
        INSERT INTO waits AS w (order_row, session, since, asked, within)
        SELECT asked.row, asked.session, clock.now, clock.now, $6 FROM asked, clock
        WHERE NOT asked.served
        ON CONFLICT (order_row, session) DO UPDATE SET
            asked = excluded.asked, within = excluded.within,
            since = CASE WHEN ",
        asks!("w", "excluded.asked"),
        " THEN w.since ELSE excluded.since END
        RETURNING w.order_row"
    ),
    types: &[&[Type::TIMESTAMPTZ], WaitRows::TYPES, &[Type::INT8]],
};

/// Removes what nobody has written anew for a minute. A row that is just being written is left.
pub(crate) static FORGET: Sql = Sql {
    text: "DELETE FROM waits w USING (
            SELECT order_row, session FROM waits
            WHERE abs(extract(epoch FROM asked - coalesce($1, clock_timestamp()))) > 60
            LIMIT 4096 FOR UPDATE SKIP LOCKED
        ) old
        WHERE w.order_row = old.order_row AND w.session = old.session",
    types: &[&[Type::TIMESTAMPTZ]],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_waits_as_long_as_the_core_says() {
        let milliseconds = WAIT_UNTIL_KEPT.as_millis();
        assert_eq!(
            patience!(),
            format!("interval '{milliseconds} milliseconds'")
        );
    }
}
