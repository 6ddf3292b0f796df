//! Accepting and serving connections, each within its bounds.
//!
//! `axum::serve` has no bound on the time, the size and the number of headers, nor on open
//! connections, so that one client could hold all of them; hyper's own loop has.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The most bytes of a request's headers; one last read may go beyond it.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;
/// How long to wait after a failure to accept: it means most often that there are too many files
/// open, and trying again at once would only burn time.
const PAUSE: Duration = Duration::from_millis(50);

/// The bounds of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many may be open.
    pub(crate) connections: usize,
    /// How long a request's headers may take to arrive.
    pub(crate) header_time: Duration,
}

/// Serves until it is told to stop; then returns what is still open.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: &CancellationToken,
) -> GracefulShutdown {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(
        bounds.connections.min(Semaphore::MAX_PERMITS),
    ));
    let service = router.map_request(|request: Request<_>| request.map(Body::new));
    loop {
        let next = async {
            // More than the bound wait in the operating system's queue.
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => return graceful,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(service.clone());
                let stream = TokioIo::new(prompt(stream));
                let connection = builder.serve_connection(stream, service).into_owned();
                let connection = graceful.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// An answer is one small packet: it must not wait for another to fill it up.
fn prompt(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection could not be made prompt");
    }
    stream
}
