//! Every route of the contract, once: its handler and its description are two matches over one
//! list, so that neither can be without the other.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_extractor;
use axum::routing::{MethodRouter, get};
use orderlock::SingleTenant;
use orderlock::views::{NoQuery, PageQuery};
use orderlock_orders::{OperationRow, OrderOperation, TABLE};

use super::conditions::{Unconditional, VersionAlone};
use super::locks::ReasonBody;
use super::query::{HeldList, HeldPage};
use super::{Context, create, health, operations};

/// A route of the contract.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    Operation(&'static OperationRow),
    Read,
    List,
    History,
    Key,
    Resolve,
    Locks,
    BreakLock,
    Health,
    Ready,
}

impl Route {
    /// Every route: those of the process by its table, then the others.
    pub(crate) fn all() -> Vec<Self> {
        let others = [
            Self::List,
            Self::Read,
            Self::History,
            Self::Key,
            Self::Resolve,
            Self::Locks,
            Self::BreakLock,
            Self::Health,
            Self::Ready,
        ];
        TABLE.iter().map(Self::Operation).chain(others).collect()
    }

    /// Its method and its path.
    pub(crate) fn address(self) -> (&'static str, String) {
        let (method, path) = match self {
            Self::Operation(row) => return row.route(),
            Self::Read => ("GET", "/v1/orders/{id}"),
            Self::List => ("GET", "/v1/orders"),
            Self::History => ("GET", "/v1/orders/{id}/history"),
            Self::Key => ("GET", "/v1/orders/{id}/operations/{key}"),
            Self::Resolve => ("POST", "/v1/orders/{id}/resolution"),
            Self::Locks => ("GET", "/v1/locks"),
            Self::BreakLock => ("DELETE", "/v1/locks/{id}"),
            Self::Health => ("GET", "/healthz"),
            Self::Ready => ("GET", "/readyz"),
        };
        (method, path.to_owned())
    }

    fn handler(self, context: &Context) -> MethodRouter<Arc<Context>> {
        match self {
            Self::Operation(row) if row.operation == OrderOperation::Create => {
                create::route(context)
            }
            Self::Operation(row) => operations::route(context, row.operation),
            Self::Read => context.orders.read_route(),
            Self::List => context.orders.list_route::<HeldList, _>(),
            Self::History => context.orders.history_route::<HeldPage, _>(),
            Self::Key => context.orders.key_route(),
            // There is no sign-in yet, so every caller is an operator.
            Self::Resolve => context
                .orders
                .resolution(SingleTenant)
                .route_layer(from_extractor::<(NoQuery, VersionAlone)>()),
            Self::Locks => context.orders.locks_route::<PageQuery, _>(SingleTenant),
            Self::BreakLock => context
                .orders
                .break_route::<ReasonBody, _>(SingleTenant)
                .route_layer(from_extractor::<(NoQuery, Unconditional)>()),
            Self::Health => get(health::health),
            Self::Ready => get(health::ready),
        }
    }
}

/// The routes with their handlers.
pub(crate) fn routes(context: &Context) -> Router<Arc<Context>> {
    Route::all()
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(&route.address().1, route.handler(context))
        })
}
