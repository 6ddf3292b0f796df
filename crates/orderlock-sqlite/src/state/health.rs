//! The last failed write, in words for an operator: what keeps the store from its promises now.

use std::sync::{Mutex, MutexGuard};

use rusqlite::ErrorCode;

use crate::file::error::SqlError;
use crate::mutex::lock;

/// What an error of SQLite's says of the store.
fn words(error: &SqlError) -> String {
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

/// As long as a full disk has less room than this, an operation may find none, although something
/// smaller was just written.
const ROOM_LEAST: u64 = 1024 * 1024;

/// What keeps the store from writing, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) words: String,
    /// There was no room.
    pub(crate) full: bool,
}

impl Trouble {
    pub(crate) fn of(error: &SqlError) -> Self {
        Self {
            words: words(error),
            full: error.sqlite().sqlite_error_code() == Some(ErrorCode::DiskFull),
        }
    }

    pub(crate) fn other(words: String) -> Self {
        Self { words, full: false }
    }
}

/// What the writer has met last.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<Trouble>>);

impl Health {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble_now().as_ref().map(|it| it.words.clone())
    }

    pub(crate) fn is_well(&self) -> bool {
        self.trouble_now().is_none()
    }

    /// Says that nothing can be written, and why. It is logged once, however often it is met.
    pub(crate) fn failed(&self, trouble: Trouble) {
        let mut now = self.trouble_now();
        if now.as_ref() != Some(&trouble) {
            tracing::error!(trouble = trouble.words, "nothing can be written");
        }
        *now = Some(trouble);
    }

    /// Says that something was written, and is on the disk. That ends every trouble but that of a full
    /// disk, which goes on while there is next to no room: what was written may have been small.
    pub(crate) fn written(&self, room: impl FnOnce() -> Option<u64>) {
        let mut now = self.trouble_now();
        let Some(trouble) = now.take_if(|it| !it.full || room().is_none_or(|it| it >= ROOM_LEAST))
        else {
            return;
        };
        tracing::info!(trouble = trouble.words, "writes are taken again");
    }

    fn trouble_now(&self) -> MutexGuard<'_, Option<Trouble>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_trouble_until_there_is_room_for_an_order() {
        let health = Health::default();
        let full = |full| Trouble {
            words: "the disk is full".to_owned(),
            full,
        };
        health.failed(full(true));
        for (room, is_well) in [
            (Some(0), false),
            (Some(ROOM_LEAST - 1), false),
            (Some(ROOM_LEAST), true),
        ] {
            health.written(|| room);
            assert_eq!(health.is_well(), is_well, "{room:?}");
        }
        // Where nobody can say how much room there is, what was written has to do.
        health.failed(full(true));
        health.written(|| None);
        assert!(health.is_well());
        health.failed(full(false));
        health.written(|| unreachable!("room is asked about after a full disk alone"));
        assert!(health.is_well());
    }
}
