//! The store seam: what an order store promises, verb by verb.
//!
//! A store is supported if it passes the conformance suite of `orderlock-testkit`, and only then.
//! Every verb is one atomic operation; no transaction leaks through the seam. Requests are
//! structs, results are enums; 'lost' and 'held' are results, not errors. No method has a default,
//! so that a wrapper never passes by the store that it wraps.
//!
//! A `limit` of 0 counts as 1. A store may answer with less than the limit, and says by a cursor or
//! by `more` whether there is more. A `create` of a document over the store's bound is an error
//! that certainly did not happen; the lifecycle looks at the bound first.
//!
//! The verbs come in three groups, and what is asked and answered in a module for each: sessions
//! (`join`, `renew`, `leave`, `sweep`), orders (`create`, `acquire`, `settle`, `release`, `undo`,
//! `break_lease`, `resolve`, `expire`) and views (`read`, `list`, `history`, `mark_end`, `lookup`,
//! `leases`, `entries_since`).

mod clock;
mod decide;
mod entry;
mod error;
mod forward;
mod orders;
mod sessions;
mod settle;
mod turns;
mod views;

use std::fmt::Debug;

use futures_util::future::BoxFuture;
pub use futures_util::stream::BoxStream;

pub use clock::{RetentionClock, RetentionTime};
pub use decide::{
    Facts, Granted, KeyFacts, SettleFacts, SettleVerdict, Verdict, decide, decide_settle, grant,
};
pub use entry::{About, Entry, Position};
pub use error::{Cause, StoreError};
pub use orders::{
    Acquire, Acquired, BreakLease, Broken, Claim, Create, Created, Decision, Expire, Expired,
    Grant, MarkFate, Receipt, Release, Released, Resolve, Resolved, Undo,
};
pub use sessions::{Join, Joined, Leave, Left, Renew, Renewed, Sweep, Swept};
pub use settle::{
    Accepted, Change, Durable, Fate, Final, FinalOutcome, Loss, NewEntry, Part, Retention, Settle,
    Settled,
};
pub use turns::{Tried, WAIT_UNTIL_KEPT, kept_for_another};
pub use views::{
    Cursor, Entries, EntriesSince, Filter, History, Known, Leases, List, Lookup, MarkEnd,
    OrderView, Page, Read, StoreInfo,
};

use crate::Target;

/// The future of a verb. Dropping it does not undo the verb.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps orders, their leases and their journal.
pub trait OrderStore: Debug + Send + Sync + 'static {
    /// What this store is.
    fn describe(&self) -> StoreInfo;

    /// Orders that were let go, by this node or elsewhere: a hint for those who wait. It may stay
    /// silent for ever, repeat itself, and lose items.
    fn freed(&self) -> BoxStream<'static, Target>;

    // Sessions: which nodes are alive, and so whose leases are.

    /// Atomically begins a session, ends every other session of the same node and so their
    /// leases, and keeps the secret if the store has none yet.
    ///
    /// ```
    /// # use orderlock_core::{OrderStore as _, SessionId};
    /// # use orderlock_core::store::{Join, Renew, Renewed};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// // The node begins again under its name: its last session has ended.
    /// let next = SessionId(2);
    /// let join = fixtures::join("node", next);
    /// store.join(join).await?;
    /// let renew = |session| Renew { session, known: Vec::new() };
    /// assert_eq!(store.renew(renew(session)).await?, Renewed::Ended);
    /// assert!(matches!(store.renew(renew(next)).await?, Renewed::Extended { .. }));
    /// # Ok(())
    /// # });
    /// ```
    fn join(&self, request: Join) -> StoreFuture<'_, Joined>;

    /// Atomically extends a session and voids those of its leases that are older than the last
    /// renewal and not known to the node. A session that has ended is never extended. The answer
    /// names the known grants that were broken since: each at least once after its break, so that
    /// its node learns of it without asking about each order.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _};
    /// # use orderlock_core::store::{Renew, Renewed};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let order = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// store.acquire(order).await?;
    /// let renew = Renew { session, known: vec![Fence(1)] };
    /// assert_eq!(store.renew(renew.clone()).await?, Renewed::Extended { voided: vec![] });
    /// store.break_lease(fixtures::break_lease(Fence(1), "o1")).await?;
    /// // Should this answer be lost, the next one says it again.
    /// let voided = Renewed::Extended { voided: vec![Fence(1)] };
    /// assert_eq!(store.renew(renew.clone()).await?, voided);
    /// assert_eq!(store.renew(renew).await?, voided);
    /// # Ok(())
    /// # });
    /// ```
    fn renew(&self, request: Renew) -> StoreFuture<'_, Renewed>;

    /// Ends a session, and so its leases; marks stay. Repeating it is harmless.
    fn leave(&self, request: Leave) -> StoreFuture<'_, Left>;

    /// Ends sessions that are lapsed (still, at the write), and so their leases; marks stay. A
    /// settle that commits before that is good, one after it is lost.
    fn sweep(&self, request: Sweep) -> StoreFuture<'_, Swept>;

    // Orders: what changes an order, its lock, its mark or what is known of its keys.

    /// Atomically inserts the order at version 1 with its first entry, durably; or returns the
    /// settled entry of the same key; or says what stands there already.
    ///
    /// A key id creates at most one order of a tenant, whatever id it is to have: a repeat under
    /// another id is answered with the settled entry of the first, or as reused. The key id is the
    /// one of the id that is derived from caller and key, so that `lookup` under that derived id
    /// finds the entry too.
    ///
    /// ```
    /// # use orderlock_core::{OrderStore as _, Timestamp};
    /// # use orderlock_core::store::{Created};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, _, _| {
    /// let create = fixtures::create(fixtures::claim("o2", "k1"), Timestamp::UNIX_EPOCH);
    /// assert!(matches!(store.create(create.clone()).await?, Created::Inserted(_)));
    /// // The answer was lost: the same key gets the stored one, and makes no second order.
    /// let Created::Settled(entry) = store.create(create.clone()).await? else { panic!() };
    /// assert_eq!(entry.answer.as_ref(), Some(&create.answer));
    /// let other_key = fixtures::create(fixtures::claim("o2", "k2"), Timestamp::UNIX_EPOCH);
    /// assert_eq!(store.create(other_key).await?, Created::Exists);
    /// # Ok(())
    /// # });
    /// ```
    fn create(&self, request: Create) -> StoreFuture<'_, Created>;

    /// Atomically grants the lease under the fence that it is given and returns the order as of
    /// the grant, never older; or says why not, as [`decide`] orders it. While the lease is held,
    /// repeating it with the same fence is the same grant, with the `now` of the first. With a mark,
    /// the mark is durable before this returns.
    ///
    /// A duplicate that arrives after its lease has ended may be granted again. No node knows of
    /// that grant, so the renewals of its session void it, and version and step keep the data right.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _};
    /// # use orderlock_core::store::{Acquired};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// let granted = store.acquire(request.clone()).await?;
    /// assert!(matches!(granted, Acquired::Granted(_)));
    /// // The answer was lost: the same fence is the same grant.
    /// assert_eq!(store.acquire(request.clone()).await?, granted);
    /// // The same key under another fence, and another key.
    /// let again = fixtures::acquire(request.claim, session, Fence(2));
    /// assert!(matches!(store.acquire(again).await?, Acquired::InProgress(_)));
    /// let other = fixtures::acquire(fixtures::claim("o1", "k2"), session, Fence(3));
    /// assert!(matches!(store.acquire(other).await?, Acquired::Held(_)));
    /// # Ok(())
    /// # });
    /// ```
    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired>;

    /// If the fence still holds, the version is unchanged and the key has no final entry: applies
    /// change and entry in one write, and then unlocks, keeps or hands over. Otherwise nothing.
    ///
    /// Named by (fence, step): repeating it gives the same answer, so a lost acknowledgement is
    /// harmless. A final settle ends the mark of its key.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _};
    /// # use orderlock_core::store::{Acquired, Loss, Settled};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// let Acquired::Granted(grant) = store.acquire(request.clone()).await? else { panic!() };
    /// // A checkpoint changes the order and keeps the lease.
    /// let checkpoint = fixtures::checkpoint(&request, &grant);
    /// let Settled::Accepted(first) = store.settle(checkpoint).await? else { panic!() };
    /// // The end is the next step, and hands the order over.
    /// let mut end = fixtures::settle(&request, &grant);
    /// (end.step, end.version) = (1, grant.version.next());
    /// let next = fixtures::acquire(fixtures::claim("o1", "k2"), session, Fence(2));
    /// let mut end = fixtures::handing_over(end, next);
    /// let Settled::Accepted(second) = store.settle(end.clone()).await? else { panic!() };
    /// assert_eq!(second.receipt.number, first.receipt.number + 1);
    /// assert!(matches!(second.next, Some(Acquired::Granted(grant)) if grant.fence == Fence(2)));
    /// // The answer was lost: the repeat is answered as the first was, and writes nothing.
    /// let Settled::Accepted(repeated) = store.settle(end.clone()).await? else { panic!() };
    /// assert_eq!(repeated.receipt, second.receipt);
    /// end.step = 2;
    /// assert!(matches!(store.settle(end).await?, Settled::Lost(Loss::NotHeld)));
    /// # Ok(())
    /// # });
    /// ```
    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled>;

    /// Gives the lease up without an entry; may hand over. Repeating it is harmless.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _, Recovery};
    /// # use orderlock_core::store::{Acquired, MarkFate, Release};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let mut request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// request.mark = Some(Recovery::Reconcile);
    /// let target = request.claim.target();
    /// store.acquire(request).await?;
    /// let release = Release { target, fence: Fence(1), mark: MarkFate::Keep, next: None };
    /// assert!(store.release(release.clone()).await?.held);
    /// assert!(!store.release(release).await?.held, "repeating it is harmless");
    /// // Something may have happened outside: the mark outlives the lease.
    /// let other = fixtures::acquire(fixtures::claim("o1", "k2"), session, Fence(2));
    /// assert!(matches!(store.acquire(other).await?, Acquired::Marked(_)));
    /// # Ok(())
    /// # });
    /// ```
    fn release(&self, request: Release) -> StoreFuture<'_, Released>;

    /// Atomically takes a grant back under which no handler has run, because the answer to its
    /// `acquire` was lost or nobody is left to take it: what stood before that fence stands again,
    /// free or an open mark with its run and its policy, whatever the request of the grant wished.
    /// May hand over, with all of acquire's checks. A fence that does not hold the order changes
    /// nothing, so that repeating it is harmless. A grant that has settled a step is given up as by
    /// a release that keeps the mark.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _, Recovery};
    /// # use orderlock_core::store::{Acquired, Undo};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let mut request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// request.mark = Some(Recovery::Reconcile);
    /// let target = request.claim.target();
    /// store.acquire(request).await?;
    /// let undo = Undo { target, fence: Fence(1), next: None };
    /// assert!(store.undo(undo.clone()).await?.held);
    /// assert!(!store.undo(undo).await?.held, "repeating it is harmless");
    /// // No handler has run: the mark is gone with the grant.
    /// let other = fixtures::acquire(fixtures::claim("o1", "k2"), session, Fence(2));
    /// assert!(matches!(store.acquire(other).await?, Acquired::Granted(_)));
    /// # Ok(())
    /// # });
    /// ```
    fn undo(&self, request: Undo) -> StoreFuture<'_, Released>;

    /// Voids one grant (not whoever holds the order by then), with an entry that says who and
    /// why, durably. A mark stays.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _};
    /// # use orderlock_core::store::{Acquired, Broken, Loss, Settled};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// let Acquired::Granted(grant) = store.acquire(request.clone()).await? else { panic!() };
    /// let broken = fixtures::break_lease(Fence(1), "o1");
    /// assert!(matches!(store.break_lease(broken.clone()).await?, Broken::Broken(_)));
    /// assert_eq!(store.break_lease(broken).await?, Broken::NotFound);
    /// // Its holder comes too late.
    /// let late = fixtures::settle(&request, &grant);
    /// assert!(matches!(store.settle(late).await?, Settled::Lost(Loss::NotHeld)));
    /// # Ok(())
    /// # });
    /// ```
    fn break_lease(&self, request: BreakLease) -> StoreFuture<'_, Broken>;

    /// Atomically ends an unattended mark, with an entry that says who and why, durably: either it
    /// is cleared, or the operation is settled in the name of its key. A key whose mark was cleared
    /// stays bound to its fingerprint and its count of runs, as by a checkpoint, until the tombstone
    /// ends: what was asked of the outside may have happened.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _, Recovery};
    /// # use orderlock_core::store::{Acquired, Decision, MarkFate, Release, Resolve, Resolved};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, _| {
    /// let mut request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// request.mark = Some(Recovery::Reconcile);
    /// let target = request.claim.target();
    /// let Acquired::Granted(grant) = store.acquire(request.clone()).await? else { panic!() };
    /// let resolve = Resolve {
    ///     target: target.clone(),
    ///     key_id: request.claim.key_id,
    ///     attempt: grant.attempt,
    ///     since: grant.now,
    ///     decision: Decision::RunAgain { retention: fixtures::RETENTION },
    ///     actor: request.claim.caller.principal.clone(),
    ///     reason: "the provider knows nothing of it".into(),
    /// };
    /// assert_eq!(store.resolve(resolve.clone()).await?, Resolved::NotMarked, "it is attended");
    /// store.release(Release { target, fence: Fence(1), mark: MarkFate::Keep, next: None }).await?;
    /// assert!(matches!(store.resolve(resolve.clone()).await?, Resolved::Resolved(_)));
    /// assert_eq!(store.resolve(resolve).await?, Resolved::NotMarked, "it has ended");
    /// # Ok(())
    /// # });
    /// ```
    fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved>;

    /// Ends the retention of answers that have expired and of tombstones, in one small batch of
    /// which each of the two has a share. Until it has run, an answer that is past its retention
    /// already counts as expired.
    ///
    /// Forgetting cannot be undone, and a wall clock can be wrong for a moment: after a jump of the
    /// clock nothing is forgotten until the new time has held for an hour.
    ///
    /// ```
    /// # use orderlock_core::{Fence, OrderStore as _};
    /// # use orderlock_core::store::{Acquired, Expire, Known, Lookup};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, session, clock| {
    /// let request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(1));
    /// let Acquired::Granted(grant) = store.acquire(request.clone()).await? else { panic!() };
    /// store.settle(fixtures::settle(&request, &grant)).await?;
    /// let lookup = Lookup { target: request.claim.target(), key_id: request.claim.key_id };
    /// clock.advance(fixtures::RETENTION.answer * 2);
    /// assert!(matches!(store.lookup(lookup.clone()).await?, Known::Expired(_)), "even before");
    /// assert!(store.expire(Expire { limit: 10 }).await?.answers > 0);
    /// assert_eq!(store.expire(Expire { limit: 10 }).await?.answers, 0);
    /// clock.advance(fixtures::RETENTION.tombstone * 2);
    /// store.expire(Expire { limit: 10 }).await?;
    /// assert_eq!(store.lookup(lookup).await?, Known::Unknown);
    /// # Ok(())
    /// # });
    /// ```
    fn expire(&self, request: Expire) -> StoreFuture<'_, Expired>;

    // Views: what reads and changes nothing.

    /// One order, or none of that tenant's by that id: one snapshot of committed state.
    fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>>;

    /// A page of orders, newest first: one snapshot of committed state. `locked` means held by a
    /// lease that is alive; a mark alone does not count.
    fn list(&self, request: List) -> StoreFuture<'_, Page<OrderView>>;

    /// A page of an order's entries, oldest first; none if there is no such order.
    fn history(&self, request: History) -> StoreFuture<'_, Option<Page<Entry>>>;

    /// The last entry by which an operator has ended a mark that this run of a key had left, if there
    /// is one: found for as long as the key is remembered. It looks at a bounded number of entries,
    /// however long the order's history is.
    fn mark_end(&self, request: MarkEnd) -> StoreFuture<'_, Option<Entry>>;

    /// What became of a key. Changes nothing.
    fn lookup(&self, request: Lookup) -> StoreFuture<'_, Known>;

    /// A page of held, marked and foreign leases.
    fn leases(&self, request: Leases) -> StoreFuture<'_, Page<crate::LeaseView>>;

    /// Entries in one order, the same for every reader at every reading, in which each order's
    /// entries stand by their number; none is ever skipped, however late it committed.
    ///
    /// ```
    /// # use orderlock_core::{OrderStore as _, Tenant, Timestamp};
    /// # use orderlock_core::store::{Entries, EntriesSince};
    /// # use orderlock_testkit::fixtures;
    /// # fixtures::example(async |store, _, _| {
    /// let since = |cursor| EntriesSince { tenant: Tenant::single(), cursor, limit: 10 };
    /// let first = store.entries_since(since(None)).await?;
    /// assert_eq!(store.entries_since(since(None)).await?, first, "the same at every reading");
    /// let Entries::Some { next, .. } = first else { panic!() };
    /// let create = fixtures::create(fixtures::claim("o2", "k1"), Timestamp::UNIX_EPOCH);
    /// store.create(create).await?;
    /// let Entries::Some { entries, .. } = store.entries_since(since(Some(next))).await? else {
    ///     panic!()
    /// };
    /// assert_eq!(entries.len(), 1, "what came after, and nothing before");
    /// # Ok(())
    /// # });
    /// ```
    fn entries_since(&self, request: EntriesSince) -> StoreFuture<'_, Entries>;
}
