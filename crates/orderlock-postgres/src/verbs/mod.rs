//! What each verb of the store does: its statements, and how their rows become its answer.

pub(crate) mod acquire;
pub(crate) mod acquire_facts;
pub(crate) mod acquire_rows;
pub(crate) mod break_lease;
pub(crate) mod confirm;
pub(crate) mod create;
pub(crate) mod create_rows;
pub(crate) mod expire;
pub(crate) mod fairness;
pub(crate) mod freed;
pub(crate) mod new_entries;
pub(crate) mod release;
pub(crate) mod replay_cache;
pub(crate) mod resolve;
pub(crate) mod retention;
pub(crate) mod sessions;
pub(crate) mod settle;
pub(crate) mod settle_facts;
pub(crate) mod settle_rows;
pub(crate) mod statements;
pub(crate) mod views;

use std::sync::Arc;

use orderlock_core::Runtime;

use crate::pool::Pool;
use crate::sql::clock::ObservedClock;
use crate::verbs::expire::ExpiryProgress;
use crate::verbs::freed::Freed;
use crate::verbs::sessions::watch::SessionWatch;

/// What the verbs of one store work with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) document_bytes_max: usize,
    pub(crate) freed: Freed,
    pub(crate) watch: SessionWatch,
    pub(crate) expiry: ExpiryProgress,
}
