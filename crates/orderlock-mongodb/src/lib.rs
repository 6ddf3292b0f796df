//! Orderlock's store on MongoDB: any number of nodes, beside services that know nothing of it.
//!
//! Every verb that changes an order is one `findOneAndUpdate` of one document, addressed by its
//! `_id`, so that it is atomic on a stand-alone server, a replica set and a sharded cluster, and
//! needs no transaction. An `acquire` is one round trip, a `settle` is one, and a hand-over is part
//! of the settle. The journal entry is written with the change, into the order's own document; a
//! relay moves it to the journal's collection afterwards.
//!
//! ```text
//!            the filter                          what is written
//! acquire    _id, locked: null                   locked: this grant, orderlock.lease, orderlock.mark
//!   |
//! handler
//!   |
//! settle     _id, locked: this grant,            own fields, version, orderlock.keys, orderlock.entries.e7;
//!   |          the revision as it was read         locked: null, or the next grant
//! answer
//!   .
//! relay      _id, entries.e7 as it was read      e7 into the journal first, then out of the order
//! ```
//!
//! The collection may be one that a team has already. The document's own fields, `_id` and
//! `locked` stay where other services expect them, and all that Orderlock adds is in one
//! sub-document, `orderlock`. `docs/mongodb-layout.md` describes it.
//!
//! ```no_run
//! use orderlock_mongodb::{MongodbOptions, MongodbStore};
//!
//! # async fn connect() -> Result<(), orderlock_mongodb::OpenError> {
//! let address = "mongodb://orders@db.example/shop?collection=orders&tls=true";
//! let store = MongodbStore::connect(address, MongodbOptions::default()).await?;
//! # Ok(())
//! # }
//! ```

mod database;
mod document;
mod error;
mod open;
mod options;
mod planted;
mod relay;
mod sessions;
mod shared;
mod store;
mod verbs;

pub use open::error::OpenError;
pub use options::MongodbOptions;
pub use store::MongodbStore;

#[cfg(feature = "planted-faults")]
#[doc(hidden)]
pub use planted::{Planted, plant};
