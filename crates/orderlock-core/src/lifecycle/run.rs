//! One request, from its arrival to its answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::admission::{Admission, Admitted, TurnedAway};
use super::attempt::{Run, attempt, caught};
use super::checkpoint::HandlerLease;
use super::ended::{Answered, Ended, Failed, OperationRequest, log};
use super::ending::{End, Ending};
use super::locked::LockedOrder;
use super::node::Node;
use super::place::{Seat, Signals};
use crate::store::Grant;
use crate::{Answer, HandlerError, OperationKey, OrderType, Outcome};

/// The way back to the client. Only the first word counts.
struct Reply<E>(Option<oneshot::Sender<Ended<E>>>);

impl<E> Reply<E> {
    fn send(&mut self, ended: Ended<E>) {
        if let Some(reply) = self.0.take() {
            // A client that has gone asks again with the same key.
            let _gone = reply.send(ended);
        }
    }
}

pub(super) async fn serve<T, E, W, F, D>(
    node: Arc<Node>,
    request: OperationRequest,
    work: W,
    describe: D,
    client: oneshot::Sender<Infallible>,
    reply: oneshot::Sender<Ended<E>>,
) where
    T: OrderType,
    E: HandlerError,
    W: FnOnce(LockedOrder<T>) -> F + Send + 'static,
    F: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
    D: Fn(&E) -> Answer + Send + 'static,
{
    let mut reply = Reply(Some(reply));
    let operation = request.operation.name();
    let (mut ending, (seat, signals), grant) = match begin(&node, &request, client).await {
        Ok(begun) => begun,
        Err(TurnedAway { answered, unused }) => {
            log(&request.order, operation, 0, &answered);
            reply.send(answered.clone().tell());
            if let Some((seat, fence)) = unused {
                let next = Box::pin(node.take_back(&seat, fence)).await;
                Box::pin(node.hand_on(seat, &answered, next)).await;
            }
            return;
        }
    };
    let lease = Arc::clone(&ending.lease);
    let place = (&seat, &*signals);
    let (end, mut failed) = match attempt(&node, place, lease, &grant, work).await {
        Run::Returned(work) => (End::Returned(work), None),
        Run::Failed(failed) => (ended(&failed, describe), Some(failed)),
        Run::Void => (End::Void, None),
    };
    let (told, left) = (Arc::clone(&ending.told), ending.left);
    let mut concluded = pin!(ending.conclude(seat, end));
    let answered = match node.within(left, concluded.as_mut()).await {
        Some(answered) => answered,
        None => {
            // The client is told what is known by now, and the rest goes on without it.
            let told = told.get().cloned().unwrap_or(Ended::Unknown);
            reply.send(with_error(told, failed.take()));
            concluded.await
        }
    };
    log(&request.order, operation, grant.attempt, &answered);
    reply.send(with_error(answered, failed));
}

/// A failure as requests that were attached to the attempt are told it, and what the handler has
/// declared of it.
fn ended<E: HandlerError>(failed: &Failed<E>, describe: impl Fn(&E) -> Answer) -> End {
    let Failed::Error(error) = failed else {
        return End::Failed {
            failure: failed.without_error(),
            without_effect: false,
        };
    };
    End::Failed {
        failure: match caught(|| describe(error)) {
            Some(answer) => Failed::Attached(answer),
            None => Failed::Panicked,
        },
        without_effect: error.is_without_effect(),
    }
}

/// The end as the one is told it whose handler has failed: with the handler's own error.
fn with_error<E>(answered: Answered, failed: Option<Failed<E>>) -> Ended<E> {
    match (answered, failed) {
        (
            Ended::Failed {
                partial, marked, ..
            },
            Some(failure),
        ) => Ended::Failed {
            failure,
            partial,
            marked,
        },
        (answered, _) => answered.tell(),
    }
}

/// From the request to its grant, or to the answer that makes one unnecessary.
async fn begin(
    node: &Arc<Node>,
    request: &OperationRequest,
    client: oneshot::Sender<Infallible>,
) -> Result<(Ending, (Seat, Arc<Signals>), Box<Grant>), TurnedAway> {
    let arrived = node.now();
    let session = node.session(node.deadline()).await?;
    let admission = Admission::new(Arc::clone(node), &session, request, (arrived, client));
    let Admitted {
        seat,
        acquire,
        grant,
        footing,
        left,
        signals,
    } = admission.admit().await?;
    let OperationRequest {
        caller,
        order,
        key,
        operation,
        ..
    } = request;
    let key = OperationKey::new(
        &session.secret,
        caller,
        order,
        operation.name(),
        key.clone(),
    );
    let ending = Ending {
        lease: Arc::new(HandlerLease::new(node, &acquire, &grant, key)),
        node: Arc::clone(node),
        operation: operation.clone(),
        acquire,
        footing,
        left,
        told: Arc::default(),
    };
    Ok((ending, (seat, signals), grant))
}
