//! The facts that an `acquire` is decided from, in one row for each request, and its answer.
//!
//! They are told after the grant, under the same lock: a request that was granted finds its own
//! fence there, as one that is repeated does.

use orderlock_core::store::{
    Acquire, Acquired, Entry, Facts, Grant, KeyFacts, Verdict, decide, kept_for_another,
};
use orderlock_core::{LeaseState, Target, Timestamp, Version};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::sql::error::Failure;
use crate::sql::fragments::{entry_columns, held, lock_columns, requests};
use crate::sql::rows::{Columns, Content, version};
use crate::sql::statement::Sql;
use crate::sql::text::text;
use crate::verbs::acquire_rows::FactRows;
use crate::verbs::fairness;

/// What is known of each request, in their order: the session that asks, the newest entry of its key
/// that is final, or binds the key and a condition is true for it, and the order's lock and content. The
/// document is told to its holder alone. Requests for which another condition is true are left out.
macro_rules! facts {
    (checkpoint: $checkpoint:literal, but: $but:literal $(, more: $more:literal)?) => {
        text!(
            "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
            SELECT r.place, clock.now,
                EXISTS (SELECT FROM sessions s WHERE s.id = r.session),
                entry.*, o.version, ",
            fairness::kept_for_another!("o.row", "r.session", "clock.now"),
            ", ",
            held!(),
            ", ",
            lock_columns!(),
            ",
                o.version, o.status, o.customer, o.created, o.updated,
                CASE WHEN o.fence = r.fence THEN o.document END",
            $($more,)?
            "
            FROM clock CROSS JOIN
                ",
            requests!(many: FactRows),
            "
                LEFT JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
                LEFT JOIN LATERAL (
                    SELECT k.forgotten, ",
            entry_columns!(),
            "
                    FROM keys k
                        JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                    WHERE k.key_hash = r.key_hash AND k.order_row = o.row
                        AND e.key_id = r.key_id
                        AND (e.outcome NOT IN ('checkpoint', 'markCleared') OR ",
            $checkpoint,
            ")
                    ORDER BY k.number DESC LIMIT 1
                ) entry ON true
            WHERE (",
            $but,
            ") IS NOT TRUE
            ORDER BY r.place"
        )
    };
}

/// The types of the parameters of such a statement.
const TYPES: &[&[Type]] = &[&[Type::TIMESTAMPTZ], FactRows::TYPES];

/// The facts after a grant: a request that was granted finds its own fence in them, and the
/// checkpoints of runs before its own. The first run of a key that was granted in this very
/// transaction is left out: the grant itself has told all of it.
pub(crate) static FACTS: Sql = Sql {
    text: facts!(
        checkpoint: "o.fence IS DISTINCT FROM r.fence
            OR (e.outcome = 'checkpoint' AND e.attempt < o.attempt)",
        but: "o.fence = r.fence AND o.attempt = 1 AND o.xmin = pg_current_xact_id_if_assigned()::xid"
    ),
    types: TYPES,
};

/// The facts before a grant, with the number of the order's last entry: whatever checkpoint the key
/// has is one of an earlier run.
pub(crate) static FACTS_BEFORE: Sql = Sql {
    text: facts!(checkpoint: "true", but: "false", more: ", o.entries"),
    types: TYPES,
};

/// What is known of a request, as far as every use of it reads it.
#[derive(Debug)]
pub(crate) struct AcquireFacts<'a> {
    pub(crate) requester: Requester,
    pub(crate) version: Version,
    /// Whether it is another node's turn at the order.
    pub(crate) kept: bool,
    pub(crate) lease: LeaseState,
    /// What comes after: the content, and more.
    pub(crate) columns: Columns<'a>,
}

/// Who asks, and what the journal says of the key.
#[derive(Debug)]
pub(crate) struct Requester {
    pub(crate) now: Timestamp,
    /// What begins now lasts from here.
    pub(crate) latest: Timestamp,
    /// Whether the session that asks is alive.
    pub(crate) alive: bool,
    pub(crate) key: KeyFacts,
    /// The final entry of the key, or its last checkpoint.
    pub(crate) entry: Option<Box<Entry>>,
}

impl Requester {
    /// The clock, whether the session is alive, the end of the key's tombstone, and `entry_columns!`.
    /// What ends by the time that is believed, and not only by the clock, has ended.
    pub(crate) fn of(
        columns: &mut Columns<'_>,
        target: Target,
        believed: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let now: Timestamp = columns.next()?;
        let believed = believed.unwrap_or(now);
        let alive = columns.next()?;
        let forgotten: Option<Timestamp> = columns.next()?;
        let entry = if columns.peek::<Option<i64>>()?.is_none() {
            columns.skip(ENTRY);
            None
        } else {
            Some(Box::new(columns.entry(target, now)?))
        };
        // Once its tombstone has ended it is no key any more, removed or not.
        let entry = entry.filter(|_| forgotten.is_none_or(|it| it > now.min(believed)));
        Ok(Self {
            now,
            latest: now.max(believed),
            alive,
            key: entry.as_deref().map_or(KeyFacts::New, |it| key(it, now)),
            entry,
        })
    }
}

/// What its newest entry says of a key: nothing follows a final one.
fn key(entry: &Entry, now: Timestamp) -> KeyFacts {
    let fingerprint = entry.fingerprint;
    if entry.outcome.is_final() {
        KeyFacts::Final {
            fingerprint,
            retained: entry.expires.is_some_and(|expires| expires > now),
        }
    } else {
        KeyFacts::Progress {
            fingerprint,
            attempt: entry.attempt,
        }
    }
}

impl<'a> AcquireFacts<'a> {
    /// None if there is no such order.
    pub(crate) fn of(
        target: &Target,
        row: &'a Row,
        believed: Option<Timestamp>,
    ) -> Result<Option<Self>, Failure> {
        let mut columns = Columns::of(row);
        // The place of the request.
        columns.skip(1);
        let requester = Requester::of(&mut columns, target.clone(), believed)?;
        let Some(version) = columns.next::<Option<i64>>()?.map(version) else {
            return Ok(None);
        };
        let kept = columns.next()?;
        let alive = columns.next()?;
        let lease = columns.lock(&target.tenant, alive)?;
        Ok(Some(Self {
            requester,
            version,
            kept,
            lease,
            columns,
        }))
    }
}

/// How many columns `entry_columns!` has.
const ENTRY: usize = 20;

/// What a request is answered; none if it is to be asked again, because the order has become free
/// since it was not granted.
pub(crate) fn answer(
    request: &Acquire,
    row: &Row,
    believed: Option<Timestamp>,
) -> Result<Option<Acquired>, Failure> {
    let target = request.claim.target();
    let Some(known) = AcquireFacts::of(&target, row, believed)? else {
        return Ok(Some(Acquired::NotFound));
    };
    let facts = Facts {
        version: Some(known.version),
        key: known.requester.key,
        lease: &known.lease,
        session_alive: known.requester.alive,
        now: known.requester.now,
    };
    Ok(match decide(request, facts) {
        Verdict::Answer(answer) => Some(answer),
        Verdict::Replay => Some(Acquired::Settled(final_entry(known.requester)?)),
        Verdict::Repeat => Some(granted(request, known)?),
        Verdict::Grant(_) if known.kept => Some(Acquired::Held(kept_for_another(
            target,
            known.requester.now,
        ))),
        Verdict::Grant(_) => None,
    })
}

/// What `GRANT` tells of a request; none if the facts tell more.
pub(crate) fn first_run(
    request: &Acquire,
    mut columns: Columns<'_>,
) -> Result<Option<Acquired>, Failure> {
    let (since, attempt) = (columns.next()?, columns.small()?);
    if attempt > 1 {
        return Ok(None);
    }
    let content = columns.content()?;
    Ok(Some(describe(request, (attempt, since), content, None)))
}

/// The grant that stands in the order's row.
fn granted(request: &Acquire, mut known: AcquireFacts<'_>) -> Result<Acquired, Failure> {
    let content = known.columns.content()?;
    let lease = known.lease.lease();
    let lease = lease.ok_or_else(|| Failure::impossible("a granted order has no lease"))?;
    let run = (lease.attempt, lease.since);
    Ok(describe(request, run, content, known.requester.entry))
}

fn describe(
    request: &Acquire,
    (attempt, now): (u32, Timestamp),
    content: Content,
    progress: Option<Box<Entry>>,
) -> Acquired {
    Acquired::Granted(Box::new(Grant {
        fence: request.fence,
        version: content.version,
        document: content.document,
        index: content.index,
        times: content.times,
        now,
        attempt,
        progress,
    }))
}

fn final_entry(requester: Requester) -> Result<Box<Entry>, Failure> {
    let entry = requester.entry;
    entry.ok_or_else(|| Failure::impossible("a settled key has no entry"))
}
