//! Turns an HTTP request into a request to the lifecycle: shared by the adapter and the layer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use http::request::Parts;
use orderlock_core::axum::CarriedLock;
use orderlock_core::{
    Answer, Body, Caller, Denied, Ended, Fingerprint, HandlerError, IdempotencyKey, Lifecycle,
    LockedOrder, Operation, OperationName, OperationRequest, OrderId, OrderType, Outcome, Problem,
    Target, Version,
};

use crate::answer::{Asked, Reply, answer, problem_reply};
use crate::body::BodyLimits;
use crate::buffered::buffered;
use crate::caller::{AnyCallerSource, OrderIdSource, Refusal};
use crate::{header, problems};

/// The id of a new order, made from its caller and key.
pub(crate) type NewId =
    Arc<dyn Fn(&Caller, &IdempotencyKey) -> Result<OrderId, Problem> + Send + Sync>;

/// What every door of one lock shares.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) caller: Arc<dyn AnyCallerSource>,
    pub(crate) order_id: Arc<dyn OrderIdSource>,
    pub(crate) new_id: Option<NewId>,
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
    expected: Option<Vec<Version>>,
    wait: Option<Duration>,
    json: bool,
    /// What is asked beside operation, order and body.
    also: Option<Box<str>>,
}

impl Entrance {
    /// Reads a request's head. Its refusals come before anything is read, looked up or run.
    pub(crate) async fn head(&self, parts: &mut Parts) -> Result<Head, Reply> {
        let refuse = |problem| self.refuse(&problem);
        self.check(parts).map_err(refuse)?;
        let caller = self.who(&*self.caller, parts).await?;
        self.operation(parts, caller).map_err(refuse)
    }

    /// Refuses a request that says itself that it cannot be served.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), Problem> {
        if parts.extensions.get::<CarriedLock>().is_some() {
            return Err(problems::LOCKED_TWICE.described());
        }
        self.body.check_declared(&parts.headers)?;
        header::check_content(&parts.headers)
    }

    /// The caller by this source, which has as long as a store.
    pub(crate) async fn who(
        &self,
        source: &dyn AnyCallerSource,
        parts: &mut Parts,
    ) -> Result<Caller, Reply> {
        let lifecycle = &self.lifecycle;
        let named = {
            let mut asking = source.caller(parts);
            // Most sources know at once, and need no timer.
            match (&mut asking).now_or_never() {
                Some(named) => Some(named),
                None => {
                    let over = lifecycle.runtime().sleep(lifecycle.limits().store);
                    match select(asking, over).await {
                        Either::Left((named, _)) => Some(named),
                        Either::Right(_) => None,
                    }
                }
            }
        };
        match named {
            Some(Ok(caller)) => {
                parts.extensions.insert(caller.clone());
                Ok(caller)
            }
            Some(Err(refused)) => Err(match refused.0 {
                Refusal::Problem(problem) => self.refuse(&problem),
                Refusal::Response(response) => buffered(*response, &**lifecycle.answers()).await.0,
            }),
            None => {
                tracing::warn!("the source of callers did not answer in time");
                let kind = problems::STORE_UNAVAILABLE;
                Err(self.refuse(&kind.problem().with_detail(format!(
                    "Who sends the request could not be found out in time. {}",
                    kind.next
                ))))
            }
        }
    }

    /// The caller and the order of a request that only reads.
    pub(crate) async fn seen(&self, parts: &mut Parts) -> Result<(Caller, Target), Response> {
        let caller = self.who(&*self.caller, parts).await;
        let caller = caller.map_err(IntoResponse::into_response)?;
        let order = self.order_id.order_id(parts);
        let order = order.map_err(|problem| self.refused(&problem))?;
        // In the span of the request: a route that only reads has no other line that names it.
        tracing::Span::current().record("order", order.as_str());
        let target = caller.target(&order);
        Ok((caller, target))
    }

    /// Refuses a request that only reads.
    pub(crate) fn refused(&self, problem: &Problem) -> Response {
        self.refuse(problem).into_response()
    }

    fn operation(&self, parts: &mut Parts, caller: Caller) -> Result<Head, Problem> {
        let order = self.order_id.order_id(parts)?;
        let longest = self.lifecycle.limits().wait;
        Ok(Head {
            caller,
            key: header::idempotency_key(&parts.headers)?,
            expected: header::if_match(&parts.headers)?,
            wait: header::prefer_wait(&parts.headers).map(|wait| wait.min(longest)),
            json: header::is_json(&parts.headers),
            also: also_asked(parts, Some(&order)),
            order,
        })
    }

    /// Refuses a request that the lifecycle was not asked about.
    pub(crate) fn refuse(&self, problem: &Problem) -> Reply {
        problem_reply(&**self.lifecycle.answers(), problem)
    }

    /// Runs an operation under the lock.
    pub(crate) async fn run<T, E, W, F, D>(&self, wanted: Wanted, work: W, describe: D) -> Ended<E>
    where
        T: OrderType,
        E: HandlerError,
        W: FnOnce(LockedOrder<T>) -> F + Send + 'static,
        F: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
        D: Fn(&E) -> Answer + Send + Sync + 'static,
    {
        let Wanted {
            mut request,
            others,
        } = wanted;
        let lifecycle = &self.lifecycle;
        if others.is_empty() {
            return lifecycle.run_described(request, work, describe).await;
        }
        // A grant compares one version. If the order is at another one of those that would do, it
        // is asked for at that: the operation has not run. All tries wait together for as long as
        // the client would.
        let runtime = lifecycle.runtime();
        let (begun, wait) = (runtime.now(), request.wait);
        let (work, describe) = (Arc::new(Mutex::new(Some(work))), Arc::new(describe));
        let mut tries = others.len();
        loop {
            let (work, describe) = (Arc::clone(&work), Arc::clone(&describe));
            let take = move || {
                let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
                work.expect("what was refused for its version has not run")
            };
            let run = lifecycle.run_described(
                request.clone(),
                move |order| take()(order),
                move |error| describe(error),
            );
            match run.await {
                Ended::Denied(Denied::VersionMismatch { current })
                    if tries > 0 && others.contains(&current) =>
                {
                    tries -= 1;
                    request.expected = Some(current);
                    request.wait = wait.saturating_sub(runtime.now() - begun);
                }
                ended => return ended,
            }
        }
    }

    /// Tells a client how its request ended, or gives the handler's own error back.
    pub(crate) fn answer<E>(&self, asked: &Asked, ended: Ended<E>) -> Result<Reply, E> {
        answer(&**self.lifecycle.answers(), asked, ended)
    }
}

/// The query string, and every parameter of the path but the order's id: what handlers may read
/// beside the body.
pub(crate) fn also_asked(parts: &mut Parts, order: Option<&OrderId>) -> Option<Box<str>> {
    let mut also = parts.uri.query().unwrap_or_default().to_owned();
    // The extractor is async by its trait only: it never waits.
    let params = RawPathParams::from_request_parts(parts, &()).now_or_never();
    if let Some(Ok(params)) = params {
        for (name, value) in &params {
            if order.is_none_or(|order| value != order.as_str()) {
                push(&mut also, name);
                push(&mut also, value);
            }
        }
    }
    (!also.is_empty()).then(|| also.into())
}

/// Neither a query nor a path has this character.
fn push(also: &mut String, part: &str) {
    also.push('\0');
    also.push_str(part);
}

impl Head {
    /// Has method and path count as part of what is asked, for a service behind which there may be
    /// more than one route.
    pub(crate) fn at_its_path(mut self, parts: &Parts) -> Self {
        let mut also = self.also.take().map(String::from).unwrap_or_default();
        push(&mut also, parts.method.as_str());
        push(&mut also, parts.uri.path());
        self.also = Some(also.into());
        self
    }

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
    pub(crate) fn into_wanted(self, operation: Operation, body: &Bytes) -> Wanted {
        let body = if self.json {
            Body::Json(body)
        } else {
            Body::Bytes(body)
        };
        let fingerprint = fingerprint(
            operation.name(),
            Some(&self.order),
            self.also.as_deref(),
            body,
        );
        let mut versions = self.expected.unwrap_or_default();
        let request = OperationRequest {
            caller: self.caller,
            order: self.order,
            key: self.key,
            fingerprint,
            operation,
            expected: versions.pop(),
            wait: self.wait.unwrap_or_default(),
        };
        Wanted {
            request,
            others: versions,
        }
    }
}

/// What the lifecycle is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) request: OperationRequest,
    /// Versions of the order that would do as well as the expected one.
    others: Vec<Version>,
}

/// The fingerprint of a request: operation, order, body, and whatever else is asked, such as the query
/// string, if there is any.
#[must_use]
pub fn fingerprint(
    operation: &OperationName,
    order: Option<&OrderId>,
    also: Option<&str>,
    body: Body<'_>,
) -> Fingerprint {
    let fingerprint = Fingerprint::of(operation, order, body);
    match also.filter(|also| !also.is_empty()) {
        None => fingerprint,
        Some(also) => {
            let parts = [&fingerprint.0, also.as_bytes()].concat();
            Fingerprint::of(operation, order, Body::Bytes(&parts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
