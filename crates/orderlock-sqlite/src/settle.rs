//! `settle` and `release`: how a grant ends.

use orderlock_core::store::{
    Accepted, Durable, KeyFacts, MarkFate, Receipt, Release, Released, Settle, SettleFacts,
    SettleVerdict, Settled, Then, decide_settle,
};
use orderlock_core::{LeaseEvent, LeaseState, StoreError};

use crate::acquire::{acquire, clear_mark, hand_over, lock_state};
use crate::error::{Fault, refuses_the_values};
use crate::journal::{self, Append, Memory, find_key, find_settle};
use crate::leases::Held;
use crate::rows::{OrderRow, find_order, order_at};
use crate::turn::Turn;

/// A settle on the writer.
pub(crate) fn settle(turn: &mut Turn<'_>, request: &Settle) -> Result<Settled, Fault> {
    if matches!(request.then, Then::Keep) && request.entry.outcome.is_final() {
        let why = "a final settle cannot keep its lease: only a checkpoint does";
        return Err(Fault::Refused(StoreError::Unsupported(why)));
    }
    let claim = &request.claim;
    let held = turn.held(&claim.target());
    let order = match &held {
        Some(held) => Some(order_at(turn.connection, held.row)?),
        None => find_order(turn.connection, &claim.target())?,
    };
    let Some(order) = order else {
        let loss = orderlock_core::store::Loss::NotHeld;
        return Ok(Settled::Lost(loss));
    };
    let state = lock_state(&order, held.as_ref());
    let (fence, step) = (request.fence, request.step);
    let key = find_key(turn.connection, order.row, claim.key_id, turn.now)?;
    let written = match key {
        Some(_) => find_settle(turn.connection, order.row, claim.key_id, fence, step)?,
        None => None,
    };
    let facts = SettleFacts {
        version: Some(order.version),
        lease: &state,
        written: written.is_some(),
        key_settled: key.is_some_and(|key| matches!(key.facts, KeyFacts::Final { .. })),
    };
    match (decide_settle(request, facts), written) {
        (SettleVerdict::Repeat, Some(receipt)) => {
            // The first answer may have been lost together with the knowledge of its commit: then
            // memory still holds the lease as it was before, and catches up here.
            let behind = state
                .lease()
                .is_some_and(|lease| lease.fence == fence && lease.steps == step);
            if behind {
                end_grant(turn, request, &order, &state, held.as_ref())?;
            }
            accepted(turn, request, receipt)
        }
        (SettleVerdict::Apply, _) => write(turn, request, &order, &state, held.as_ref()),
        (SettleVerdict::Lost(loss), _) => Ok(Settled::Lost(loss)),
        (SettleVerdict::Repeat, None) => Err(Fault::refused("a settle repeats nothing")),
    }
}

fn write(
    turn: &mut Turn<'_>,
    request: &Settle,
    order: &OrderRow,
    state: &LeaseState,
    held: Option<&Held>,
) -> Result<Settled, Fault> {
    let written = match too_large(turn, request) {
        Some(reason) => Err(reason),
        None => match write_rows(turn, request, order) {
            Err(Fault::Sql(error)) if refuses_the_values(&error) => {
                Err(format!("the store refuses these values: {error}"))
            }
            written => Ok(written?),
        },
    };
    match written {
        Ok(receipt) => {
            end_grant(turn, request, order, state, held)?;
            turn.count_settle();
            accepted(turn, request, receipt)
        }
        Err(reason) => {
            stage(
                turn,
                order,
                state,
                held,
                LeaseEvent::Released(request.fence),
            )?;
            Ok(Settled::Impossible(reason))
        }
    }
}

fn too_large(turn: &Turn<'_>, request: &Settle) -> Option<String> {
    let size = request.change.as_ref()?.after.size();
    let most = turn.document_bytes_max;
    (size > most).then(|| format!("the order has {size} bytes, and the store takes {most}"))
}

/// Change and entry, both or neither: a savepoint of their own, because a refusal of the values
/// still has to release the lease.
fn write_rows(turn: &Turn<'_>, request: &Settle, order: &OrderRow) -> Result<Receipt, Fault> {
    turn.all_or_nothing(|connection| {
        let version = match &request.change {
            Some(change) => journal::apply(connection, order, change)?,
            None => order.version,
        };
        let entry = &request.entry;
        let append = Append {
            order: order.row,
            version,
            operation: &entry.operation,
            outcome: entry.outcome,
            actor: &request.claim.caller.principal,
            reason: None,
            at: entry.at,
            attempt: entry.attempt,
            key_id: request.claim.key_id,
            fingerprint: request.claim.fingerprint,
            grant: Some((request.fence, request.step)),
            change: request.change.as_ref().map(|change| &change.after),
            memory: Some(Memory {
                answer: entry.answer.as_ref(),
                retention: entry.retention,
            }),
        };
        Ok(journal::append(connection, &append, turn.now)?)
    })
}

/// What the settle does to the lock. A settle that is not final leaves the mark.
fn end_grant(
    turn: &mut Turn<'_>,
    request: &Settle,
    order: &OrderRow,
    state: &LeaseState,
    held: Option<&Held>,
) -> Result<(), Fault> {
    let is_final = request.entry.outcome.is_final();
    let event = match request.then {
        Then::Keep => LeaseEvent::Checkpointed(request.fence),
        Then::Unlock | Then::HandOver(_) if is_final => LeaseEvent::Settled(request.fence),
        Then::Unlock | Then::HandOver(_) => LeaseEvent::Released(request.fence),
    };
    stage(turn, order, state, held, event)
}

/// Puts the lock into the state after an event, in memory and, where a mark ends, in the file.
fn stage(
    turn: &mut Turn<'_>,
    order: &OrderRow,
    state: &LeaseState,
    held: Option<&Held>,
    event: LeaseEvent,
) -> Result<(), Fault> {
    let next = state
        .next(event)
        .map_err(|error| Fault::refused(error.to_string()))?;
    if order.mark.is_some() && next.mark().is_none() {
        clear_mark(turn.connection, order.row)?;
    }
    let renewals = held.map_or(0, |held| held.renewals);
    turn.stage(&order.target, Held::new(next, order.row, renewals));
    Ok(())
}

/// Everything is in the transaction; the answer leaves after its commit.
fn accepted(turn: &mut Turn<'_>, request: &Settle, receipt: Receipt) -> Result<Settled, Fault> {
    let next = match &request.then {
        Then::HandOver(next) => hand_over(acquire(turn, next))?,
        Then::Unlock | Then::Keep => None,
    };
    Ok(Settled::Accepted(Accepted {
        receipt,
        durable: Durable::already(),
        next,
    }))
}

/// A release on the writer: one that ends a mark or hands over to one, or whose grant may still
/// stand in the writer's queue.
pub(crate) fn release(turn: &mut Turn<'_>, request: &Release) -> Result<Released, Fault> {
    let held = turn.held(&request.target);
    let Some(held) = held.filter(|held| held.lease().fence == request.fence) else {
        return Ok(Released {
            held: false,
            next: None,
        });
    };
    let next = after_release(held.state(), request)?;
    if held.state().mark().is_some() && next.mark().is_none() {
        clear_mark(turn.connection, held.row)?;
    }
    turn.stage(&request.target, None);
    let next = match request.next.as_deref() {
        None => None,
        Some(next) => hand_over(acquire(turn, next))?,
    };
    Ok(Released { held: true, next })
}

/// The lock after a release.
pub(crate) fn after_release(state: &LeaseState, request: &Release) -> Result<LeaseState, Fault> {
    let event = match request.mark {
        MarkFate::Keep => LeaseEvent::Released(request.fence),
        MarkFate::Clear => LeaseEvent::ReleasedWithoutEffect(request.fence),
    };
    let next = state.next(event);
    next.map_err(|error| Fault::refused(error.to_string()))
}
