//! All connections of this node: how many there are, which of them must end, and which of them
//! makes room for another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::link::{Link, Timeouts};

/// How many connections end at once to make room: each look at all of them costs time.
const ROOM: usize = 16;

/// The connections of one kind: those without a request so far, or those with one.
#[derive(Debug)]
pub(super) struct Registry {
    links: Mutex<Links>,
    /// Woken when one has left.
    left: Notify,
    /// How many wait for a place.
    waiting: AtomicUsize,
    most: usize,
}

/// One waits for a place, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Links {
    by_number: BTreeMap<u64, Arc<Link>>,
    numbered: u64,
    closing: bool,
}

/// A connection's place among the others, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    number: u64,
}

impl Registry {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            links: Mutex::default(),
            left: Notify::new(),
            waiting: AtomicUsize::new(0),
            most,
        })
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. At the limit those that have rested the longest make room. If none rests, it
    /// waits for one to end, or to rest at the next look at all of them.
    pub(super) async fn enter(self: &Arc<Self>, link: &Arc<Link>) -> Place {
        if let Some(place) = self.try_enter(link) {
            return place;
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            // From here on none is missed that leaves.
            left.as_mut().enable();
            if let Some(place) = self.try_enter(link) {
                return place;
            }
            self.make_room();
            left.await;
        }
    }

    fn try_enter(self: &Arc<Self>, link: &Arc<Link>) -> Option<Place> {
        let mut links = self.links();
        if links.by_number.len() >= self.most {
            return None;
        }
        let number = links.numbered;
        links.numbered += 1;
        links.by_number.insert(number, Arc::clone(link));
        if links.closing {
            link.close();
        }
        drop(links);
        let registry = Arc::clone(self);
        Some(Place { registry, number })
    }

    /// Cuts some that have rested the longest.
    pub(super) fn make_room(&self) {
        let mut resting: Vec<_> = {
            let links = self.links();
            let resting = links.by_number.values().filter_map(|link| {
                let rank = link.rank()?;
                Some((rank, Arc::clone(link)))
            });
            resting.collect()
        };
        let count = ROOM.min(resting.len().div_ceil(ROOM));
        if count < resting.len() {
            resting.select_nth_unstable_by_key(count, |(rank, _)| *rank);
        }
        for (_, link) in &resting[..count] {
            link.cut();
        }
        if count > 0 {
            tracing::debug!(
                count,
                "idle connections were closed to make room for others"
            );
        }
    }

    /// Cuts connections that have waited for their clients for too long, and makes room if another
    /// connection waits: those that were at work when it came may be idle by now.
    pub(super) fn look(&self, now: Instant, timeouts: &Timeouts) {
        for link in self.links().by_number.values() {
            link.look(now, timeouts);
        }
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.make_room();
        }
    }

    /// Ends all, each with the answer that it waits for, those included that enter from now on.
    pub(super) fn close(&self) {
        let mut links = self.links();
        links.closing = true;
        for link in links.by_number.values() {
            link.close();
        }
    }

    /// Whether there is a client that does not read.
    #[cfg(test)]
    pub(super) fn has_stalled(&self) -> bool {
        self.links()
            .by_number
            .values()
            .any(|link| link.is_stalled())
    }

    pub(super) fn count(&self) -> usize {
        self.links().by_number.len()
    }

    /// Resolves when none is left.
    pub(super) async fn emptied(&self) {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.links().by_number.remove(&self.number);
        self.registry.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        answer: Duration::from_secs(10),
    };

    #[tokio::test]
    async fn at_the_limit_the_one_that_has_rested_longest_makes_room() {
        let start = Instant::now();
        let registry = Registry::new(3);
        let links: Vec<_> = (0..4)
            .map(|number| Arc::new(Link::new(start + Duration::from_secs(10 - number))))
            .collect();
        let mut places = Vec::new();
        for link in &links[..3] {
            places.push(Some(registry.enter(link).await));
        }
        // The oldest of them has a request, and another one has a part of one.
        links[2].asked(start, true);
        links[0].asked(start, false);
        let mut another = std::pin::pin!(registry.enter(&links[3]));
        assert!(another.as_mut().now_or_never().is_none());
        let cut: Vec<_> = links.iter().map(|link| link.must_end()).collect();
        assert_eq!(cut, [false, true, false, false]);
        places[1] = None;
        places.push(Some(another.await));
        assert_eq!(registry.count(), 3);
    }

    #[tokio::test]
    async fn one_that_rests_later_makes_room_for_who_waits_already() {
        let now = Instant::now();
        let registry = Registry::new(1);
        let links = [(); 2].map(|()| Arc::new(Link::new(now)));
        let [works, comes] = &links;
        let place = registry.enter(works).await;
        works.asked(now, true);
        let mut another = std::pin::pin!(registry.enter(comes));
        assert!(another.as_mut().now_or_never().is_none());
        works.answered(now);
        works.flushed(now);
        registry.look(now, &TIMEOUTS);
        assert!(works.must_end());
        drop(place);
        let _place = another.await;
        // No connection waits any more, so none is cut.
        registry.look(now, &TIMEOUTS);
        assert!(!comes.must_end());
    }

    #[tokio::test]
    async fn who_comes_after_the_end_is_told_to_end() {
        let registry = Registry::new(1);
        registry.close();
        let link = Arc::new(Link::new(Instant::now()));
        let place = registry.enter(&link).await;
        assert!(link.must_end());
        let mut emptied = std::pin::pin!(registry.emptied());
        assert!(emptied.as_mut().now_or_never().is_none());
        drop(place);
        emptied.await;
    }
}
