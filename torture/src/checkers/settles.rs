//! Settles, and what becomes of those that are accepted before they are durable: until then neither the
//! settle nor what was granted with it is certain.

use orderlock_core::store::{Acquired, Fate, Settle, Settled};
use orderlock_core::{StoreError, Version};

use super::book::{Book, Broken};
use super::marks::Doubt;

impl Book {
    pub(super) fn settles(&mut self, request: &Settle, now: u64) {
        self.name(&request.claim);
        if let Some(asked) = self.asked.get_mut(&request.fence) {
            asked.steps.entry(request.step).or_insert((now, 0)).1 += 1;
        }
        if request.is_final() {
            let doubt = Doubt::Grant(request.fence);
            self.marks.may_end(request.claim.key_id, doubt, now);
        }
        if let Some(next) = request.next() {
            self.asks(next, now);
        }
    }

    /// A settle was answered. What was accepted early is certain once its fate is known.
    pub(super) fn settled(
        &mut self,
        request: &Settle,
        told: &Result<Settled, StoreError>,
        now: u64,
    ) -> Broken {
        match told {
            Ok(Settled::Accepted(accepted)) if accepted.durable.is_already() => {
                self.kept(request, accepted.next.as_ref(), now)
            }
            Ok(Settled::Accepted(accepted)) => match (request.next(), &accepted.next) {
                (Some(next), Some(Acquired::Granted(grant))) => {
                    self.granted_early(next, grant, now)
                }
                _ => Vec::new(),
            },
            Ok(Settled::Lost(_) | Settled::Impossible(_)) => {
                self.not_kept(request, now);
                Vec::new()
            }
            Err(error) => {
                self.failed(request, error, now);
                Vec::new()
            }
        }
    }

    /// What became of a settle that was accepted early, with this next one.
    pub(super) fn hardened(
        &mut self,
        request: &Settle,
        next: Option<&Acquired>,
        fate: &Result<Fate, StoreError>,
        now: u64,
    ) -> Broken {
        if let Ok(Fate::Durable) = fate {
            return self.kept(request, next, now);
        }
        let certainly = match fate {
            Ok(_) => {
                self.not_kept(request, now);
                true
            }
            Err(error) => self.failed(request, error, now),
        };
        if let Some(next) = request.next()
            && let Some(next) = self.asked.get_mut(&next.fence)
        {
            let granted = next.early.take().is_some();
            next.baseless = certainly && granted;
        }
        Vec::new()
    }

    /// The settle is durable, and so is what was granted with it.
    fn kept(&mut self, request: &Settle, next: Option<&Acquired>, now: u64) -> Broken {
        if let Some(asked) = self.asked.get_mut(&request.fence) {
            // What it was built on became durable before it.
            asked.granted = asked.granted.or(asked.early);
        }
        let first = self.sent(request).map(|(first, _)| first);
        let mut broken = self.held(request.fence, first);
        if self
            .asked
            .get(&request.fence)
            .is_some_and(|asked| asked.baseless)
        {
            let name = self.called(request.claim.key_id);
            broken.push(format!("{name} was settled on ground that was taken back"));
        }
        self.knows(request.version_after(), now);
        if request.is_final() {
            self.marks.ended(request.claim.key_id);
        }
        if let (Some(next), Some(told)) = (request.next(), next) {
            broken.extend(self.acquired(next, told, now));
        }
        broken
    }

    /// The settle was not applied, and no copy of it will be.
    fn not_kept(&mut self, request: &Settle, now: u64) {
        if request.is_final() {
            let doubt = Doubt::Grant(request.fence);
            self.marks.did_not_end(request.claim.key_id, doubt, now);
        }
    }

    /// This copy of the settle was not applied, or nobody knows. An earlier one may be on its way still.
    /// True if there is none.
    fn failed(&mut self, request: &Settle, error: &StoreError, now: u64) -> bool {
        let alone = self.sent(request).is_some_and(|(_, times)| times == 1);
        let certainly = alone && matches!(error, StoreError::NotApplied(_));
        if certainly {
            self.not_kept(request, now);
        }
        certainly
    }

    /// When this step was sent first, and how often it was.
    fn sent(&self, request: &Settle) -> Option<(u64, u32)> {
        let asked = self.asked.get(&request.fence)?;
        asked.steps.get(&request.step).copied()
    }
}

/// The version that a settle leaves.
trait VersionAfter {
    fn version_after(&self) -> Version;
}

impl VersionAfter for Settle {
    fn version_after(&self) -> Version {
        if self.outcome().moves_version() {
            self.version.next()
        } else {
            self.version
        }
    }
}
