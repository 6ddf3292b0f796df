//! Creating an order.

use std::sync::Arc;

use axum::extract::State;
use axum::middleware::from_extractor;
use axum::routing::MethodRouter;
use orderlock::views::NoQuery;
use orderlock_orders::Order;

use super::Context;
use super::body::NewOrderBody;
use super::conditions::Unconditional;
use super::reply::Refused;

/// The route. What today's rules say of the body yields to a stored answer.
pub(crate) fn route(context: &Context) -> MethodRouter<Arc<Context>> {
    let route = context.orders.create_route(create);
    route.route_layer(from_extractor::<(NoQuery, Unconditional)>())
}

async fn create(
    State(context): State<Arc<Context>>,
    NewOrderBody(new): NewOrderBody,
) -> Result<Order, Refused> {
    let made = orderlock_orders::create(new, &context.process);
    made.map_err(|refusal| Refused(refusal.into()))
}
