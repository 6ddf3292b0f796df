//! Pieces that many statements share: lists of columns, and the conditions that mean one thing
//! everywhere.
//!
//! An order is always `orders o`, an entry `entries e`, and what is remembered of its key `keys k`.

/// The columns of [`Columns::target`], of `orders o`.
macro_rules! target_columns {
    () => {
        "o.tenant, o.id"
    };
}

/// The columns of [`Columns::lock`], of `orders o`.
macro_rules! lock_columns {
    () => {
        "o.fence, o.session, o.since, o.attempt, o.steps, o.principal, o.operation, o.key_id, \
         o.fingerprint, o.mark_attempt, o.mark_since, o.mark_times, o.mark_within, \
         o.mark_principal, o.mark_operation, o.mark_key_id, o.mark_fingerprint"
    };
}

/// Whether the lease in the row counts: whether its session is alive and has not disowned it. Of
/// `orders o`.
macro_rules! held {
    () => {
        concat!(
            "EXISTS (SELECT FROM sessions h WHERE h.id = o.session AND ",
            $crate::sql::fragments::owned!("h.id", "h.heard"),
            ")"
        )
    };
}

/// Whether a session still owns the lease of `orders o`: whether it is younger than the last
/// renewal but one, or was named by every renewal that could have named it. Null counts as no.
macro_rules! owned {
    ($session:literal, $heard:literal) => {
        concat!(
            "(o.granted >= ",
            $heard,
            " OR (SELECT named.since FROM known named WHERE named.session = ",
            $session,
            " AND named.fence = o.fence) <= o.granted + 1)"
        )
    };
}

/// The columns of [`Columns::content`], of `orders o`.
macro_rules! content_columns {
    () => {
        "o.version, o.status, o.customer, o.created, o.updated, o.document"
    };
}

/// The columns of [`Columns::entry`], of `entries e` and what is remembered of its key in `keys k`.
macro_rules! entry_columns {
    () => {
        "e.number, e.position, e.version, e.operation, e.outcome, e.actor, e.reason, e.at, \
         e.attempt, e.key_id, e.fingerprint, e.fence, e.step, e.change, \
         k.expires, k.answer_status, k.content_type, k.location, k.version, k.body"
    };
}

/// How `keys k` is joined to `entries e`.
macro_rules! remembered {
    () => {
        "LEFT JOIN keys k ON k.key_hash = e.key_hash AND k.order_row = e.order_row \
             AND k.number = e.number"
    };
}

/// How a statement that writes entries begins: `here` has its time, and the position of the first
/// entry that its transaction may write. The time is the statement's first parameter.
macro_rules! here {
    () => {
        "here AS (
            SELECT coalesce($1, clock_timestamp()) AS now,
                (base + pg_current_xact_id()::text::bigint) << 20 AS position
            FROM store
        )"
    };
}

/// Writes nothing, and so takes the lock of a writer of entries, before anything else. Every
/// transaction that writes entries has that lock before it has a number: by it readers of the
/// journal tell which open transactions may still write behind them. A transaction whose first
/// statement writes entries has it by itself.
macro_rules! will_write {
    () => {
        "writer AS (INSERT INTO entries SELECT * FROM entries WHERE false)"
    };
}

/// The most requests in one batch: each has its own part of the positions that [`position!`] gives.
pub(crate) const ROWS_MAX: usize = 64;

/// The position of the next entry of `orders o`, written by a statement that begins with `here!`,
/// for the row of this number in the statement, from 1.
macro_rules! position {
    ($number:literal) => {
        concat!(
            "greatest(o.position + 1, here.position + ((",
            $number,
            " - 1) << 14))"
        )
    };
}

/// Moves the counter of `orders o`: a part of every update of an order. What was decided before on
/// the order as it was, its lock or its keys, is then not written any more.
macro_rules! moves {
    () => {
        "writes = o.writes + 1"
    };
}

/// Ends the lease of `orders o`.
macro_rules! no_lease {
    () => {
        "fence = NULL, session = NULL, since = NULL, attempt = NULL, steps = NULL, \
         granted = NULL, principal = NULL, operation = NULL, key_id = NULL, fingerprint = NULL"
    };
}

/// Ends the mark of `orders o` if a condition is true.
macro_rules! no_mark_if {
    ($condition:literal) => {
        $crate::sql::fragments::no_mark_if!($condition:
            mark_attempt, mark_since, mark_times, mark_within, undo_attempt,
            undo_times, undo_within, mark_principal, mark_operation, mark_key_id,
            mark_fingerprint)
    };
    ($condition:literal: $first:ident $(, $column:ident)*) => {
        concat!(
            stringify!($first), " = CASE WHEN NOT ", $condition, " THEN o.", stringify!($first), " END",
            $(", ", stringify!($column), " = CASE WHEN NOT ", $condition, " THEN o.",
                stringify!($column), " END",)*
        )
    };
}

/// What becomes of the mark of `orders o` that a request `r` lets go. Those columns that an earlier run
/// may have had otherwise are named with where that stands.
macro_rules! mark_let_go {
    ($($column:ident = $before:ident),+; $($same:ident),+) => {
        concat!(
            $(stringify!($column), " = CASE WHEN r.undoes AND o.steps = 0 THEN o.",
                stringify!($before), " WHEN NOT r.clears THEN o.", stringify!($column), " END, ",)+
            $crate::sql::fragments::mark_let_go!(same: $($same),+)
        )
    };
    (same: $first:ident $(, $column:ident)*) => {
        concat!(
            $crate::sql::fragments::mark_let_go!(one: $first)
            $(, ", ", $crate::sql::fragments::mark_let_go!(one: $column))*
        )
    };
    (one: $column:ident) => {
        concat!(
            stringify!($column), " = CASE WHEN CASE WHEN r.undoes AND o.steps = 0 \
            THEN o.undo_attempt IS NOT NULL ELSE NOT r.clears END THEN o.", stringify!($column), " END"
        )
    };
}

/// The requests of a statement, `r`: a row for each, with its number from 1 as its place. Their columns are
/// those of the lists that `columns!` has declared. In the form for one request its values are as good as
/// constants to the planner: nothing is joined, sorted or made whole for a single row.
macro_rules! requests {
    (many: $first:ident $(, $more:ident)*) => {
        $crate::sql::text::text!(
            "unnest(", $first::PARAMETERS $(, ", ", $more::PARAMETERS)*, ") WITH ORDINALITY AS r (",
            $first::NAMES $(, ", ", $more::NAMES)*, ", place)"
        )
    };
    (one: $first:ident $(, $more:ident)*) => {
        $crate::sql::text::text!(
            "(SELECT ", $first::FIRST $(, ", ", $more::FIRST)*, ", 1::bigint) AS r (",
            $first::NAMES $(, ", ", $more::NAMES)*, ", place)"
        )
    };
}

/// Some columns of the order at this place among its tenant's, as a query of its own that gives one row or
/// none: `orders o` is the one behind which no other may come first. An order is asked for by its row as
/// the first from there on, which only the index of rows can tell. Asked for as the one that is equal, a
/// plan that was made for an empty table has looked for it among all orders of the tenant, by their ids.
macro_rules! order_at {
    ($columns:expr, $tenant:literal, $row:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (
                SELECT * FROM orders o WHERE o.tenant = ",
            $tenant,
            " AND o.row > 0 AND o.row >= ",
            $row,
            "
                ORDER BY o.row LIMIT 1
            ) o WHERE o.row = ",
            $row
        )
    };
}

pub(crate) use {
    content_columns, entry_columns, held, here, lock_columns, mark_let_go, moves, no_lease,
    no_mark_if, order_at, owned, position, remembered, requests, target_columns, will_write,
};
