//! Tools to test stores and handlers of Orderlock: a store in memory, a conformance suite, faults on
//! demand, a clock that the test moves, and valid requests to start from.
//!
//! A store is supported only if it passes [`conformance!`]. The suite is outside semantic versioning:
//! it grows with the promises. `docs/glossary.md` in the repository explains the special words.
//!
//! # Test a store
//!
//! Implement [`StoreFactory`], which opens your store, in one file of `tests/`; the macro turns each
//! check into a test. [`StoreFactory`] has a complete example. With `conformance!(shared: ..)`, for a
//! store that several processes share, the suite also checks that nodes take turns.
//!
//! # Test what uses a store
//!
//! Wrap a [`MemoryStore`] in a [`FaultStore`](faults::FaultStore), and plan the faults. Here the
//! settle is applied, but its answer is lost; repeating the settle is harmless.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use orderlock_core::store::{Acquired, Join, Read, Settled};
//! use orderlock_core::{Fence, OrderStore, Runtime, SessionId};
//! use orderlock_testkit::faults::{Fault, FaultStore, Plan, Verb};
//! use orderlock_testkit::{MemoryStore, TestRuntime, fixtures};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let runtime = TestRuntime::new();
//! let plan = Plan::new().at_call(Verb::Settle, 1, Fault::FailAfter);
//! let store = FaultStore::new(MemoryStore::new(Arc::new(runtime.clone())), plan);
//!
//! let create = fixtures::create(fixtures::claim("o1", "k0"), runtime.wall());
//! store.create(create).await?;
//! let session = SessionId(runtime.random());
//! let length = Duration::from_secs(10);
//! store.join(Join { node: "a".into(), session, length, secret: fixtures::secret() }).await?;
//!
//! let request = fixtures::acquire(fixtures::claim("o1", "k1"), session, Fence(runtime.random()));
//! let Acquired::Granted(grant) = store.acquire(request.clone()).await? else {
//!     panic!("no other node holds the order");
//! };
//! let settle = fixtures::settle(&request, &grant);
//! let error = store.settle(settle.clone()).await.unwrap_err();
//! assert!(error.may_have_happened());
//! assert!(matches!(store.settle(settle).await?, Settled::Accepted(_)));
//!
//! let view = store.read(Read { target: request.claim.target() }).await?;
//! assert_eq!(fixtures::count(&view.expect("it is there").document), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Test handlers and routes in the same way: the example `tests_under_fault` of the crate `orderlock`
//! sends requests to a route under each fault. [`TestRuntime::drive`] moves the clock by itself, so
//! that a hanging handler reaches its time limit at once.

pub mod faults;
pub mod fixtures;
mod memory;
mod property;
mod runtime;
pub mod suite;

pub use memory::MemoryStore;
pub use runtime::TestRuntime;
pub use suite::StoreFactory;
