//! A handler that does nothing: the most that this machine serves with axum.

use anyhow::Result;
use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::patch;
use bytes::Bytes;

/// As large as the answer to an edit, and with as many headers.
const BODY: &str = r#"{"status":200,"result":{"id":"ord_0123456789abcdefghijklmnop","version":12,"status":"pending","customer":"cus_42","currency":"EUR","lines":[{"line":1,"sku":"TEA-250","name":"Green tea","quantity":2,"unitPrice":1299,"fulfilled":0,"returned":0},{"line":2,"sku":"CUP-1","name":"Cup","quantity":1,"unitPrice":900,"fulfilled":0,"returned":0}],"total":3498,"payment":{"status":"none","authorized":0,"captured":0,"refunded":0},"metadata":{"channel":"web","note":"0123456789"},"createdAt":"2026-01-01T00:00:00.000000Z","updatedAt":"2026-01-01T00:00:00.000000Z"}}"#;

pub(crate) fn run() -> Result<()> {
    super::serve(async { Ok(Router::new().route("/v1/orders/{id}", patch(answer))) })
}

async fn answer(_body: Bytes) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ETAG, "\"12\""),
        (
            HeaderName::from_static("idempotency-expires"),
            "2026-01-02T00:00:00.000000Z",
        ),
        (
            HeaderName::from_static("x-request-id"),
            "0123456789abcdef0123456789abcdef",
        ),
    ];
    (headers, BODY)
}
