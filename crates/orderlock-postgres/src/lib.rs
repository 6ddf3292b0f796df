//! Orderlock's shared store: any number of nodes on one PostgreSQL.
//!
//! An `acquire` is one round trip that waits for no flush; a `settle` is one round trip and one
//! flush. While one batch is under way the next collects, so that many operations share both, and
//! a single one waits for nothing. An order's lease and mark stand in the order's own row, so that
//! whatever decides a grant or a settle is taken by the update that it gates.

mod acquire;
mod address;
mod ahead;
mod answers;
mod batch;
mod chain;
mod clock;
mod confirm;
mod connect;
mod connection;
mod create;
mod epoch;
mod error;
mod expire;
mod facts;
mod fold;
mod fold_rows;
mod fragments;
mod health;
mod holder;
mod inventory;
mod journal;
mod link;
mod lists;
mod locks;
mod look;
mod migrate;
mod open;
mod operator;
mod options;
mod pages;
mod parked;
mod planted;
mod pool;
mod read;
mod release;
mod resolve;
mod retention;
mod rights;
mod rows;
mod sessions;
mod settings;
mod settle;
mod settle_facts;
mod settle_rows;
mod shares;
mod statements;
mod store;
mod stream;
mod tls;
mod trials;
mod turns;
mod void;
mod waits;
mod watch;
mod writes;

pub use batch::Batches;
#[doc(hidden)]
pub use inventory::{Statement, statements};
pub use open::OpenError;
pub use options::PostgresOptions;
pub use store::PostgresStore;
pub use stream::Lag;
pub use writes::Statistics;

#[cfg(feature = "planted-faults")]
#[doc(hidden)]
pub use planted::{Planted, plant};
