//! The store of the model: the lock of one order, its version and its journal, and nothing else.

use std::collections::BTreeMap;

use super::rules::{Rule, Rules};
use super::words::{
    Acquire, Acquired, Fence, Key, Loss, Name, Print, Release, Released, Resolve, Session, Settle,
    Settled, Version,
};

/// Who holds the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) key: Key,
    pub(crate) print: Print,
    pub(crate) fence: Fence,
    pub(crate) session: Session,
    /// How many settles it has made.
    pub(crate) steps: u16,
    /// Whether an earlier run of the key has made a checkpoint.
    pub(crate) progress: bool,
    /// Whether it resumed the mark of an earlier run.
    pub(crate) resumed: bool,
    /// Whether its session was renewed since the grant.
    pub(crate) renewed: bool,
}

/// The sign that an external operation has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) key: Key,
    pub(crate) print: Print,
}

/// A settle that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) print: Print,
    /// The grant that settled; none if an operator did.
    pub(crate) by: Option<(Fence, u16)>,
    /// The version that it was made on.
    pub(crate) base: Version,
    pub(crate) changes: bool,
    /// Whether it is its key's answer, and not a checkpoint.
    pub(crate) last: bool,
}

/// What survives power loss once it has been flushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    pub(crate) version: Version,
    pub(crate) mark: Option<Mark>,
    pub(crate) journal: Vec<Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) written: Written,
    pub(crate) lease: Option<Lease>,
    /// Each node's session.
    pub(crate) sessions: BTreeMap<Name, Session>,
}

impl Written {
    /// The entry that answers a key.
    pub(crate) fn answer(&self, key: Key) -> Option<Entry> {
        let mut entries = self.journal.iter();
        entries
            .find(|entry| entry.key == key && entry.last)
            .copied()
    }

    /// The newest entry that binds a key without answering it: a checkpoint, or the decision that
    /// it may run again.
    fn bound(&self, key: Key) -> Option<Entry> {
        let mut entries = self.journal.iter().rev();
        entries
            .find(|entry| entry.key == key && !entry.last)
            .copied()
    }

    /// Whether a key has made a checkpoint.
    fn has_progress(&self, key: Key) -> bool {
        let mut entries = self.journal.iter();
        entries.any(|entry| entry.key == key && !entry.last && entry.by.is_some())
    }
}

impl Store {
    /// Joining ends every other session of the same node. Joining once more is a renewal.
    pub(crate) fn join(&mut self, name: Name, session: Session) {
        match self.sessions.insert(name, session) {
            Some(old) if old != session => self.end_session(old),
            _ => {}
        }
        if let Some(lease) = self.lease.as_mut().filter(|it| it.session == session) {
            lease.renewed = true;
        }
    }

    /// False if the session has ended. What the node does not know is void, once it is older than
    /// the renewal before this one.
    pub(crate) fn renew(&mut self, rules: Rules, session: Session, known: &[Fence]) -> bool {
        if !self.is_alive(session) {
            return false;
        }
        let Some(lease) = self.lease.as_mut().filter(|it| it.session == session) else {
            return true;
        };
        let unknown = lease.renewed && !known.contains(&lease.fence);
        lease.renewed = true;
        if unknown && rules.keep(Rule::RenewalVoidsTheUnknown) {
            self.void();
        }
        true
    }

    /// What `leave` and `sweep` do to a session: it ends by a write, and its lease with it.
    pub(crate) fn end_session(&mut self, session: Session) {
        self.sessions.retain(|_, alive| *alive != session);
        if self.lease.is_some_and(|lease| lease.session == session) {
            self.void();
        }
    }

    /// Sessions and leases are gone.
    pub(crate) fn restart(&mut self) {
        self.sessions.clear();
        self.void();
    }

    pub(crate) fn void(&mut self) {
        self.lease = None;
    }

    /// False if that grant does not hold the order.
    pub(crate) fn break_lease(&mut self, fence: Fence) -> bool {
        let held = self.is_held_by(fence);
        if held {
            self.void();
        }
        held
    }

    pub(crate) fn acquire(&mut self, rules: Rules, request: Acquire) -> Acquired {
        let written = &self.written;
        if let Some(entry) = written.answer(request.key).filter(|_| !request.blind) {
            return match entry.print == request.print {
                true => Acquired::Settled(entry),
                false => Acquired::Reused,
            };
        }
        let bound = written.bound(request.key);
        if bound.is_some_and(|entry| entry.print != request.print) {
            return Acquired::Reused;
        }
        if rules.keep(Rule::GrantAsksSession) && !self.is_alive(request.session) {
            return Acquired::SessionEnded;
        }
        match self.lease {
            Some(lease) if lease.key == request.key && lease.fence == request.fence => {
                return self.granted(lease);
            }
            Some(_) if !rules.keep(Rule::GrantAsksHolder) => {}
            Some(lease) if lease.key != request.key => return Acquired::Held,
            Some(lease) if lease.print != request.print => return Acquired::Reused,
            Some(_) => return Acquired::InProgress,
            None => {}
        }
        match written.mark {
            Some(mark) if mark.key != request.key => return Acquired::Marked,
            Some(mark) if mark.print != request.print => return Acquired::Reused,
            Some(_) if !request.external || !request.resumes => return Acquired::Marked,
            _ => {}
        }
        let current = written.version;
        if request.expected.is_some_and(|expected| expected != current) {
            return Acquired::VersionMismatch;
        }
        let lease = Lease {
            key: request.key,
            print: request.print,
            fence: request.fence,
            session: request.session,
            steps: 0,
            progress: written.has_progress(request.key),
            resumed: written.mark.is_some(),
            renewed: false,
        };
        if request.external {
            self.written.mark = Some(Mark {
                key: request.key,
                print: request.print,
            });
        }
        self.lease = Some(lease);
        self.granted(lease)
    }

    pub(crate) fn settle(&mut self, rules: Rules, request: Settle) -> Settled {
        let written = &mut self.written;
        let by = Some((request.fence, request.step));
        let repeated = |entry: &Entry| match rules.keep(Rule::SettleNamesStep) {
            true => entry.by == by,
            false => entry.by.is_some_and(|(fence, _)| fence == request.fence),
        };
        if !written.journal.iter().any(repeated) {
            let holds = |it: Lease| it.fence == request.fence && it.steps == request.step;
            if rules.keep(Rule::SettleAsksFence) && !self.lease.is_some_and(holds) {
                return Settled::Lost(Loss::NotHeld);
            }
            if rules.keep(Rule::SettleAsksKey) && written.answer(request.key).is_some() {
                return Settled::Lost(Loss::KeySettled);
            }
            if rules.keep(Rule::SettleAsksVersion) && written.version != request.version {
                return Settled::Lost(Loss::VersionMoved);
            }
            written.journal.push(Entry {
                key: request.key,
                print: request.print,
                by,
                base: request.version,
                changes: request.changes,
                last: !request.keeps,
            });
            written.version += u16::from(request.changes);
            match &mut self.lease {
                Some(lease) if request.keeps => {
                    lease.steps += 1;
                    lease.progress = false;
                }
                lease => {
                    *lease = None;
                    written.mark = None;
                }
            }
        }
        let next = request.next.map(|next| self.acquire(rules, next));
        Settled::Accepted(next)
    }

    pub(crate) fn release(&mut self, rules: Rules, request: Release) -> Released {
        let mine = |lease: Lease| match rules.keep(Rule::ReleaseAsksFence) {
            true => lease.fence == request.fence,
            false => lease.key == request.key,
        };
        if !self.lease.is_some_and(mine) {
            return Released {
                held: false,
                next: None,
            };
        }
        let first = self.lease.is_some_and(|it| !it.resumed && it.steps == 0);
        self.void();
        if request.clear || request.undo && first || !rules.keep(Rule::FailureKeepsMark) {
            self.written.mark = None;
        }
        Released {
            held: true,
            next: request.next.map(|next| self.acquire(rules, next)),
        }
    }

    /// False if nobody left a mark of that key, or it is not what was decided about.
    pub(crate) fn resolve(&mut self, request: Resolve) -> bool {
        let written = &mut self.written;
        let Some(mark) = written.mark.filter(|mark| mark.key == request.key) else {
            return false;
        };
        let settles = request.settles;
        let stale = settles.is_some_and(|(version, _)| version != written.version);
        if self.lease.is_some() || stale {
            return false;
        }
        written.mark = None;
        let (base, changes) = settles.unwrap_or((written.version, false));
        written.journal.push(Entry {
            key: mark.key,
            print: mark.print,
            by: None,
            base,
            changes,
            last: settles.is_some(),
        });
        written.version += u16::from(changes);
        true
    }

    pub(crate) fn is_held_by(&self, fence: Fence) -> bool {
        self.lease.is_some_and(|lease| lease.fence == fence)
    }

    pub(crate) fn is_alive(&self, session: Session) -> bool {
        self.sessions.values().any(|alive| *alive == session)
    }

    fn granted(&self, lease: Lease) -> Acquired {
        Acquired::Granted {
            version: self.written.version,
            progress: lease.progress,
        }
    }
}
