//! What a store of Orderlock is examined with, and what handlers are tested with: a model store, a
//! conformance suite, a fault injector, and requests to start from.

pub mod faults;
pub mod fixtures;
mod memory;
mod property;
mod runtime;
pub mod suite;

pub use memory::MemoryStore;
pub use runtime::TestRuntime;
pub use suite::StoreFactory;
