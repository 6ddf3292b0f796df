//! What stores and handlers of Orderlock are tested with: a model store, a conformance suite, a
//! fault injector, a clock that stands still, and requests to start from.
//!
//! A store is supported if it passes [`conformance!`], and only then. The suite is outside semantic
//! versioning: it grows with what is promised.
//!
//! # Test a store
//!
//! Tell the suite how to make stores of your kind, in one file of `tests/`; the macro makes one
//! test of each check. See [`StoreFactory`] for a whole example. A store that several processes
//! share is examined with more checks, those of turns between its nodes.
//!
//! # Test what uses a store
//!
//! Take a [`MemoryStore`], wrap it in a [`FaultStore`](faults::FaultStore), and let it fail where
//! it hurts: here the settle happens, and the node is told that nobody knows. Repeating it is
//! harmless.
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
//!     panic!("nobody else is here");
//! };
//! let settle = fixtures::settle(&request, &grant);
//! let told = store.settle(settle.clone()).await.unwrap_err();
//! assert!(told.may_have_happened());
//! assert!(matches!(store.settle(settle).await?, Settled::Accepted(_)));
//!
//! let view = store.read(Read { target: request.claim.target() }).await?;
//! assert_eq!(fixtures::count(&view.expect("it is there").document), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Handlers and their routes are tested in the same way: the example `tests_under_fault` of the crate
//! `orderlock` sends requests to a route while each fault strikes its write. [`TestRuntime::drive`]
//! moves the clock by itself, so that what hangs comes to its limit at once.

pub mod faults;
pub mod fixtures;
mod memory;
mod property;
mod runtime;
pub mod suite;

pub use memory::MemoryStore;
pub use runtime::TestRuntime;
pub use suite::StoreFactory;
