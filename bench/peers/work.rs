//! What an operation does with an order between its lock and its settle. It is the order manager's
//! own work, by the same order model, so that rivals and Orderlock differ in nothing but the lock.

use std::time::Duration;

use anyhow::Result;
use orderlock::{Problem, Runtime as _, Timestamp, TokioRuntime};
use orderlock_orders::{Command, Done, Order, ProcessConfig};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

/// An order as a row has it.
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) version: i64,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) document: Vec<u8>,
}

/// An answer as it is stored under its key.
pub(super) struct Answer {
    pub(super) status: i16,
    pub(super) version: Option<i64>,
    pub(super) body: Vec<u8>,
}

/// What an operation does.
pub(super) enum Work {
    Edit(Command),
    /// Waits as for an external service, and counts.
    Sleep(Duration),
}

/// What is written at the end of an operation.
pub(super) struct Settled {
    pub(super) order: Kept,
    pub(super) answer: Answer,
}

/// The order of a handler that sleeps.
#[derive(Serialize, Deserialize)]
struct Counted {
    count: u64,
}

impl Work {
    pub(super) async fn run(self, order: Kept) -> Result<Settled> {
        match self {
            Self::Edit(command) => edit(order, command),
            Self::Sleep(time) => {
                tokio::time::sleep(time).await;
                let Counted { count } = serde_json::from_slice(&order.document)?;
                let document = serde_json::to_vec(&Counted { count: count + 1 })?;
                let order = order.changed(document);
                // The library shows an order as it is stored.
                let answer = Answer::success(200, order.version, &order.document);
                Ok(Settled { order, answer })
            }
        }
    }
}

fn edit(order: Kept, command: Command) -> Result<Settled> {
    let before: Order = serde_json::from_slice(&order.document)?;
    match orderlock_orders::run(before, command, &ProcessConfig::default()) {
        Ok(Done::Changed(after)) => {
            let order = order.changed(serde_json::to_vec(&after)?);
            let answer = Answer::success(200, order.version, &order.shown());
            Ok(Settled { order, answer })
        }
        Ok(Done::Unchanged) => {
            let answer = Answer::success(200, order.version, &order.shown());
            Ok(Settled { order, answer })
        }
        Err(refusal) => {
            let answer = Answer::problem(&refusal.into())?;
            Ok(Settled { order, answer })
        }
    }
}

impl Kept {
    /// Reads the first columns of a row: version, times, document.
    pub(super) fn read(id: &str, row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: id.to_owned(),
            version: row.try_get("version")?,
            created: row.try_get("created")?,
            updated: row.try_get("updated")?,
            document: row.try_get("document")?,
        })
    }

    fn changed(self, document: Vec<u8>) -> Self {
        let now = TokioRuntime.wall();
        Self {
            version: self.version + 1,
            // As the database keeps it.
            updated: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
            document,
            ..self
        }
    }

    /// The order as clients see it: its document's members between what surrounds them.
    pub(super) fn shown(&self) -> Vec<u8> {
        let Self {
            id,
            version,
            created,
            updated,
            document,
        } = self;
        let mut text = Vec::with_capacity(document.len() + 256);
        text.extend_from_slice(format!(r#"{{"id":"{id}","version":{version},"#).as_bytes());
        let members = document.strip_prefix(b"{").unwrap_or(document);
        text.extend_from_slice(members.strip_suffix(b"}").unwrap_or(members));
        let times = format!(r#","createdAt":"{created}","updatedAt":"{updated}"}}"#);
        text.extend_from_slice(times.as_bytes());
        text
    }
}

impl Answer {
    pub(super) fn success(status: i16, version: i64, result: &[u8]) -> Self {
        let mut body = Vec::with_capacity(result.len() + 32);
        body.extend_from_slice(format!(r#"{{"status":{status},"result":"#).as_bytes());
        body.extend_from_slice(result);
        body.push(b'}');
        Self {
            status,
            version: Some(version),
            body,
        }
    }

    pub(super) fn problem(problem: &Problem) -> Result<Self> {
        Ok(Self {
            status: i16::try_from(problem.status())?,
            version: None,
            body: serde_json::to_vec(problem)?,
        })
    }

    /// Reads a stored answer.
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            status: row.try_get("status")?,
            version: row.try_get("answered")?,
            body: row.try_get("answer")?,
        })
    }
}
