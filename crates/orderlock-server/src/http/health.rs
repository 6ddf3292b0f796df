//! Whether the process lives, and whether it takes work.

use std::sync::Arc;

use axum::extract::State;
use orderlock::OrderStore as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::problems::NOT_READY;
use super::reply::{Refused, Success};

/// That the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `true`: whoever reads it has an answer.
    alive: bool,
}

/// The process answers. It says nothing of the store: a node that cannot reach its store is not
/// helped by a restart.
pub(crate) async fn health() -> Success<Health> {
    Success::new(Health { alive: true })
}

/// How far readers of the journal are held back. An entry is read once no transaction is open that
/// might still write one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalLag {
    /// How many transactions are open that may still write an entry.
    pub open_transactions: u64,
    /// For how long the oldest of them has been open, as far as that may be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_milliseconds: Option<u64>,
}

/// That the node takes work, and on what.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether it takes work.
    ready: bool,
    /// The node's session with its store.
    session: &'static str,
    /// The kind of store.
    store: &'static str,
    /// What an answered operation survives.
    durability: String,
    /// How many operations are running or waiting.
    #[serde(rename = "inFlight")]
    in_flight: usize,
    /// How far readers of the journal are held back; missing where they never are.
    #[serde(rename = "journalLag", skip_serializing_if = "Option::is_none")]
    journal_lag: Option<JournalLag>,
}

/// Whether the node takes work; if not, why.
pub(crate) async fn ready(
    State(context): State<Arc<Context>>,
) -> Result<Success<Readiness>, Refused> {
    let lifecycle = context.orders.lifecycle();
    let info = lifecycle.store().describe();
    let not_ready = |reason: &str| {
        let problem = NOT_READY
            .problem()
            .with_detail(format!("{reason} {}", NOT_READY.advice));
        Refused(problem.with_member("reasons", vec![reason]))
    };
    if context.draining.is_cancelled() {
        return Err(not_ready("The node is shutting down."));
    }
    // A node whose session has lapsed joins again here, and not only at its next operation.
    if let Err(denied) = lifecycle.start().await {
        tracing::warn!(reason = denied.as_str(), "not ready");
        return Err(not_ready("The node has no session with its store."));
    }
    let journal_lag = match &context.lag {
        Some(lag) => lag().await,
        None => None,
    };
    Ok(Success::new(Readiness {
        ready: true,
        journal_lag,
        session: "alive",
        store: info.name,
        durability: info.durability,
        in_flight: lifecycle.in_flight(),
    }))
}
