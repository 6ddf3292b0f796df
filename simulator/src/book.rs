//! What has happened in the store, as far as the promises depend on it, and what breaks one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use orderlock_core::store::{Acquire, Acquired, Claim, Loss, Settle, Settled};
use orderlock_core::{Fence, KeyId, SessionId, Target};

/// Why a grant ended without its holder's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Every lease was voided.
    VoidAll,
    /// An operator broke it.
    Broken,
    /// Its session was ended: by a sweep, or by its node.
    SessionEnded,
    /// Its node did not know it when it renewed its session.
    Renewal,
    /// The store started again.
    Restart,
    /// A flush failed, and the grant or its settle was thrown away.
    WentBack,
}

impl Cause {
    /// Those that a holder can be told of. A grant that its node does not know has none.
    pub(super) const TOLD: [Self; 5] = [
        Self::VoidAll,
        Self::Broken,
        Self::SessionEnded,
        Self::Restart,
        Self::WentBack,
    ];
}

/// What has happened in the store, as far as the promises depend on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Whose each grant was.
    grants: BTreeMap<Fence, (Target, KeyId)>,
    /// Which grant holds each order.
    holders: BTreeMap<Target, Fence>,
    /// When each order was let go last, and what time it is.
    freed: BTreeMap<Target, Duration>,
    pub(super) now: Duration,
    voided: BTreeSet<Fence>,
    /// Why grants ended that have ended so, also those that a failed flush has taken back since.
    causes: HashMap<Fence, Cause>,
    regranted: BTreeSet<Fence>,
    accepted: BTreeSet<(Fence, u32)>,
    /// Runs whose final settle has been accepted, but for those that were granted anew.
    applied: HashSet<Fence>,
    /// Runs of which a client was told that nothing was applied.
    disowned: HashSet<Fence>,
    finals: BTreeSet<KeyId>,
    /// Keys of which an operator said that they may run again, whatever their recovery allows.
    pub(super) cleared: BTreeSet<KeyId>,
    ended_sessions: BTreeSet<SessionId>,
    sessions: BTreeMap<String, SessionId>,
    /// Keys whose handler may have acted outside, with nothing stored yet.
    touched: BTreeMap<Target, BTreeSet<KeyId>>,
    /// Keys whose last handler has declared that nothing happened outside, which no flush takes back.
    declared: HashSet<KeyId>,
    pub(super) names: BTreeMap<KeyId, String>,
    pub(super) violations: Vec<String>,
}

impl Book {
    pub(super) fn name(&mut self, claim: &Claim) {
        let name = || crate::tally::name(&claim.caller, &claim.key);
        self.names.entry(claim.key_id).or_insert_with(name);
    }

    pub(super) fn acquired(&mut self, request: &Acquire, result: &Acquired) {
        self.name(&request.claim);
        let Acquired::Granted(grant) = result else {
            if matches!(result, Acquired::SessionEnded) {
                self.ended_sessions.insert(request.session);
            }
            return;
        };
        let (fence, target, key) = (grant.fence, request.claim.target(), request.claim.key_id);
        if self.holders.get(&target) == Some(&fence) {
            return;
        }
        if self.holders.contains_key(&target) {
            self.violation("an order was granted while another grant held it");
        }
        if self.finals.contains(&key) {
            self.violation("a settled key was granted");
        }
        if self.ended_sessions.contains(&request.session) {
            self.violation("an ended session was granted an order");
        }
        let others = self.touched.get(&target);
        if others.is_some_and(|keys| keys.iter().any(|other| *other != key)) {
            self.violation("an order was granted over another key's open outside effect");
        }
        if self.grants.insert(fence, (target.clone(), key)).is_some() {
            self.regranted.insert(fence);
        }
        self.voided.remove(&fence);
        self.holders.insert(target, fence);
    }

    /// True if it took effect now, and not when it came before.
    pub(super) fn settled(&mut self, request: &Settle, result: &Settled) -> bool {
        let (fence, target, key) = (request.fence, request.claim.target(), request.claim.key_id);
        match result {
            Settled::Accepted(accepted) => {
                let keeps = !request.is_final();
                let first = self.accepted.insert((fence, request.step));
                if first {
                    // A late duplicate of its `acquire` may give a holder its fence back, and a
                    // late duplicate of its settle then goes through: the seam says so.
                    let anew = self.regranted.contains(&fence);
                    if !keeps && !anew && self.disowned.contains(&fence) {
                        self.violation("a settle was applied that a client was told was not");
                    }
                    if self.voided.contains(&fence) {
                        self.violation("a voided holder settled");
                    }
                    if !keeps && !anew {
                        self.applied.insert(fence);
                    }
                    if !keeps && !self.finals.insert(key) {
                        self.violation("a key was settled for good twice");
                    }
                }
                if !keeps {
                    self.let_go(&target, fence);
                    self.settled_outside(&target, key);
                }
                if let (Some(next), Some(result)) = (request.next(), &accepted.next) {
                    self.acquired(next, result);
                }
                return first;
            }
            Settled::Lost(Loss::NotHeld) => {
                let holds = self.holders.get(&target) == Some(&fence);
                if holds && !self.regranted.contains(&fence) {
                    self.violation("a holder was told that it had lost what it holds");
                }
            }
            Settled::Lost(_) => {}
            Settled::Impossible(_) => self.let_go(&target, fence),
        }
        false
    }

    /// Whose grant this was.
    pub(super) fn key_of(&self, fence: Fence) -> Option<KeyId> {
        self.grants.get(&fence).map(|(_, key)| *key)
    }

    /// The key is settled for good by a verb that has no grant.
    pub(super) fn settled_without_grant(&mut self, key: KeyId) -> bool {
        self.finals.insert(key)
    }

    pub(super) fn let_go(&mut self, target: &Target, fence: Fence) {
        if self.holders.get(target) == Some(&fence) {
            self.holders.remove(target);
            self.freed.insert(target.clone(), self.now);
        }
    }

    pub(super) fn settled_outside(&mut self, target: &Target, key: KeyId) {
        if let Some(keys) = self.touched.get_mut(target) {
            keys.remove(&key);
        }
    }

    /// What has happened since is undone. What was seen stays seen: acts outside, names, and what
    /// clients were told.
    pub(super) fn go_back_to(&mut self, before: Self) {
        let now = std::mem::replace(self, before);
        self.causes = now.causes;
        let settled = now.accepted.difference(&self.accepted);
        let held = now.holders.values();
        let held = held.filter(|fence| !self.grants.contains_key(fence));
        for fence in settled.map(|(fence, _)| fence).chain(held) {
            self.causes.insert(*fence, Cause::WentBack);
        }
        for (target, keys) in now.touched {
            self.touched.entry(target).or_default().extend(keys);
        }
        for keys in self.touched.values_mut() {
            keys.retain(|key| !now.declared.contains(key));
        }
        self.declared = now.declared;
        self.names = now.names;
        self.violations = now.violations;
        self.disowned = now.disowned;
    }

    /// Since when nobody holds an order; none if somebody does, or nobody ever did.
    pub(super) fn free_since(&self, target: &Target) -> Option<Duration> {
        let free = !self.holders.contains_key(target);
        self.freed.get(target).copied().filter(|_| free)
    }

    /// A client was told that nothing of this run was applied.
    pub(super) fn disown(&mut self, fence: Fence) {
        if self.applied.contains(&fence) {
            self.violation("a client was told that nothing was applied, and it was");
        }
        self.disowned.insert(fence);
    }

    /// Why this grant ended without its holder's word, if it did.
    pub(super) fn cause(&self, fence: Fence) -> Option<Cause> {
        self.causes.get(&fence).copied()
    }

    /// Whether an operator let the key of this name run again.
    pub(super) fn may_run_again(&self, name: &str) -> bool {
        let mut cleared = self.cleared.iter();
        cleared.any(|key| self.names.get(key).is_some_and(|it| it == name))
    }

    pub(super) fn end_session(&mut self, session: SessionId) {
        self.ended_sessions.insert(session);
    }

    /// A node takes its place again, under another session.
    pub(super) fn join(&mut self, node: String, session: SessionId) {
        if let Some(old) = self.sessions.insert(node, session)
            && old != session
        {
            self.end_session(old);
        }
        self.ended_sessions.remove(&session);
    }

    pub(super) fn end_all_sessions(&mut self) {
        let all = std::mem::take(&mut self.sessions);
        self.ended_sessions.extend(all.into_values());
    }

    /// The handler of an external operation has begun. True if no earlier run of its key had.
    pub(super) fn touch(&mut self, target: &Target, name: &str) -> bool {
        let Some(key) = self.holding(target, name) else {
            return false;
        };
        self.declared.remove(&key);
        self.touched.entry(target.clone()).or_default().insert(key)
    }

    /// The handler has declared that nothing happened.
    pub(super) fn untouch(&mut self, target: &Target, name: &str) {
        if let Some(key) = self.holding(target, name) {
            self.declared.insert(key);
            self.settled_outside(target, key);
        }
    }

    /// The key that holds an order, if it has this name.
    fn holding(&self, target: &Target, name: &str) -> Option<KeyId> {
        let (_, key) = self.grants.get(self.holders.get(target)?)?;
        let named = self.names.get(key).is_some_and(|holding| holding == name);
        named.then_some(*key)
    }

    pub(super) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub(super) fn voided(&mut self, still_held: &[Fence], cause: Cause) {
        let gone: Vec<_> = self
            .holders
            .iter()
            .filter(|(_, fence)| !still_held.contains(fence))
            .map(|(target, fence)| (target.clone(), *fence))
            .collect();
        for (target, fence) in gone {
            self.holders.remove(&target);
            self.freed.insert(target, self.now);
            self.voided.insert(fence);
            self.causes.insert(fence, cause);
        }
    }
}
