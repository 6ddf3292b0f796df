//! `settle`, `release` and `undo`: how a grant ends.

use orderlock_core::store::{
    Accepted, Acquire, Durable, KeyFacts, Loss, MarkFate, Receipt, Release, Released, Settle,
    SettleFacts, SettleVerdict, Settled, Undo, decide_settle,
};
use orderlock_core::{Fence, LeaseEvent, LeaseState, Target};

use crate::file::error::{Fault, refuses_the_values};
use crate::file::journal::{self, Append, Memory, Written};
use crate::file::keys::find_settle;
use crate::file::marks::{clear_mark, write_mark};
use crate::file::rows::{Latest, OrderRow};
use crate::state::context::Turn;
use crate::state::leases::Held;
use crate::verbs::acquire::{acquire, hand_over, lock_state, run_of};

/// A settle on the writer.
pub(crate) fn settle(turn: &mut Turn<'_>, request: &Settle) -> Result<Settled, Fault> {
    let target = request.claim.target();
    let held = turn.held(&target);
    let Some(latest) = turn.order(&target)? else {
        return Ok(Settled::Lost(Loss::NotHeld));
    };
    let order = &latest.whole.order;
    let state = lock_state(order, held.as_ref());
    let (fence, step) = (request.fence, request.step);
    let (settled, written) = match &held {
        Some(held) if held.awaits(request.claim.key_id, fence, step) => (false, None),
        _ => in_the_journal(turn, request, &latest)?,
    };
    let facts = SettleFacts {
        version: Some(order.version),
        lease: &state,
        written: written.is_some(),
        key_settled: settled,
    };
    match (decide_settle(request, facts), written) {
        (SettleVerdict::Repeat, Some(receipt)) => {
            // The first answer may have been lost together with the knowledge of its commit: then
            // memory still holds the lease as it was before, and catches up here.
            let behind = state
                .lease()
                .is_some_and(|lease| lease.fence == fence && lease.steps == step);
            if behind {
                end_grant(turn, request, order, &state, held.as_ref())?;
            }
            accepted(turn, request, receipt)
        }
        (SettleVerdict::Apply, _) => write(turn, request, &latest, &state, held.as_ref()),
        (SettleVerdict::Lost(loss), _) => Ok(Settled::Lost(loss)),
        (SettleVerdict::Repeat, None) => Err(Fault::refused("a settle repeats nothing")),
    }
}

/// Whether the key has a final entry, and what this very settle has written before, if it has.
fn in_the_journal(
    turn: &Turn<'_>,
    request: &Settle,
    latest: &Latest,
) -> Result<(bool, Option<Receipt>), Fault> {
    let (key_id, fence, step) = (request.claim.key_id, request.fence, request.step);
    let run = run_of(key_id, None);
    let Some(key) = turn.key(latest, (key_id, run))? else {
        return Ok((false, None));
    };
    let written = find_settle(turn.connection, latest.place(), key_id, fence, step)?;
    Ok((matches!(key.facts, KeyFacts::Final { .. }), written))
}

fn write(
    turn: &mut Turn<'_>,
    request: &Settle,
    latest: &Latest,
    state: &LeaseState,
    held: Option<&Held>,
) -> Result<Settled, Fault> {
    let order = &latest.whole.order;
    let written = match too_large(turn, request) {
        Some(reason) => Err(reason),
        None => match write_rows(turn, request, latest)? {
            Ok(written) => Ok(turn.keep(written)),
            Err(fault) => {
                turn.forget(&order.target);
                match fault {
                    Fault::Sql(error) if refuses_the_values(&error) => {
                        Err(format!("the store refuses these values: {error}"))
                    }
                    fault => return Err(fault),
                }
            }
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
    let size = request.change()?.after.size();
    let most = turn.document_bytes_max;
    (size > most).then(|| format!("the order has {size} bytes, and the store takes {most}"))
}

/// Change and entry, both or neither: a savepoint of their own, because a refusal of the values
/// still has to release the lease.
fn write_rows(
    turn: &Turn<'_>,
    request: &Settle,
    latest: &Latest,
) -> Result<Result<Written, Fault>, Fault> {
    turn.all_or_nothing(|connection| {
        let entry = &request.entry;
        let append = Append {
            operation: &entry.operation,
            outcome: request.outcome(),
            actor: &request.claim.caller.principal,
            reason: None,
            at: entry.at,
            attempt: entry.attempt,
            key_id: request.claim.key_id,
            fingerprint: request.claim.fingerprint,
            grant: Some((request.fence, request.step)),
            memory: Some(Memory {
                answer: request.answer(),
                retention: entry.retention,
            }),
        };
        journal::append(connection, latest, request.change(), &append, turn.now)
    })
}

/// What the settle does to the lock.
fn end_grant(
    turn: &mut Turn<'_>,
    request: &Settle,
    order: &OrderRow,
    state: &LeaseState,
    held: Option<&Held>,
) -> Result<(), Fault> {
    stage(turn, order, state, held, request.event())
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
        clear_mark(turn, (&order.target, order.row))?;
    }
    turn.stage(&order.target, held.and_then(|held| held.after(next)));
    Ok(())
}

/// Everything is in the transaction; the answer leaves after its commit.
fn accepted(turn: &mut Turn<'_>, request: &Settle, receipt: Receipt) -> Result<Settled, Fault> {
    let next = match request.next() {
        Some(next) => hand_over(acquire(turn, next))?,
        None => None,
    };
    Ok(Settled::Accepted(Accepted {
        receipt,
        durable: Durable::already(),
        next,
    }))
}

/// A lease that is given up by its holder, or taken back with its grant.
#[derive(Clone, Debug)]
pub(crate) struct LetGo {
    pub(crate) target: Target,
    pub(crate) fence: Fence,
    event: LeaseEvent,
    pub(crate) next: Option<Box<Acquire>>,
}

impl From<Release> for LetGo {
    fn from(release: Release) -> Self {
        let event = match release.mark {
            MarkFate::Keep => LeaseEvent::Released(release.fence),
            MarkFate::Clear => LeaseEvent::ReleasedWithoutEffect(release.fence),
        };
        Self {
            target: release.target,
            fence: release.fence,
            event,
            next: release.next,
        }
    }
}

impl From<Undo> for LetGo {
    fn from(undo: Undo) -> Self {
        Self {
            target: undo.target,
            fence: undo.fence,
            event: LeaseEvent::Undone(undo.fence),
            next: undo.next,
        }
    }
}

impl LetGo {
    /// The lock after it.
    pub(crate) fn leaves(&self, state: &LeaseState) -> Result<LeaseState, Fault> {
        let next = state.next(self.event.clone());
        next.map_err(|error| Fault::refused(error.to_string()))
    }
}

/// A lease let go on the writer: one with a mark, or that hands over to one, or whose grant may
/// still stand in the writer's queue.
pub(crate) fn let_go(turn: &mut Turn<'_>, request: &LetGo) -> Result<Released, Fault> {
    let held = turn.held(&request.target);
    let Some(held) = held.filter(|held| held.lease().fence == request.fence) else {
        return Ok(Released {
            held: false,
            next: None,
        });
    };
    let next = request.leaves(held.state())?;
    let order = (&request.target, held.place.row);
    match (held.state().mark(), next.mark()) {
        (Some(_), None) => clear_mark(turn, order)?,
        // An earlier run's mark stands again.
        (Some(mark), Some(left)) if mark != left => write_mark(turn, order, left)?,
        _ => {}
    }
    turn.stage(&request.target, None);
    let next = match request.next.as_deref() {
        None => None,
        Some(next) => hand_over(acquire(turn, next))?,
    };
    Ok(Released { held: true, next })
}
