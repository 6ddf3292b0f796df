//! Nodes' signs of life. A session ends by a write, and its leases are void at once.

use orderlock_core::store::{Join, Joined, Renew, Renewed, Swept};
use orderlock_core::{Lease, LeaseEvent, SessionId, Target};

use super::state::{Session, State};

impl State {
    pub(super) fn join(&mut self, request: Join) -> Joined {
        let others: Vec<_> = self
            .sessions
            .iter()
            .filter(|(id, session)| session.node == request.node && **id != request.session)
            .map(|(id, _)| *id)
            .collect();
        for other in others {
            self.end_session(other);
        }
        let session = Session {
            node: request.node,
            length: request.length,
            renewed: self.instant,
            renewed_event: self.next_event(),
            broken: Vec::new(),
        };
        self.sessions.insert(request.session, session);
        let secret = self.secret.get_or_insert(request.secret).clone();
        Joined { secret }
    }

    pub(super) fn renew(&mut self, request: &Renew) -> Renewed {
        let (event, now) = (self.next_event(), self.instant);
        let Some(session) = self.sessions.get_mut(&request.session) else {
            return Renewed::Ended;
        };
        let before = std::mem::replace(&mut session.renewed_event, event);
        session.renewed = now;
        session.broken.retain_mut(|broken| {
            let unknown = !request.known.contains(&broken.fence);
            let was = std::mem::replace(&mut broken.unknown, unknown);
            !(was && unknown)
        });
        let known = session.broken.iter().filter(|broken| !broken.unknown);
        let voided = known.map(|broken| broken.fence).collect();
        for (target, lease, granted) in self.leases_of(request.session) {
            if granted < before && !request.known.contains(&lease.fence) {
                self.void(&target, &lease);
            }
        }
        Renewed::Extended { voided }
    }

    pub(super) fn sweep(&mut self, limit: usize) -> Swept {
        let lapsed: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                self.instant.saturating_duration_since(session.renewed) >= session.length
            })
            .map(|(id, _)| *id)
            .collect();
        let mut voided = 0;
        for id in lapsed {
            for (target, lease, _) in self.leases_of(id) {
                if voided == limit.max(1) {
                    return Swept { voided, more: true };
                }
                self.void(&target, &lease);
                voided += 1;
            }
            self.sessions.remove(&id);
        }
        Swept {
            voided,
            more: false,
        }
    }

    /// Ends a session; says how many leases that voids.
    pub(super) fn end_session(&mut self, id: SessionId) -> usize {
        self.sessions.remove(&id);
        let leases = self.leases_of(id);
        for (target, lease, _) in &leases {
            self.void(target, lease);
        }
        leases.len()
    }

    pub(super) fn end_all_sessions(&mut self) {
        self.sessions.clear();
    }

    pub(super) fn void_all(&mut self) {
        for (target, lease, _) in self.leases_where(|_| true) {
            self.void(&target, &lease);
        }
    }

    fn void(&mut self, target: &Target, lease: &Lease) {
        if self.step(target, LeaseEvent::Voided(lease.fence)).is_ok() {
            self.hint(target);
        }
    }

    fn leases_of(&self, session: SessionId) -> Vec<(Target, Lease, u64)> {
        self.leases_where(|lease| lease.session == session)
    }

    fn leases_where(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<(Target, Lease, u64)> {
        self.orders
            .iter()
            .filter_map(|(target, order)| {
                let lease = order.lock.lease().filter(|lease| wanted(lease))?;
                Some((target.clone(), lease.clone(), order.granted_event))
            })
            .collect()
    }
}
