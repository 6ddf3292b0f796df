//! The lock as a tower layer, for any tower service. See [`OrderLockLayer`].

mod service;
mod stack;

pub use service::{OrderLockService, RequestBody, ResponseBody};
pub use stack::OrderLockLayer;
