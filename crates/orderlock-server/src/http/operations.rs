//! The operations on an order, each under its lock.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::routing::MethodRouter;
use orderlock::views::NoQuery;
use orderlock::{LockedOrder, Outcome};
use orderlock_orders::{Order, OrderOperation, decide};

use super::Context;
use super::body::CommandBody;
use super::conditions::VersionAlone;

/// The route of one operation. What it does to the order is computed, so that it neither waits
/// nor fails.
pub(crate) fn route(context: &Context, operation: OrderOperation) -> MethodRouter<Arc<Context>> {
    let locked = match operation {
        OrderOperation::Edit => context.orders.patch(operation.to_core(), run),
        _ => context.orders.post(operation.to_core(), run),
    };
    locked.layer(Extension(operation))
}

async fn run(
    order: LockedOrder<Order>,
    _: NoQuery,
    _: VersionAlone,
    State(context): State<Arc<Context>>,
    CommandBody(command): CommandBody,
) -> Result<Outcome<Order>, Infallible> {
    let (order, _lease) = order.split();
    Ok(decide(order, command, &context.process))
}
