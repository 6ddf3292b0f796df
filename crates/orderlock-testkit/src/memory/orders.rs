//! Orders themselves: made, and listed.

use jiff::Timestamp;
use orderlock_core::store::{Claim, Create, Created, Entry, Filter, List, OrderView, Page};
use orderlock_core::{LeaseState, StoreError, Target, Tenant, Version};

use super::journal::Word;
use super::state::{Order, State, page, place};

impl State {
    pub(super) fn create(&mut self, request: Create, now: Timestamp) -> Created {
        let target = request.claim.target();
        let derived = Target {
            order: request.derived.clone(),
            ..target.clone()
        };
        let made = self.made(&derived);
        if made != target && self.orders.contains_key(&made) {
            let told = self.created_before(&made, &request.claim, now);
            if told != Created::Exists {
                return told;
            }
        }
        if self.orders.contains_key(&target) {
            return self.created_before(&target, &request.claim, now);
        }
        if derived != target {
            self.reserved.insert(derived, target.clone());
        }
        let (entry, retention) = (Entry::of_create(&request), request.entry.retention);
        let order = Order {
            serial: self.orders.len() as u64 + 1,
            version: Version::FIRST,
            document: request.document,
            index: request.index,
            times: request.times,
            lock: LeaseState::Free,
            granted_event: 0,
            entries: Vec::new(),
        };
        self.orders.insert(target, order);
        Created::Inserted(self.append(entry, retention))
    }

    /// The result of a creation whose order exists already.
    fn created_before(&self, target: &Target, claim: &Claim, now: Timestamp) -> Created {
        match self.word(target, claim.key_id) {
            Some(Word::Final(record)) => {
                if record.entry.fingerprint != claim.fingerprint {
                    Created::Reused
                } else if now < record.expires {
                    Created::Settled(Box::new(record.shown(now)))
                } else {
                    Created::Expired
                }
            }
            Some(Word::Progress(_)) | None => Created::Exists,
        }
    }

    pub(super) fn list(&self, request: &List) -> Result<Page<OrderView>, StoreError> {
        let before = place('o', request.cursor.as_ref())?.unwrap_or(u64::MAX);
        let views = self
            .by_serial(&request.tenant)
            .into_iter()
            .rev()
            .filter(|(serial, _)| *serial < before)
            .filter(|(_, view)| fits(&request.filter, view));
        Ok(page('o', views, request.limit))
    }

    /// A tenant's orders, the oldest first.
    pub(super) fn by_serial(&self, tenant: &Tenant) -> Vec<(u64, OrderView)> {
        let mut views: Vec<_> = self
            .orders
            .iter()
            .filter(|(target, _)| target.tenant == *tenant)
            .map(|(target, order)| (order.serial, order.view(target)))
            .collect();
        views.sort_by_key(|(serial, _)| *serial);
        views
    }
}

fn fits(filter: &Filter, view: &OrderView) -> bool {
    let held = view
        .lease
        .as_ref()
        .is_some_and(|lease| lease.state == orderlock_core::LeaseViewState::Held);
    let equal = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
    equal(&filter.status, &view.index.status)
        && equal(&filter.customer, &view.index.customer)
        && filter.locked.is_none_or(|locked| locked == held)
}
