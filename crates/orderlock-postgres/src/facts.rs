//! The facts that an `acquire` is decided from, in one row for each request, and its answer.
//!
//! They are told after the grant, under the same lock: a request that was granted finds its own
//! fence there, as one that is repeated does.

use orderlock_core::store::{
    Acquire, Acquired, Claim, Created, Entry, Facts, Grant, KeyFacts, Verdict, decide,
};
use orderlock_core::{Fingerprint, LeaseState, Target, Tenant, Timestamp, Version};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::connection::Sql;
use crate::error::Failure;
use crate::rows::{Columns, Content, hash, outcome, version};

/// What is known of each request, in their order: the session that asks, its key, the order's lock
/// and content, and an entry where the key asks for one: the final one, or the last checkpoint for
/// which a condition is true. The document is told to its holder alone. Requests for which another
/// condition is true are left out.
macro_rules! facts {
    (checkpoint: $checkpoint:literal, but: $but:literal $(, more: $more:literal)?) => {
        concat!(
            "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
            SELECT r.place, clock.now,
                (SELECT s.renewals FROM sessions s WHERE s.id = r.session),
                key.outcome, key.fingerprint, key.attempt, key.expires, key.forgotten,
                o.version, ",
            $crate::fragments::held!(),
            ", ",
            $crate::fragments::lock_columns!(),
            ",
                o.version, o.status, o.customer, o.created, o.updated,
                CASE WHEN o.fence = r.fence THEN o.document END,
                entry.*",
            $($more,)?
            "
            FROM clock CROSS JOIN
                unnest($2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY
                    AS r (tenant, id, fence, session, key_hash, key_id, fingerprint, place)
                LEFT JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
                LEFT JOIN LATERAL (
                    SELECT e.outcome, e.fingerprint, e.attempt, k.expires, k.forgotten
                    FROM keys k
                        JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                    WHERE k.key_hash = r.key_hash AND k.order_row = o.row
                        AND e.key_id = r.key_id
                    ORDER BY k.number DESC LIMIT 1
                ) key ON true
                LEFT JOIN LATERAL (
                    SELECT ",
            $crate::fragments::entry_columns!(),
            "
                    FROM keys k
                        JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                    WHERE key.outcome IS NOT NULL AND k.key_hash = r.key_hash
                        AND k.order_row = o.row AND e.key_id = r.key_id
                        AND e.fingerprint = r.fingerprint
                        AND CASE e.outcome WHEN 'checkpoint' THEN ",
            $checkpoint,
            " ELSE k.expires > clock.now END
                    ORDER BY e.number DESC LIMIT 1
                ) entry ON true
            WHERE (",
            $but,
            ") IS NOT TRUE
            ORDER BY r.place"
        )
    };
}

pub(crate) use facts;

/// The types of the parameters of such a statement.
pub(crate) const TYPES: &[Type] = &[
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::UUID_ARRAY,
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::BYTEA_ARRAY,
    Type::BYTEA_ARRAY,
];

/// The facts after a grant: a request that was granted finds its own fence in them. The first run of
/// a key that this very transaction was granted is left out: the grant itself has told all of it.
pub(crate) static FACTS: Sql = Sql {
    text: facts!(
        checkpoint: "o.fence = r.fence AND e.attempt < o.attempt",
        but: "o.fence = r.fence AND o.attempt = 1 AND o.xmin = pg_current_xact_id_if_assigned()::xid"
    ),
    types: TYPES,
};

/// The facts of one request, as far as every use of them reads them.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) now: Timestamp,
    /// How often the session that asks was renewed; none if it is not alive.
    pub(crate) renewals: Option<i64>,
    pub(crate) key: KeyFacts,
    pub(crate) version: Version,
    pub(crate) lease: LeaseState,
    /// What comes after: content, entry, and more.
    pub(crate) columns: Columns<'a>,
}

impl<'a> Known<'a> {
    /// None if there is no such order.
    pub(crate) fn of(tenant: &Tenant, row: &'a Row) -> Result<Option<Self>, Failure> {
        let mut columns = Columns::of(row);
        // The place of the request.
        columns.skip(1);
        let (now, renewals) = (columns.next()?, columns.next()?);
        let key = key(&mut columns, now)?;
        let Some(version) = columns.next::<Option<i64>>()?.map(version) else {
            return Ok(None);
        };
        let alive = columns.next()?;
        let lease = columns.lock(tenant, alive)?;
        Ok(Some(Self {
            now,
            renewals,
            key,
            version,
            lease,
            columns,
        }))
    }

    /// The final entry of the key, or its last checkpoint.
    pub(crate) fn entry(&mut self, target: Target) -> Result<Option<Box<Entry>>, Failure> {
        if self.columns.peek::<Option<i64>>()?.is_none() {
            self.columns.skip(ENTRY);
            return Ok(None);
        }
        let entry = self.columns.entry(target, self.now)?;
        Ok(Some(entry.into()))
    }
}

/// How many columns of the facts are the order's content, and how many are an entry.
const CONTENT: usize = 6;
const ENTRY: usize = 20;

/// What a request is answered; none if it is to be asked again, because the order has become free
/// since it was not granted.
pub(crate) fn answer(request: &Acquire, row: &Row) -> Result<Option<Acquired>, Failure> {
    let target = request.claim.target();
    let Some(known) = Known::of(&target.tenant, row)? else {
        return Ok(Some(Acquired::NotFound));
    };
    let facts = Facts {
        version: Some(known.version),
        key: known.key,
        lease: &known.lease,
        session_alive: known.renewals.is_some(),
        now: known.now,
    };
    Ok(match decide(request, facts) {
        Verdict::Grant { .. } => None,
        Verdict::Repeat => Some(granted(request, known)?),
        verdict => Some(refusal(verdict, target, known)?),
    })
}

/// What the journal says of the key; its newest entry decides, because nothing follows a final one.
fn key(columns: &mut Columns<'_>, now: Timestamp) -> Result<KeyFacts, Failure> {
    let Some(word) = columns.next::<Option<&str>>()? else {
        columns.skip(4);
        return Ok(KeyFacts::New);
    };
    let fingerprint = Fingerprint(hash(columns.next()?)?);
    let attempt = columns.small()?;
    let expires: Timestamp = columns.next()?;
    let forgotten: Option<Timestamp> = columns.next()?;
    Ok(if forgotten.is_some_and(|forgotten| forgotten <= now) {
        // Its tombstone has ended, whether or not the row has been removed yet.
        KeyFacts::New
    } else if outcome(word)?.is_final() {
        let retained = expires > now;
        KeyFacts::Final {
            fingerprint,
            retained,
        }
    } else {
        KeyFacts::Progress {
            fingerprint,
            attempt,
        }
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
fn granted(request: &Acquire, mut known: Known<'_>) -> Result<Acquired, Failure> {
    let content = known.columns.content()?;
    let progress = match known.key {
        KeyFacts::New => None,
        KeyFacts::Final { .. } | KeyFacts::Progress { .. } => {
            known.entry(request.claim.target())?
        }
    };
    let lease = known.lease.lease();
    let lease = lease.ok_or_else(|| Failure::impossible("a granted order has no lease"))?;
    let run = (lease.attempt, lease.since);
    Ok(describe(request, run, content, progress))
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

fn refusal(verdict: Verdict, target: Target, mut known: Known<'_>) -> Result<Acquired, Failure> {
    let lease = &known.lease;
    let holder = || {
        let lease = lease.lease().map(|lease| lease.view(&target));
        lease.ok_or_else(|| Failure::impossible("a held order has no lease"))
    };
    Ok(match verdict {
        Verdict::Settled => Acquired::Settled(final_entry(&mut known, target)?),
        Verdict::InProgress => Acquired::InProgress(holder()?),
        Verdict::Held => Acquired::Held(holder()?),
        Verdict::Marked => {
            let mark = lease.mark().cloned();
            let mark = mark.ok_or_else(|| Failure::impossible("a marked order has no mark"))?;
            Acquired::Marked(mark.into())
        }
        Verdict::Reused => Acquired::Reused,
        Verdict::Expired => Acquired::Expired,
        Verdict::VersionMismatch { current } => Acquired::VersionMismatch { current },
        Verdict::NotFound => Acquired::NotFound,
        Verdict::SessionEnded => Acquired::SessionEnded,
        Verdict::Grant { .. } | Verdict::Repeat => {
            return Err(Failure::impossible("a grant is no refusal"));
        }
    })
}

fn final_entry(known: &mut Known<'_>, target: Target) -> Result<Box<Entry>, Failure> {
    known.columns.skip(CONTENT);
    let entry = known.entry(target)?;
    entry.ok_or_else(|| Failure::impossible("a settled key has no entry"))
}

/// What a `create` is answered whose order was not inserted; none if it is to be asked again,
/// because no order stands there.
pub(crate) fn created(claim: &Claim, row: &Row) -> Result<Option<Created>, Failure> {
    let target = claim.target();
    let Some(mut known) = Known::of(&target.tenant, row)? else {
        return Ok(None);
    };
    Ok(Some(match known.key {
        KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
            if fingerprint != claim.fingerprint =>
        {
            Created::Reused
        }
        KeyFacts::Final { retained: true, .. } => {
            Created::Settled(final_entry(&mut known, target)?)
        }
        KeyFacts::Final { .. } => Created::Expired,
        KeyFacts::Progress { .. } | KeyFacts::New => Created::Exists,
    }))
}
