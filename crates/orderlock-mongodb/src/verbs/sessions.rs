//! Nodes' signs of life: `join`, `renew`, `leave`. A session is a document, and ends by its removal;
//! a lease whose session is not there counts as free, whenever it was written.
//!
//! No machine's clock is compared with another's. A renewal counts; who has seen the same count for
//! the length of the session, by a clock of its own that never goes back, may end it, on the
//! condition that the count is still the same.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReturnDocument;
use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed};
use orderlock_core::{Fence, Lease, Secret, SessionId, StoreError};

use crate::database::calls::{Stored, document_of, fields_of};
use crate::database::clock::{from_micros, span_to_micros};
use crate::document::fields::{Reader, hex, parse_u128};
use crate::error::Failure;
use crate::store::Inner;
use crate::verbs::leases;

/// How many sessions there may be: more nodes than one database serves.
const SESSIONS_MAX: i64 = 10_000;

/// How long the answer to a renewal waits for a look at the leases of its session.
const TENDING: Duration = Duration::from_millis(500);

/// How many leases of an ended session are voided at once.
const VOIDED_MAX: usize = 10_000;

/// Every so many renewals all leases of a session are looked at.
const LOOK_AT_ALL: i64 = 8;

/// How many renewals a grant may be on its way to the database.
const LATE: i64 = 2;

type Look = Shared<BoxFuture<'static, Result<Option<i64>, Failure>>>;

/// What this node has seen of sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    seen: Mutex<HashMap<SessionId, Seen>>,
    /// Looks that are under way: whoever wants the same one waits for it.
    looks: Mutex<HashMap<SessionId, Look>>,
    /// What this node's own sessions have looked at, by their renewals.
    tended: Mutex<HashMap<SessionId, Tended>>,
}

/// What the renewals of a session have seen of its leases.
#[derive(Clone, Debug, Default)]
struct Tended {
    /// Leases that were granted before this renewal have been looked at.
    upto: i64,
    /// Those that the node knew then.
    known: HashSet<Fence>,
    /// The broken grants that the last renewal has found.
    broken: Vec<Fence>,
}

/// How often a session had been renewed, and when that was first seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    renewals: i64,
    at: Instant,
}

/// A session as it stands in the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) session: SessionId,
    pub(crate) renewals: i64,
    pub(crate) length: Duration,
}

impl Sessions {
    /// How often a session of this node was renewed, as far as is known; none if it is not known.
    pub(crate) fn renewals(&self, session: SessionId) -> Option<i64> {
        self.lock().get(&session).map(|seen| seen.renewals)
    }

    /// Notes a count, and says since when it has been seen.
    pub(crate) fn note(&self, session: SessionId, renewals: i64, now: Instant) -> Instant {
        let mut seen = self.lock();
        let entry = seen.entry(session).or_insert(Seen { renewals, at: now });
        if entry.renewals < renewals {
            *entry = Seen { renewals, at: now };
        }
        entry.at
    }

    pub(crate) fn forget(&self, session: SessionId) {
        self.lock().remove(&session);
        self.tended().remove(&session);
    }

    fn tended(&self) -> MutexGuard<'_, HashMap<SessionId, Tended>> {
        self.tended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session goes on: how often it was renewed, or none if it has ended. One look serves
    /// all who ask for it at the same time.
    pub(crate) async fn look(
        &self,
        inner: &Arc<Inner>,
        session: SessionId,
    ) -> Result<Option<i64>, Failure> {
        let look = {
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            looks.retain(|_, look| look.peek().is_none());
            let look = looks
                .entry(session)
                .or_insert_with(|| begin(inner, session));
            Look::clone(look)
        };
        let found = look.await?;
        match found {
            Some(renewals) => drop(self.note(session, renewals, inner.clock.instant())),
            None => self.forget(session),
        }
        Ok(found)
    }

    /// Every session that goes on.
    pub(crate) async fn alive(&self, inner: &Inner) -> Result<Vec<SessionId>, Failure> {
        let standing = all(inner).await?;
        Ok(standing
            .into_iter()
            .map(|standing| standing.session)
            .collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a look, in a task of its own: it comes to its end also if those who wait go away.
fn begin(inner: &Arc<Inner>, session: SessionId) -> Look {
    let calls = Arc::clone(&inner.calls);
    let look = async move {
        let query = calls.sessions.find_one(doc! {"_id": hex(session.0)});
        let found = calls.one(query).await?;
        let standing = found.as_ref().map(standing).transpose()?;
        Ok(standing.map(|standing| standing.renewals))
    };
    let look = look.boxed().shared();
    inner.runtime.spawn(Look::clone(&look).map(drop).boxed());
    look
}

/// Every session that stands in the database.
pub(crate) async fn all(inner: &Inner) -> Result<Vec<Standing>, Failure> {
    let query = inner.calls.sessions.find(doc! {}).limit(SESSIONS_MAX);
    let found = inner.calls.all(query).await?;
    found.iter().map(standing).collect()
}

fn standing(fields: &Fields) -> Result<Standing, Failure> {
    let reader = Reader::new("a session", fields);
    Ok(Standing {
        session: reader.session("_id")?,
        renewals: reader.number("renewals")?,
        length: Duration::from_micros(reader.count("length")?),
    })
}

pub(crate) async fn join(inner: &Arc<Inner>, request: &Join) -> Result<Joined, StoreError> {
    let id = hex(request.session.0);
    let session = doc! {
        "_id": &id,
        "node": &request.node,
        "renewals": 0_i64,
        "length": span_to_micros(request.length),
    };
    match insert_once(inner, &inner.calls.sessions, session).await? {
        true => drop(
            inner
                .sessions
                .note(request.session, 0, inner.clock.instant()),
        ),
        false => {
            let looked = inner.sessions.look(inner, request.session).await;
            looked.map_err(Failure::not_applied)?;
        }
    }
    let query = inner
        .calls
        .sessions
        .find(doc! {"node": &request.node, "_id": {"$ne": &id}})
        .limit(SESSIONS_MAX);
    let others = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    for other in &others {
        let other = standing(other).map_err(Failure::not_applied)?.session;
        end(inner, other, doc! {}).await?;
        // Its leases count as free from now on. What is more than this, sweeps void.
        leases::void_of(inner, other, VOIDED_MAX).await?;
    }
    Ok(Joined {
        secret: secret(inner, &request.secret).await?,
    })
}

/// The installation's secret: this one, if there is none yet.
async fn secret(inner: &Inner, offered: &Secret) -> Result<Secret, StoreError> {
    let text = blake3::Hash::from(*offered.expose()).to_hex().to_string();
    insert_once(
        inner,
        &inner.calls.meta,
        doc! {"_id": "secret", "value": text},
    )
    .await?;
    let query = inner.calls.meta.find_one(doc! {"_id": "secret"});
    let found = inner.calls.one(query).await.map_err(Failure::not_applied)?;
    let kept = found.unwrap_or_default();
    let kept = Reader::new("the installation's secret", &kept).text("value");
    let kept = blake3::Hash::from_hex(kept.map_err(Failure::not_applied)?);
    let kept = kept.map_err(|_| Failure::unreadable("the installation's secret").not_applied())?;
    Ok(Secret::new(kept.into()))
}

/// Inserts a document, unless one of its id is there. Says whether it did.
pub(crate) async fn insert_once(
    inner: &Inner,
    collection: &Stored,
    document: Fields,
) -> Result<bool, StoreError> {
    let document = document_of(&document).map_err(Failure::not_applied)?;
    match inner.calls.bounded(collection.insert_one(document)).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_duplicate() => Ok(false),
        Err(failure) => Err(failure.of_a_write()),
    }
}

pub(crate) async fn renew(inner: &Arc<Inner>, request: &Renew) -> Result<Renewed, StoreError> {
    let session = request.session;
    let tended = inner.sessions.tended().get(&session).cloned();
    let tended = tended.unwrap_or_default();
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
    let renewals = standing(&fields).map_err(Failure::not_applied)?.renewals;
    inner
        .sessions
        .note(session, renewals, inner.clock.instant());
    // The session is renewed by now, whatever comes of the look at its leases, and its node must hear
    // so in time. What was not looked at is looked at with the next renewal.
    let before = tended.clone();
    let tend = tend(inner, request, renewals, tended);
    let mut tended = match tokio::time::timeout(TENDING, tend).await {
        Ok(tended) => tended,
        Err(_) => {
            tracing::warn!("leases that this node does not know were not looked for in time");
            before
        }
    };
    let broken = broken(&fields);
    tended.broken.clone_from(&broken);
    inner.sessions.tended().insert(session, tended);
    let voided = broken.into_iter().filter(|fence| known.contains(fence));
    Ok(Renewed::Extended {
        voided: voided.collect(),
    })
}

/// Voids the leases of a session that its node does not know, once they are older than the last
/// renewal: until then they may be on their way to it. Each is looked at when it has become so old, and
/// again when its node has ceased to know it; now and then all are. The session is renewed whatever
/// comes of it.
async fn tend(inner: &Arc<Inner>, request: &Renew, renewals: i64, mut tended: Tended) -> Tended {
    let old = renewals - 1;
    let from = match renewals % LOOK_AT_ALL == 0 {
        true => 0,
        // One that was long on its way may name an earlier renewal.
        false => tended.upto - LATE,
    };
    let known: HashSet<Fence> = request.known.iter().copied().collect();
    let gone = tended.known.difference(&known).copied();
    let gone: Vec<Fence> = gone.collect();
    let looked = async {
        let aged = leases::granted(inner, request.session, from..old).await?;
        let (stay, mut lost): (Vec<_>, Vec<_>) = aged
            .into_iter()
            .partition(|lease| known.contains(&lease.fence));
        lost.extend(leases::held(inner, &gone).await?);
        leases::void(inner, &lost).await?;
        Ok::<_, StoreError>(stay)
    };
    match looked.await {
        Ok(stay) => {
            tended.known.retain(|fence| known.contains(fence));
            tended
                .known
                .extend(stay.into_iter().map(|lease| lease.fence));
            tended.upto = old;
        }
        Err(error) => {
            tracing::warn!(%error, "leases that this node does not know were not looked for");
        }
    }
    tended
}

/// The grants of a session that were broken, as its document says.
fn broken(fields: &Fields) -> Vec<Fence> {
    let broken = fields.get("broken").and_then(Bson::as_document);
    let names = broken.into_iter().flat_map(Fields::keys);
    names
        .filter_map(|name| parse_u128(name).map(Fence))
        .collect()
}

fn path_of_broken(fence: Fence) -> String {
    format!("broken.{}", hex(fence.0))
}

/// Has the session of a grant that was broken say so at its next renewal. If it does not, the holder
/// learns it at its next word.
pub(crate) async fn tell_broken(inner: &Inner, lease: &Lease) {
    let filter = doc! {"_id": hex(lease.session.0)};
    let update = doc! {"$set": {path_of_broken(lease.fence): 1}};
    let told = inner.calls.sessions.update_one(filter, update);
    if let Err(failure) = inner.calls.bounded(told).await {
        let error = failure.not_applied();
        tracing::warn!(%error, "the holder of a broken lease will learn it late");
    }
}

pub(crate) async fn leave(inner: &Arc<Inner>, request: &Leave) -> Result<Left, StoreError> {
    end(inner, request.session, doc! {}).await?;
    let voided = leases::void_of(inner, request.session, VOIDED_MAX).await?;
    Ok(Left { voided })
}

/// Ends a session, if it is still so. Says whether it did.
pub(crate) async fn end(
    inner: &Inner,
    session: SessionId,
    still: Fields,
) -> Result<bool, StoreError> {
    let mut filter = doc! {"_id": hex(session.0)};
    filter.extend(still);
    let command = inner.calls.sessions.find_one_and_delete(filter);
    let ended = inner
        .calls
        .bounded(command)
        .await
        .map_err(Failure::of_a_write)?;
    if ended.is_some() {
        inner.sessions.forget(session);
    }
    Ok(ended.is_some())
}
