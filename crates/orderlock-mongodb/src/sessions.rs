//! Nodes' signs of life: `join`, `renew`, `leave`. A session is a document, and ends by its removal;
//! a lease whose session is not there counts as free, whenever it was written.
//!
//! No machine's clock is compared with another's. A renewal counts; who has seen the same count for
//! the length of the session, by a clock of its own that never goes back, may end it, on the
//! condition that the count is still the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReturnDocument;
use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed};
use orderlock_core::{Fence, Secret, SessionId, StoreError};

use crate::clock::{from_micros, span_to_micros};
use crate::document::OrderDocument;
use crate::error::Failure;
use crate::fields::{Reader, hex};
use crate::grant;
use crate::store::Inner;

/// How many sessions there may be: more nodes than one database serves.
const SESSIONS_MAX: i64 = 10_000;

/// How many leases are looked at together.
const LEASES_MAX: i64 = 200;

type Look = Shared<BoxFuture<'static, Result<Option<i64>, Failure>>>;

/// What this node has seen of sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    seen: Mutex<HashMap<SessionId, Seen>>,
    /// Looks that are under way: whoever wants the same one waits for it.
    looks: Mutex<HashMap<SessionId, Look>>,
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
        let found = calls.bounded(query).await?;
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
        void_leases(inner, other, |_, _| true).await?;
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
    let found = inner
        .calls
        .bounded(query)
        .await
        .map_err(Failure::not_applied)?;
    let kept = found.unwrap_or_default();
    let kept = Reader::new("the installation's secret", &kept).text("value");
    let kept = blake3::Hash::from_hex(kept.map_err(Failure::not_applied)?);
    let kept = kept.map_err(|_| Failure::unreadable("the installation's secret").not_applied())?;
    Ok(Secret::new(kept.into()))
}

/// Inserts a document, unless one of its id is there. Says whether it did.
pub(crate) async fn insert_once(
    inner: &Inner,
    collection: &mongodb::Collection<Fields>,
    document: Fields,
) -> Result<bool, StoreError> {
    match inner.calls.bounded(collection.insert_one(document)).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_duplicate() => Ok(false),
        Err(failure) => Err(failure.of_a_write()),
    }
}

pub(crate) async fn renew(inner: &Arc<Inner>, request: &Renew) -> Result<Renewed, StoreError> {
    let update = doc! {"$inc": {"renewals": 1_i64}, "$currentDate": {"seen": true}};
    let command = inner
        .calls
        .sessions
        .find_one_and_update(doc! {"_id": hex(request.session.0)}, update)
        .return_document(ReturnDocument::After);
    let renewed = inner
        .calls
        .bounded(command)
        .await
        .map_err(Failure::of_a_write)?;
    let Some(fields) = renewed else {
        inner.sessions.forget(request.session);
        return Ok(Renewed::Ended);
    };
    if let Some(Bson::DateTime(time)) = fields.get("seen") {
        inner
            .clock
            .hear(from_micros(time.timestamp_millis().saturating_mul(1_000)));
    }
    let renewals = standing(&fields).map_err(Failure::not_applied)?.renewals;
    inner
        .sessions
        .note(request.session, renewals, inner.clock.instant());
    // A lease that was granted since the last renewal may still be on its way to the node.
    let unknown =
        |fence: Fence, granted: i64| granted < renewals - 1 && !request.known.contains(&fence);
    void_leases(inner, request.session, unknown).await?;
    Ok(Renewed::Extended { voided: Vec::new() })
}

pub(crate) async fn leave(inner: &Arc<Inner>, request: &Leave) -> Result<Left, StoreError> {
    end(inner, request.session, doc! {}).await?;
    let voided = void_leases(inner, request.session, |_, _| true).await?;
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

/// Voids leases of a session; says how many.
async fn void_leases(
    inner: &Arc<Inner>,
    session: SessionId,
    wanted: impl Fn(Fence, i64) -> bool,
) -> Result<usize, StoreError> {
    let filter = doc! {"orderlock.lease.session": hex(session.0)};
    let mut voided = 0;
    let mut after = Bson::Null;
    loop {
        let orders = leased(inner, filter.clone(), &after).await?;
        let Some(last) = orders.last() else {
            return Ok(voided);
        };
        after = last.id.clone();
        for order in &orders {
            let Some(granted) = &order.granted else {
                continue;
            };
            let fence = granted.lease.fence;
            if wanted(fence, granted.renewals) && grant::void(inner, order, fence).await? {
                voided += 1;
            }
        }
    }
}

/// Orders with a lease, in the order of their ids, behind one of them.
pub(crate) async fn leased(
    inner: &Inner,
    filter: Fields,
    after: &Bson,
) -> Result<Vec<OrderDocument>, StoreError> {
    let mut filter = filter;
    match after {
        Bson::Null => {}
        Bson::String(_) => {
            let beyond = doc! {"$or": [
                {"_id": {"$gt": after}}, {"_id": {"$type": "objectId"}},
            ]};
            filter = doc! {"$and": [filter, beyond]};
        }
        after => drop(filter.insert("_id", doc! {"$gt": after})),
    }
    let query = inner
        .calls
        .orders
        .find(filter)
        .projection(doc! {"orderlock": 1, "locked": 1})
        .sort(doc! {"_id": 1})
        .limit(LEASES_MAX);
    let found = inner.calls.all(query).await.map_err(Failure::not_applied)?;
    let orders = found.into_iter().map(OrderDocument::read);
    orders
        .collect::<Result<_, _>>()
        .map_err(Failure::not_applied)
}
