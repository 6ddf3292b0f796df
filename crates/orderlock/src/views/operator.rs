//! The routes of operators, none of them without a guard.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get};
use orderlock_core::OrderType;

use super::locks::{self, BreakReason};
use super::query::{PageQuery, Paging};
use super::{either, read};
use crate::caller::CallerSource;
use crate::lock::OrderLock;

impl<T> OrderLock<T> {
    /// The routes by which operators look after orders: `GET /locks` lists what is held or marked,
    /// `DELETE /locks/{id}` breaks one lock, with the body `{"reason": ".."}`, and
    /// `POST /orders/{id}/resolution` ends an open mark: see [`resolution`](crate::resolution).
    ///
    /// Operators decide about other people's operations, so there is no form without a guard: it names the
    /// operator, whose name the order's history shows and whose tenant owns the orders, or refuses.
    ///
    /// ```
    /// use axum::{Router, http::request::Parts};
    /// use orderlock::{Caller, OrderLock, OrderType, Principal, Problem, Tenant, problems};
    ///
    /// # #[derive(Clone)]
    /// # struct Operator { name: Principal }
    /// async fn operator(parts: &Parts) -> Result<Caller, Problem> {
    ///     // A middleware in front has checked the credential and the right.
    ///     let operator = parts.extensions.get::<Operator>();
    ///     let operator = operator.ok_or_else(|| problems::FORBIDDEN.described())?;
    ///     Ok(Caller { tenant: Tenant::single(), principal: operator.name.clone() })
    /// }
    ///
    /// fn routes<T: OrderType>(orders: &OrderLock<T>) -> Router {
    ///     orders.router().merge(orders.operator_router(operator))
    /// }
    /// ```
    pub fn operator_router<S>(&self, guard: impl CallerSource + Clone) -> Router<S>
    where
        T: OrderType,
        S: Clone + Send + Sync + 'static,
    {
        Router::new()
            .route("/locks", self.locks_route::<PageQuery, S>(guard.clone()))
            .route(
                "/locks/{id}",
                self.break_route::<BreakReason, S>(guard.clone()),
            )
            .route("/orders/{id}/resolution", self.resolution(guard))
    }

    /// A route that shows an operator, on `GET`, a page of the locks that are held, of the marks that are
    /// open, and of the locks of other services. `Q` reads the query: [`PageQuery`], or an extractor of
    /// your own.
    pub fn locks_route<Q, S>(&self, guard: impl CallerSource) -> MethodRouter<S>
    where
        Q: FromRequestParts<S> + Into<Paging> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let (entrance, guard) = (self.entrance.clone(), Arc::new(guard));
        get(async move |State(state): State<S>, request: Request| {
            let (mut parts, _) = request.into_parts();
            let operator = match entrance.who(&*guard, &mut parts).await {
                Ok(operator) => operator,
                Err(refused) => return refused.into_response(),
            };
            match read::<Q, Paging, S>(&mut parts, &state).await {
                Ok(paging) => either(locks::list(&entrance, operator.tenant, paging).await),
                Err(rejection) => rejection,
            }
        })
    }

    /// A route by which an operator, on `DELETE`, breaks the lock that the path parameter `id` names. Its
    /// holder gets `lease-lost`, and nothing that it returns is applied. `B` reads the body:
    /// [`BreakReason`], or an extractor of your own.
    pub fn break_route<B, S>(&self, guard: impl CallerSource) -> MethodRouter<S>
    where
        B: FromRequest<S> + Into<BreakReason> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let (entrance, guard) = (self.entrance.clone(), Arc::new(guard));
        delete(async move |State(state): State<S>, request: Request| {
            either(locks::break_one::<B, S>(&entrance, &*guard, request, &state).await)
        })
    }
}
