//! Everything that a store can be asked, once: for tests that look at how the database carries it out.

use std::sync::Mutex;

use futures_util::future::join_all;
use orderlock_core::store::{
    BreakLease, Create, Cursor, Decision, Entries, EntriesSince, Expire, Filter, History, Leases,
    Leave, List, Lookup, MarkEnd, MarkFate, Read, Release, Renew, Resolve, Settled, Sweep, Undo,
};
use orderlock_core::{
    OrderStore as _, Principal, Recovery, Runtime as _, SessionId, Tenant, TokioRuntime,
};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::{self, ids};
use tokio_postgres::Client;

use crate::place::connect;
use crate::world::{Held, applied, create, granted, hold, join, request};

/// How many requests about different orders come at the same time.
const FEW: usize = 3;

/// Gives an order a long history: as if a key of its own had settled each of these entries.
const GROW: &str = "
    WITH grown AS (
        UPDATE orders SET writes = writes + 1, entries = entries + 20000, position = position + 20000
        WHERE id = $1 RETURNING row, entries - 20000 AS number, position - 20000 AS position, version
    ), written AS (
        INSERT INTO entries (order_row, number, position, version, at, attempt, step, key_hash, key_id,
            fingerprint, tenant, operation, outcome, actor)
        SELECT row, number + n, position + n, version, now(), 1, 0, n,
            decode(md5(n::text) || md5(n::text), 'hex'), decode(repeat('00', 32), 'hex'), '-', 'change',
            'unchanged', '-'
        FROM grown, generate_series(1, 20000) n
    )
    INSERT INTO keys (key_hash, order_row, number, expires, forgotten, answer_status, content_type, body)
    SELECT n, row, number + n, now() + interval '1 day', now() + interval '30 days', 200,
        'application/json', '{}'
    FROM grown, generate_series(1, 20000) n";

/// The most pages of one list.
const PAGES_MAX: usize = 30;

pub(crate) struct Deeds<'a> {
    pub(crate) hand: &'a Client,
    pub(crate) address: String,
    /// Where the reader of the journal stands.
    pub(crate) read: Mutex<Option<Cursor>>,
}

/// One round of them at one store.
struct Round<'a> {
    deeds: &'a Deeds<'a>,
    store: &'a PostgresStore,
    session: SessionId,
    /// What the names of the round's orders begin with.
    name: String,
}

fn tenant() -> Tenant {
    ids::target("any").tenant
}

fn operator() -> Principal {
    ids::principal("operator")
}

impl Deeds<'_> {
    /// Asks a store for everything.
    pub(crate) async fn of(&self, store: &PostgresStore, round: &str) {
        let round = Round {
            deeds: self,
            store,
            session: join(store, "a").await,
            name: round.replace(' ', "-"),
        };
        round.creations().await;
        round.operations().await;
        round.chains().await;
        round.marks().await;
        round.operators().await;
        round.lists().await;
        round.locked().await;
        round.journal().await;
        round.housekeeping().await;
    }
}

impl Round<'_> {
    fn order(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    async fn hold(&self, number: usize, key: &str) -> Held {
        let request = request(self.session, &self.order(number), key);
        hold(self.store, request).await
    }

    async fn settle(&self, held: &Held) {
        applied(self.store.settle(held.settle()).await.unwrap()).await;
    }

    fn creation(&self, number: usize, key: &str) -> Create {
        let claim = fixtures::claim(&self.order(number), key);
        fixtures::create(claim, TokioRuntime.wall())
    }

    async fn creations(&self) {
        for number in 0..FEW {
            create(self.store, &self.order(number)).await;
        }
        join_all((FEW..2 * FEW).map(async |it| create(self.store, &self.order(it)).await)).await;
        let order = self.order(0);
        let grown = self.deeds.hand.execute(GROW, &[&order]).await.unwrap();
        assert_eq!(grown, 20_000);
        let again = self.creation(0, "another");
        self.store.create(again).await.unwrap();
        let (target, claim) = (
            ids::target(&self.order(0)),
            fixtures::claim(&self.order(0), "nobody's"),
        );
        let key_id = claim.key_id;
        let lookup = Lookup { target, key_id };
        self.store.lookup(lookup).await.unwrap();
    }

    async fn operations(&self) {
        let held = self.hold(0, "k1").await;
        let other = request(self.session, &self.order(0), "k2");
        for _ in 0..2 {
            self.store.acquire(other.clone()).await.unwrap();
        }
        self.settle(&held).await;
        self.settle(&held).await;
        let all = join_all((0..FEW).map(|number| self.hold(number, "k3"))).await;
        join_all(all.iter().map(|held| self.settle(held))).await;
        let held = self.hold(0, "k4").await;
        let release = Release {
            target: held.request.claim.target(),
            fence: held.grant.fence,
            mark: MarkFate::Keep,
            next: None,
        };
        assert!(self.store.release(release).await.unwrap().held);
        let held = self.hold(0, "k5").await;
        let undo = Undo {
            target: held.request.claim.target(),
            fence: held.grant.fence,
            next: None,
        };
        assert!(self.store.undo(undo).await.unwrap().held);
    }

    /// Orders that go from one request to the next: one alone, and a few at the same time.
    async fn chains(&self) {
        self.settle(&self.chain(0).await).await;
        let last = join_all((0..FEW).map(|number| self.chain(number))).await;
        join_all(last.iter().map(|held| self.settle(held))).await;
    }

    async fn chain(&self, number: usize) -> Held {
        let key = || TokioRuntime.random().to_string();
        let mut held = self.hold(number, &key()).await;
        let mut durable = Vec::new();
        for _ in 0..2 {
            let request = request(self.session, &self.order(number), &key());
            let settle = fixtures::handing_over(held.settle(), request.clone());
            let Settled::Accepted(accepted) = self.store.settle(settle).await.unwrap() else {
                panic!("not accepted");
            };
            durable.push(accepted.durable);
            let grant = granted(accepted.next.unwrap());
            held = Held { request, grant };
        }
        for durable in durable {
            durable.await.unwrap();
        }
        held
    }

    async fn marks(&self) {
        let mut external = request(self.session, &self.order(0), "external");
        external.mark = Some(Recovery::Reconcile);
        let held = hold(self.store, external).await;
        let target = held.request.claim.target();
        let failed = Release {
            target: target.clone(),
            fence: held.grant.fence,
            mark: MarkFate::Keep,
            next: None,
        };
        assert!(self.store.release(failed).await.unwrap().held);
        let resolve = Resolve {
            target,
            key_id: held.request.claim.key_id,
            attempt: held.grant.attempt,
            since: held.grant.now,
            decision: Decision::RunAgain {
                retention: fixtures::RETENTION,
            },
            actor: operator(),
            reason: "nothing happened".into(),
        };
        let end = MarkEnd {
            target: resolve.target.clone(),
            key: resolve.key_id.first_bits(),
            attempt: held.grant.attempt,
        };
        self.store.resolve(resolve).await.unwrap();
        assert!(self.store.mark_end(end).await.unwrap().is_some());
    }

    async fn operators(&self) {
        let held = self.hold(0, "broken").await;
        let target = held.request.claim.target();
        let read = Read { target };
        let view = self.store.read(read).await.unwrap().unwrap();
        let lease = BreakLease {
            tenant: tenant(),
            lease: view.lease.unwrap().id,
            actor: operator(),
            reason: "it hangs".into(),
        };
        self.store.break_lease(lease).await.unwrap();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let leases = Leases {
                tenant: tenant(),
                limit: 100,
                cursor: cursor.take(),
            };
            cursor = self.store.leases(leases).await.unwrap().next;
            if cursor.is_none() {
                break;
            }
        }
    }

    async fn lists(&self) {
        let statuses = [None, Some("open"), Some("nothing")];
        let customers = [None, Some("customer-7"), Some("customer")];
        for status in statuses {
            for customer in customers {
                for locked in [None, Some(true), Some(false)] {
                    let filter = Filter {
                        status: status.map(Into::into),
                        customer: customer.map(Into::into),
                        locked,
                    };
                    self.list(filter).await;
                }
            }
        }
        let mut cursor = None;
        for _ in 0..2 {
            let history = History {
                target: ids::target(&self.order(0)),
                limit: 3,
                cursor,
            };
            let page = self.store.history(history).await.unwrap().unwrap();
            cursor = page.next;
        }
    }

    /// Two pages, one at the beginning and one behind it.
    async fn list(&self, filter: Filter) {
        let mut cursor = None;
        for _ in 0..2 {
            let list = List {
                tenant: tenant(),
                filter: filter.clone(),
                limit: 50,
                cursor,
            };
            cursor = self.store.list(list).await.unwrap().next;
            if cursor.is_none() {
                break;
            }
        }
    }

    /// An order that somebody else keeps locked, among others.
    async fn locked(&self) {
        let order = self.order(0);
        let seize = format!("BEGIN; SELECT FROM orders WHERE id = '{order}' FOR UPDATE");
        self.deeds.hand.batch_execute(&seize).await.unwrap();
        let (store, request) = (self.store.clone(), request(self.session, &order, "waits"));
        let stuck = tokio::spawn(async move { hold(&store, request).await });
        tokio::task::yield_now().await;
        for key in ["beside", "behind"] {
            let held = self.hold(1, key).await;
            self.settle(&held).await;
        }
        self.deeds.hand.batch_execute("COMMIT").await.unwrap();
        self.settle(&stuck.await.unwrap()).await;
    }

    /// A reader, while a transaction is open that may still write, and after a restore.
    async fn journal(&self) {
        let other = connect(&self.deeds.address).await;
        let begin = "BEGIN; SELECT pg_current_xact_id()";
        other.batch_execute(begin).await.unwrap();
        let held = self.hold(0, "read").await;
        self.settle(&held).await;
        self.since(None).await;
        let cursor = self.deeds.read.lock().unwrap().take();
        let next = self.since(cursor).await;
        other.batch_execute("COMMIT").await.unwrap();
        self.store.lag().await.unwrap();
        let restored = "UPDATE store SET base = base - 1000000";
        self.deeds.hand.batch_execute(restored).await.unwrap();
        assert_eq!(self.since(next).await, None, "a new epoch begins");
        let held = self.hold(0, "restored").await;
        self.settle(&held).await;
        let mut cursor = None;
        while let Some(next) = self.since(cursor.clone()).await {
            if cursor.as_ref() == Some(&next) {
                break;
            }
            cursor = Some(next);
        }
        *self.deeds.read.lock().unwrap() = cursor;
    }

    /// Where the reader stands then; none if a new epoch has begun.
    async fn since(&self, cursor: Option<Cursor>) -> Option<Cursor> {
        let request = EntriesSince {
            tenant: tenant(),
            cursor,
            limit: 400,
        };
        match self.store.entries_since(request).await.unwrap() {
            Entries::Some { next, .. } => Some(next),
            Entries::NewEpoch => None,
        }
    }

    async fn housekeeping(&self) {
        let held = [self.hold(0, "long").await, self.hold(1, "long").await];
        for known in [&held[..], &held[..1], &held[..]] {
            let known = known.iter().map(|held| held.grant.fence).collect();
            let session = self.session;
            self.store.renew(Renew { session, known }).await.unwrap();
        }
        let long_ago = "UPDATE store SET seen = seen - interval '1 hour'";
        self.deeds.hand.batch_execute(long_ago).await.unwrap();
        for _ in 0..3 {
            self.store.expire(Expire { limit: 100 }).await.unwrap();
            self.store.sweep(Sweep { limit: 500 }).await.unwrap();
        }
        let session = self.session;
        // On a large table a call looks at a part of it, and the next one goes on there.
        let mut voided = self.store.leave(Leave { session }).await.unwrap().voided;
        for _ in 0..1_000 {
            if voided > 0 {
                break;
            }
            let swept = self.store.sweep(Sweep { limit: 500 }).await.unwrap();
            voided += swept.voided;
        }
        assert_eq!(voided, 1, "what each renewal has named");
        let again = PostgresStore::open(&self.deeds.address, PostgresOptions::default());
        drop(again.await.unwrap());
    }
}
