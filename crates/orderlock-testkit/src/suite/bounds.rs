//! Limits and cursors: with any limit and cursor, a reader makes progress and gets a bounded
//! answer.

use orderlock_core::StoreError;
use orderlock_core::store::{Cursor, EntriesSince, Expire, Filter, History, Leases, Sweep};

use super::views::{list, some_orders};
use super::world::{World, single};
use crate::fixtures::ids;

pub(crate) async fn no_limit_stops_or_breaks_a_reader(world: World) {
    some_orders(&world).await;
    let node = world.join("a").await;
    node.hold("o1", "k1").await;
    node.hold("o2", "k1").await;
    for limit in [0, 1, usize::MAX] {
        let most = limit.max(1);
        let request = list(&Filter::default(), limit, None);
        let page = world.store().list(request).await.unwrap();
        assert!(page.items.len() <= most);
        let (tenant, target) = (single(), ids::target("o1"));
        let request = History {
            target,
            limit,
            cursor: None,
        };
        let page = world.store().history(request).await.unwrap().unwrap();
        assert!(page.items.len() <= most);
        let request = Leases {
            tenant: tenant.clone(),
            limit,
            cursor: None,
        };
        let page = world.store().leases(request).await.unwrap();
        assert!(page.items.len() <= most);
        let (entries, _) = world.since(&tenant, None, limit).await;
        assert!(entries.len() <= most);
        let sweep = Sweep { limit };
        world.store().sweep(sweep).await.unwrap();
        let expire = Expire { limit };
        world.store().expire(expire).await.unwrap();
    }
}

pub(crate) async fn a_foreign_cursor_is_refused(world: World) {
    some_orders(&world).await;
    let long = "9".repeat(10_000);
    for text in ["", "x", "-1", "\u{1f375}", "' or 1=1 --", "\u{0}", &long] {
        let cursor = || Some(Cursor(text.into()));
        let shown: String = text.chars().take(12).collect();
        let results = [
            world
                .store()
                .list(list(&Filter::default(), 2, cursor()))
                .await
                .map(drop),
            world
                .store()
                .history(History {
                    target: ids::target("o1"),
                    limit: 2,
                    cursor: cursor(),
                })
                .await
                .map(drop),
            world
                .store()
                .leases(Leases {
                    tenant: single(),
                    limit: 2,
                    cursor: cursor(),
                })
                .await
                .map(drop),
            world
                .store()
                .entries_since(EntriesSince {
                    tenant: single(),
                    limit: 2,
                    cursor: cursor(),
                })
                .await
                .map(drop),
        ];
        for (verb, result) in ["list", "history", "leases", "entries_since"]
            .iter()
            .zip(results)
        {
            assert!(
                matches!(result, Err(StoreError::InvalidCursor)),
                "{verb} with {shown:?}: {result:?}"
            );
        }
    }
}
