//! `create`: the order and its first entry in one write.

use orderlock_core::store::{Create, Created, KeyFacts};
use orderlock_core::{Document, Times, Version};
use rusqlite::params;

use crate::error::Fault;
use crate::journal::{self, Append, Memory};
use crate::newest::{Journal, key_hash};
use crate::rows::{Latest, OrderRow, WholeOrder, signed};
use crate::time;
use crate::turn::Turn;

pub(crate) fn create(turn: &mut Turn<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    // Nobody holds an order that is not there, but a reader must see that it is being written.
    turn.held(&claim.target());
    if let Some(latest) = turn.order(&claim.target())? {
        let Some(key) = turn.key(&latest, claim.key_id)? else {
            return Ok(Created::Exists);
        };
        return Ok(match key.facts {
            KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
                if fingerprint != claim.fingerprint =>
            {
                Created::Reused
            }
            KeyFacts::Final { retained: true, .. } => Created::Settled(key.entry),
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
    let position = journal::next_position(turn.connection)?;
    let mut told = Journal::EMPTY;
    told.add(key_hash(claim.key_id), position);
    let mut insert = turn.connection.prepare_cached(
        "INSERT INTO orders (tenant, id, version, status, customer, created, updated, number,
             newest, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let row = insert.insert(params![
        claim.caller.tenant.as_str(),
        claim.order.as_str(),
        signed(Version::FIRST.0),
        request.index.status,
        request.index.customer,
        time::to_sql(request.times.created),
        time::to_sql(request.times.updated),
        signed(told.number),
        told.newest,
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
        journal: told,
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
        memory: Some(Memory {
            answer: entry.answer.as_ref(),
            retention: entry.retention,
        }),
    };
    let written = journal::begin(turn.connection, latest, position, &append, turn.now)?;
    Ok(Created::Inserted(turn.keep(written)))
}
