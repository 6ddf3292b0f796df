//! The lock lifecycle of Orderlock, its vocabulary and the store seam. It knows no HTTP and no SQL.

#![warn(clippy::iter_over_hash_type)] // its order differs from run to run

#[cfg(feature = "axum")]
#[doc(hidden)]
pub mod axum;
mod fingerprint;
#[doc(hidden)]
pub mod json;
mod key;
mod lease;
mod lifecycle;
mod limits;
mod mark;
mod operation;
mod order;
mod outcome;
mod problem;
mod runtime;
pub mod store;
mod text;
mod undone;

pub use fingerprint::{Body, DEPTH_MAX, Fingerprint, canonical};
/// A point in time, in UTC.
pub use jiff::Timestamp;
pub use key::{Caller, IdempotencyKey, KeyId, OperationKey, Principal, Secret};
pub use lease::{
    Fence, IllegalTransition, Lease, LeaseEvent, LeaseId, LeaseState, LeaseView, LeaseViewState,
    Resumed, SessionId,
};
pub use lifecycle::{
    CreateRequest, Denied, Ended, Failed, HeldLease, Interrupted, KeyStatus, Lifecycle,
    LifecycleBuilder, LockedOrder, OperationRequest, Resolution, ResolveRequest, Running, Snapshot,
    Unresolved,
};
pub use limits::Limits;
pub use mark::Mark;
pub use operation::{Effect, Operation, OperationName, Recovery};
pub use order::{Document, Index, OrderId, OrderType, OwnedIndex, Target, Tenant, Times, Version};
pub use outcome::{Answer, Answers, Outcome, OutcomeKind, SettledView};
pub use problem::{AppliedPart, Problem};
pub use runtime::{Runtime, TokioRuntime};
pub use store::{OrderStore, Retention, StoreError};
pub use text::InvalidText;
pub use undone::{HandlerError, Undone};
