//! What an `acquire` comes to: from one snapshot of the file and the lease in memory.
//!
//! The same function decides on a reader, for a grant that needs no write, and on the writer, for
//! one with a mark and for hand-overs.

use orderlock_core::store::{Acquire, Acquired, Facts, Grant, KeyFacts, Verdict, decide, grant};
use orderlock_core::{LeaseState, Mark, Timestamp};
use rusqlite::{Connection, named_params};

use crate::error::Fault;
use crate::journal::{KeyRow, entry_at, find_key, progress};
use crate::leases::{Held, Session};
use crate::rows::{OrderRow, WholeOrder, find_whole_order};
use crate::time;
use crate::turn::Turn;

/// What is to be done about a request for a lease.
#[derive(Debug)]
pub(crate) enum Decided {
    /// Only to answer.
    Answer(Acquired),
    /// To install the lease and then to answer.
    Grant(Held, Box<Grant>),
}

/// The lock of an order: its live lease, or else what the file says.
pub(crate) fn lock_state(order: &OrderRow, held: Option<&Held>) -> LeaseState {
    match (held, &order.mark) {
        (Some(held), _) => held.state().clone(),
        (None, Some(mark)) => LeaseState::Unattended(mark.clone()),
        (None, None) => LeaseState::Free,
    }
}

/// Decides, from facts that the caller holds still.
pub(crate) fn decide_acquire(
    connection: &Connection,
    request: &Acquire,
    held: Option<&Held>,
    session: Option<&Session>,
    now: Timestamp,
) -> Result<Decided, Fault> {
    let claim = &request.claim;
    let Some(whole) = find_whole_order(connection, &claim.target())? else {
        return Ok(Decided::Answer(Acquired::NotFound));
    };
    let order = &whole.order;
    let key = find_key(connection, order.row, claim.key_id, now)?;
    let known = key.as_ref().map_or(KeyFacts::New, |key| key.facts);
    let state = lock_state(order, held);
    let facts = Facts {
        version: Some(order.version),
        key: known,
        lease: &state,
        session_alive: session.is_some(),
        now,
    };
    match decide(request, facts) {
        Verdict::Grant { attempt } => {
            let renewals = session.map_or(0, |session| session.renewals);
            let next = state.next(grant(request, &state, attempt, now));
            let state = next.map_err(|error| Fault::refused(error.to_string()))?;
            let held = Held::new(state, order.row, renewals)
                .ok_or_else(|| Fault::refused("a grant left no lease"))?;
            let grant = describe_grant(connection, request, whole, known, (attempt, now))?;
            Ok(Decided::Grant(held, grant))
        }
        Verdict::Repeat => {
            let run = state
                .lease()
                .map_or((1, now), |lease| (lease.attempt, lease.since));
            let grant = describe_grant(connection, request, whole, known, run)?;
            Ok(Decided::Answer(Acquired::Granted(grant)))
        }
        verdict => {
            let answer = refusal(connection, verdict, order, key.as_ref(), &state, now)?;
            Ok(Decided::Answer(answer))
        }
    }
}

fn refusal(
    connection: &Connection,
    verdict: Verdict,
    order: &OrderRow,
    key: Option<&KeyRow>,
    state: &LeaseState,
    now: Timestamp,
) -> Result<Acquired, Fault> {
    let holder = || {
        let lease = state.lease().map(|lease| lease.view(&order.target));
        lease.ok_or_else(|| Fault::refused("a held order has no lease"))
    };
    Ok(match verdict {
        Verdict::Settled => {
            let key = key.ok_or_else(|| Fault::refused("a settled key has no entry"))?;
            Acquired::Settled(entry_at(connection, key.position, now)?)
        }
        Verdict::InProgress => Acquired::InProgress(holder()?),
        Verdict::Held => Acquired::Held(holder()?),
        Verdict::Marked => {
            let mark = state.mark().cloned();
            let mark = mark.ok_or_else(|| Fault::refused("a marked order has no mark"))?;
            Acquired::Marked(mark.into())
        }
        Verdict::Reused => Acquired::Reused,
        Verdict::Expired => Acquired::Expired,
        Verdict::VersionMismatch { current } => Acquired::VersionMismatch { current },
        Verdict::NotFound => Acquired::NotFound,
        Verdict::SessionEnded => Acquired::SessionEnded,
        Verdict::Grant { .. } | Verdict::Repeat => {
            return Err(Fault::refused("a grant is no refusal"));
        }
    })
}

fn describe_grant(
    connection: &Connection,
    request: &Acquire,
    whole: WholeOrder,
    known: KeyFacts,
    (attempt, since): (u32, Timestamp),
) -> Result<Box<Grant>, Fault> {
    let key_id = request.claim.key_id;
    let progress = match known {
        KeyFacts::New => None,
        _ => progress(connection, whole.order.row, key_id, attempt, since)?,
    };
    Ok(Box::new(Grant {
        fence: request.fence,
        progress,
        version: whole.order.version,
        document: whole.document,
        index: whole.index,
        times: whole.times,
        now: since,
        attempt,
    }))
}

/// An `acquire` on the writer: what it grants takes effect with the batch, and its mark with it.
pub(crate) fn acquire(turn: &mut Turn<'_>, request: &Acquire) -> Result<Acquired, Fault> {
    let target = request.claim.target();
    let held = turn.held(&target);
    let session = turn.session(request.session);
    let decided = decide_acquire(
        turn.connection,
        request,
        held.as_ref(),
        session.as_ref(),
        turn.now,
    )?;
    match decided {
        Decided::Answer(answer) => Ok(answer),
        Decided::Grant(held, grant) => {
            if let Some(mark) = held.state().mark() {
                write_mark(turn.connection, held.row, mark)?;
            }
            turn.stage(&target, Some(held));
            Ok(Acquired::Granted(grant))
        }
    }
}

/// What is asked for the next in line by the one that lets go. A fault of the next one's own does
/// not undo what its predecessor did: the next one then asks for itself, and is told.
pub(crate) fn hand_over<T>(asked: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(fault) if fault.is_its_own() => {
            tracing::warn!(?fault, "an order was let go without its next in line");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

fn write_mark(connection: &Connection, order: i64, mark: &Mark) -> rusqlite::Result<()> {
    let (times, within) = match mark.recovery {
        orderlock_core::Recovery::Reconcile => (None, None),
        orderlock_core::Recovery::Resume { times, within } => {
            (Some(times), Some(time::span_to_sql(within)))
        }
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO marks (order_row, principal, key_id, fingerprint, operation,
                 attempt, times, within, since)
             VALUES (:order, :principal, :key_id, :fingerprint, :operation,
                 :attempt, :times, :within, :since)",
        )?
        .execute(named_params! {
            ":order": order,
            ":principal": mark.caller.principal.as_str(),
            ":key_id": mark.key_id.0,
            ":fingerprint": mark.fingerprint.0,
            ":operation": mark.operation.as_str(),
            ":attempt": mark.attempt,
            ":times": times,
            ":within": within,
            ":since": time::to_sql(mark.since),
        })?;
    Ok(())
}

/// Ends the mark of an order.
pub(crate) fn clear_mark(connection: &Connection, order: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM marks WHERE order_row = ?1")?
        .execute([order])?;
    Ok(())
}
