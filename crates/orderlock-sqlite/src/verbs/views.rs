//! `read` and `lookup`: an order, its lease and its keys, as clients see them.

use orderlock_core::store::{KeyFacts, Known, Lookup, OrderView, Read};
use orderlock_core::{LeaseView, Mark};
use rusqlite::Connection;

use crate::clock::Now;
use crate::file::error::Fault;
use crate::file::key_index::{Indexed, find_journal};
use crate::file::keys::{Run, find_key};
use crate::file::rows::{OrderRow, WholeOrder, find_order};
use crate::state::context::WriteContext;
use crate::state::leases::Held;
use crate::state::view::Seen;
use crate::verbs::acquire::lock_state;
use crate::verbs::create::made_by;

/// An order as others see it.
pub(crate) fn order(whole: WholeOrder, held: Option<&Held>) -> OrderView {
    OrderView {
        lease: lease(&whole.order, held),
        target: whole.order.target,
        version: whole.order.version,
        document: whole.document,
        index: whole.index,
        times: whole.times,
    }
}

pub(crate) fn lease(order: &OrderRow, held: Option<&Held>) -> Option<LeaseView> {
    let state = lock_state(order, held);
    match (state.lease(), state.mark()) {
        (Some(lease), _) => Some(lease.view(&order.target)),
        (None, Some(mark)) => Some(mark.view(&order.target)),
        (None, None) => None,
    }
}

/// What became of a key.
pub(crate) fn lookup(
    connection: &Connection,
    request: &Lookup,
    held: Option<&Held>,
    now: Now,
) -> Result<Known, Fault> {
    let target = &request.target;
    let known = match find_journal(connection, target)? {
        None => Known::Unknown,
        Some((row, journal)) => {
            let journal = &journal;
            let place = Indexed {
                target,
                row,
                journal,
            };
            let key = find_key(connection, place, (request.key_id, Run::Next), now)?;
            match key.map(|key| (key.facts, key.entry)) {
                Some((KeyFacts::Final { retained: true, .. }, entry)) => Known::Settled(entry),
                Some((KeyFacts::Final { fingerprint, .. }, _)) => Known::Expired(fingerprint),
                _ => {
                    let mark = match held {
                        Some(_) => None,
                        None => find_order(connection, target)?.and_then(|order| order.mark),
                    };
                    unsettled(request, mark.as_ref(), held)
                }
            }
        }
    };
    // The key of a creation is known by the id that is derived from it too.
    match known {
        Known::Unknown => match made_by(connection, target)? {
            Some(made) => {
                let request = Lookup {
                    target: made,
                    ..request.clone()
                };
                creation(connection, &request, now)
            }
            None => Ok(known),
        },
        known => Ok(known),
    }
}

/// What became of the key that made an order.
fn creation(connection: &Connection, request: &Lookup, now: Now) -> Result<Known, Fault> {
    let target = &request.target;
    let Some((row, journal)) = find_journal(connection, target)? else {
        return Ok(Known::Unknown);
    };
    let journal = &journal;
    let place = Indexed {
        target,
        row,
        journal,
    };
    let key = find_key(connection, place, (request.key_id, Run::Next), now)?;
    Ok(match key.map(|key| (key.facts, key.entry)) {
        Some((KeyFacts::Final { retained: true, .. }, entry)) => Known::Settled(entry),
        Some((KeyFacts::Final { fingerprint, .. }, _)) => Known::Expired(fingerprint),
        _ => Known::Unknown,
    })
}

/// What is to be told of a key that is not settled.
pub(crate) fn unsettled(request: &Lookup, mark: Option<&Mark>, held: Option<&Held>) -> Known {
    if let Some(held) = held {
        let lease = held.lease();
        return if lease.key_id == request.key_id {
            Known::Running(lease.view(&request.target))
        } else {
            Known::Unknown
        };
    }
    let mine = mark.filter(|mark| mark.key_id == request.key_id);
    mine.map_or(Known::Unknown, |mark| Known::Marked(Box::new(mark.clone())))
}

/// An order that the writer is at: the batch knows it best, and is on the disk before it is told.
pub(crate) fn read_on_writer(
    context: &mut WriteContext<'_>,
    request: &Read,
) -> Result<Option<OrderView>, Fault> {
    let Seen { held, latest, .. } = context.order(&request.target)?;
    Ok(latest.map(|latest| order(latest.whole.clone(), held.as_ref())))
}

/// The same of a key.
pub(crate) fn look_up_on_writer(
    context: &mut WriteContext<'_>,
    request: &Lookup,
) -> Result<Known, Fault> {
    let held = context.held(&request.target);
    lookup(context.connection, request, held.as_ref(), context.now)
}
