//! Reading orders: one, and pages of them.

use axum::extract::FromRequestParts as _;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use http::request::Parts;
use orderlock_core::store::{List, OrderView, Read};
use orderlock_core::{Document, LeaseView, LeaseViewState, Tenant};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::query::{ListQuery, NoQuery};
use super::reply::{Success, unread};
use crate::answer::Rejection;
use crate::envelope::{envelope, is_braced};
use crate::problems::{DATA_DAMAGED, ORDER_NOT_FOUND};
use crate::request::Entrance;

/// Who holds an order. It never shows the key.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OrderLockView {
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
pub(super) async fn one(entrance: &Entrance, parts: &mut Parts) -> Result<Response, Response> {
    let (_, target) = entrance.seen(parts).await?;
    let query = NoQuery::from_request_parts(parts, &()).await;
    query.map_err(IntoResponse::into_response)?;
    let view = entrance.lifecycle.read(Read { target }).await;
    let view = view.map_err(|error| entrance.refused(&unread(&error)))?;
    let view = view.ok_or_else(|| entrance.refused(&ORDER_NOT_FOUND.described()))?;
    Ok(answer(&view))
}

fn answer(view: &OrderView) -> Response {
    match Success::new(shown(view)).written() {
        Ok(order) if is_braced(&view.document) => {
            ([(ETAG, format!("\"{}\"", view.version))], order).into_response()
        }
        _ => {
            is_damaged(view);
            Rejection(DATA_DAMAGED.described()).into_response()
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
pub(super) async fn list(
    entrance: &Entrance,
    tenant: Tenant,
    ListQuery { filter, paging }: ListQuery,
) -> Result<Response, Response> {
    let request = List {
        tenant,
        filter,
        limit: paging.limit,
        cursor: paging.cursor,
    };
    let page = entrance.lifecycle.list(request).await;
    let page = page.map_err(|error| entrance.refused(&unread(&error)))?;
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
    use orderlock_core::{Caller, OrderId, OwnedIndex, Times, Timestamp, Version};
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
