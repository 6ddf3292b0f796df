//! The queue between those who log and the one thread that writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::repeats::{PERIOD, Repeats};

/// The most lines that wait to be written.
const LINES_MAX: usize = 8_192;
/// The most bytes that they have together.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// How much is written at once.
const WRITE_MAX: usize = 64 * 1024;

/// Lines on their way to the thread that writes them. Clones are the same queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Item>,
    waiting: Arc<Waiting>,
}

/// What the queue holds, and what it had no room for.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Signalled when everything before it has been written.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the thread that writes. It tells what was dropped, and what repeated itself.
    pub(super) fn start(
        writer: impl Write + Send + 'static,
        repeats: Arc<Repeats>,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(LINES_MAX);
        let waiting = Arc::new(Waiting::default());
        let queue = Self {
            sender,
            waiting: Arc::clone(&waiting),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(writer, &receiver, &waiting, &repeats))?;
        Ok(queue)
    }

    /// Takes a line if there is room for it. Never waits.
    pub(super) fn push(&self, line: &[u8]) {
        let Waiting { bytes, dropped } = &*self.waiting;
        let before = bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before + line.len() <= BYTES_MAX;
        if !fits || self.sender.try_send(Item::Line(line.to_vec())).is_err() {
            bytes.fetch_sub(line.len(), Ordering::Relaxed);
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was taken before has been written, for as long as the limit.
    pub(super) fn flush(&self, limit: Duration) {
        let (written, told) = mpsc::sync_channel(1);
        // A full queue is blocked, so waiting would not help.
        if self.sender.try_send(Item::Flush(written)).is_ok() {
            let _written_or_not = told.recv_timeout(limit);
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Queue {
    /// The formatter writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until all senders are gone. Lines that cannot be written are lost: there is no place left
/// to report them.
fn write_all(
    mut writer: impl Write,
    receiver: &Receiver<Item>,
    waiting: &Waiting,
    repeats: &Repeats,
) {
    let mut text = Vec::new();
    let mut flushed = Vec::new();
    let mut dropped_before = 0;
    loop {
        let first = if repeats.is_counting() {
            receiver.recv_timeout(PERIOD)
        } else {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let mut next = match first {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(item) = next {
            match item {
                Item::Line(line) => text.extend_from_slice(&line),
                Item::Flush(told) => flushed.push(told),
            }
            next = match text.len() < WRITE_MAX {
                true => receiver.try_recv().ok(),
                false => None,
            };
        }
        let _unread = writer.write_all(&text).and_then(|()| writer.flush());
        waiting.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        text.clear();
        for told in flushed.drain(..) {
            let _gone = told.try_send(());
        }
        // These lines come back through the queue, in the format of all others. Should there be no
        // room for this one, it counts as dropped itself, and so the next one tells of all.
        let dropped = waiting.dropped.load(Ordering::Relaxed);
        if dropped != dropped_before {
            dropped_before = dropped;
            tracing::warn!(
                lines = dropped,
                "the log is not read in time: so many lines were dropped since the start"
            );
        }
        repeats.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    /// Reports each write, and blocks there until it may continue.
    struct Slow {
        begun: Sender<Vec<u8>>,
        go_on: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.begun.send(text.to_vec()).map_err(io::Error::other)?;
            self.go_on.recv().map_err(io::Error::other)?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_never_waits_for_whoever_reads() {
        let (begun, writes) = mpsc::channel();
        let (go_on, waits) = mpsc::channel();
        let slow = Slow {
            begun,
            go_on: waits,
        };
        let queue = Queue::start(slow, Arc::default()).unwrap();
        queue.push(b"first\n");
        assert_eq!(writes.recv().unwrap(), b"first\n");
        // The thread is blocked at its write: lines up to the bound are kept, and the rest are
        // counted.
        let line = [b'x'; 1_000];
        let count = 2 * BYTES_MAX / line.len();
        for _ in 0..count {
            queue.push(&line);
        }
        let kept = queue.waiting.bytes.load(Ordering::Relaxed);
        assert!(kept <= BYTES_MAX, "{kept}");
        let dropped = queue.waiting.dropped.load(Ordering::Relaxed);
        assert!(dropped >= count as u64 / 2, "{dropped}");
        // Neither does the end of the program wait longer than its limit.
        queue.flush(Duration::ZERO);
        drop(go_on);
    }

    #[test]
    fn what_was_taken_is_written_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::start(writer, Arc::default()).unwrap();
        for number in 0..100 {
            queue.push(format!("{number}\n").as_bytes());
        }
        queue.flush(Duration::from_secs(60));
        drop(queue);
        let text = io::read_to_string(reader).unwrap();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(text, expected);
    }
}
