//! The facts that an `acquire` is decided from, in one row for each request, and its answer.
//!
//! They are told after the grant, under the same lock: a request that was granted finds its own
//! fence there, as one that is repeated does.

use orderlock_core::store::{
    Acquire, Acquired, Claim, Created, Entry, Facts, Grant, KeyFacts, Verdict, decide,
};
use orderlock_core::{Fingerprint, LeaseState, Target, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::connection::Sql;
use crate::error::Failure;
use crate::fragments::{entry_columns, held, lock_columns};
use crate::rows::{Columns, hash, outcome, version};

/// What is known of each request, in their order. The document is told to its holder alone; an
/// entry only where its key asks: the final one, or the last checkpoint of an earlier run.
pub(crate) static FACTS: Sql = Sql {
    text: concat!(
        "WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now)
        SELECT clock.now,
            EXISTS (SELECT FROM sessions s WHERE s.id = r.session),
            key.outcome, key.fingerprint, key.attempt, key.expires, key.forgotten,
            o.version, ",
        held!(),
        ", ",
        lock_columns!(),
        ",
            o.version, o.status, o.customer, o.created, o.updated,
            CASE WHEN o.fence = r.fence THEN o.document END,
            entry.*
        FROM clock CROSS JOIN
            unnest($2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY
                AS r (tenant, id, fence, session, key_hash, key_id, fingerprint, place)
            LEFT JOIN orders o ON o.tenant = r.tenant AND o.id = r.id
            LEFT JOIN LATERAL (
                SELECT e.outcome, e.fingerprint, e.attempt, k.expires, k.forgotten
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE k.key_hash = r.key_hash AND k.order_row = o.row AND e.key_id = r.key_id
                ORDER BY k.number DESC LIMIT 1
            ) key ON true
            LEFT JOIN LATERAL (
                SELECT ",
        entry_columns!(),
        "
                FROM keys k JOIN entries e ON e.order_row = k.order_row AND e.number = k.number
                WHERE key.outcome IS NOT NULL AND k.key_hash = r.key_hash
                    AND k.order_row = o.row AND e.key_id = r.key_id
                    AND e.fingerprint = r.fingerprint
                    AND CASE e.outcome WHEN 'checkpoint'
                        THEN o.fence = r.fence AND e.attempt < o.attempt
                        ELSE k.expires > clock.now END
                ORDER BY e.number DESC LIMIT 1
            ) entry ON true
        ORDER BY r.place"
    ),
    types: &[
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
        Type::BYTEA_ARRAY,
    ],
};

/// What a request is answered; none if it is to be asked again, because the order has become free
/// since it was not granted.
pub(crate) fn answer(request: &Acquire, row: &Row) -> Result<Option<Acquired>, Failure> {
    let mut columns = Columns::of(row);
    let (now, session_alive) = (columns.next()?, columns.next()?);
    let key = key(&mut columns, now)?;
    let Some(version) = columns.next::<Option<i64>>()?.map(version) else {
        return Ok(Some(Acquired::NotFound));
    };
    let alive = columns.next()?;
    let target = request.claim.target();
    let lease = columns.lock(&target.tenant, alive)?;
    let facts = Facts {
        version: Some(version),
        key,
        lease: &lease,
        session_alive,
        now,
    };
    Ok(match decide(request, facts) {
        Verdict::Grant { .. } => None,
        Verdict::Repeat => Some(granted(request, &lease, key, columns, now)?),
        verdict => Some(refusal(verdict, &lease, target, columns, now)?),
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

/// The grant that stands in the order's row.
fn granted(
    request: &Acquire,
    lease: &LeaseState,
    key: KeyFacts,
    mut columns: Columns<'_>,
    now: Timestamp,
) -> Result<Acquired, Failure> {
    let lease = lease.lease();
    let lease = lease.ok_or_else(|| Failure::impossible("a granted order has no lease"))?;
    let content = columns.content()?;
    let progress = match key {
        KeyFacts::New => None,
        KeyFacts::Final { .. } | KeyFacts::Progress { .. } => {
            entry(&mut columns, request.claim.target(), now)?
        }
    };
    Ok(Acquired::Granted(Box::new(Grant {
        fence: request.fence,
        version: content.version,
        document: content.document,
        index: content.index,
        times: content.times,
        now: lease.since,
        attempt: lease.attempt,
        progress,
    })))
}

fn refusal(
    verdict: Verdict,
    lease: &LeaseState,
    target: Target,
    mut columns: Columns<'_>,
    now: Timestamp,
) -> Result<Acquired, Failure> {
    let holder = || {
        let lease = lease.lease().map(|lease| lease.view(&target));
        lease.ok_or_else(|| Failure::impossible("a held order has no lease"))
    };
    Ok(match verdict {
        Verdict::Settled => {
            columns.skip(CONTENT);
            let entry = entry(&mut columns, target, now)?;
            Acquired::Settled(
                entry.ok_or_else(|| Failure::impossible("a settled key has no entry"))?,
            )
        }
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

/// How many columns of the facts are the order's content.
const CONTENT: usize = 6;

/// How many of them are its lock.
const LOCK: usize = 17;

fn entry(
    columns: &mut Columns<'_>,
    target: Target,
    now: Timestamp,
) -> Result<Option<Box<Entry>>, Failure> {
    if columns.peek::<Option<i64>>()?.is_none() {
        return Ok(None);
    }
    columns.entry(target, now).map(|entry| Some(entry.into()))
}

/// What a `create` is answered whose order was not inserted; none if it is to be asked again,
/// because no order stands there.
pub(crate) fn created(claim: &Claim, row: &Row) -> Result<Option<Created>, Failure> {
    let mut columns = Columns::of(row);
    let now = columns.next()?;
    columns.skip(1);
    let key = key(&mut columns, now)?;
    if columns.next::<Option<i64>>()?.is_none() {
        return Ok(None);
    }
    columns.skip(1 + LOCK + CONTENT);
    Ok(Some(match key {
        KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
            if fingerprint != claim.fingerprint =>
        {
            Created::Reused
        }
        KeyFacts::Final { retained: true, .. } => {
            let entry = entry(&mut columns, claim.target(), now)?;
            Created::Settled(
                entry.ok_or_else(|| Failure::impossible("a settled key has no entry"))?,
            )
        }
        KeyFacts::Final { .. } => Created::Expired,
        KeyFacts::Progress { .. } | KeyFacts::New => Created::Exists,
    }))
}
