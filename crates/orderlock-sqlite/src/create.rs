//! `create`: the order and its first entry in one write.

use orderlock_core::store::{Create, Created, KeyFacts};
use orderlock_core::{Document, Times, Version};
use rusqlite::params;

use crate::error::Fault;
use crate::journal::{self, Append, Memory};
use crate::keys::entry_at;
use crate::rows::{Latest, OrderRow, WholeOrder, signed};
use crate::time;
use crate::turn::Turn;

pub(crate) fn create(turn: &mut Turn<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    // Nobody holds an order that is not there, but a reader must see that it is being written.
    turn.held(&claim.target());
    if let Some(latest) = turn.order(&claim.target())? {
        let Some(key) = turn.key(&latest.whole.order, claim.key_id)? else {
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

fn insert(turn: &mut Turn<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    let mut insert = turn.connection.prepare_cached(
        "INSERT INTO orders (tenant, id, version, status, customer, created, updated, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let row = insert.insert(params![
        claim.caller.tenant.as_str(),
        claim.order.as_str(),
        signed(Version::FIRST.0),
        request.index.status,
        request.index.customer,
        time::to_sql(request.times.created),
        time::to_sql(request.times.updated),
        &request.document.as_bytes()[..],
    ])?;
    let latest = Latest {
        whole: WholeOrder {
            order: OrderRow {
                row,
                target: claim.target(),
                version: Version::FIRST,
                mark: None,
            },
            index: request.index.clone(),
            times: Times {
                created: time::as_kept(request.times.created),
                updated: time::as_kept(request.times.updated),
            },
            document: Document::trusted(request.document.as_bytes().to_vec()),
        },
        number: 0,
    };
    let entry = &request.entry;
    let append = Append {
        operation: &entry.operation,
        outcome: entry.outcome,
        actor: &claim.caller.principal,
        reason: None,
        at: entry.at,
        attempt: entry.attempt,
        key_id: claim.key_id,
        fingerprint: claim.fingerprint,
        grant: None,
        changed: true,
        memory: Some(Memory {
            answer: entry.answer.as_ref(),
            retention: entry.retention,
        }),
    };
    let written = journal::append(turn.connection, latest, &append, turn.now)?;
    Ok(Created::Inserted(turn.keep(written)))
}
