//! `create`: the order and its first entry in one write.

use orderlock_core::Version;
use orderlock_core::store::{Create, Created, KeyFacts};
use rusqlite::params;

use crate::error::Fault;
use crate::journal::{self, Append, Memory, entry_at, find_key};
use crate::rows::{find_order, signed};
use crate::time;
use crate::turn::Turn;

pub(crate) fn create(turn: &mut Turn<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    // Nobody holds an order that is not there, but a reader must see that it is being written.
    turn.held(&claim.target());
    if let Some(order) = find_order(turn.connection, &claim.target())? {
        let Some(key) = find_key(turn.connection, order.row, claim.key_id, turn.now)? else {
            return Ok(Created::Exists);
        };
        return Ok(match key.facts {
            KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
                if fingerprint != claim.fingerprint =>
            {
                Created::Reused
            }
            KeyFacts::Final { retained: true, .. } => {
                Created::Settled(entry_at(turn.connection, key.position, turn.now)?)
            }
            KeyFacts::Final { .. } => Created::Expired,
            KeyFacts::Progress { .. } | KeyFacts::New => Created::Exists,
        });
    }
    let (size, most) = (request.document.size(), turn.document_bytes_max);
    if size > most {
        let reason = format!("the order has {size} bytes, and the store takes {most}");
        return Err(Fault::refused(reason));
    }
    insert(turn, request)
}

fn insert(turn: &Turn<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    let mut insert = turn.connection.prepare_cached(
        "INSERT INTO orders (tenant, id, version, status, customer, created, updated, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let order = insert.insert(params![
        claim.caller.tenant.as_str(),
        claim.order.as_str(),
        signed(Version::FIRST.0),
        request.index.status,
        request.index.customer,
        time::to_sql(request.times.created),
        time::to_sql(request.times.updated),
        &request.document.as_bytes()[..],
    ])?;
    let entry = &request.entry;
    let append = Append {
        order,
        version: Version::FIRST,
        operation: &entry.operation,
        outcome: entry.outcome,
        actor: &claim.caller.principal,
        reason: None,
        at: entry.at,
        attempt: entry.attempt,
        key_id: claim.key_id,
        fingerprint: claim.fingerprint,
        grant: None,
        change: Some(&request.document),
        memory: Some(Memory {
            answer: entry.answer.as_ref(),
            retention: entry.retention,
        }),
    };
    let receipt = journal::append(turn.connection, &append, turn.now)?;
    Ok(Created::Inserted(receipt))
}
