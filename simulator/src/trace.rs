//! What happened in a run: always its hash, and the lines themselves when somebody wants to read
//! them.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

/// Clones write the same trace.
#[derive(Clone, Debug)]
pub(super) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    hash: u64,
    kept: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep: bool) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            hash: 0xcbf2_9ce4_8422_2325,
            kept: keep.then(Vec::new),
        })))
    }

    pub(super) fn note(&self, line: fmt::Arguments<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a hash cannot fail.
        let _ = lines.write_fmt(line);
        if let Some(kept) = &mut lines.kept {
            kept.push(line.to_string());
        }
    }

    /// Notes which task was polled: by far the most frequent event, and cheap.
    pub(super) fn polled(&self, task: u64) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.absorb(&task.to_le_bytes());
    }

    pub(super) fn end(&self) -> (u64, Vec<String>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.hash, lines.kept.take().unwrap_or_default())
    }
}

impl Lines {
    /// FNV-1a: enough to tell two runs of one seed apart.
    fn absorb(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.absorb(text.as_bytes());
        Ok(())
    }
}
