//! Locks an order, hands it to your handler, applies what the handler *returns* and unlocks, in
//! one atomic write.
//!
//! Your code never saves and never unlocks. It takes a [`LockedOrder`], and returns an
//! [`Outcome`]: the order as it is to become, or a refusal. A retry with the same idempotency key
//! gets the first answer, byte for byte; the operation is never applied twice.

pub mod adapter;
pub mod answer;
mod body;
mod caller;
mod failure;
pub mod header;
mod json;
pub mod layer;
mod lock;
pub mod problems;
mod request;

pub use adapter::OrderHandler;
pub use answer::{Rejection, method_not_allowed, route_not_found};
pub use caller::{CallerSource, OrderIdSource, PathParam, SingleTenant};
pub use failure::Failure;
pub use header::RequestKey;
pub use json::JsonAnswers;
pub use layer::{OrderLockLayer, OrderLockService};
pub use lock::OrderLock;
pub use problems::{PROBLEMS, ProblemKind};
pub use request::{fingerprint, is_json};

pub use orderlock_core as core;
pub use orderlock_core::{
    Answer, Answers, AppliedPart, Body, Caller, CreateRequest, Denied, Document, Ended, Failed,
    Fingerprint, HeldLease, IdempotencyKey, Index, Interrupted, KeyStatus, Lifecycle, Limits,
    LockedOrder, Operation, OperationKey, OperationName, OperationRequest, OrderId, OrderStore,
    OrderType, Outcome, OutcomeKind, Principal, Problem, Recovery, Retention, Runtime, SettledView,
    StoreError, Target, Tenant, Times, Timestamp, TokioRuntime, Version, store,
};

/// The embedded store: one SQLite file.
#[cfg(feature = "sqlite")]
pub use orderlock_sqlite as sqlite;
