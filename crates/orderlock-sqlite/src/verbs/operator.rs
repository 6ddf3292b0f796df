//! `break_lease` and `resolve`: what an operator decides. Both stand in the journal.

use orderlock_core::store::{BreakLease, Broken, Decision, Resolve, Resolved};
use orderlock_core::{LeaseEvent, LeaseState, Mark, OutcomeKind, Target};

use crate::file::error::Fault;
use crate::file::journal::{self, Append, KeyRecord};
use crate::state::context::WriteContext;
use crate::state::view::Seen;
use crate::verbs::acquire::lock_state;
use crate::verbs::marks::clear_mark;

/// Voids one grant. A mark stays.
pub(crate) fn break_lease(
    context: &mut WriteContext<'_>,
    request: &BreakLease,
) -> Result<Broken, Fault> {
    let Some((fence, order)) = request.lease.grant() else {
        return Ok(Broken::NotFound);
    };
    let target = Target {
        tenant: request.tenant.clone(),
        order,
    };
    let held = context.held(&target);
    let Some(held) = held.filter(|held| held.lease().fence == fence) else {
        return Ok(Broken::NotFound);
    };
    let latest = context.order(&target)?.latest;
    let latest = latest.ok_or_else(|| Fault::damaged("a held order is not in the file"))?;
    let lease = held.lease();
    let append = Append {
        operation: &lease.operation,
        outcome: OutcomeKind::LeaseBroken,
        actor: &request.actor,
        reason: Some(&request.reason),
        at: context.now.wall,
        attempt: lease.attempt,
        key_id: lease.key_id,
        fingerprint: lease.fingerprint,
        grant: None,
        record: None,
    };
    let written = journal::append(context.connection, &latest, None, &append, context.now)?;
    context.keep(written);
    held.state()
        .next(LeaseEvent::Voided(fence))
        .map_err(|error| Fault::refused(error.to_string()))?;
    context.stage(&target, None);
    context.stage_broken(lease.session, fence);
    Ok(Broken::Broken(lease.view(&target)))
}

/// Ends a mark that nobody attends to.
pub(crate) fn resolve(
    context: &mut WriteContext<'_>,
    request: &Resolve,
) -> Result<Resolved, Fault> {
    let Seen { held, latest, .. } = context.order(&request.target)?;
    let Some(latest) = latest else {
        return Ok(Resolved::NotMarked);
    };
    let order = &latest.whole.order;
    let state = lock_state(order, held.as_ref());
    let resolved = state.next(LeaseEvent::Resolved(request.key_id));
    let (LeaseState::Unattended(mark), Ok(LeaseState::Free)) = (&state, resolved) else {
        return Ok(Resolved::NotMarked);
    };
    if !request.is_about(mark) {
        return Ok(Resolved::NotMarked);
    }
    let mut changed = None;
    let append = match &request.decision {
        // What was asked of the outside may have happened: the key stays bound to it.
        Decision::RunAgain { retention } => Append {
            record: Some(KeyRecord {
                answer: None,
                retention: *retention,
            }),
            ..cleared(context, request, mark)
        },
        Decision::Settle {
            version,
            end,
            retention,
        } => {
            if *version != order.version {
                return Ok(Resolved::VersionMismatch {
                    current: order.version,
                });
            }
            let change = end.outcome.change();
            let size = change.map_or(0, |change| change.after.size());
            if size > context.document_bytes_max {
                return Err(Fault::refused(format!(
                    "an order of {size} bytes is too large"
                )));
            }
            changed = change;
            Append {
                outcome: end.outcome.kind(),
                record: Some(KeyRecord {
                    answer: Some(&end.answer),
                    retention: *retention,
                }),
                ..cleared(context, request, mark)
            }
        }
    };
    let written = journal::append(context.connection, &latest, changed, &append, context.now)?;
    let receipt = context.keep(written);
    clear_mark(context, (&order.target, order.row))?;
    Ok(Resolved::Resolved(receipt))
}

/// The entry that says that the mark was cleared.
fn cleared<'a>(context: &WriteContext<'_>, request: &'a Resolve, mark: &'a Mark) -> Append<'a> {
    Append {
        operation: &mark.operation,
        outcome: OutcomeKind::MarkCleared,
        actor: &request.actor,
        reason: Some(&request.reason),
        at: context.now.wall,
        attempt: mark.attempt,
        key_id: mark.key_id,
        fingerprint: mark.fingerprint,
        grant: None,
        record: None,
    }
}
