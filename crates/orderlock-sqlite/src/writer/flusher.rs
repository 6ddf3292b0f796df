//! The thread that flushes the log, so that the writer goes on in the meantime.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::sync::mpsc as answers;

use crate::mutex::lock;
use crate::open::files::{Files, beside};
use crate::planted::refused;

/// What is flushed: the log of a file, or a stand-in of a test.
pub(crate) trait Log: Send {
    /// Returns when all that was written before survives power loss.
    fn flush(&mut self) -> io::Result<()>;
}

/// SQLite's log, by a handle of our own. A flush covers what any handle has written. SQLite locks
/// the file and its index but never the log, so that closing this handle ends no lock.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    files: Files,
}

impl LogFile {
    /// The log of a database that is open.
    pub(crate) fn of(database: &Path, files: Files) -> io::Result<Self> {
        // Some systems flush only what is open for writing.
        let log = beside(database, "-wal");
        let file = OpenOptions::new().write(true).open(log)?;
        Ok(Self { file, files })
    }
}

impl Log for LogFile {
    fn flush(&mut self) -> io::Result<()> {
        refused()?;
        self.file.sync_data()?;
        // Nothing is answered that lies in a file which a restart would not find.
        self.files.check()
    }
}

/// The way to the flushing thread. One flush is under way at most.
pub(crate) struct Flusher {
    log: Arc<Mutex<Box<dyn Log>>>,
    requests: Option<mpsc::SyncSender<()>>,
    results: answers::Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(crate) fn start(log: Box<dyn Log>) -> io::Result<Self> {
        let log = Arc::new(Mutex::new(log));
        let shared = Arc::clone(&log);
        let (requests, asked) = mpsc::sync_channel(1);
        let (done, results) = answers::channel(1);
        let thread = std::thread::Builder::new()
            .name("orderlock-flush".into())
            .spawn(move || {
                while asked.recv().is_ok() {
                    if done.blocking_send(lock(&shared).flush()).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            log,
            requests: Some(requests),
            results,
            thread: Some(thread),
        })
    }

    /// Begins a flush. [`done`](Self::done) tells its end.
    pub(crate) fn begin(&self) {
        if let Some(requests) = &self.requests {
            // If the thread has gone, `done` says so.
            let _ = requests.try_send(());
        }
    }

    /// Flushes on the caller's thread: where nothing else is to be done meanwhile, that saves the
    /// way there and back.
    pub(crate) fn flush_here(&self) -> io::Result<()> {
        lock(&self.log).flush()
    }

    /// Waits for the flush that is under way.
    pub(crate) async fn done(&mut self) -> io::Result<()> {
        let gone = || io::Error::other("the flushing thread has ended");
        self.results.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.requests = None;
        self.results.close();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the store's flushing thread had panicked");
        }
    }
}
