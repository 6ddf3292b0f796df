//! Orderlock's embedded store: one SQLite file, one owner, one writer that commits in batches.
//!
//! What is answered survives power loss: an answer leaves after its commit was flushed. While one
//! commit is flushed, the next batch collects, so that many operations share a flush and a single
//! one waits for nothing. Leases live in memory, because the file has one owner: its death frees
//! every order at once. Marks, which must survive, are in the file.
//!
//! ```
//! use orderlock_core::OrderStore as _;
//! use orderlock_core::store::{Join, Read};
//! use orderlock_core::{Caller, OrderId, Secret, SessionId};
//! use orderlock_sqlite::{SqliteOptions, SqliteStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.db");
//! let store = SqliteStore::open(&path, SqliteOptions::default())?;
//! store
//!     .join(Join {
//!         node: "node-1".to_owned(),
//!         session: SessionId(1),
//!         length: std::time::Duration::from_secs(10),
//!         secret: Secret::new([7; 32]), // in earnest: random, and kept by the first join
//!     })
//!     .await?;
//! let target = Caller::single().target(&OrderId::parse("ord_1")?);
//! assert!(store.read(Read { target }).await?.is_none());
//!
//! // One process owns the file; a second one is told so, and by whom.
//! let refused = SqliteStore::open(&path, SqliteOptions::default()).unwrap_err();
//! assert!(refused.to_string().contains(&std::process::id().to_string()));
//! # Ok(())
//! # }
//! ```

mod clock;
mod deadline;
mod file;
mod inner;
mod mutex;
mod open;
mod options;
mod planted;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod verbs;
mod writer;

pub use open::OpenError;
pub use options::SqliteOptions;
pub use store::{SqliteStore, Statistics};

#[cfg(feature = "planted-faults")]
#[doc(hidden)]
pub use planted::{Planted, plant, refuse_flushes};
