//! `create`: the order and its first entry in one write.

use orderlock_core::store::{Claim, Create, Created, KeyFacts};
use orderlock_core::{Document, OrderId, OutcomeKind, Target, Times, Version};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::file::error::Fault;
use crate::file::journal::{self, Append, KeyRecord};
use crate::file::key_index::{Journal, key_hash};
use crate::file::keys::Run;
use crate::file::rows::{Latest, OrderRow, WholeOrder, name, signed};
use crate::file::time;
use crate::state::context::WriteContext;

pub(crate) fn create(context: &mut WriteContext<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    let target = claim.target();
    let derived = Target {
        order: request.derived.clone(),
        ..target.clone()
    };
    let made = made_by(context.connection, &derived)?.unwrap_or(derived);
    if made != target
        && let Some(told) = made_before(context, claim, &made)?
        && told != Created::Exists
    {
        return Ok(told);
    }
    // Nobody holds an order that is not there, but a reader must see that it is being written.
    context.held(&target);
    if let Some(told) = made_before(context, claim, &target)? {
        return Ok(told);
    }
    let (size, most) = (request.document.size(), context.document_bytes_max);
    if size > most {
        let reason = format!("the order has {size} bytes, and the store takes {most}");
        return Err(Fault::refused(reason));
    }
    insert(context, request)
}

/// What a creation comes to if this order stands there already.
fn made_before(
    context: &mut WriteContext<'_>,
    claim: &Claim,
    target: &Target,
) -> Result<Option<Created>, Fault> {
    let Some(latest) = context.order(target)?.latest else {
        return Ok(None);
    };
    let Some(key) = context.key(&latest, (claim.key_id, Run::Next))? else {
        return Ok(Some(Created::Exists));
    };
    Ok(Some(match key.facts {
        KeyFacts::Final { fingerprint, .. } | KeyFacts::Progress { fingerprint, .. }
            if fingerprint != claim.fingerprint =>
        {
            Created::Reused
        }
        KeyFacts::Final { retained: true, .. } => Created::Settled(key.entry),
        KeyFacts::Final { .. } => Created::Expired,
        KeyFacts::Progress { .. } | KeyFacts::New => Created::Exists,
    }))
}

/// The order that a key has made under a chosen id, by the id that is derived from the key.
pub(crate) fn made_by(
    connection: &Connection,
    derived: &Target,
) -> rusqlite::Result<Option<Target>> {
    let order = connection
        .prepare_cached(
            "SELECT o.id FROM reservations r JOIN orders o ON o.row = r.order_row
             WHERE r.tenant = ?1 AND r.derived = ?2",
        )?
        .query_row([derived.tenant.as_str(), derived.order.as_str()], |row| {
            name(0, OrderId::parse(&row.get::<_, String>(0)?))
        })
        .optional()?;
    Ok(order.map(|order| Target {
        order,
        ..derived.clone()
    }))
}

fn insert(context: &mut WriteContext<'_>, request: &Create) -> Result<Created, Fault> {
    let claim = &request.claim;
    let position = journal::next_position(context.connection)?;
    let mut told = Journal::EMPTY;
    told.add(key_hash(claim.key_id), position);
    let mut insert = context.connection.prepare_cached(
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
    if request.derived != claim.order {
        let reserve = "INSERT INTO reservations (tenant, derived, order_row) VALUES (?1, ?2, ?3)";
        let tenant = claim.caller.tenant.as_str();
        context
            .connection
            .prepare_cached(reserve)?
            .execute(params![tenant, request.derived.as_str(), row])?;
    }
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
        outcome: OutcomeKind::Created,
        actor: &claim.caller.principal,
        reason: None,
        at: entry.at,
        attempt: entry.attempt,
        key_id: claim.key_id,
        fingerprint: claim.fingerprint,
        grant: None,
        record: Some(KeyRecord {
            answer: Some(&request.answer),
            retention: entry.retention,
        }),
    };
    let written = journal::begin(context.connection, latest, position, &append, context.now)?;
    Ok(Created::Inserted(context.keep(written)))
}
