//! What is certain of one order, and for how long. Nodes really run side by side here, so that
//! nobody sees the moment at which a verb takes effect: only that it lies between its question and
//! its answer. Two certainties that exclude each other and overlap break a promise.

use std::collections::{BTreeMap, BTreeSet};

use orderlock_core::store::{Acquire, Acquired, Claim, Grant, OrderView, Settle, Settled, Then};
use orderlock_core::{Fence, KeyId, LeaseViewState, Recovery, StoreError, Version};
use orderlock_simulator::tally;

use super::marks::{Doubt, Marks};

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
    granted: Option<u64>,
    /// When each of its settles was sent first, and how often.
    steps: BTreeMap<u32, (u64, u32)>,
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
    /// Keys whose handler has begun outside and has not declared since that nothing happened.
    pub(crate) outside: BTreeSet<KeyId>,
}

/// What broke, in words.
pub(super) type Broken = Vec<String>;

impl Book {
    pub(super) fn name(&mut self, claim: &Claim) {
        let name = || tally::name(&claim.caller, &claim.key);
        self.names.entry(claim.key_id).or_insert_with(name);
    }

    fn called(&self, key: KeyId) -> &str {
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
    pub(super) fn marked(&mut self, request: &Acquire, told: &Acquired, now: u64) {
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
        let sent = asked.sent;
        if asked.granted.is_some() {
            return Vec::new();
        }
        asked.granted = Some(now);
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

    pub(super) fn settles(&mut self, request: &Settle, now: u64) {
        self.name(&request.claim);
        if let Some(asked) = self.asked.get_mut(&request.fence) {
            asked.steps.entry(request.step).or_insert((now, 0)).1 += 1;
        }
        if !matches!(request.then, Then::Keep) {
            let doubt = Doubt::Grant(request.fence);
            self.marks.may_end(request.claim.key_id, doubt, now);
        }
        if let Then::HandOver(next) = &request.then {
            self.asks(next, now);
        }
    }

    pub(super) fn settled(
        &mut self,
        request: &Settle,
        told: &Result<Settled, StoreError>,
        now: u64,
    ) -> Broken {
        let (key, fence) = (request.claim.key_id, request.fence);
        let keeps = matches!(request.then, Then::Keep);
        let asked = self.asked.get(&fence);
        let step = asked.and_then(|asked| asked.steps.get(&request.step).copied());
        let alone = step.is_some_and(|(_, times)| times == 1);
        match told {
            Ok(Settled::Accepted(accepted)) => {
                let mut broken = self.held(fence, step.map(|(first, _)| first));
                if accepted.durable.is_already() {
                    self.knows(request.version_after(), now);
                }
                if !keeps {
                    self.marks.ended(key);
                }
                if let (Then::HandOver(next), Some(told)) = (&request.then, &accepted.next) {
                    // On ground that is not durable yet, neither is the mark.
                    broken.extend(match told {
                        Acquired::Granted(grant) if !accepted.durable.is_already() => {
                            self.granted(next, grant, now)
                        }
                        told => self.acquired(next, told, now),
                    });
                }
                broken
            }
            Ok(Settled::Lost(_) | Settled::Impossible(_)) | Err(StoreError::NotApplied(_)) => {
                // An earlier copy may be on its way still, unless the store has looked at it.
                if !keeps && (alone || told.is_ok()) {
                    self.marks.did_not_end(key, Doubt::Grant(fence), now);
                }
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
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

    fn knows(&mut self, version: Version, now: u64) {
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

    /// A client was told that nothing of this run was applied.
    pub(crate) fn disown(&mut self, fence: Fence) {
        self.disowned.insert(fence);
    }
}

/// The version that a settle leaves.
trait VersionAfter {
    fn version_after(&self) -> Version;
}

impl VersionAfter for Settle {
    fn version_after(&self) -> Version {
        if self.entry.outcome.moves_version() {
            self.version.next()
        } else {
            self.version
        }
    }
}
