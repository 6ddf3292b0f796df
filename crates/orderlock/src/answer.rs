//! Turns how a request ended into an HTTP answer: the one match that the adapter, the layer and the
//! server share.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponse, Response as AxumResponse};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use orderlock_core::{
    Answer, Answers, AppliedPart, Ended, Failed, OperationName, OrderId, OutcomeKind, Problem,
    Recovery, SettledView, Snapshot, Target,
};

use crate::explain::{about, failure_problem, log_failure, mark_stays, time};
pub use crate::explain::{denied_problem, store_problem};
use crate::header::{IDEMPOTENCY_EXPIRES, IDEMPOTENT_REPLAYED, PREFERENCE_APPLIED, value};
use crate::json::JsonAnswers;
use crate::problems::{self, ProblemKind, Retry};
use crate::settled::{OrderLockError, SettledOrder};

/// An answer of Orderlock's own: its body is whole and small.
pub type Reply = Response<Full<Bytes>>;

/// What the client requested, as far as the answer depends on it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which order; none for a creation whose id is not known yet.
    pub order: Option<Target>,
    /// The name of the operation.
    pub operation: OperationName,
    /// How the operation's mark is recovered, if it leaves one.
    pub recovery: Option<Recovery>,
    /// The wait in effect, if the client sent `Prefer: wait`.
    pub wait: Option<Duration>,
}

/// The HTTP answer to a request that has ended.
///
/// # Errors
/// The handler's own error, if that is the client's answer.
pub fn answer<E>(answers: &dyn Answers, asked: &Asked, ended: Ended<E>) -> Result<Reply, E> {
    let mut reply = tell(answers, asked, ended)?;
    if let Some(wait) = asked.wait {
        let text = format!("wait={}", wait.as_secs());
        set(&mut reply, PREFERENCE_APPLIED, &text);
    }
    Ok(reply)
}

/// The HTTP answer for a problem that is not stored. `Retry-After` comes with the kinds that may
/// pass, `Accept-Encoding: identity` with those of an encoded body.
#[must_use]
pub fn problem_reply(answers: &dyn Answers, problem: &Problem) -> Reply {
    of_problem(reply(&answers.problem(problem, None)), problem)
}

/// The kind of problem in an answer: an extension of the response, for logging middleware.
/// `order-locked`, for example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyProblem(Box<str>);

impl ReplyProblem {
    /// The last part of the problem's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0
    }
}

/// The HTTP answer for a stored answer.
#[must_use]
pub fn reply(answer: &Answer) -> Reply {
    let mut reply = Response::new(Full::new(answer.body.clone()));
    *reply.status_mut() = status(answer.status);
    set(&mut reply, header::CONTENT_TYPE, &answer.content_type);
    if let Some(location) = &answer.location {
        set(&mut reply, header::LOCATION, location);
    }
    if let Some(version) = answer.version {
        set(&mut reply, header::ETAG, &format!("\"{version}\""));
    }
    reply
}

/// The result of a request whose answer is in no way the handler's own: a creation's.
///
/// # Errors
/// The problem that it ended with.
pub(crate) fn result(
    answers: &dyn Answers,
    asked: &Asked,
    ended: Ended<Infallible>,
) -> Result<SettledOrder, OrderLockError> {
    match sort(asked, ended) {
        Sorted::Settled(settled) => Ok(settled),
        Sorted::Problem(problem, _) => Err(OrderLockError::new(answers, problem)),
        // A creation has no refusal of a handler, and no request is attached to one.
        Sorted::Answer(_) => Err(OrderLockError::new(
            answers,
            problems::HANDLER_FAILED.described(),
        )),
        Sorted::Error(never) => match never {},
    }
}

fn tell<E>(answers: &dyn Answers, asked: &Asked, ended: Ended<E>) -> Result<Reply, E> {
    Ok(match sort(asked, ended) {
        Sorted::Settled(settled) => settled.reply(),
        Sorted::Answer(answer) => reply(&answer),
        Sorted::Problem(problem, partial) => unstored(answers, asked, problem, partial.as_ref()),
        Sorted::Error(error) => return Err(error),
    })
}

/// How a request ended, sorted by what the client gets.
enum Sorted<E> {
    /// The stored answer.
    Settled(SettledOrder),
    /// An answer that is not stored and complete.
    Answer(Answer),
    /// A problem, with the order where checkpoints have changed it.
    Problem(Problem, Option<Snapshot>),
    /// The handler's own error.
    Error(E),
}

fn sort<E>(asked: &Asked, ended: Ended<E>) -> Sorted<E> {
    let order = asked.order.as_ref();
    match ended {
        Ended::Settled {
            order,
            answer,
            replayed,
            expires,
            outcome,
        } => Sorted::Settled(SettledOrder {
            order,
            answer,
            replayed,
            expires,
            outcome,
        }),
        Ended::Refused(answer) => Sorted::Answer(answer),
        Ended::Failed {
            partial,
            marked: true,
            failure,
        } => {
            log_failure(order, &failure);
            Sorted::Problem(mark_stays(asked), partial)
        }
        Ended::Lost {
            partial,
            marked: true,
        } => Sorted::Problem(mark_stays(asked), partial),
        Ended::Lost {
            partial,
            marked: false,
        } => Sorted::Problem(about(&problems::LEASE_LOST, order), partial),
        Ended::Failed {
            failure: Failed::Error(error),
            partial: None,
            ..
        } => Sorted::Error(error),
        Ended::Failed {
            failure: Failed::Attached(answer),
            partial: None,
            ..
        } => Sorted::Answer(answer),
        Ended::Failed {
            failure, partial, ..
        } => {
            log_failure(order, &failure);
            Sorted::Problem(failure_problem(order, &failure), partial)
        }
        Ended::Denied(denied) => Sorted::Problem(denied_problem(order, &denied), None),
        Ended::Unknown => Sorted::Problem(about(&problems::SETTLE_UNKNOWN, order), None),
    }
}

impl SettledOrder {
    pub(crate) fn reply(&self) -> Reply {
        let mut reply = reply(&self.answer);
        if self.replayed {
            set(&mut reply, IDEMPOTENT_REPLAYED, "true");
        }
        if let Some(expires) = self.expires {
            set(&mut reply, IDEMPOTENCY_EXPIRES, &time(expires));
        }
        reply
    }
}

/// A problem that is not stored, with the order where checkpoints have changed it.
fn unstored(
    answers: &dyn Answers,
    asked: &Asked,
    problem: Problem,
    partial: Option<&Snapshot>,
) -> Reply {
    let (Some(partial), Some(target)) = (partial, &asked.order) else {
        return problem_reply(answers, &problem);
    };
    let problem = problem.applied(AppliedPart::Partial);
    let view = SettledView {
        target,
        operation: &asked.operation,
        outcome: OutcomeKind::Checkpoint,
        problem: Some(&problem),
        document: &partial.document,
        version: partial.version,
        times: partial.times,
    };
    of_problem(reply(&answers.problem(&problem, Some(view))), &problem)
}

fn of_problem(mut reply: Reply, problem: &Problem) -> Reply {
    reply
        .extensions_mut()
        .insert(ReplyProblem(problem.kind().into()));
    if problem.kind() == problems::MEDIA_TYPE_UNSUPPORTED.kind {
        set(&mut reply, header::ACCEPT_ENCODING, "identity");
    }
    let passes = problem.is_retryable() && [409, 429, 503].contains(&problem.status());
    let seconds = match ProblemKind::find(problem.kind()).map(|kind| kind.retry) {
        Some(Retry::After(seconds)) => Some(seconds),
        // Mostly it does not pass by itself; this time it may.
        Some(Retry::No) => Some(1),
        Some(Retry::Yes) | None => None,
    };
    if let (true, Some(seconds)) = (passes, seconds) {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}

pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The address of an order among those at this path, which ends with a slash.
pub(crate) fn located(collection: &str, order: &OrderId) -> String {
    let mut path = collection.to_owned();
    for byte in order.as_str().bytes() {
        // What a segment of a path takes as it is (RFC 3986, 3.3); an id is ASCII.
        match byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            true => path.push(char::from(byte)),
            false => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// Sets a header; a value that is no header text, out of a user's own answers, is left out.
fn set(reply: &mut Reply, name: HeaderName, text: &str) {
    if let Some(value) = value(text) {
        reply.headers_mut().insert(name, value);
    }
}

/// A problem as the rejection of an extractor, or as a handler's error.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection(pub Problem);

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> AxumResponse {
        problem_reply(&JsonAnswers::new(), &self.0).into_response()
    }
}

/// The answer to a path that no route has, as a problem: for `Router::fallback`.
pub async fn route_not_found() -> Rejection {
    Rejection(problems::ROUTE_NOT_FOUND.described())
}

/// The answer to a method that a route does not take, as a problem: for
/// `Router::method_not_allowed_fallback`, which adds the `Allow` header.
pub async fn method_not_allowed() -> Rejection {
    Rejection(problems::METHOD_NOT_ALLOWED.described())
}
