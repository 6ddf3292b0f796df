//! Jobs: one write each, on its way through the writer to its answer.

use orderlock_core::StoreError;
use orderlock_core::store::{Accepted, Acquired, Durable, Fate, Settle, Settled};
use tokio::sync::oneshot;

use crate::file::error::Fault;
use crate::state::context::WriteContext;
use crate::verbs::settle::settle;

/// A write that waits for the writer, performs in a batch and is answered once that is on the disk.
pub(crate) trait Job: Send {
    /// Does the work inside the batch's transaction, and remembers its result. It may be asked
    /// again, if the transaction was lost through a neighbour.
    ///
    /// # Errors
    /// What SQLite says; the job's own part is then rolled back.
    fn perform(&mut self, context: &mut WriteContext<'_>) -> Result<(), Fault>;

    /// Remembers that this job alone has failed.
    fn refuse(&mut self, error: StoreError);

    /// Tells as much of the result as may be told before it is on the disk.
    fn accept(&mut self) {}

    /// Whether something has been told already.
    fn is_accepted(&self) -> bool {
        false
    }

    /// Sends the result: what it rests on is on the disk.
    fn answer(self: Box<Self>);

    /// Sends an error in place of the result.
    fn fail(self: Box<Self>, error: StoreError);
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
pub(crate) type Awaited<T> = oneshot::Receiver<Result<T, StoreError>>;

/// A verb's work with the place where its result is waited for.
pub(crate) struct Task<T, W> {
    work: W,
    result: Option<Result<T, StoreError>>,
    reply: Reply<T>,
}

impl<T, W> Task<T, W>
where
    T: Send,
    W: FnMut(&mut WriteContext<'_>) -> Result<T, Fault> + Send,
{
    pub(crate) fn new(work: W) -> (Self, Awaited<T>) {
        let (reply, result) = oneshot::channel();
        let task = Self {
            work,
            result: None,
            reply,
        };
        (task, result)
    }
}

impl<T, W> Job for Task<T, W>
where
    T: Send,
    W: FnMut(&mut WriteContext<'_>) -> Result<T, Fault> + Send,
{
    fn perform(&mut self, context: &mut WriteContext<'_>) -> Result<(), Fault> {
        self.result = Some(Ok((self.work)(context)?));
        Ok(())
    }

    fn refuse(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // Whoever asked may have gone away. The verb has happened all the same.
            let _ = self.reply.send(result);
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }
}

/// A settle. If it hands the order over to a next request, it is answered as soon as it is in the
/// transaction, so that a pure successor can begin; its fate is told when it is on the disk.
pub(crate) struct SettleTask {
    request: Settle,
    result: Option<Result<Settled, StoreError>>,
    reply: Option<Reply<Settled>>,
    fate: Option<Reply<Fate>>,
}

impl SettleTask {
    pub(crate) fn new(request: Settle) -> (Self, Awaited<Settled>) {
        let (reply, result) = oneshot::channel();
        let task = Self {
            request,
            result: None,
            reply: Some(reply),
            fate: None,
        };
        (task, result)
    }
}

impl Job for SettleTask {
    fn perform(&mut self, context: &mut WriteContext<'_>) -> Result<(), Fault> {
        self.result = Some(Ok(settle(context, &self.request)?));
        Ok(())
    }

    fn refuse(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn accept(&mut self) {
        let handed_over = matches!(
            self.result,
            Some(Ok(Settled::Accepted(Accepted {
                next: Some(Acquired::Granted(_)),
                ..
            })))
        );
        if !handed_over || self.reply.is_none() {
            return;
        }
        let Some(Ok(Settled::Accepted(accepted))) = &mut self.result else {
            return;
        };
        let (fate, told) = oneshot::channel();
        let early = Accepted {
            receipt: accepted.receipt,
            durable: Durable::later(async {
                let gone = || StoreError::OutcomeUnknown("the store has stopped half way".into());
                told.await.map_err(|_| gone())?
            }),
            next: accepted.next.take(),
        };
        self.fate = Some(fate);
        if let Some(reply) = self.reply.take() {
            // Whoever asked may have gone away. The verb happens all the same.
            let _ = reply.send(Ok(Settled::Accepted(early)));
        }
    }

    fn is_accepted(&self) -> bool {
        self.reply.is_none()
    }

    fn answer(self: Box<Self>) {
        let Some(result) = self.result else { return };
        match (self.reply, self.fate) {
            (Some(reply), _) => drop(reply.send(result)),
            // If the transaction was lost through a neighbour, the second time may have come to
            // something else.
            (None, Some(fate)) => drop(fate.send(match result {
                Ok(Settled::Accepted(_)) => Ok(Fate::Durable),
                Ok(Settled::Lost(loss)) => Ok(Fate::Lost(loss)),
                Ok(Settled::Impossible(reason)) => Err(StoreError::NotApplied(reason.into())),
                Err(error) => Err(error),
            })),
            (None, None) => {}
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        match (self.reply, self.fate) {
            (Some(reply), _) => drop(reply.send(Err(error))),
            (None, Some(fate)) => drop(fate.send(Err(error))),
            (None, None) => {}
        }
    }
}
