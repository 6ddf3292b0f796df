//! The lock as a tower layer, for any tower service. See [`OrderLockLayer`].

mod passed;
mod service;
mod stack;

pub use passed::PassedBody;
pub use service::{OrderLockService, RequestBody, ResponseBody};
pub use stack::OrderLockLayer;
