//! The route by which an operator ends an open mark. A mark says that an external operation, such as
//! a payment, has begun; it is open while the outcome is unknown and no client has resumed the
//! operation. The route is made by [`OrderLock::resolution`](crate::OrderLock::resolution).
//!
//! ```
//! use axum::{Router, http::request::Parts};
//! use orderlock::{Caller, OrderLock, OrderType, Principal, Problem, Tenant, problems};
//!
//! # #[derive(Clone)]
//! # struct Operator { name: Principal }
//! async fn operator(parts: &Parts) -> Result<Caller, Problem> {
//!     // A middleware in front has checked the credential and the right.
//!     let operator = parts.extensions.get::<Operator>();
//!     let operator = operator.ok_or_else(|| problems::FORBIDDEN.described())?;
//!     Ok(Caller { tenant: Tenant::single(), principal: operator.name.clone() })
//! }
//!
//! fn routes<T: OrderType>(orders: &OrderLock<T>) -> Router {
//!     Router::new().route("/orders/{id}/resolution", orders.resolution(operator))
//! }
//! ```
//!
//! The body has the mark's id, which the problem `outcome-unknown` shows, the decision, and a `reason`
//! for the order's history:
//!
//! - `{"decision": "runAgain", "mark": "mrk_..", "reason": ".."}`: the mark is cleared.
//! - `{"decision": "settle", .., "outcome": "applied", "order": {..}}`: the order becomes this, and
//!   the original key's retry gets that answer.
//! - `{"decision": "settle", .., "outcome": "refused", "problem": {"status": 402, "type":
//!   "declined", "title": ".."}}`: nothing changes, and the retry gets this problem.
//! - `{"decision": "settle", .., "outcome": "unchanged"}`: nothing changes, and the retry gets a
//!   success.
//!
//! The answer is the order after the decision. `If-Match` is optional: the version that the operator
//! has seen. `Idempotency-Key` is required, as on every request that changes an order. The same
//! decision about the same mark is never applied twice and gets the first answer again; any other
//! decision about a mark that has ended gets `mark-not-open`.

mod body;

pub(crate) use body::read_reason;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use orderlock_core::{
    Caller, Denied, Operation, OrderType, OutcomeKind, Principal, Problem, ResolveRequest,
    SettledView, Snapshot, Target, Unresolved, Version,
};
use serde_json::json;

use crate::answer::{Reply, reply};
use crate::caller::{AnyCallerSource, CallerSource};
use crate::explain::{about, denied_problem};
use crate::header;
use crate::problems::{BODY_INVALID, MARK_NOT_OPEN, MEDIA_TYPE_UNSUPPORTED, SETTLE_UNKNOWN};
use crate::request::Entrance;

/// Marks [`ResolutionHandler`] among axum's handlers.
#[derive(Debug)]
pub struct ViaResolution;

/// A route that ends open marks, as an axum handler.
pub struct ResolutionHandler<T> {
    entrance: Entrance,
    authorize: Arc<dyn AnyCallerSource>,
    order: PhantomData<fn() -> T>,
}

impl<T> ResolutionHandler<T> {
    pub(crate) fn new(entrance: Entrance, authorize: impl CallerSource) -> Self {
        Self {
            entrance,
            authorize: Arc::new(authorize),
            order: PhantomData,
        }
    }
}

impl<T> Clone for ResolutionHandler<T> {
    fn clone(&self) -> Self {
        Self {
            entrance: self.entrance.clone(),
            authorize: Arc::clone(&self.authorize),
            order: PhantomData,
        }
    }
}

impl<T> fmt::Debug for ResolutionHandler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolutionHandler")
            .field("entrance", &self.entrance)
            .finish_non_exhaustive()
    }
}

impl<T: OrderType, S: Send + 'static> Handler<ViaResolution, S> for ResolutionHandler<T> {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, _: S) -> Self::Future {
        async move {
            let served = self.serve(request).await;
            served.unwrap_or_else(|refused| refused).into_response()
        }
        .boxed()
    }
}

impl<T: OrderType> ResolutionHandler<T> {
    async fn serve(&self, request: Request) -> Result<Reply, Reply> {
        let entrance = &self.entrance;
        let (mut parts, body) = request.into_parts();
        let refuse = |problem| entrance.refuse(&problem);
        entrance.check(&parts).map_err(refuse)?;
        let operator = entrance.who(&*self.authorize, &mut parts).await?;
        let head = self.head(&mut parts, operator).map_err(refuse)?;
        self.decide(head, parts, body).await.map_err(refuse)
    }

    async fn decide(&self, head: Head, parts: Parts, body: Body) -> Result<Reply, Problem> {
        let entrance = &self.entrance;
        let runtime = &**entrance.lifecycle.runtime();
        let body = entrance.body.read(body, runtime).await?;
        if !header::is_json(&parts.headers) {
            return Err(MEDIA_TYPE_UNSUPPORTED.described());
        }
        let mut others = head.expected.unwrap_or_default();
        let mut expected = others.pop();
        let mut tries = others.len();
        loop {
            let body::Decided {
                mark,
                reason,
                resolution,
            } = body::read::<T>(&body)?;
            let request = ResolveRequest {
                target: head.target.clone(),
                mark,
                resolution,
                expected,
                actor: head.actor.clone(),
                reason,
            };
            match entrance.lifecycle.resolve(request).await {
                Ok(after) => return Ok(self.resolved(&head.target, &after)),
                // Nothing was decided: the order is at another one of the versions that would do.
                Err(Unresolved::Denied(Denied::VersionMismatch { current }))
                    if tries > 0 && others.contains(&current) =>
                {
                    tries -= 1;
                    expected = Some(current);
                }
                Err(unresolved) => return Err(told(&head.target, unresolved)),
            }
        }
    }

    /// The order after the decision; the mark's key may get another answer.
    fn resolved(&self, target: &Target, after: &Snapshot) -> Reply {
        let operation = Operation::named("resolution");
        let view = SettledView {
            target,
            operation: operation.name(),
            outcome: OutcomeKind::Applied,
            problem: None,
            document: &after.document,
            version: after.version,
            times: after.times,
        };
        reply(&self.entrance.lifecycle.answers().answer(view))
    }

    /// Who decides, and about which order. The key names the intent as on every request that
    /// changes an order; what makes a repeat harmless is the mark's id.
    fn head(&self, parts: &mut Parts, operator: Caller) -> Result<Head, Problem> {
        let entrance = &self.entrance;
        let order = entrance.order_id.order_id(parts)?;
        header::idempotency_key(&parts.headers)?;
        let expected = header::if_match(&parts.headers)?;
        Ok(Head {
            target: operator.target(&order),
            actor: operator.principal,
            expected,
        })
    }
}

/// What the head of a request says.
struct Head {
    target: Target,
    actor: Principal,
    expected: Option<Vec<Version>>,
}

fn told(target: &Target, unresolved: Unresolved) -> Problem {
    match unresolved {
        Unresolved::NotOpen => about(&MARK_NOT_OPEN, Some(target)),
        Unresolved::Unknown => about(&SETTLE_UNKNOWN, Some(target)),
        Unresolved::Denied(denied) => denied_problem(Some(target), &denied),
        Unresolved::Unwritable(reason) => {
            let error =
                json!({"pointer": "/order", "detail": format!("It cannot be stored: {reason}.")});
            BODY_INVALID.described().with_member("errors", vec![error])
        }
    }
}
