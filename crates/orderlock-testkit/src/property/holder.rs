//! What a holder does with its lease, alive or not.

use orderlock_core::store::{
    Acquire, Acquired, Change, Final, FinalOutcome, MarkFate, NewEntry, Part, Release, Settle,
};
use orderlock_core::{Document, LeaseId, Timestamp, Version};

use super::pair::{Difference, Pair, RETENTION};
use super::plain::{Plain, without_expiry};
use super::steps::{Ask, How};
use crate::fixtures;
use crate::suite::{Ended, Verbs};

/// A grant and what its holder knows.
pub(super) struct Run {
    pub(super) request: Acquire,
    attempt: u32,
    step: u32,
    version: Version,
    document: Document,
    now: Timestamp,
    last: Option<(usize, Settle)>,
}

impl Pair {
    /// Remembers a grant.
    pub(super) fn note(&mut self, request: Acquire, acquired: Acquired) {
        if let Acquired::Granted(grant) = acquired {
            self.runs.push(Run {
                request,
                attempt: grant.attempt,
                step: 0,
                version: grant.version,
                document: grant.document,
                now: grant.now,
                last: None,
            });
        }
    }

    /// The place of a run, counted from the newest.
    pub(super) fn place(&self, run: usize) -> Option<usize> {
        (!self.runs.is_empty()).then(|| self.runs.len() - 1 - run % self.runs.len())
    }

    /// Repeats the acquire of a run that has made no step, while it holds the order: after that, a
    /// node never sends it again.
    pub(super) async fn acquire_again(&self, run: usize) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        let request = self.runs[place].request.clone();
        let view = self.model_verbs.read(request.claim.target()).await;
        let lease = view.and_then(|view| view.lease);
        let id = LeaseId::of_grant(request.fence, &request.claim.order);
        if self.runs[place].step > 0 || lease.map(|lease| lease.id) != Some(id) {
            return Ok(());
        }
        let ask = async |verbs: &Verbs| verbs.acquire(request.clone()).await.plain();
        self.both("acquire again", ask).await.map(drop)
    }

    pub(super) async fn settle(&mut self, run: usize, how: How, next: Option<&Ask>) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        let mut settle = self.runs[place].settle(how);
        let next = match next {
            Some(ask) if how != How::Checkpoint => {
                // A node hands over what it holds: the same order, to one of its own.
                let mut next = self.request(ask).await;
                let same = self.runs[place].request.claim.order.clone();
                next.claim = fixtures::claim(same.as_str(), &format!("k{}", ask.key));
                settle = fixtures::handing_over(settle, next.clone());
                Some(next)
            }
            _ => None,
        };
        let ended = self.ask_settle(&settle).await?;
        let run = &mut self.runs[place];
        if let Ended::Applied(_, told) = ended {
            run.last = Some((self.now, settle.clone()));
            run.step += 1;
            if let Some(change) = settle.change() {
                run.version = run.version.next();
                run.document = change.after.clone();
            }
            if let (Some(request), Some(acquired)) = (next, told) {
                self.note(request, acquired);
            }
        }
        Ok(())
    }

    /// Repeats the last settle of a run; a hand-over only at once, before the next has gone on.
    pub(super) async fn settle_again(&self, run: usize) -> Difference {
        let last = self
            .place(run)
            .and_then(|place| self.runs[place].last.as_ref());
        let Some((then, settle)) = last else {
            return Ok(());
        };
        if settle.next().is_some() && *then + 1 < self.now {
            return Ok(());
        }
        self.ask_settle(settle).await.map(drop)
    }

    pub(super) async fn ask_settle(&self, settle: &Settle) -> Result<Ended, String> {
        let ask = async |verbs: &Verbs| {
            let ended = verbs.settle(settle.clone()).await.plain();
            match settle.is_final() {
                true => ended,
                false => without_expiry(ended),
            }
        };
        self.both("settle", ask).await
    }

    pub(super) async fn release(
        &mut self,
        run: usize,
        clear: bool,
        next: Option<&Ask>,
    ) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        let next = match next {
            Some(ask) => {
                let mut next = self.request(ask).await;
                let same = self.runs[place].request.claim.order.clone();
                next.claim = fixtures::claim(same.as_str(), &format!("k{}", ask.key));
                Some(next)
            }
            None => None,
        };
        let request = Release {
            target: self.runs[place].request.claim.target(),
            fence: self.runs[place].request.fence,
            mark: if clear {
                MarkFate::Clear
            } else {
                MarkFate::Keep
            },
            next: next.clone().map(Box::new),
        };
        let ask = async |verbs: &Verbs| verbs.release(request.clone()).await.plain();
        let released = self.both("release", ask).await?;
        if let (Some(request), Some(acquired)) = (next, released.next) {
            self.note(request, acquired);
        }
        Ok(())
    }
}

impl Run {
    fn settle(&self, how: How) -> Settle {
        let count = fixtures::count(&self.document) + 1;
        let change = || Change {
            before: self.document.clone(),
            after: fixtures::document(count),
            index: fixtures::index(&format!("count{count}")),
            at: self.now,
        };
        let end = |outcome| Part::Final {
            end: Final {
                outcome,
                answer: fixtures::answer(&format!("{} of {}", self.step, self.request.fence)),
            },
            next: None,
        };
        Settle {
            claim: self.request.claim.clone(),
            fence: self.request.fence,
            step: self.step,
            version: self.version,
            entry: NewEntry {
                attempt: self.attempt,
                retention: RETENTION,
                ..fixtures::new_entry(self.now)
            },
            part: match how {
                How::Apply => end(FinalOutcome::Applied(change())),
                How::ApplyWithError => end(FinalOutcome::AppliedWithError(change())),
                How::Refuse => end(FinalOutcome::Refused),
                How::Checkpoint => Part::Checkpoint(change()),
            },
        }
    }
}
