//! From an HTTP request to what the lifecycle is asked for: the same for every door.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use orderlock_core::axum::CarriedLock;
use orderlock_core::{
    Body, Caller, Ended, Fingerprint, IdempotencyKey, Lifecycle, Operation, OperationName,
    OperationRequest, OrderId, Problem, Version,
};

use crate::answer::{Asked, Reply, answer, problem_reply};
use crate::body::BodyLimits;
use crate::caller::{CallerSource, OrderIdSource};
use crate::{header, problems};

/// What every door of one lock shares.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) caller: Arc<dyn CallerSource>,
    pub(crate) order_id: Arc<dyn OrderIdSource>,
    pub(crate) body: BodyLimits,
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance")
            .field("lifecycle", &self.lifecycle)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// What the head of a request says: all but its body.
#[derive(Debug)]
pub(crate) struct Head {
    caller: Caller,
    order: OrderId,
    key: IdempotencyKey,
    expected: Option<Version>,
    wait: Option<Duration>,
    json: bool,
    query: Option<Box<str>>,
}

impl Entrance {
    /// Reads a request's head. Its refusals come before anything is read, looked up or run.
    pub(crate) fn head(&self, parts: &mut Parts) -> Result<Head, Problem> {
        if parts.extensions.get::<CarriedLock>().is_some() {
            return Err(problems::LOCKED_TWICE.described());
        }
        self.body.check_declared(&parts.headers)?;
        let caller = self.caller.caller(parts)?;
        let order = self.order_id.order_id(parts)?;
        let longest = self.lifecycle.limits().wait;
        Ok(Head {
            caller,
            order,
            key: header::idempotency_key(&parts.headers)?,
            expected: header::if_match(&parts.headers)?,
            wait: header::prefer_wait(&parts.headers).map(|wait| wait.min(longest)),
            json: is_json(&parts.headers),
            query: parts.uri.query().map(Into::into),
        })
    }

    /// Refuses a request that the lifecycle was not asked about.
    pub(crate) fn refuse(&self, problem: &Problem) -> Reply {
        problem_reply(&**self.lifecycle.answers(), problem)
    }

    /// Tells a client how its request ended, or gives the handler's own error back.
    pub(crate) fn answer<E>(&self, asked: &Asked, ended: Ended<E>) -> Result<Reply, E> {
        answer(&**self.lifecycle.answers(), asked, ended)
    }
}

impl Head {
    /// What the answer depends on.
    pub(crate) fn asked(&self, operation: &Operation) -> Asked {
        Asked {
            order: Some(self.caller.target(&self.order)),
            operation: operation.name().clone(),
            recovery: operation.mark(),
            wait: self.wait,
        }
    }

    /// What the lifecycle is asked for.
    pub(crate) fn into_request(self, operation: Operation, body: &Bytes) -> OperationRequest {
        let body = if self.json {
            Body::Json(body)
        } else {
            Body::Bytes(body)
        };
        let fingerprint = fingerprint(
            operation.name(),
            Some(&self.order),
            self.query.as_deref(),
            body,
        );
        OperationRequest {
            caller: self.caller,
            order: self.order,
            key: self.key,
            fingerprint,
            operation,
            expected: self.expected,
            wait: self.wait.unwrap_or_default(),
        }
    }
}

/// The fingerprint of a request: operation, order, body, and the query string if there is one.
#[must_use]
pub fn fingerprint(
    operation: &OperationName,
    order: Option<&OrderId>,
    query: Option<&str>,
    body: Body<'_>,
) -> Fingerprint {
    let fingerprint = Fingerprint::of(operation, order, body);
    match query.filter(|query| !query.is_empty()) {
        None => fingerprint,
        Some(query) => {
            let parts = [&fingerprint.0, query.as_bytes()].concat();
            Fingerprint::of(operation, order, Body::Bytes(&parts))
        }
    }
}

/// Whether a body counts as JSON: by its media type, and without one.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else {
        return true;
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application") && (subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn json_is_known_by_its_media_type_or_by_none() {
        let of = |text: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(text));
            }
            is_json(&headers)
        };
        assert!(of(None));
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            assert!(of(Some(json)), "{json}");
        }
        for other in ["text/plain", "application/jsonp", "text/json", "json", ""] {
            assert!(!of(Some(other)), "{other}");
        }
    }

    #[test]
    fn the_query_is_part_of_what_is_asked() {
        let operation = OperationName::parse("confirm").unwrap();
        let of = |query| fingerprint(&operation, None, query, Body::Json(b"{}"));
        assert_ne!(of(None), of(Some("force=true")));
        assert_ne!(of(Some("force=false")), of(Some("force=true")));
        assert_eq!(of(None), of(Some("")));
        assert_eq!(
            of(None),
            Fingerprint::of(&operation, None, Body::Json(b"{ }"))
        );
    }
}
