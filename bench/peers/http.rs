//! The routes of a rival: those of the order manager that are measured, and a handler that sleeps.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use bytes::Bytes;
use orderlock::Problem;
use orderlock::header::{IDEMPOTENT_REPLAYED, idempotency_key};
use orderlock::problems::HANDLER_FAILED;
use orderlock_orders::{Command, NewOrder, OrderOperation, ProcessConfig};

use super::work::{Answer, Kept, Work};
use crate::{Store, servers};

/// How a rival keeps operations on one order apart, and runs each once under its key.
pub(super) trait Rival: Send + Sync + Sized + 'static {
    /// Makes what it needs in the database at an address: with so many orders for handlers that
    /// sleep.
    fn open(address: &str, sleepers: usize) -> impl Future<Output = Result<Self>> + Send;

    /// Makes an order, unless its key has made it before.
    fn create(&self, key: &str, document: Vec<u8>) -> impl Future<Output = Result<Kept>> + Send;

    fn run(&self, asked: &Asked, work: Work) -> impl Future<Output = Result<Reply>> + Send;
}

/// The order that an operation is for, and the key under which it runs once.
pub(super) struct Asked {
    pub(super) order: String,
    pub(super) key: String,
}

/// What is answered.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) replayed: bool,
}

/// Serves until the process is ended, and prints where.
pub(super) fn serve<R: Rival>(store: &Store) -> Result<()> {
    crate::machine::allow_many_files()?;
    let address = store.store.as_deref();
    let address = address.context("a rival needs the address of a database: --store")?;
    servers::serve(async {
        let rival = R::open(address, store.sleepers).await?;
        Ok(Router::new()
            .route("/v1/orders", post(create::<R>))
            .route("/v1/orders/{id}", patch(edit::<R>))
            .route("/orders/{id}/sleep", post(sleep::<R>))
            .with_state(Arc::new(rival)))
    })
}

async fn create<R: Rival>(
    State(rival): State<Arc<R>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let new = NewOrder::read(&body).map_err(Problem::from)?;
    let order = orderlock_orders::create(new, &ProcessConfig::default()).map_err(Problem::from)?;
    let document = serde_json::to_vec(&order).map_err(anyhow::Error::from)?;
    let order = rival.create(key.as_str(), document).await?;
    let answer = Answer::success(201, order.version, &order.shown());
    let location = (header::LOCATION, format!("/v1/orders/{}", order.id));
    Ok(([location], Reply::fresh(answer)).into_response())
}

async fn edit<R: Rival>(
    State(rival): State<Arc<R>>,
    Path(order): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Reply, Refused> {
    let command = Command::read(OrderOperation::Edit, &body).map_err(Problem::from)?;
    run(rival, order, &headers, Work::Edit(command)).await
}

async fn sleep<R: Rival>(
    State(rival): State<Arc<R>>,
    Path(order): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<Reply, Refused> {
    let milliseconds = body.parse().map_err(anyhow::Error::from)?;
    let work = Work::Sleep(Duration::from_millis(milliseconds));
    run(rival, order, &headers, work).await
}

/// Runs an operation in a task of its own: a client that goes away takes the connection's task with
/// it, and would leave a lock behind.
async fn run<R: Rival>(
    rival: Arc<R>,
    order: String,
    headers: &HeaderMap,
    work: Work,
) -> Result<Reply, Refused> {
    let key = idempotency_key(headers)?.as_str().to_owned();
    let asked = Asked { order, key };
    let running = tokio::spawn(async move { rival.run(&asked, work).await });
    Ok(running.await.map_err(anyhow::Error::from)??)
}

impl Reply {
    pub(super) fn fresh(answer: Answer) -> Self {
        Self {
            answer,
            replayed: false,
        }
    }

    /// What an earlier request under the same key was answered.
    pub(super) fn replay(answer: Answer) -> Self {
        Self {
            answer,
            replayed: true,
        }
    }

    pub(super) fn problem(problem: &Problem) -> Result<Self> {
        Answer::problem(problem).map(Self::fresh)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let Answer {
            status,
            version,
            body,
        } = self.answer;
        let mut response = Response::new(body.into());
        let status = u16::try_from(status).ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let mut kind = HeaderValue::from_static("application/problem+json");
        if let Some(version) = version {
            kind = HeaderValue::from_static("application/json");
            if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
                headers.insert(header::ETAG, tag);
            }
        }
        headers.insert(header::CONTENT_TYPE, kind);
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A request that was not run, or failed.
enum Refused {
    Problem(Problem),
    Failed(anyhow::Error),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Problem(problem) => problem,
            Self::Failed(error) => HANDLER_FAILED.problem().with_detail(format!("{error:#}")),
        };
        Reply::problem(&problem).map_or_else(
            |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            IntoResponse::into_response,
        )
    }
}
