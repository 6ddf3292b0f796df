//! Reading: a few threads that never write, each with a connection of its own. Whoever asks waits
//! without holding a thread, so that a slow disk or a long list stops nobody who asks for
//! something else.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use orderlock_core::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::leases::lock;

/// How many reads may wait for a thread; one more waits for room before it is sent.
const QUEUE: usize = 1_024;
/// How long the writer waits for readers to end, and a reader for the writer, before either goes on
/// all the same. Both are short; neither rests on it.
const SHUT: Duration = Duration::from_millis(250);

type Work = Box<dyn FnOnce(&Connection) + Send>;

/// Whether anybody still waits for what is read.
pub(crate) type Wanted<'a> = &'a dyn Fn() -> bool;

/// The threads that read. Those for pages are apart, so that a list keeps nobody from one order.
#[derive(Debug)]
pub(crate) struct Readers {
    orders: Pool,
    pages: Pool,
}

impl Readers {
    /// Half of the connections read pages, at least one, and the others orders and keys.
    pub(crate) fn start(mut connections: Vec<Connection>, gate: &Arc<Gate>) -> io::Result<Self> {
        let for_orders = connections.len().div_ceil(2);
        let pages = connections.split_off(for_orders);
        Ok(Self {
            orders: Pool::start("orderlock-read", connections, gate)?,
            pages: Pool::start("orderlock-page", pages, gate)?,
        })
    }

    /// Reads what concerns one order.
    pub(crate) async fn order<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Wanted<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.orders.run(work).await
    }

    /// Reads a page.
    pub(crate) async fn page<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.pages.run(|connection, _| work(connection)).await
    }
}

/// Threads with one queue. Dropping it lets them finish what is queued, and waits.
struct Pool {
    queue: Option<mpsc::Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start(name: &str, connections: Vec<Connection>, gate: &Arc<Gate>) -> io::Result<Self> {
        let (queue, work) = mpsc::channel::<Work>(QUEUE);
        let work = Arc::new(Mutex::new(work));
        let threads = connections.into_iter().map(|connection| {
            let (work, gate) = (Arc::clone(&work), Arc::clone(gate));
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    // Held while it waits: the others wait behind it for their turn to wait.
                    let next = || lock(&work).blocking_recv();
                    while let Some(work) = next() {
                        gate.pass(|| work(&connection));
                    }
                })
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            queue: Some(queue),
        })
    }

    /// Reads on one of the threads. If the future is dropped before that has begun, nothing is read.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Wanted<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::NotApplied("the store's readers have stopped".into());
        let (reply, result) = oneshot::channel();
        let task: Work = Box::new(move |connection| {
            if !reply.is_closed() {
                let told = work(connection, &|| !reply.is_closed());
                // Whoever asked may have gone away.
                let _ = reply.send(told);
            }
        });
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(task).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store had panicked");
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// Lets readers through, and holds them off for a moment where the writer has to be alone with the
/// log.
#[derive(Debug)]
pub(crate) struct Gate {
    patience: Duration,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    shut: bool,
    inside: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            patience: SHUT,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
}

impl Gate {
    /// Reads when the gate is open, or has been shut for long.
    fn pass(&self, read: impl FnOnce()) {
        self.wait(|state| state.shut).inside += 1;
        let _left = Finally(|| self.change(|state| state.inside -= 1));
        read();
    }

    /// Does something while nobody reads, or after having waited for that.
    pub(crate) fn while_shut<T>(&self, work: impl FnOnce() -> T) -> T {
        self.change(|state| state.shut = true);
        let _open = Finally(|| self.change(|state| state.shut = false));
        drop(self.wait(|state| state.inside > 0));
        work()
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    fn wait(&self, mut waits: impl FnMut(&mut GateState) -> bool) -> MutexGuard<'_, GateState> {
        let state = lock(&self.state);
        let waited = self
            .changed
            .wait_timeout_while(state, self.patience, &mut waits);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Runs at the end, however that comes.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A connection's look at one moment of the file. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    /// Begins to read. The moment is that of the first statement.
    pub(crate) fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(connection))
    }
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self
            .0
            .prepare_cached("COMMIT")
            .and_then(|mut it| it.execute([]));
        if let Err(error) = ended {
            // The next reader would find an old snapshot, or none.
            tracing::warn!(%error, "a read could not be ended");
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_writer_is_alone_when_the_readers_have_ended() {
        let gate = Arc::new(Gate {
            patience: Duration::from_secs(60),
            ..Gate::default()
        });
        let (begin, begun) = channel();
        let (go, going) = channel::<()>();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let (inside, end) = (Arc::clone(&gate), Arc::clone(&ends));
        let reader = std::thread::spawn(move || {
            inside.pass(|| {
                begin.send(()).unwrap();
                let _ = going.recv();
                lock(&end).push("read");
            });
        });
        begun.recv().unwrap();
        let (alone, end) = (Arc::clone(&gate), Arc::clone(&ends));
        let writer = std::thread::spawn(move || alone.while_shut(|| lock(&end).push("copied")));
        drop(go);
        reader.join().unwrap();
        writer.join().unwrap();
        gate.pass(|| lock(&ends).push("read again"));
        assert_eq!(*lock(&ends), ["read", "copied", "read again"]);
    }

    #[test]
    fn one_that_reads_for_ever_is_not_waited_for_for_ever() {
        let gate = Gate {
            patience: Duration::ZERO,
            ..Gate::default()
        };
        let mut copied = false;
        gate.pass(|| gate.while_shut(|| copied = true));
        assert!(copied);
        // Nor does one that reads wait for ever.
        let mut read = false;
        gate.while_shut(|| gate.pass(|| read = true));
        assert!(read);
    }
}
