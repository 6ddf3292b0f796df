//! A pointer to a store is a store.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use super::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, OrderStore,
    OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled,
    StoreFuture, StoreInfo, Sweep, Swept, Undo,
};
use crate::{LeaseView, Target};

macro_rules! forward {
    ($pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: OrderStore + ?Sized> OrderStore for $pointer {
            fn describe(&self) -> StoreInfo {
                (**self).describe()
            }
            fn freed(&self) -> BoxStream<'static, Target> {
                (**self).freed()
            }
            fn join(&self, request: Join) -> StoreFuture<'_, Joined> {
                (**self).join(request)
            }
            fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed> {
                (**self).renew(request)
            }
            fn leave(&self, request: Leave) -> StoreFuture<'_, Left> {
                (**self).leave(request)
            }
            fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept> {
                (**self).sweep(request)
            }
            fn create(&self, request: Create) -> StoreFuture<'_, Created> {
                (**self).create(request)
            }
            fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
                (**self).read(request)
            }
            fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>> {
                (**self).list(request)
            }
            fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>> {
                (**self).history(request)
            }
            fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known> {
                (**self).lookup(request)
            }
            fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
                (**self).acquire(request)
            }
            fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
                (**self).settle(request)
            }
            fn release(&self, request: Release) -> StoreFuture<'_, Released> {
                (**self).release(request)
            }
            fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
                (**self).undo(request)
            }
            fn leases(&self, request: Leases) -> StoreFuture<'_, Page<LeaseView>> {
                (**self).leases(request)
            }
            fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken> {
                (**self).break_lease(request)
            }
            fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
                (**self).resolve(request)
            }
            fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries> {
                (**self).entries_since(request)
            }
            fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
                (**self).expire(request)
            }
        }
    };
}

forward!(Arc<S>);
forward!(Box<S>);
