//! The one write that ends an operation.

use jiff::Timestamp;
use orderlock_core::store::{
    Accepted, Durable, Entry, Receipt, Settle, SettleFacts, SettleVerdict, Settled, decide_settle,
};
use orderlock_core::{LeaseEvent, LeaseState, Target};

use super::journal::Word;
use super::state::State;

impl State {
    pub(super) fn settle(
        &mut self,
        request: &Settle,
        document_bytes_max: usize,
        now: Timestamp,
    ) -> Settled {
        let target = request.claim.target();
        let written = self.written(&target, request.fence, request.step);
        let order = self.orders.get(&target);
        let word = self.word(&target, request.claim.key_id);
        let facts = SettleFacts {
            version: order.map(|order| order.version),
            lease: order.map_or(&LeaseState::Free, |order| &order.lock),
            written,
            key_settled: matches!(word, Some(Word::Final(_))),
        };
        let receipt = match decide_settle(request, facts) {
            SettleVerdict::Lost(loss) => return Settled::Lost(loss),
            SettleVerdict::Repeat(receipt) => receipt,
            SettleVerdict::Apply(after) => {
                let size = request.change().map_or(0, |change| change.after.size());
                if size > document_bytes_max {
                    return self.refuse_for_good(&target, request);
                }
                self.apply(&target, request, after)
            }
        };
        let next = request.next().map(|next| self.acquire(next, now));
        self.hint(&target);
        Settled::Accepted(Accepted {
            receipt,
            durable: Durable::already(),
            next,
        })
    }

    fn apply(&mut self, target: &Target, request: &Settle, after: LeaseState) -> Receipt {
        if let Some(order) = self.orders.get_mut(target) {
            order.lock = after;
        }
        if let Some(change) = request.change() {
            self.change(target, change);
        }
        self.append(Entry::of_settle(request), request.entry.retention)
    }

    /// What can never be applied ends the lease all the same: its holder has nothing left to say.
    fn refuse_for_good(&mut self, target: &Target, request: &Settle) -> Settled {
        self.step(target, LeaseEvent::Released(request.fence))
            .expect("the verdict says that this fence holds the order");
        self.hint(target);
        Settled::Impossible("the document is over the store's size limit".into())
    }
}
