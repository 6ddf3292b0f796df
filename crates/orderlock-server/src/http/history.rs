//! The journal of one order.

use std::sync::Arc;

use axum::extract::State;
use orderlock::problems::ORDER_NOT_FOUND;
use orderlock::store::{Entry, History};
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::query::PageQuery;
use super::reply::{Refused, Success, unread};
use super::target::OrderTarget;

/// One line of an order's history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryItem {
    /// Its place in the order's history: 1, 2, 3, without gap.
    number: u64,
    /// The operation's name, such as `confirm`.
    operation: String,
    /// The outcome, such as `applied` or `refused`.
    outcome: &'static str,
    /// The order's version after it.
    version: u64,
    /// The caller who did it; `-` while there is no sign-in.
    actor: String,
    /// Why, where a person decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The time of the entry, as RFC 3339 in UTC.
    at: String,
    /// Which run of its key.
    attempt: u32,
}

impl From<&Entry> for HistoryItem {
    fn from(entry: &Entry) -> Self {
        Self {
            number: entry.number,
            operation: entry.operation.to_string(),
            outcome: entry.outcome.as_str(),
            version: entry.version.0,
            actor: entry.actor.to_string(),
            reason: entry.reason.clone(),
            at: entry.at.to_string(),
            attempt: entry.attempt,
        }
    }
}

/// A page of an order's history, oldest first.
pub(crate) async fn history(
    State(context): State<Arc<Context>>,
    OrderTarget(target): OrderTarget,
    PageQuery(paging): PageQuery,
) -> Result<Success<Vec<HistoryItem>>, Refused> {
    let request = History {
        target,
        limit: paging.limit,
        cursor: paging.cursor,
    };
    let _held = context.hold_page()?;
    let lifecycle = context.orders.lifecycle();
    let page = lifecycle.history(request).await.map_err(unread)?;
    let page = page.ok_or_else(|| ORDER_NOT_FOUND.described())?;
    let items = page.items.iter().map(HistoryItem::from).collect();
    Ok(Success::page(
        items,
        page.next.map(|next| next.0.to_string()),
    ))
}
