//! What is certain of one order, and for how long. Nodes really run side by side here, so that
//! nobody sees the moment at which a verb takes effect: only that it lies between its question and
//! its answer. Two certainties that exclude each other and overlap break a promise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;

use orderlock_core::store::{Acquire, Acquired, Claim, Grant, OrderView};
use orderlock_core::{Fence, KeyId, LeaseViewState, Recovery, StoreError, Version};
use orderlock_simulator::tally;

use super::marks::Marks;
use super::outside::Outside;

/// How many of the last failures are kept.
const FAILURES: usize = 6;

/// From one moment to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.from.max(other.from) < self.to.min(other.to)
    }
}

/// A grant that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: KeyId,
    /// When it was asked for first.
    pub(super) sent: u64,
    /// When it was told first that it is granted.
    pub(super) granted: Option<u64>,
    /// When it was told so on ground that was not durable then, as long as it may become so.
    pub(super) early: Option<u64>,
    /// Whether that ground was taken back, and the order was not granted since.
    pub(super) baseless: bool,
    /// When each of its settles was sent first, and how often.
    pub(super) steps: BTreeMap<u32, (u64, u32)>,
    /// When it was given up first, and how often.
    pub(super) given_up: Option<u64>,
    pub(super) gives_up: u32,
}

/// What is certain of one order.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) names: BTreeMap<KeyId, String>,
    pub(super) asked: BTreeMap<Fence, Asked>,
    holds: Vec<(Fence, KeyId, Span)>,
    pub(super) marks: Marks,
    /// The highest version that is known to be durable, and since when.
    newest: Option<(Version, u64)>,
    /// Grants of which a client was told that nothing was applied.
    pub(super) disowned: BTreeSet<Fence>,
    /// The handlers that have begun outside.
    pub(crate) outside: Outside,
    /// What the store has failed to do last, in words.
    failures: VecDeque<String>,
}

/// What broke, in words.
pub(super) type Broken = Vec<String>;

impl Book {
    pub(super) fn name(&mut self, claim: &Claim) {
        let name = || tally::name(&claim.caller, &claim.key);
        self.names.entry(claim.key_id).or_insert_with(name);
    }

    pub(super) fn called(&self, key: KeyId) -> &str {
        self.names
            .get(&key)
            .map_or("an unknown key", String::as_str)
    }

    pub(super) fn asks(&mut self, request: &Acquire, now: u64) {
        self.name(&request.claim);
        self.asked.entry(request.fence).or_insert(Asked {
            key: request.claim.key_id,
            sent: now,
            granted: None,
            early: None,
            baseless: false,
            steps: BTreeMap::new(),
            given_up: None,
            gives_up: 0,
        });
    }

    pub(super) fn acquired(&mut self, request: &Acquire, told: &Acquired, now: u64) -> Broken {
        let broken = match told {
            Acquired::Granted(grant) => self.granted(request, grant, now),
            _ => Vec::new(),
        };
        self.marked(request, told, now);
        broken
    }

    /// The mark of a grant is durable.
    fn marked(&mut self, request: &Acquire, told: &Acquired, now: u64) {
        let (Acquired::Granted(grant), Some(recovery)) = (told, request.mark) else {
            return;
        };
        if let Some(asked) = self.asked.get(&request.fence) {
            let run = (grant.attempt, recovery);
            let (key, sent) = (request.claim.key_id, asked.sent);
            self.marks.opened(key, request.fence, run, sent, now);
        }
    }

    fn granted(&mut self, request: &Acquire, grant: &Grant, now: u64) -> Broken {
        let Some(asked) = self.asked.get_mut(&request.fence) else {
            return Vec::new();
        };
        if asked.granted.is_some() {
            return Vec::new();
        }
        let early = asked.early.take();
        asked.granted = early.or(Some(now));
        asked.baseless = false;
        match early {
            None => self.rightly(request, grant),
            // It was looked at then.
            Some(_) => Vec::new(),
        }
    }

    /// A grant on ground that is not durable yet: it goes with that.
    pub(super) fn granted_early(&mut self, request: &Acquire, grant: &Grant, now: u64) -> Broken {
        match self.asked.get_mut(&request.fence) {
            Some(asked) if asked.granted.is_none() => asked.early = Some(now),
            _ => return Vec::new(),
        }
        self.rightly(request, grant)
    }

    /// Nothing that was certain when it was asked for forbids this grant.
    fn rightly(&self, request: &Acquire, grant: &Grant) -> Broken {
        let Some(sent) = self.asked.get(&request.fence).map(|asked| asked.sent) else {
            return Vec::new();
        };
        let key = request.claim.key_id;
        let mut broken = Broken::new();
        let name = self.called(key).to_owned();
        for other in self
            .marks
            .open_since_before(sent)
            .filter(|other| *other != key)
        {
            let other = self.called(other);
            broken.push(format!("{name} was granted over the open mark of {other}"));
        }
        if let Some(newest) = self.newer(grant.version, sent) {
            let older = grant.version;
            broken.push(format!(
                "{name} was granted version {older}, older than {newest}"
            ));
        }
        broken.extend(self.own_mark(request, grant, sent));
        broken
    }

    /// A key that has begun outside is granted again: only as its mark allows.
    fn own_mark(&self, request: &Acquire, grant: &Grant, sent: u64) -> Broken {
        let key = request.claim.key_id;
        let name = self.called(key);
        let Some((attempt, recovery)) = self.marks.certain(key, sent) else {
            return Vec::new();
        };
        let mut broken = Broken::new();
        if request.mark.is_none() || recovery == Recovery::Reconcile {
            broken.push(format!("{name} was run again while its mark was open"));
        }
        if grant.attempt <= attempt {
            let now = grant.attempt;
            broken.push(format!(
                "{name} was granted as attempt {now} after attempt {attempt}"
            ));
        }
        broken
    }

    /// This grant held the order from its first answer until this moment.
    pub(super) fn held(&mut self, fence: Fence, to: Option<u64>) -> Broken {
        let Some((asked, to)) = self.asked.get(&fence).cloned().zip(to) else {
            return Vec::new();
        };
        let Some(from) = asked.granted.filter(|from| *from < to) else {
            return Vec::new();
        };
        let span = Span { from, to };
        let mut broken = Broken::new();
        let name = self.called(asked.key);
        for (other, key, held) in &self.holds {
            if *other != fence && span.overlaps(*held) {
                let key = self.called(*key);
                broken.push(format!("{name} and {key} held the order at the same time"));
            }
        }
        for other in self.marks.open_during(span) {
            if other != asked.key {
                let other = self.called(other);
                broken.push(format!(
                    "{name} held the order over the open mark of {other}"
                ));
            }
        }
        self.holds.push((fence, asked.key, span));
        broken
    }

    pub(super) fn knows(&mut self, version: Version, now: u64) {
        if self.newest.is_none_or(|(newest, _)| version > newest) {
            self.newest = Some((version, now));
        }
    }

    /// A version that was known to be durable before something was asked that told an older one.
    fn newer(&self, told: Version, sent: u64) -> Option<Version> {
        let (newest, since) = self.newest?;
        (since < sent && told < newest).then_some(newest)
    }

    /// What somebody has read is of one moment, not older than what was known before, and shows a
    /// mark that is open.
    pub(super) fn read(&mut self, view: &OrderView, (sent, now): (u64, u64)) -> Broken {
        let mut broken = Broken::new();
        if let Some(newest) = self.newer(view.version, sent) {
            let older = view.version;
            broken.push(format!("version {older} was read, older than {newest}"));
        }
        self.knows(view.version, now);
        let lease = view.lease.as_ref();
        if lease.is_some_and(|lease| lease.state == LeaseViewState::Foreign) {
            return broken;
        }
        let shown = lease.and_then(|lease| lease.key_id);
        for key in self.marks.open_since_before(sent) {
            if shown != Some(key) {
                let name = self.called(key);
                broken.push(format!("the open mark of {name} has vanished"));
            }
        }
        broken
    }

    /// The store has failed to do something.
    pub(super) fn failed_to(&mut self, verb: &str, error: &StoreError, after: Duration) {
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        let millis = after.as_millis();
        let words = words(error);
        self.failures
            .push_back(format!("{verb} failed after {millis} ms: {words}"));
    }

    /// What the store has failed to do last.
    pub(crate) fn failures(&self) -> String {
        let failures: Vec<_> = self.failures.iter().map(String::as_str).collect();
        failures.join("; ")
    }

    /// A client was told that nothing of this run was applied.
    pub(crate) fn disown(&mut self, fence: Fence) {
        self.disowned.insert(fence);
    }
}

/// An error with all that is below it.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        words.push_str(&format!(": {error}"));
        below = error.source();
    }
    words
}
