//! Creating an order. There is no lease: two equal requests both compute, one insert wins, the
//! other is told the winner's answer; so what is computed must be pure.

use std::sync::Arc;

use super::attempt::caught;
use super::ended::{Answered, CreateRequest, Denied, Ended, Failed, log};
use super::node::Node;
use super::settle::unwritable;
use super::tries::Retry;
use super::verbs::{Deadline, Unanswered};
use super::word::replay;
use crate::order::whole_microseconds;
use crate::store::{Claim, Create, Created, NewEntry};
use crate::{
    Answer, Document, OrderStore as _, OrderType, OutcomeKind, OwnedIndex, Secret, SettledView,
    StoreError, Times, Version,
};

impl Node {
    pub(super) async fn create<T: OrderType>(
        self: &Arc<Self>,
        request: CreateRequest,
        order: T,
        render: impl FnOnce(SettledView<'_>) -> Answer + Send,
    ) -> Answered {
        let encoded = caught(move || (Document::encode(&order), order.index().to_owned()));
        let (document, index) = match encoded {
            None => {
                return Ended::Failed {
                    failure: Failed::Panicked,
                    partial: None,
                    marked: false,
                };
            }
            Some((Err(error), _)) => return unwritable(error.to_string()),
            Some((Ok(document), index)) => (document, index),
        };
        if let Err(reason) = self.fits(&document) {
            return unwritable(reason);
        }
        match self.created(request, document, index, render).await {
            Ok(answered) | Err(answered) => answered,
        }
    }

    async fn created(
        self: &Arc<Self>,
        request: CreateRequest,
        document: Document,
        index: OwnedIndex,
        render: impl FnOnce(SettledView<'_>) -> Answer + Send,
    ) -> Result<Answered, Answered> {
        let by = self.deadline();
        let session = self.session(by).await.map_err(Ended::Denied)?;
        let derived = request.claim(&session.secret);
        let CreateRequest {
            order, operation, ..
        } = request;
        let claim = Claim {
            order: order.unwrap_or_else(|| derived.order.clone()),
            ..derived.clone()
        };
        let at = whole_microseconds(self.runtime.wall());
        let times = Times {
            created: at,
            updated: at,
        };
        let view = SettledView {
            target: &claim.target(),
            operation: &operation,
            outcome: OutcomeKind::Created,
            problem: None,
            document: &document,
            version: Version::FIRST,
            times,
        };
        let answer = caught(|| render(view)).ok_or(Ended::Failed {
            failure: Failed::Panicked,
            partial: None,
            marked: false,
        })?;
        let entry = NewEntry {
            operation: operation.clone(),
            attempt: 1,
            at,
            retention: self.limits.retention,
        };
        let name = claim.order.clone();
        let create = Create {
            claim,
            derived: derived.order,
            document,
            index,
            entry,
            answer,
            times,
        };
        let ended = self.inserted(create, by).await;
        log(&name, &operation, 1, &ended);
        Ok(ended)
    }

    async fn inserted(&self, create: Create, by: Deadline) -> Answered {
        // While the answer is lost, the same key is asked again. Nothing is held, so that nothing is
        // left to do when the time is over.
        let insert = || self.store.create(create.clone());
        match self.until_answered(Retry::InDoubt, Some(by), insert).await {
            Ok(Created::Inserted(receipt)) => Ended::Settled {
                order: create.claim.order,
                answer: create.answer,
                replayed: false,
                expires: Some(receipt.expires),
                outcome: OutcomeKind::Created,
            },
            Ok(Created::Settled(entry)) => replay(*entry),
            Ok(Created::Reused) => Ended::Denied(Denied::KeyReused),
            Ok(Created::Expired) => Ended::Denied(Denied::KeyExpired),
            Ok(Created::Exists) => Ended::Denied(Denied::Exists),
            Err(Unanswered { in_doubt: true, .. }) => Ended::Unknown,
            // Asking again does not help.
            Err(Unanswered {
                error: StoreError::Unsupported(what),
                ..
            }) => unwritable(what.to_owned()),
            Err(Unanswered { error, .. }) => Ended::Denied(Denied::unavailable(error)),
        }
    }
}

impl CreateRequest {
    /// The claim on the id that is derived from caller and key.
    pub(super) fn claim(&self, secret: &Secret) -> Claim {
        Claim::that_creates(secret, &self.caller, &self.key, self.fingerprint)
    }
}
