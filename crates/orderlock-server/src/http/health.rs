//! Whether the process lives, and whether it takes work.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use orderlock::{Denied, OrderStore as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::problems::NOT_READY;
use super::reply::Refused;
use orderlock::views::Success;

/// The answer of `/healthz`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `true`.
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
    /// Whether the node accepts operations.
    ready: bool,
    /// The node's name, unique among the nodes of the store.
    node: String,
    /// The version of the program.
    version: &'static str,
    /// The node's session with its store.
    session: &'static str,
    /// The kind of store: `sqlite`, `postgres` or `mongodb`.
    store: &'static str,
    /// What an answered operation survives, as it is now.
    durability: String,
    /// How many operations are running or waiting.
    #[serde(rename = "inFlight")]
    in_flight: usize,
    /// For how long the oldest of what has expired is waiting to be ended. A node takes work however
    /// far its housekeeping is behind: what has expired counts as that, ended or not.
    #[serde(rename = "expiryBehindMilliseconds")]
    expiry_behind: u64,
    /// How far readers of the journal are held back; missing where they never are.
    #[serde(rename = "journalLag", skip_serializing_if = "Option::is_none")]
    journal_lag: Option<JournalLag>,
}

/// How long readiness waits for the store: a probe takes a missing answer for "not ready".
const PATIENCE: Duration = Duration::from_secs(2);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether the node takes work; if not, why.
pub(crate) async fn ready(
    State(context): State<Arc<Context>>,
) -> Result<Success<Readiness>, Refused> {
    let lifecycle = context.orders.lifecycle();
    let asked = async {
        // A node whose session has lapsed joins again here, and not only at its next operation.
        let session = lifecycle.start().await;
        let lag = match &context.lag {
            Some(lag) if session.is_ok() => lag().await,
            _ => None,
        };
        (session, lag)
    };
    let (session, journal_lag) = tokio::select! {
        biased;
        told = asked => (Some(told.0), told.1),
        () = lifecycle.runtime().sleep(PATIENCE) => (None, None),
    };
    let info = lifecycle.store().describe();
    let draining = context.draining.is_cancelled();
    let reasons = reasons(draining, session.as_ref(), info.trouble);
    if !reasons.is_empty() {
        tracing::warn!(?reasons, "not ready");
        return Err(not_ready(&context.node, reasons));
    }
    Ok(Success::new(Readiness {
        ready: true,
        node: context.node.to_string(),
        version: VERSION,
        journal_lag,
        session: "alive",
        store: info.name,
        durability: info.durability,
        in_flight: lifecycle.in_flight(),
        expiry_behind: milliseconds(lifecycle.expiry_behind()),
    }))
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What keeps the node from taking work. Without an answer about its session, the store has not
/// given one.
fn reasons(
    draining: bool,
    session: Option<&Result<(), Denied>>,
    trouble: Option<String>,
) -> Vec<String> {
    let draining = draining.then(|| "The node is shutting down.".to_owned());
    let session = match session {
        Some(Ok(())) => None,
        Some(Err(Denied::ShuttingDown)) => None,
        Some(Err(denied)) => Some(format!(
            "The node has no session with its store: {}.",
            cause(denied)
        )),
        None => Some("The store does not answer in time.".to_owned()),
    };
    let trouble = trouble.map(|trouble| format!("The store is in trouble: {trouble}."));
    [draining, session, trouble].into_iter().flatten().collect()
}

/// Why a node does not start.
pub(crate) fn no_session(denied: &Denied, trouble: Option<&str>) -> String {
    let cause = cause(denied);
    match trouble {
        Some(trouble) => format!("the store does not accept a session: {cause}; {trouble}"),
        None => format!("the store does not accept a session: {cause}"),
    }
}

/// What the store said when it was asked last.
fn cause(denied: &Denied) -> String {
    match denied {
        Denied::StoreUnavailable(error) => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
        denied => denied.as_str().to_owned(),
    }
}

fn not_ready(node: &str, reasons: Vec<String>) -> Refused {
    let problem =
        NOT_READY
            .problem()
            .with_detail(format!("{} {}", reasons.join(" "), NOT_READY.advice));
    Refused(
        problem
            .with_member("reasons", reasons)
            .with_member("node", node)
            .with_member("version", VERSION),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_keeps_it_from_work_is_named() {
        assert!(reasons(false, Some(&Ok(())), None).is_empty());
        let error = orderlock::StoreError::NotApplied("refused".into());
        let denied = Err(Denied::StoreUnavailable(Arc::new(error)));
        let all = reasons(true, Some(&denied), Some("its disk is full".to_owned()));
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[1].contains("refused"), "{all:?}");
        assert!(all[2].contains("its disk is full"), "{all:?}");
        let told = no_session(&Denied::ShuttingDown, Some("its disk is full"));
        assert!(told.contains("its disk is full"), "{told}");
        // A session alone does not make it ready.
        let full = reasons(false, Some(&Ok(())), Some("its disk is full".to_owned()));
        assert_eq!(full.len(), 1, "{full:?}");
        assert_eq!(reasons(false, None, None).len(), 1);
    }
}
