//! Creating an order. There is no lease: two equal requests both compute, one insert wins, the
//! other is told the winner's answer; so what is computed must be pure.

use std::sync::Arc;

use super::attempt::caught;
use super::ended::{Answered, CreateRequest, Denied, Ended, Failed, log};
use super::node::Node;
use super::settle::unwritable;
use super::word::replay;
use crate::order::whole_microseconds;
use crate::store::{Claim, Create, Created, NewEntry};
use crate::{
    Answer, Document, OperationName, OrderStore as _, OrderType, OutcomeKind, OwnedIndex,
    SettledView, StoreError, Target, Times, Version,
};

impl Node {
    pub(super) async fn create<T: OrderType>(
        self: &Arc<Self>,
        request: CreateRequest,
        order: T,
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
        let largest = self.store.describe().document_bytes_max;
        if document.size() > largest {
            return unwritable(format!("an order may have at most {largest} bytes"));
        }
        match self.created(request, document, index).await {
            Ok(answered) | Err(answered) => answered,
        }
    }

    async fn created(
        self: &Arc<Self>,
        request: CreateRequest,
        document: Document,
        index: OwnedIndex,
    ) -> Result<Answered, Answered> {
        let session = self.session().await.map_err(Ended::Denied)?;
        let CreateRequest {
            caller,
            order,
            key,
            fingerprint,
            operation,
        } = request;
        // Whatever id is chosen, the key is the one of the derived id: it creates one order.
        let derived = session.secret.order_id(&caller, &key);
        let key_id = session.secret.key_id(&caller, &derived, &key);
        let order = order.unwrap_or_else(|| derived.clone());
        let claim = Claim {
            caller,
            order,
            key,
            key_id,
            fingerprint,
        };
        let at = whole_microseconds(self.runtime.wall());
        let times = Times {
            created: at,
            updated: at,
        };
        let answer = self.creation_answer(&claim.target(), &operation, &document, times)?;
        let entry = NewEntry {
            operation: operation.clone(),
            outcome: OutcomeKind::Created,
            attempt: 1,
            at,
            answer: Some(answer.clone()),
            retention: self.limits.retention,
        };
        let name = claim.order.clone();
        let create = Create {
            claim,
            derived,
            document,
            index,
            entry,
            times,
        };
        let ended = self.inserted(create, answer).await;
        log(&name, &operation, 1, &ended);
        Ok(ended)
    }

    async fn inserted(&self, create: Create, answer: Answer) -> Answered {
        match self.insert(create).await {
            Ok(Created::Inserted(receipt)) => Ended::Settled {
                answer,
                replayed: false,
                expires: Some(receipt.expires),
                outcome: OutcomeKind::Created,
            },
            Ok(Created::Settled(entry)) => replay(*entry),
            Ok(Created::Reused) => Ended::Denied(Denied::KeyReused),
            Ok(Created::Expired) => Ended::Denied(Denied::KeyExpired),
            Ok(Created::Exists) => Ended::Denied(Denied::Exists),
            Err(error) if error.may_have_happened() => Ended::Unknown,
            // Asking again does not help.
            Err(StoreError::Unsupported(what)) => unwritable(what.to_owned()),
            Err(error) => Ended::Denied(Denied::StoreUnavailable(Arc::new(error))),
        }
    }

    fn creation_answer(
        &self,
        target: &Target,
        operation: &OperationName,
        document: &Document,
        times: Times,
    ) -> Result<Answer, Answered> {
        let view = SettledView {
            target,
            operation,
            outcome: OutcomeKind::Created,
            problem: None,
            document,
            version: Version::FIRST,
            times,
        };
        let panicked = Ended::Failed {
            failure: Failed::Panicked,
            partial: None,
            marked: false,
        };
        caught(|| self.answers.answer(view)).ok_or(panicked)
    }

    /// Inserts, and looks again under the same key while the answer is lost.
    async fn insert(&self, create: Create) -> Result<Created, StoreError> {
        let mut repeat = 0;
        let mut doubtful = false;
        loop {
            match self.ask(self.store.create(create.clone())).await {
                Err(error) if error.may_have_happened() && repeat < self.limits.repeats => {
                    doubtful = true;
                    repeat += 1;
                    self.runtime
                        .sleep(self.pause(repeat, self.limits.store))
                        .await;
                }
                Err(error) if doubtful => {
                    return Err(StoreError::OutcomeUnknown(Box::new(error)));
                }
                answered => return answered,
            }
        }
    }
}
