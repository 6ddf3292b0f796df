//! `join`, `renew`, `leave`: the life of a node's session.

use std::collections::HashSet;
use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReturnDocument;
use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed};
use orderlock_core::{Fence, Secret, StoreError};

use crate::database::calls::{Calls, fields_of};
use crate::document::fields::{FieldReader, from_micros, hex, span_to_micros};
use crate::error::Failure;
use crate::sessions::SESSIONS_MAX;
use crate::sessions::row::{SessionRow, broken, path_of_broken};
use crate::shared::Inner;
use crate::verbs::leases;
use crate::verbs::tend::tend;

/// How long the answer to a renewal waits for a look at the leases of its session.
const TENDING: Duration = Duration::from_millis(500);

/// How many leases of an ended session are voided at once.
const VOIDED_MAX: usize = 10_000;

pub(crate) async fn join(inner: &Inner, request: &Join) -> Result<Joined, StoreError> {
    let id = hex(request.session.0);
    let session = doc! {
        "_id": &id,
        "node": &request.node,
        "renewals": 0_i64,
        "length": span_to_micros(request.length),
    };
    let calls = &inner.calls;
    match calls.insert_once(&calls.sessions, &session).await? {
        true => drop(inner.sessions.note(request.session, 0)),
        false => {
            let looked = inner.sessions.look(request.session).await;
            looked.map_err(Failure::not_applied)?;
        }
    }
    let query = calls
        .sessions
        .find(doc! {"node": &request.node, "_id": {"$ne": &id}})
        .limit(SESSIONS_MAX);
    let others = calls.all(query).await.map_err(Failure::not_applied)?;
    for other in &others {
        let row = SessionRow::read(other).map_err(Failure::not_applied)?;
        inner.sessions.end(row.session, doc! {}).await?;
        // Its leases count as free from now on. What is more than this, sweeps void.
        leases::void_of(inner, row.session, VOIDED_MAX).await?;
    }
    Ok(Joined {
        secret: secret(calls, &request.secret).await?,
    })
}

/// The installation's secret: this one, if there is none yet.
async fn secret(calls: &Calls, offered: &Secret) -> Result<Secret, StoreError> {
    let text = blake3::Hash::from(*offered.expose()).to_hex().to_string();
    let offered = doc! {"_id": "secret", "value": text};
    calls.insert_once(&calls.meta, &offered).await?;
    let query = calls.meta.find_one(doc! {"_id": "secret"});
    let found = calls.one(query).await.map_err(Failure::not_applied)?;
    let kept = found.unwrap_or_default();
    let kept = FieldReader::new("the installation's secret", &kept).text("value");
    let kept = blake3::Hash::from_hex(kept.map_err(Failure::not_applied)?);
    let kept = kept.map_err(|_| Failure::unreadable("the installation's secret").not_applied())?;
    Ok(Secret::new(kept.into()))
}

pub(crate) async fn renew(inner: &Inner, request: &Renew) -> Result<Renewed, StoreError> {
    let session = request.session;
    let tended = inner.sessions.tended.get(session);
    let mut update = doc! {"$inc": {"renewals": 1_i64}, "$currentDate": {"seen": true}};
    // What the last renewal has found and this one does not name has been let go.
    let known: HashSet<&Fence> = request.known.iter().collect();
    let over = tended.broken.iter().filter(|fence| !known.contains(fence));
    let over: Fields = over
        .map(|fence| (path_of_broken(*fence), Bson::from("")))
        .collect();
    if !over.is_empty() {
        update.insert("$unset", over);
    }
    let command = inner
        .calls
        .sessions
        .find_one_and_update(doc! {"_id": hex(session.0)}, update)
        .return_document(ReturnDocument::After);
    let renewed = inner.calls.bounded(command).await;
    let Some(document) = renewed.map_err(Failure::of_a_write)? else {
        inner.sessions.forget(session);
        return Ok(Renewed::Ended);
    };
    let fields = fields_of(&document).map_err(Failure::not_applied)?;
    if let Some(Bson::DateTime(time)) = fields.get("seen") {
        let seen = from_micros(time.timestamp_millis().saturating_mul(1_000));
        inner.clock.hear(seen);
    }
    let row = SessionRow::read(&fields).map_err(Failure::not_applied)?;
    inner.sessions.note(session, row.renewals);
    // The session is renewed by now, whatever comes of the look at its leases, and its node must hear
    // so in time. What was not looked at is looked at with the next renewal.
    let before = tended.clone();
    let tend = tend(inner, request, row.renewals, tended);
    let mut tended = match tokio::time::timeout(TENDING, tend).await {
        Ok(tended) => tended,
        Err(_) => {
            tracing::warn!("leases that this node does not know were not looked for in time");
            before
        }
    };
    let broken = broken(&fields);
    tended.broken.clone_from(&broken);
    inner.sessions.tended.put(session, tended);
    let voided = broken.into_iter().filter(|fence| known.contains(fence));
    Ok(Renewed::Extended {
        voided: voided.collect(),
    })
}

pub(crate) async fn leave(inner: &Inner, request: &Leave) -> Result<Left, StoreError> {
    inner.sessions.end(request.session, doc! {}).await?;
    let voided = leases::void_of(inner, request.session, VOIDED_MAX).await?;
    Ok(Left { voided })
}
