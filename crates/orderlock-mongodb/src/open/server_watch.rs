//! The health of the server, on which the store rests and which it does not own: looked at again while it serves, and shown by `describe`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use orderlock_core::{StoreError, Timestamp};

use crate::database::calls::Calls;
use crate::database::clock::StoreClock;
use crate::document::fields::{FieldReader, from_micros, micros};
use crate::error::Failure;
use crate::open::indexes;
use crate::open::server::ServerInfo;

/// How long a look lasts.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How far the time that is kept as seen last may be behind.
const TIME_EVERY: Duration = Duration::from_secs(600);

/// What was seen last.
#[derive(Debug)]
pub(crate) struct ServerWatch(Mutex<LastLook>);

#[derive(Debug)]
struct LastLook {
    looked: Instant,
    server: ServerInfo,
    trouble: Option<String>,
    /// The time that is kept in the database as seen last.
    time: Timestamp,
}

impl ServerWatch {
    pub(crate) fn new(server: ServerInfo, time: Timestamp, now: Instant) -> Self {
        Self(Mutex::new(LastLook {
            looked: now,
            server,
            trouble: None,
            time,
        }))
    }

    /// What an answered settle survives, in words.
    pub(crate) fn durability(&self) -> String {
        self.lock().server.durability()
    }

    /// What keeps the store from its promises.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Looks again, if the last look was a while ago. A look that fails says nothing: whatever else is asked
    /// of the server then fails too.
    pub(crate) async fn look(&self, calls: &Calls, clock: &StoreClock) {
        let now = clock.instant();
        let rolls_back = {
            let mut seen = self.lock();
            if now.saturating_duration_since(seen.looked) < LOOK_EVERY {
                return;
            }
            seen.looked = now;
            seen.server.rolls_back
        };
        if let Ok(mut server) = ServerInfo::ask(calls).await {
            server.rolls_back = rolls_back;
            let too_old = server.is_too_old();
            let mut seen = self.lock();
            seen.server = server;
            seen.trouble = too_old.then(|| {
                "the server is older than MongoDB 4.4: bring every member up to it".to_owned()
            });
        }
        match indexes::keep_entries_apart(calls).await {
            Ok(true) | Err(_) => {}
            Ok(false) => {
                let trouble = make_again(calls).await;
                self.lock().trouble = trouble;
            }
        }
    }

    /// Keeps the time as seen last, if it is a while since it was.
    pub(crate) async fn keep_time(
        &self,
        calls: &Calls,
        clock: &StoreClock,
    ) -> Result<(), StoreError> {
        let believed = clock.believed();
        let kept = self.lock().time;
        if believed.duration_since(kept).unsigned_abs() < TIME_EVERY {
            return Ok(());
        }
        let done = keep(calls, believed).await;
        done.map_err(Failure::of_a_write)?;
        self.lock().time = believed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, LastLook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make_again(calls: &Calls) -> Option<String> {
    tracing::error!("a unique index of the journal was dropped; it is made again");
    let failure = indexes::keep_entries_apart_again(calls).await.err()?;
    Some(format!(
        "a unique index of the journal's collection was dropped, and cannot be made again: {failure}; \
         entries may be written twice until it is there"
    ))
}

/// The time that was seen last by any node: as it was kept, else that of the journal's last entry, else
/// this one.
pub(crate) async fn seen(calls: &Calls, now: Timestamp) -> Result<Timestamp, Failure> {
    let kept = calls
        .one(calls.meta.find_one(doc! {"_id": "clock"}))
        .await?;
    if let Some(kept) = kept {
        return FieldReader::new("the clock", &kept).time("seen");
    }
    let last = calls.journal.find_one(doc! {}).sort(doc! {"position": -1});
    let last = calls.one(last.projection(doc! {"at": 1})).await?;
    let seen = match last {
        Some(last) => FieldReader::new("a journal entry", &last).time("at")?,
        None => now,
    };
    keep(calls, seen).await?;
    Ok(seen)
}

async fn keep(calls: &Calls, seen: Timestamp) -> Result<(), Failure> {
    let seen = from_micros(seen.as_microsecond());
    let update = doc! {"$set": {"seen": micros(seen)}};
    let command = calls.meta.update_one(doc! {"_id": "clock"}, update);
    match calls.bounded(command.upsert(true)).await {
        Err(failure) if !failure.is_duplicate() => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}
