//! What ends: how fast, and what becomes of its room.

use std::time::Duration;

use orderlock_core::store::{Acquired, Expire};
use orderlock_core::{Answer, OrderStore as _};
use orderlock_testkit::fixtures::{self, RETENTION};

use super::{Bench, accepted, granted};

const SETTLES: usize = 200;

impl Bench {
    /// Settles with answers of so many bytes.
    async fn settles(&self, round: usize, bytes: usize) {
        for number in 0..SETTLES {
            let request = self.request("o", &format!("k{round}-{number}"));
            let grant = granted(self.store.acquire(request.clone()).await.unwrap());
            let mut settle = fixtures::refuse(&request, &grant);
            fixtures::end_of(&mut settle).answer = Answer {
                body: vec![b'x'; bytes].into(),
                ..fixtures::answer("")
            };
            accepted(self.store.settle(settle).await.unwrap());
        }
    }

    fn pragma(&self, which: &str) -> usize {
        let file = self.file();
        let value = file.pragma_query_value(None, which, |row| row.get::<_, i64>(0));
        usize::try_from(value.unwrap()).unwrap()
    }

    /// Ends all that is due, in as few calls as it takes.
    async fn end_all(&self, limit: usize) -> (usize, usize) {
        let (mut answers, mut calls) = (0, 0);
        loop {
            let expired = self.store.expire(Expire { limit }).await.unwrap();
            answers += expired.answers;
            calls += 1;
            if !expired.more {
                assert_eq!(expired.behind, Duration::ZERO);
                return (answers, calls);
            }
        }
    }
}

/// The pages of answers that have ended are used for new ones: the file does not grow by them.
#[tokio::test]
async fn the_room_of_answers_that_have_ended_is_used_again() {
    let mut bench = Bench::new().await;
    bench.order("o").await;
    bench.settles(0, 3_000).await;
    let filled = bench.pragma("page_count");
    bench.runtime.advance(RETENTION.answer);
    bench.session = super::join(&bench.store, &bench.runtime, "node").await;
    assert_eq!(bench.end_all(1_000).await, (SETTLES + 1, 1));
    let free = bench.pragma("freelist_count");
    assert!(free >= SETTLES / 2, "{free} of {filled} pages are free");
    bench.settles(1, 3_000).await;
    let grown = bench.pragma("page_count") - filled;
    assert!(grown < SETTLES / 10, "by {grown} pages of {filled}");
}

/// A tombstone takes no room of its own: it ends by the clock, and nothing is left to be removed.
#[tokio::test]
async fn tombstones_end_by_themselves() {
    let bench = Bench::new().await;
    bench.order("o").await;
    bench.settles(0, 10).await;
    bench.runtime.advance(RETENTION.answer);
    assert_eq!(bench.end_all(50).await, (SETTLES + 1, SETTLES / 50 + 1));
    let before = bench.store.statistics().commits;
    bench.runtime.advance(RETENTION.tombstone);
    let bench = Bench {
        session: super::join(&bench.store, &bench.runtime, "node").await,
        ..bench
    };
    assert_eq!(bench.end_all(50).await, (0, 1));
    let written = bench.store.statistics().commits - before;
    assert!(written <= 1, "the time that was seen, perhaps: {written}");
    let again = bench.store.acquire(bench.request("o", "k0-0")).await;
    assert!(matches!(again, Ok(Acquired::Granted(_))), "{again:?}");
}
