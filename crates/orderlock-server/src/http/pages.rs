//! Pages for people: the landing page, and one for each kind of problem, at the path that is its
//! `type`. The same texts make the table of statuses in the documentation.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, header};
use orderlock::Rejection;
use orderlock::problems::ROUTE_NOT_FOUND;

use super::Context;
use super::problems::{Kind, kinds};

/// The pages, and the OpenAPI document.
pub(crate) fn routes(document: Bytes) -> Router<Arc<Context>> {
    let openapi = move || async { ([(header::CONTENT_TYPE, "application/json")], document) };
    Router::new()
        .route("/", get(landing))
        .route("/problems", get(index))
        .route("/problems/{kind}", get(problem))
        .route("/openapi.json", get(openapi))
        .route(STYLE, get(style))
}

/// Where the style sheet is: pages hold none themselves, so that nothing that finds its way into
/// one is ever taken for it.
const STYLE: &str = "/style.css";

async fn style() -> impl IntoResponse {
    let css = "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}\n";
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], css)
}

async fn landing() -> Html<String> {
    page(
        "Orderlock",
        &format!(
            "<p>Changes one order at a time, exactly once, whatever breaks. This is version {}.</p>\
             <ul><li><a href=\"/v1/orders\">Orders</a></li>\
             <li><a href=\"/v1/locks\">Locks</a></li>\
             <li><a href=\"/openapi.json\">The API, as OpenAPI</a></li>\
             <li><a href=\"/problems\">Problems, and what to do about them</a></li>\
             <li><a href=\"/readyz\">Readiness</a></li></ul>",
            env!("CARGO_PKG_VERSION")
        ),
    )
}

async fn index() -> Html<String> {
    let mut rows = String::new();
    for kind in kinds() {
        let Kind {
            kind,
            status,
            title,
            ..
        } = kind;
        // Writing to a text cannot fail.
        let _ = write!(
            rows,
            "<li>{status} <a href=\"/problems/{kind}\"><code>{kind}</code></a>: {}</li>",
            escape(title)
        );
    }
    page("Problems", &format!("<ul>{rows}</ul>"))
}

async fn problem(headers: HeaderMap, name: Option<Path<String>>) -> Result<Response, Rejection> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let found = kinds().into_iter().find(|kind| kind.kind == name);
    let kind = found.ok_or_else(|| ROUTE_NOT_FOUND.described())?;
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/markdown")) {
        let content_type = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
        return Ok((content_type, markdown(&kind)).into_response());
    }
    let body = format!(
        "<p>Status {}, <code>{}</code></p><h2>What happened</h2><p>{}</p>\
         <h2>What to do</h2><p>{}</p><p>{}</p>",
        kind.status,
        kind.kind,
        escape(kind.happened),
        escape(kind.advice),
        retry(&kind)
    );
    Ok(page(kind.title, &body).into_response())
}

fn markdown(kind: &Kind) -> String {
    let Kind {
        kind: name,
        status,
        title,
        happened,
        advice,
        ..
    } = kind;
    format!(
        "# {title}\n\nStatus {status}, `{name}`\n\n## What happened\n\n{happened}\n\n\
         ## What to do\n\n{advice}\n\n{}\n",
        retry(kind)
    )
}

fn retry(kind: &Kind) -> &'static str {
    if kind.retryable {
        "The same request, with the same key, may succeed later."
    } else {
        "The same request gets the same answer, unless something changes."
    }
}

fn page(title: &str, body: &str) -> Html<String> {
    let title = escape(title);
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"stylesheet\" href=\"{STYLE}\"></head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    ))
}

/// Our own texts as HTML, with text between backticks as code.
fn escape(text: &str) -> String {
    let plain = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let mut html = String::with_capacity(plain.len());
    for (at, part) in plain.split('`').enumerate() {
        if at > 0 {
            html.push_str(if at % 2 == 1 { "<code>" } else { "</code>" });
        }
        html.push_str(part);
    }
    html
}

/// Every kind of problem as a Markdown table: the body of `docs/http-status-codes.md`.
#[must_use]
pub fn status_table() -> String {
    let mut text = String::from(
        "| status | problem | what happened | what to do | answer stored | retry |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for kind in kinds() {
        let Kind {
            kind: name,
            status,
            happened,
            advice,
            stored,
            retryable,
            ..
        } = kind;
        let again = if retryable { "same key" } else { "no" };
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "| {status} | `{name}` | {happened} | {advice} | {stored} | {again} |"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_and_never_read_as_html() {
        assert_eq!(escape("`a<b>` & c"), "<code>a&lt;b&gt;</code> &amp; c");
        for kind in kinds() {
            assert_eq!(kind.happened.matches('`').count() % 2, 0, "{kind:?}");
            assert_eq!(kind.advice.matches('`').count() % 2, 0, "{kind:?}");
            // In Markdown the texts are not escaped: outside of code, `<` would begin HTML.
            for text in [kind.happened, kind.advice] {
                let mut prose = text.split('`').step_by(2);
                assert!(!prose.any(|part| part.contains('<')), "{kind:?}");
            }
        }
    }
}
