//! A look at the next in line, under the lease of the one before: what it would be granted once that
//! one has settled. It changes nothing, and waits for no flush.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Acquire, Entry, KeyFacts};
use orderlock_core::{Document, Fence, LeaseState, OwnedIndex, Target, Times, Timestamp, Version};
use orderlock_core::{StoreError, Tenant};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::batch::{Told, Work};
use crate::clock::Clock;
use crate::connection::Sql;
use crate::error::{Broken, Failure};
use crate::facts::{Known, TYPES, facts};
use crate::pool::Pool;
use crate::rows::{Id, key_hash};

/// The facts before a grant, with the number of the order's last entry: whatever checkpoint the key
/// has is one of an earlier run.
static LOOK: Sql = Sql {
    text: facts!(checkpoint: "true", but: "false", more: ", o.entries"),
    types: TYPES,
};

/// Looks at the next in line.
#[derive(Clone, Debug)]
pub(crate) struct Looking {
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
}

/// Who is to be looked at.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) next: Acquire,
    /// The grant that is to be told the order's document: the holder's, if it changes nothing.
    pub(crate) reader: Option<Fence>,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) now: Timestamp,
    /// How often the next one's session was renewed; none if it is not alive.
    pub(crate) renewals: Option<i64>,
    pub(crate) key: KeyFacts,
    /// The key's last checkpoint.
    pub(crate) progress: Option<Box<Entry>>,
    /// The order as it is now.
    pub(crate) version: Version,
    pub(crate) lease: LeaseState,
    pub(crate) index: OwnedIndex,
    pub(crate) times: Times,
    pub(crate) document: Option<Document>,
    pub(crate) entries: u64,
}

impl Work for Looking {
    type Request = Look;
    /// None if there is no such order.
    type Answer = Option<Looked>;

    const REPEATS: bool = true;

    fn target(request: &Look) -> Target {
        request.next.claim.target()
    }

    fn bytes(_: &Look) -> usize {
        512
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Look],
    ) -> BoxFuture<'a, Result<Vec<Told<Option<Looked>>>, Broken>> {
        let looked = self.look(requests);
        looked
            .map(|looked| looked.map_err(Broken::NotApplied))
            .boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Look,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Option<Looked>, StoreError>> {
        async move { Err(failure.not_applied()) }.boxed()
    }
}

impl Looking {
    async fn look(&self, requests: &[Look]) -> Result<Vec<Told<Option<Looked>>>, Failure> {
        let claims = || requests.iter().map(|look| &look.next.claim);
        let now = self.clock.parameter();
        let tenants: Vec<_> = claims().map(|it| it.caller.tenant.as_str()).collect();
        let orders: Vec<_> = claims().map(|it| it.order.as_str()).collect();
        let readers: Vec<_> = requests.iter().map(|it| it.reader.map(Id::from)).collect();
        let sessions: Vec<_> = requests
            .iter()
            .map(|it| Id::from(it.next.session))
            .collect();
        let key_hashes: Vec<_> = claims().map(|it| key_hash(it.key_id)).collect();
        let key_ids: Vec<_> = claims().map(|it| &it.key_id.0[..]).collect();
        let fingerprints: Vec<_> = claims().map(|it| &it.fingerprint.0[..]).collect();
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &now,
            &tenants,
            &orders,
            &readers,
            &sessions,
            &key_hashes,
            &key_ids,
            &fingerprints,
        ];
        let connection = self.pool.connection().await?;
        let rows = connection.query(&LOOK, &parameters).await?;
        if rows.len() != requests.len() {
            return Err(Failure::unreadable("a look has no facts"));
        }
        let seen = requests.iter().zip(&rows);
        Ok(seen
            .map(|(look, row)| Some(see(&look.next.claim.caller.tenant, &look.next, row)))
            .collect())
    }
}

fn see(tenant: &Tenant, next: &Acquire, row: &Row) -> Result<Option<Looked>, Failure> {
    let Some(mut known) = Known::of(tenant, row)? else {
        return Ok(None);
    };
    // The version, which is known already.
    known.columns.skip(1);
    let index = OwnedIndex {
        status: known.columns.next()?,
        customer: known.columns.next()?,
    };
    let times = Times {
        created: known.columns.next()?,
        updated: known.columns.next()?,
    };
    let document: Option<Vec<u8>> = known.columns.next()?;
    let progress = known.entry(next.claim.target())?;
    Ok(Some(Looked {
        entries: known.columns.count()?,
        now: known.now,
        renewals: known.renewals,
        key: known.key,
        progress,
        version: known.version,
        lease: known.lease,
        index,
        times,
        document: document.map(Document::trusted),
    }))
}
