//! Reading orders: one, and pages of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use orderlock::core::{LeaseView, LeaseViewState};
use orderlock::problems::ORDER_NOT_FOUND;
use orderlock::store::{List, OrderView, Read};
use orderlock::{Document, OrderStore as _};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::Context;
use super::envelope::envelope;
use super::query::{ListQuery, NoQuery};
use super::reply::{Refused, Success, etag, unread};
use super::target::{OrderTarget, caller};

/// Who holds an order. It never shows the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderLockView {
    /// The grant's name, by which an operator can break it.
    id: String,
    /// `held`; `marked`, if an operation has begun outside and nobody attends to it; or `foreign`.
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

/// One order, as it stands committed, and who holds it.
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    OrderTarget(target): OrderTarget,
    _: NoQuery,
) -> Result<Response, Refused> {
    let store = context.orders.lifecycle().store();
    let view = store.read(Read { target }).await.map_err(unread)?;
    let view = view.ok_or_else(|| ORDER_NOT_FOUND.described())?;
    Ok((etag(view.version), Success::new(shown(&view))).into_response())
}

/// A page of orders, newest first.
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    ListQuery { filter, paging }: ListQuery,
) -> Result<Success<Vec<Document>>, Refused> {
    let request = List {
        tenant: caller().tenant,
        filter,
        limit: paging.limit,
        cursor: paging.cursor,
    };
    let store = context.orders.lifecycle().store();
    let page = store.list(request).await.map_err(unread)?;
    let orders = page.items.iter().map(shown).collect();
    Ok(Success::page(
        orders,
        page.next.map(|next| next.0.to_string()),
    ))
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
