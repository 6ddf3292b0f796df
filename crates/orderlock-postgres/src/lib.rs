//! Orderlock's shared store: any number of nodes on one PostgreSQL.
//!
//! An `acquire` is one round trip that waits for no flush; a `settle` is one round trip and one
//! flush. While one batch is under way the next collects, so that many operations share both, and
//! a single one waits for nothing. An order's lease and mark stand in the order's own row, so that
//! whatever decides a grant or a settle is taken by the update that it gates.
//!
//! The rooms, each of which uses those below it:
//!
//! - `store`, `dispatch`: the verbs of the seam, and which batch or pipeline each goes through.
//! - `pipeline`: settles that are accepted before the database has written them.
//! - `verbs`: what each verb asks the database, and how its rows become an answer.
//! - `batch`: many requests in one round trip, one verb at a time for each order, and retries.
//! - `open`: the layout, rights and settings that a database is opened with.
//! - `pool`, `connect`: connections, what they are for, and how they are made.
//! - `sql`: the parts of statements, the values of rows, times and errors.

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
