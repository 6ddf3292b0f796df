//! Reading orders: one, and pages of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use orderlock::Document;
use orderlock::core::{LeaseView, LeaseViewState};
use orderlock::envelope::{envelope, is_braced};
use orderlock::problems::{DATA_DAMAGED, ORDER_NOT_FOUND};
use orderlock::store::{List, OrderView, Read};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::Context;
use super::query::{ListQuery, NoQuery};
use super::reply::{Refused, Success, etag, unread};
use super::target::{OrderTarget, caller};

/// Who holds an order. It never shows the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderLockView {
    /// The grant's name, by which an operator can break it.
    id: String,
    /// `held`; `marked`, if an external operation has begun and its outcome is unknown; or
    /// `foreign`.
    state: &'static str,
    /// Which operation; missing where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// Since when; missing where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Which run of its key.
    attempt: u32,
}

impl From<&LeaseView> for OrderLockView {
    fn from(view: &LeaseView) -> Self {
        Self {
            id: view.id.to_string(),
            state: match view.state {
                LeaseViewState::Held => "held",
                LeaseViewState::Marked => "marked",
                LeaseViewState::Foreign => "foreign",
            },
            operation: view.operation.as_ref().map(ToString::to_string),
            since: view.since.map(|since| since.to_string()),
            attempt: view.attempt,
        }
    }
}

/// The committed state of one order, and its lock.
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    OrderTarget(target): OrderTarget,
    _: NoQuery,
) -> Result<Response, Refused> {
    let lifecycle = context.orders.lifecycle();
    let view = lifecycle.read(Read { target }).await.map_err(unread)?;
    let view = view.ok_or_else(|| ORDER_NOT_FOUND.described())?;
    Ok(answer(&view))
}

fn answer(view: &OrderView) -> Response {
    match Success::new(shown(view)).written() {
        Ok(order) if is_braced(&view.document) => (etag(view.version), order).into_response(),
        _ => {
            is_damaged(view);
            Refused(DATA_DAMAGED.described()).into_response()
        }
    }
}

/// Whether the order's document is damaged; if so, the log says so.
fn is_damaged(view: &OrderView) -> bool {
    let damage = match Document::parse(view.document.as_bytes().clone()) {
        Ok(document) if is_braced(&document) => return false,
        Ok(_) => "it is no object".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::error!(order = %view.target, damage, "the order's data are damaged");
    true
}

/// A page of orders, newest first.
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    ListQuery { filter, paging }: ListQuery,
) -> Result<Response, Refused> {
    let request = List {
        tenant: caller().tenant,
        filter,
        limit: paging.limit,
        cursor: paging.cursor,
    };
    let _held = context.hold_page()?;
    let lifecycle = context.orders.lifecycle();
    let page = lifecycle.list(request).await.map_err(unread)?;
    Ok(page_of(
        &page.items,
        page.next.map(|next| next.0.to_string()),
    ))
}

/// A page. An order whose data are damaged does not take the others with it: it is named, and left
/// out.
fn page_of(views: &[OrderView], next: Option<String>) -> Response {
    let orders: Vec<_> = views.iter().map(shown).collect();
    if views.iter().all(|view| is_braced(&view.document))
        && let Ok(page) = Success::page(orders, next.clone()).written()
    {
        return page;
    }
    let (damaged, whole): (Vec<_>, Vec<_>) = views.iter().partition(|view| is_damaged(view));
    let unreadable = damaged.iter().map(|view| view.target.order.to_string());
    Success::page(whole.into_iter().map(shown).collect::<Vec<_>>(), next)
        .without(unreadable.collect())
        .into_response()
}

fn shown(view: &OrderView) -> Document {
    let lock = view.lease.as_ref().and_then(lock);
    envelope(
        &view.target,
        view.version,
        &view.document,
        view.times,
        lock.as_deref(),
    )
}

fn lock(lease: &LeaseView) -> Option<Box<RawValue>> {
    // It is made of texts and a number, which can always be written.
    to_raw_value(&OrderLockView::from(lease)).ok()
}

#[cfg(test)]
mod tests {
    use orderlock::core::OwnedIndex;
    use orderlock::{Caller, OrderId, Times, Timestamp, Version};
    use serde_json::{Value, json};

    use super::*;

    fn view(id: &str, document: &str) -> OrderView {
        let at = Timestamp::UNIX_EPOCH;
        OrderView {
            target: Caller::single().target(&OrderId::parse(id).unwrap()),
            document: Document::trusted(document.as_bytes().to_vec()),
            version: Version(1),
            index: OwnedIndex::default(),
            times: Times {
                created: at,
                updated: at,
            },
            lease: None,
        }
    }

    async fn told(response: Response) -> (u16, Value) {
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        (status, serde_json::from_slice(&body.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_damaged_order_is_a_problem_of_its_own() {
        for document in ["{\"a\":\"\u{1}\"}", "{\"a\":1", "{\"a\":1}}", "[]"] {
            let (status, problem) = told(answer(&view("o-1", document))).await;
            assert_eq!(status, 500);
            assert_eq!(problem["type"], "/problems/data-damaged");
            assert!(!problem["detail"].to_string().contains("line 1"));
            let views = [view("o-1", document), view("o-2", "{\"a\":1}")];
            let (status, page) = told(page_of(&views, Some("next".to_owned()))).await;
            assert_eq!(status, 200);
            assert_eq!(page["unreadable"], json!(["o-1"]));
            assert_eq!(page["result"][0]["id"], "o-2");
            assert_eq!(page["next"], "next");
        }
    }
}
