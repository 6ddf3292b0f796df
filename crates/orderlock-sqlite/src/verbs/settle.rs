//! `settle`, `release` and `undo`: how a grant ends.

use orderlock_core::store::{
    Accepted, Acquire, Durable, KeyFacts, Loss, MarkFate, Receipt, Release, Released, Settle,
    SettleFacts, SettleVerdict, Settled, Undo, decide_settle,
};
use orderlock_core::{Fence, LeaseEvent, LeaseState, Target};

use crate::file::error::{Fault, refuses_the_values};
use crate::file::journal::{self, Append, KeyRecord, Written};
use crate::file::keys::find_settle;
use crate::file::rows::{Latest, OrderRow};
use crate::state::context::WriteContext;
use crate::state::leases::Held;
use crate::state::view::Certainty;
use crate::verbs::acquire::{acquire, hand_over, lock_state, run_of};
use crate::verbs::marks::{clear_mark, write_mark};

/// A settle on the writer.
pub(crate) fn settle(context: &mut WriteContext<'_>, request: &Settle) -> Result<Settled, Fault> {
    let target = request.claim.target();
    let seen = context.order(&target)?;
    let held = seen.held;
    let Some(latest) = seen.latest else {
        return Ok(Settled::Lost(Loss::NotHeld));
    };
    let order = &latest.whole.order;
    let state = lock_state(order, held.as_ref());
    let (fence, step) = (request.fence, request.step);
    let key_id = request.claim.key_id;
    let is_next = held
        .as_ref()
        .is_some_and(|held| held.awaits(key_id, fence, step));
    let (settled, written) = match seen.certainty {
        Certainty::OnDisk | Certainty::BeingFlushed if is_next => (false, None),
        Certainty::OnDisk | Certainty::BeingFlushed | Certainty::InDoubt => {
            in_the_journal(context, request, &latest)?
        }
    };
    let facts = SettleFacts {
        version: Some(order.version),
        lease: &state,
        written,
        key_settled: settled,
    };
    match decide_settle(request, facts) {
        SettleVerdict::Repeat(receipt) => {
            // The first answer may have been lost together with the knowledge of its commit: then
            // memory still holds the lease as it was before, and catches up here.
            let behind = state.lease().is_some_and(|lease| lease.steps == step);
            if let (true, Ok(after)) = (behind, state.next(request.event())) {
                stage(context, order, held.as_ref(), after)?;
            }
            accepted(context, request, receipt)
        }
        SettleVerdict::Apply(after) => {
            write(context, request, &latest, (&state, after), held.as_ref())
        }
        SettleVerdict::Lost(loss) => Ok(Settled::Lost(loss)),
    }
}

/// Whether the key has a final entry, and what this very settle has written before, if it has.
fn in_the_journal(
    context: &WriteContext<'_>,
    request: &Settle,
    latest: &Latest,
) -> Result<(bool, Option<Receipt>), Fault> {
    let (key_id, fence, step) = (request.claim.key_id, request.fence, request.step);
    let run = run_of(key_id, None);
    let Some(key) = context.key(latest, (key_id, run))? else {
        return Ok((false, None));
    };
    let written = find_settle(context.connection, latest.place(), key_id, fence, step)?;
    Ok((matches!(key.facts, KeyFacts::Final { .. }), written))
}

fn write(
    context: &mut WriteContext<'_>,
    request: &Settle,
    latest: &Latest,
    (state, after): (&LeaseState, LeaseState),
    held: Option<&Held>,
) -> Result<Settled, Fault> {
    let order = &latest.whole.order;
    let written = match too_large(context, request) {
        Some(reason) => Err(reason),
        None => match write_rows(context, request, latest)? {
            Ok(written) => Ok(context.keep(written)),
            Err(fault) => {
                context.forget(&order.target);
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
            stage(context, order, held, after)?;
            context.count_settle();
            accepted(context, request, receipt)
        }
        Err(reason) => {
            let released = state.next(LeaseEvent::Released(request.fence));
            let after = released.map_err(|error| Fault::refused(error.to_string()))?;
            stage(context, order, held, after)?;
            Ok(Settled::Impossible(reason))
        }
    }
}

fn too_large(context: &WriteContext<'_>, request: &Settle) -> Option<String> {
    let size = request.change()?.after.size();
    let most = context.document_bytes_max;
    (size > most).then(|| format!("the order has {size} bytes, and the store takes {most}"))
}

/// Change and entry, both or neither: a savepoint of their own, because a refusal of the values
/// still has to release the lease.
fn write_rows(
    context: &WriteContext<'_>,
    request: &Settle,
    latest: &Latest,
) -> Result<Result<Written, Fault>, Fault> {
    context.all_or_nothing(|connection| {
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
            record: Some(KeyRecord {
                answer: request.answer(),
                retention: entry.retention,
            }),
        };
        journal::append(connection, latest, request.change(), &append, context.now)
    })
}

/// Puts the lock into this state, in memory and, where a mark ends, in the file.
fn stage(
    context: &mut WriteContext<'_>,
    order: &OrderRow,
    held: Option<&Held>,
    after: LeaseState,
) -> Result<(), Fault> {
    if order.mark.is_some() && after.mark().is_none() {
        clear_mark(context, (&order.target, order.row))?;
    }
    context.stage(&order.target, held.and_then(|held| held.after(after)));
    Ok(())
}

/// Everything is in the transaction; the answer leaves after its commit.
fn accepted(
    context: &mut WriteContext<'_>,
    request: &Settle,
    receipt: Receipt,
) -> Result<Settled, Fault> {
    let next = match request.next() {
        Some(next) => hand_over(acquire(context, next))?,
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
pub(crate) fn let_go(context: &mut WriteContext<'_>, request: &LetGo) -> Result<Released, Fault> {
    let held = context.held(&request.target);
    let Some(held) = held.filter(|held| held.lease().fence == request.fence) else {
        return Ok(Released {
            held: false,
            next: None,
        });
    };
    let next = request.leaves(held.state())?;
    let order = (&request.target, held.place.row);
    match (held.state().mark(), next.mark()) {
        (Some(_), None) => clear_mark(context, order)?,
        // An earlier run's mark stands again.
        (Some(mark), Some(left)) if mark != left => write_mark(context, order, left)?,
        _ => {}
    }
    context.stage(&request.target, None);
    let next = match request.next.as_deref() {
        None => None,
        Some(next) => hand_over(acquire(context, next))?,
    };
    Ok(Released { held: true, next })
}
