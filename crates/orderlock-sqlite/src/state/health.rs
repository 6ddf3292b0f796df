//! The last failed write, in words for an operator: what keeps the store from its promises now.

use std::sync::{Mutex, MutexGuard};

use rusqlite::ErrorCode;

use crate::file::error::SqlError;
use crate::mutex::lock;

/// What an error of SQLite's says of the store.
pub(crate) fn words(error: &SqlError) -> String {
    let what = match error.sqlite().sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "the disk is full; make room, and writes are taken again by themselves"
        }
        Some(ErrorCode::ReadOnly) => {
            "the file cannot be written; check its rights and whether the disk is mounted read-only"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program keeps the file locked; end its transaction"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged; restore it from a backup"
        }
        _ => "the file could not be written; check the disk",
    };
    format!("{what} ({error})")
}

/// What the writer has met last.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<String>>);

impl Health {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble_now().clone()
    }

    pub(crate) fn is_well(&self) -> bool {
        self.trouble_now().is_none()
    }

    /// Says that nothing can be written, and why. It is logged once, however often it is met.
    pub(crate) fn failed(&self, trouble: &str) {
        let before = self.trouble_now().replace(trouble.to_owned());
        if before.is_none_or(|before| before != trouble) {
            tracing::error!(trouble, "nothing can be written");
        }
    }

    /// Says that something was written, and is on the disk.
    pub(crate) fn well(&self) {
        if let Some(trouble) = self.trouble_now().take() {
            tracing::info!(trouble, "writes are taken again");
        }
    }

    fn trouble_now(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.0)
    }
}
