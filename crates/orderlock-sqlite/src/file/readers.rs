//! The threads that read the file: each has a connection of its own, and none of them writes.
//!
//! A verb waits for its answer without holding a thread, so that a slow disk or a long list does not
//! stop other requests. One thread wakes for all the questions that wait, reads them in one snapshot,
//! and answers them together: a question costs a share of a wake-up and not two of them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use orderlock_core::StoreError;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use crate::file::error::SqlError;
use crate::mutex::lock;

/// How many reads may wait for a thread; one more waits for room before it is sent.
const QUEUE: usize = 1_024;
/// How many questions a thread takes at once: their answers leave together, and each waits for all.
const BATCH: usize = 32;
/// How long the writer waits for readers to end, and a reader for the writer, before either goes on
/// all the same. Both are short; neither rests on it.
const SHUT: Duration = Duration::from_millis(250);

/// A question about one order that only the file can answer.
pub(crate) trait Question: Send {
    /// Looks at memory, before the file is read.
    fn look(&mut self);

    /// Reads the file as it was at one moment after the look, or hears that it cannot be read.
    fn read(&mut self, file: Result<&Connection, &SqlError>);

    /// Answers, unless memory has changed since the look: then it is to be asked again.
    fn answer(self: Box<Self>) -> Option<Box<dyn Question>>;
}

type Page = Box<dyn FnOnce(&Connection) + Send>;

/// The threads that read. Those for pages are apart, so that a list keeps nobody from one order.
#[derive(Debug)]
pub(crate) struct Readers {
    orders: Pool<Box<dyn Question>>,
    pages: Pool<Page>,
}

impl Readers {
    /// Half of the connections read pages, at least one, and the others orders and keys.
    pub(crate) fn start(mut connections: Vec<Connection>, gate: &Arc<Gate>) -> io::Result<Self> {
        let for_orders = connections.len().div_ceil(2);
        let pages = connections.split_off(for_orders);
        Ok(Self {
            orders: Pool::start("orderlock-read", BATCH, connections, (gate, ask))?,
            // A page is long enough to be worth a wake-up, and to be answered as soon as it is read.
            pages: Pool::start("orderlock-page", 1, pages, (gate, turn_over))?,
        })
    }

    /// Asks the file about one order. The answer comes by a way of the question's own.
    pub(crate) async fn order(&self, question: Box<dyn Question>) -> Result<(), StoreError> {
        self.orders.queue.put(question).await
    }

    /// Reads a page. If the future is dropped before that has begun, nothing is read.
    pub(crate) async fn page<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, result) = oneshot::channel();
        let page: Page = Box::new(move |connection| {
            if !reply.is_closed() {
                // Whoever asked may have gone away.
                let _ = reply.send(work(connection));
            }
        });
        self.pages.queue.put(page).await?;
        result.await.map_err(|_| stopped())
    }
}

pub(crate) fn stopped() -> StoreError {
    StoreError::NotApplied("the store's readers have stopped".into())
}

/// Reads what is asked in one snapshot, which is taken when all have looked. Those whose look has
/// been overtaken are asked again.
fn ask(file: &Connection, mut questions: Vec<Box<dyn Question>>) {
    while !questions.is_empty() {
        questions.iter_mut().for_each(|question| question.look());
        let snapshot = Snapshot::begin(file).map_err(SqlError::from);
        let shown = snapshot.as_deref();
        questions
            .iter_mut()
            .for_each(|question| question.read(shown));
        drop(snapshot);
        let again = questions.into_iter().filter_map(Question::answer);
        questions = again.collect();
    }
}

fn turn_over(file: &Connection, pages: Vec<Page>) {
    pages.into_iter().for_each(|page| page(file));
}

/// What waits for the threads of one kind.
struct Queue<W> {
    state: Mutex<Waiting<W>>,
    filled: Condvar,
    /// How many more may wait.
    room: Semaphore,
}

struct Waiting<W> {
    work: VecDeque<W>,
    /// Threads that have nothing to do.
    idle: usize,
    /// One of them was told that there is work, and has not taken any since.
    told: bool,
    closed: bool,
}

impl<W> Queue<W> {
    fn new() -> Self {
        Self {
            state: Mutex::new(Waiting {
                work: VecDeque::new(),
                idle: 0,
                told: false,
                closed: false,
            }),
            filled: Condvar::new(),
            room: Semaphore::new(QUEUE),
        }
    }

    /// Waits for room. If the future is dropped before there is any, nothing is put.
    async fn put(&self, work: W) -> Result<(), StoreError> {
        self.room.acquire().await.map_err(|_| stopped())?.forget();
        let mut waiting = lock(&self.state);
        waiting.work.push_back(work);
        self.tell_one(waiting);
        Ok(())
    }

    /// The first of what waits, at most so many; none once the queue is closed and empty.
    fn take(&self, most: usize) -> Option<Vec<W>> {
        let mut waiting = lock(&self.state);
        while waiting.work.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            let woken = self.filled.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
        waiting.told = false;
        let most = most.min(waiting.work.len());
        let taken = waiting.work.drain(..most).collect();
        self.room.add_permits(most);
        if !waiting.work.is_empty() {
            self.tell_one(waiting);
        }
        Some(taken)
    }

    /// Wakes one thread, if one sleeps and none is awake for this already.
    fn tell_one(&self, mut waiting: MutexGuard<'_, Waiting<W>>) {
        if waiting.idle > 0 && !waiting.told {
            waiting.told = true;
            drop(waiting);
            self.filled.notify_one();
        }
    }

    fn close(&self) {
        self.room.close();
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }
}

/// What a thread does with all that it has taken.
type ReadAll<W> = fn(&Connection, Vec<W>);

/// Threads with one queue. Dropping it lets them finish what is queued, and waits.
struct Pool<W> {
    queue: Arc<Queue<W>>,
    threads: Vec<JoinHandle<()>>,
}

impl<W: Send + 'static> Pool<W> {
    /// Each thread takes so much at once.
    fn start(
        name: &str,
        most: usize,
        connections: Vec<Connection>,
        (gate, read): (&Arc<Gate>, ReadAll<W>),
    ) -> io::Result<Self> {
        let mut pool = Self {
            queue: Arc::new(Queue::new()),
            threads: Vec::new(),
        };
        for connection in connections {
            let (queue, gate) = (Arc::clone(&pool.queue), Arc::clone(gate));
            let serve = move || {
                while let Some(work) = queue.take(most) {
                    gate.pass(|| read(&connection, work));
                }
            };
            let thread = std::thread::Builder::new().name(name.into());
            pool.threads.push(thread.spawn(serve)?);
        }
        Ok(pool)
    }
}

impl<W> Drop for Pool<W> {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store had panicked");
            }
        }
    }
}

impl<W> fmt::Debug for Pool<W> {
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
        let _left = Finally(|| self.leave());
        read();
    }

    /// Does something while nobody reads, or after having waited for that.
    pub(crate) fn while_shut<T>(&self, work: impl FnOnce() -> T) -> T {
        self.change(|state| state.shut = true);
        let _open = Finally(|| self.change(|state| state.shut = false));
        drop(self.wait(|state| state.inside > 0));
        work()
    }

    /// Wakes nobody unless somebody waits for it: to wake is a call of the system.
    fn leave(&self) {
        let mut state = lock(&self.state);
        state.inside -= 1;
        if state.shut {
            self.changed.notify_all();
        }
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
