//! What an application gets for an order that it creates or reads: the result, or an error that is an
//! HTTP answer at the same time.

use std::fmt;

use axum::response::{IntoResponse, Response};
use orderlock_core::{
    Answer, Answers, LeaseView, OrderId, OutcomeKind, Problem, Times, Timestamp, Version,
};
use serde::{Serialize, Serializer};

use crate::answer::{Reply, problem_reply};

/// A request that is settled, durably. As a response it is the stored answer.
#[derive(Clone, Debug)]
pub struct SettledOrder {
    /// Which order: that of the key's first request, whatever id a retry gives.
    pub order: OrderId,
    /// The stored answer, byte for byte the same on every retry.
    pub answer: Answer,
    /// Whether an earlier request under the same key settled it.
    pub replayed: bool,
    /// When the answer's retention ends.
    pub expires: Option<Timestamp>,
    /// How it was settled.
    pub outcome: OutcomeKind,
}

impl IntoResponse for SettledOrder {
    fn into_response(self) -> Response {
        self.reply().into_response()
    }
}

/// Why nothing was settled or read: a problem that the client can be answered with.
///
/// It is an error for `?` in a program, and an answer for `?` in an axum handler.
///
/// ```
/// use axum::response::IntoResponse;
/// use orderlock::{Caller, OrderId, OrderLock, OrderLockError, OrderType};
///
/// // 404 `order-not-found`, 503 `store-unavailable`: the error answers for itself.
/// async fn show<T: OrderType>(orders: OrderLock<T>, id: OrderId) -> Result<impl IntoResponse, OrderLockError> {
///     orders.read(&Caller::single(), &id).await
/// }
/// ```
#[derive(Clone)]
pub struct OrderLockError(Box<Refused>);

#[derive(Clone)]
struct Refused {
    problem: Problem,
    reply: Reply,
}

impl OrderLockError {
    pub(crate) fn new(answers: &dyn Answers, problem: Problem) -> Self {
        let reply = problem_reply(answers, &problem);
        Self(Box::new(Refused { problem, reply }))
    }

    /// What happened, and what to do now.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Whether the same request, under the same key, may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.problem().is_retryable()
    }
}

impl fmt::Display for OrderLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = self.problem();
        f.write_str(problem.kind())?;
        match problem.detail() {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for OrderLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderLockError({self})")
    }
}

impl std::error::Error for OrderLockError {}

impl IntoResponse for OrderLockError {
    fn into_response(self) -> Response {
        self.0.reply.into_response()
    }
}

/// An order as it is stored: one snapshot of committed state.
///
/// As JSON it is `{"id": .., "version": .., "createdAt": .., "updatedAt": .., "order": ..}`; as a
/// response it is that, with the version as `ETag`.
#[derive(Clone, Debug)]
pub struct ReadOrder<T> {
    /// Its id.
    pub id: OrderId,
    /// Its version.
    pub version: Version,
    /// When it was created and last changed.
    pub times: Times,
    /// Its content.
    pub order: T,
    /// Who holds it, or which mark is open.
    pub lease: Option<LeaseView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a, T> {
    id: &'a OrderId,
    version: Version,
    created_at: String,
    updated_at: String,
    order: &'a T,
}

impl<T: Serialize> Serialize for ReadOrder<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            id: &self.id,
            version: self.version,
            created_at: self.times.created.to_string(),
            updated_at: self.times.updated.to_string(),
            order: &self.order,
        };
        shown.serialize(serializer)
    }
}

impl<T: Serialize> IntoResponse for ReadOrder<T> {
    fn into_response(self) -> Response {
        let tag = [(http::header::ETAG, format!("\"{}\"", self.version))];
        (tag, axum::Json(self)).into_response()
    }
}
