//! One write on its way through the writer.

use orderlock_core::StoreError;
use tokio::sync::oneshot;

use crate::error::Fault;
use crate::turn::Turn;

/// A write that waits for the writer, performs in a batch and is answered after its commit.
pub(crate) trait Job: Send {
    /// Does the work inside the batch's transaction, and remembers its result. It may be asked
    /// again, if the transaction was lost through a neighbour.
    ///
    /// # Errors
    /// What SQLite says; the job's own part is then rolled back.
    fn perform(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault>;

    /// Remembers that this job alone has failed.
    fn refuse(&mut self, error: StoreError);

    /// Sends the result: what it rests on has been committed.
    fn answer(self: Box<Self>);

    /// Sends an error in place of the result.
    fn fail(self: Box<Self>, error: StoreError);
}

/// A verb's work with the place where its result is waited for.
pub(crate) struct Task<T, W> {
    work: W,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Task<T, W>
where
    T: Send,
    W: FnMut(&mut Turn<'_>) -> Result<T, Fault> + Send,
{
    pub(crate) fn new(work: W) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
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
    W: FnMut(&mut Turn<'_>) -> Result<T, Fault> + Send,
{
    fn perform(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        self.result = Some(Ok((self.work)(turn)?));
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
