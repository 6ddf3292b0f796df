//! Why an operator breaks a lock, as the order model reads it.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use orderlock::Problem;
use orderlock::problems::BODY_INVALID;
use orderlock::views::BreakReason;
use orderlock_orders::{BodyShape, Command, OrderOperation};
use serde_json::json;

use super::Context;
use super::body::{buffered, check_media_type};
use super::reply::Refused;

/// The body of a break.
pub(crate) struct ReasonBody(BreakReason);

impl From<ReasonBody> for BreakReason {
    fn from(ReasonBody(reason): ReasonBody) -> Self {
        reason
    }
}

impl FromRequest<Arc<Context>> for ReasonBody {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Arc<Context>) -> Result<Self, Refused> {
        let (parts, body) = buffered(request).await?;
        check_media_type(&parts.headers, &body, BodyShape::Reason)?;
        Ok(Self(BreakReason(reason(&body)?)))
    }
}

/// Reads `{"reason": ...}`, which must be there.
fn reason(body: &[u8]) -> Result<String, Problem> {
    let command = Command::read(OrderOperation::Hold, body).map_err(Problem::from)?;
    let missing = || {
        let error = json!({"pointer": "/reason", "detail": "It is missing."});
        BODY_INVALID
            .problem()
            .with_detail("Give a reason. The order's history shows it.")
            .with_member("errors", vec![error])
    };
    command.reason().map(ToOwned::to_owned).ok_or_else(missing)
}
