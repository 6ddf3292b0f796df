//! Stores round other stores: a pointer to one, and [`forward!`](crate::forward) for those who write
//! a wrapper.

use std::sync::Arc;

use super::OrderStore;

/// Writes the verbs of a wrapper that are passed on to the store inside.
///
/// It stands in an `impl OrderStore`, and is given how to come to the store inside, and the verbs by
/// their names. Whatever the wrapper does otherwise it writes itself. No verb has a default, so that
/// the compiler names each that was forgotten.
///
/// ```
/// use futures_util::FutureExt as _;
/// use orderlock_core::store::{Release, Released, StoreError, StoreFuture};
/// use orderlock_core::{OrderStore, forward};
///
/// /// A store that gives no order up.
/// #[derive(Debug)]
/// struct Clinging<S>(S);
///
/// impl<S: OrderStore> OrderStore for Clinging<S> {
///     forward!(|clinging| clinging.0;
///         describe, freed, join, renew, leave, sweep, create, read, list, history, mark_end, lookup, acquire,
///         settle, undo, leases, break_lease, resolve, entries_since, expire);
///
///     fn release(&self, _: Release) -> StoreFuture<'_, Released> {
///         async { Err(StoreError::NotApplied("it clings".into())) }.boxed()
///     }
/// }
/// ```
///
/// With a second name, it is given the verb's: `|store, verb| store.counted(verb)`. `OrderStore` must
/// be in scope.
#[macro_export]
macro_rules! forward {
    (|$this:ident| $inner:expr; $($verb:ident),+ $(,)?) => {
        $($crate::forward!(@ $verb (|$this| $inner));)+
    };
    (|$this:ident, $name:ident| $inner:expr; $($verb:ident),+ $(,)?) => {
        $($crate::forward!(@ $verb (|$this, $name| $inner));)+
    };
    (@ describe $to:tt) => {
        fn describe(&self) -> $crate::store::StoreInfo {
            $crate::forward!(@@ self, describe, $to, )
        }
    };
    (@ freed $to:tt) => {
        fn freed(&self) -> $crate::store::BoxStream<'static, $crate::Target> {
            $crate::forward!(@@ self, freed, $to, )
        }
    };
    (@ join $to:tt) => { $crate::forward!(@ join: Join => $crate::store::Joined, $to); };
    (@ renew $to:tt) => { $crate::forward!(@ renew: Renew => $crate::store::Renewed, $to); };
    (@ leave $to:tt) => { $crate::forward!(@ leave: Leave => $crate::store::Left, $to); };
    (@ sweep $to:tt) => { $crate::forward!(@ sweep: Sweep => $crate::store::Swept, $to); };
    (@ create $to:tt) => { $crate::forward!(@ create: Create => $crate::store::Created, $to); };
    (@ read $to:tt) => {
        $crate::forward!(@ read: Read => Option<$crate::store::OrderView>, $to);
    };
    (@ list $to:tt) => {
        $crate::forward!(@ list: List => $crate::store::Page<$crate::store::OrderView>, $to);
    };
    (@ history $to:tt) => {
        $crate::forward!(
            @ history: History => Option<$crate::store::Page<$crate::store::Entry>>, $to);
    };
    (@ mark_end $to:tt) => {
        $crate::forward!(@ mark_end: MarkEnd => Option<$crate::store::Entry>, $to);
    };
    (@ lookup $to:tt) => { $crate::forward!(@ lookup: Lookup => $crate::store::Known, $to); };
    (@ acquire $to:tt) => { $crate::forward!(@ acquire: Acquire => $crate::store::Acquired, $to); };
    (@ settle $to:tt) => { $crate::forward!(@ settle: Settle => $crate::store::Settled, $to); };
    (@ release $to:tt) => { $crate::forward!(@ release: Release => $crate::store::Released, $to); };
    (@ undo $to:tt) => { $crate::forward!(@ undo: Undo => $crate::store::Released, $to); };
    (@ leases $to:tt) => {
        $crate::forward!(@ leases: Leases => $crate::store::Page<$crate::LeaseView>, $to);
    };
    (@ break_lease $to:tt) => {
        $crate::forward!(@ break_lease: BreakLease => $crate::store::Broken, $to);
    };
    (@ resolve $to:tt) => { $crate::forward!(@ resolve: Resolve => $crate::store::Resolved, $to); };
    (@ entries_since $to:tt) => {
        $crate::forward!(@ entries_since: EntriesSince => $crate::store::Entries, $to);
    };
    (@ expire $to:tt) => { $crate::forward!(@ expire: Expire => $crate::store::Expired, $to); };
    (@ $verb:ident: $request:ident => $answer:ty, $to:tt) => {
        fn $verb(
            &self,
            request: $crate::store::$request,
        ) -> $crate::store::StoreFuture<'_, $answer> {
            $crate::forward!(@@ self, $verb, $to, request)
        }
    };
    (@@ $own:ident, $verb:ident, (|$this:ident| $inner:expr), $($request:ident)?) => {{
        let $this = $own;
        ($inner).$verb($($request)?)
    }};
    (@@ $own:ident, $verb:ident, (|$this:ident, $name:ident| $inner:expr), $($request:ident)?) => {{
        let ($this, $name) = ($own, stringify!($verb));
        ($inner).$verb($($request)?)
    }};
}

macro_rules! pointer {
    ($pointer:ty) => {
        impl<S: OrderStore + ?Sized> OrderStore for $pointer {
            forward!(|pointer| **pointer;
                describe, freed, join, renew, leave, sweep, create, read, list, history, mark_end,
                lookup, acquire, settle, release, undo, leases, break_lease, resolve, entries_since, expire);
        }
    };
}

pointer!(Arc<S>);
pointer!(Box<S>);
