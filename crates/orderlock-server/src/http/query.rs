//! The queries of lists: their filters in the words of the order model, and memory for the page.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use orderlock::store::Filter;
use orderlock::views::{ListQuery, PageQuery, Paging, QueryParams};
use orderlock_orders::Status;
use orderlock_orders::bounds::CUSTOMER_MAX;

use super::Context;
use super::memory::Held;
use super::reply::Refused;

/// The query of a list of orders. The page has its memory until its request has been answered.
#[derive(Debug)]
pub(crate) struct HeldList(ListQuery);

/// The query of a list that has no filter, in the same way.
#[derive(Debug)]
pub(crate) struct HeldPage(Paging);

impl From<HeldList> for ListQuery {
    fn from(HeldList(query): HeldList) -> Self {
        query
    }
}

impl From<HeldPage> for Paging {
    fn from(HeldPage(paging): HeldPage) -> Self {
        paging
    }
}

impl FromRequestParts<Arc<Context>> for HeldList {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        context: &Arc<Context>,
    ) -> Result<Self, Refused> {
        let mut params = QueryParams::read(parts).await?;
        let status = |text: &str| Status::parse(text).map(|status| status.as_str().to_owned());
        // What no order can have, as its body would have been refused, is asked of no store.
        let customer = |text: &str| {
            let fits = !text.trim().is_empty()
                && text.chars().count() <= CUSTOMER_MAX
                && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
        };
        let expected = format!(
            "It must be a text of 1 to {CUSTOMER_MAX} characters, none of them for control."
        );
        let filter = Filter {
            status: params.take("status", status, &format!("It must be one of {}.", words()))?,
            customer: params.take("customer", customer, &expected)?,
            locked: params.take(
                "locked",
                |text| text.parse().ok(),
                "It must be true or false.",
            )?,
        };
        let paging = params.paging()?;
        params.finish("`status`, `customer`, `locked`, `limit` and `cursor`")?;
        hold(parts, context)?;
        Ok(Self(ListQuery { filter, paging }))
    }
}

impl FromRequestParts<Arc<Context>> for HeldPage {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        context: &Arc<Context>,
    ) -> Result<Self, Refused> {
        let PageQuery(paging) = PageQuery::from_request_parts(parts, context).await?;
        hold(parts, context)?;
        Ok(Self(paging))
    }
}

/// Keeps the memory with the request, whose parts live until the page is made.
fn hold(parts: &mut Parts, context: &Context) -> Result<(), Refused> {
    let held: Arc<Held> = Arc::new(context.hold_page()?);
    parts.extensions.insert(held);
    Ok(())
}

fn words() -> String {
    Status::ALL.map(Status::as_str).join(", ")
}
