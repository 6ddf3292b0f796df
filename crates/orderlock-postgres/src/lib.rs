//! Orderlock's shared store: any number of nodes on one PostgreSQL.
//!
//! An `acquire` is one round trip that waits for no flush; a `settle` is one round trip and one
//! flush. While one batch is under way the next collects, so that many operations share both, and
//! a single one waits for nothing. An order's lease and mark stand in the order's own row, so that
//! whatever decides a grant or a settle is taken by the update that it gates.

mod batch;
mod connect;
mod dispatch;
mod inventory;
mod open;
mod options;
mod pipeline;
mod planted;
mod pool;
mod sql;
mod store;
mod verbs;

pub use batch::Batches;
pub use connect::error::OpenError;
pub use dispatch::Statistics;
#[doc(hidden)]
pub use inventory::{Statement, statements};
pub use options::PostgresOptions;
pub use store::PostgresStore;
pub use verbs::views::entries_since::Lag;

#[cfg(feature = "planted-faults")]
#[doc(hidden)]
pub use planted::{Planted, plant};
