//! The lock as an axum handler: a function that takes the locked order first, and returns an
//! outcome.
//!
//! | what the function returns | what happens |
//! | --- | --- |
//! | `Ok(Outcome::Applied(order))` | update and unlock, in one write |
//! | `Ok(Outcome::AppliedWithError(order, problem))` | update and unlock, in one write; the problem is the answer |
//! | `Ok(Outcome::Refused(problem))` | unlock; the problem is the answer, and a retry's |
//! | `Ok(Outcome::Unchanged)` | unlock; the order as it is is the answer |
//! | `Err(error)` | unlock; nothing is stored, a retry runs again |
//!
//! Extractors run **before** the lock is asked for. A refusal by a head extractor (who you are,
//! where it goes) always stands, also before a replay, so that rights that were withdrawn since
//! count. A refusal by the body extractor yields to a stored answer, so that a retry gets its
//! answer even if a newer version of the service would refuse its body.

mod handler;
mod service;

pub use handler::OrderHandler;
pub use service::{LockedHandler, ViaLock};
