//! Tending to a session's leases with each of its renewals: a lease that its node does not know is one
//! whose grant was never answered, and would hold its order until the session ends.

use std::collections::HashSet;

use orderlock_core::store::Renew;
use orderlock_core::{Fence, StoreError};

use crate::sessions::tended::Tended;
use crate::shared::Inner;
use crate::verbs::leases;

/// Every so many renewals all leases of a session are looked at.
const LOOK_AT_ALL: i64 = 8;

/// How many renewals a grant may be on its way to the database.
const LATE: i64 = 2;

/// Voids the leases of a session that its node does not know, once they are older than the last
/// renewal: until then they may be on their way to it. Each is looked at when it has become so old, and
/// again when its node has ceased to know it; now and then all are. The session is renewed whatever
/// comes of it.
pub(crate) async fn tend(
    inner: &Inner,
    request: &Renew,
    renewals: i64,
    mut tended: Tended,
) -> Tended {
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
