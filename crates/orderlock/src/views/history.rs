//! The journal of one order.

use axum::response::Response;
use orderlock_core::Target;
use orderlock_core::store::{Entry, History};
use serde::Serialize;

use super::query::Paging;
use super::reply::{Success, unread};
use crate::problems::ORDER_NOT_FOUND;
use crate::request::Entrance;

/// One line of an order's history.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HistoryItem {
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
pub(super) async fn history(
    entrance: &Entrance,
    target: Target,
    Paging { limit, cursor }: Paging,
) -> Result<Success<Vec<HistoryItem>>, Response> {
    let request = History {
        target,
        limit,
        cursor,
    };
    let page = entrance.lifecycle.history(request).await;
    let page = page.map_err(|error| entrance.refused(&unread(&error)))?;
    let page = page.ok_or_else(|| entrance.refused(&ORDER_NOT_FOUND.described()))?;
    let items = page.items.iter().map(HistoryItem::from).collect();
    Ok(Success::page(
        items,
        page.next.map(|next| next.0.to_string()),
    ))
}
