//! One connection from its first request to its end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use orderlock::Runtime;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt as _};

use super::link::Link;
use super::wire::Wire;

/// The most bytes of a request's headers; one last read may go beyond it.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;
/// How much of a refused request is read, so that its client reads the refusal.
const LINGER_MAX: usize = 16 * 1024 * 1024;
/// How often a client that waits in line is looked for.
const LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// Serves requests until the connection ends.
pub(super) async fn serve<S>(
    stream: TcpStream,
    link: Arc<Link>,
    runtime: Arc<dyn Runtime>,
    service: S,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let stream = Arc::new(prompt(stream));
    let client = Client {
        stream: Arc::clone(&stream),
        link: Arc::clone(&link),
        runtime: Arc::clone(&runtime),
    };
    let wire = Wire {
        stream: Arc::clone(&stream),
        link: Arc::clone(&link),
        runtime: Arc::clone(&runtime),
    };
    let ended = converse(wire, client, service).await;
    // A task that still watches the socket does so for a request whose client has gone.
    let Some(mut stream) = Arc::into_inner(stream) else {
        return;
    };
    if link.is_stalled() {
        // The system would keep for a long time what the client does not read.
        let _closed_anyway = stream.set_zero_linger();
    } else if ended || link.is_unread() {
        link.lingers(runtime.now());
        tokio::select! {
            biased;
            () = link.ended() => {}
            _ = linger(&mut stream) => {}
        }
    }
}

/// Speaks HTTP to the end. Whether it ended by an error of the client's, which may still be sending
/// and is to hear of it.
async fn converse<S>(wire: Wire, client: Client, service: S) -> bool
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let link = Arc::clone(&wire.link);
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        // That a client sends nothing more says nothing of whether it waits for its answer.
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let answering = client.clone();
    let service = service
        .map_request(move |request: Request<_>| client.asks(request.map(Body::new)))
        .map_response(move |response: Response<Body>| {
            response.map(|body| Answer {
                body,
                client: answering.clone(),
            })
        });
    let connection =
        builder.serve_connection(TokioIo::new(wire), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                let Err(error) = ended else { return false };
                tracing::debug!(%error, "a connection ended early");
                return true;
            }
            () = link.signalled() => {
                if link.must_end() {
                    return false;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Reads what is left of a request and throws it away: a socket that is closed with bytes unread
/// takes the answer away again that was sent before.
async fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut left = LINGER_MAX;
    let mut buffer = vec![0; 16 * 1024];
    while left > 0 {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An answer is one small packet: it must not wait for another to fill it up.
fn prompt(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set on a connection");
    }
    stream
}

/// The client of a connection, as its requests know it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    stream: Arc<TcpStream>,
    link: Arc<Link>,
    runtime: Arc<dyn Runtime>,
}

impl Client {
    fn asks(&self, mut request: Request<Body>) -> Request<Body> {
        let whole = http_body::Body::is_end_stream(request.body());
        self.link.asked(self.runtime.now(), whole);
        request.extensions_mut().insert(self.clone());
        request
    }

    /// Its request has ended.
    pub(crate) fn sent_all(&self) {
        self.link.received(self.runtime.now());
    }

    /// Its request was answered before its body had been read to its end.
    pub(crate) fn sends_still(&self) {
        self.link.left_unread();
    }

    /// Resolves when it has closed its side of the connection. Most that do so have gone; one that
    /// still listens is answered, unless its answer takes long.
    pub(crate) async fn gone(&self) {
        loop {
            // There may also be more to read, which happens only after the running request.
            self.runtime.sleep(LOOK).await;
            match self.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
        }
    }
}

/// An answer's body, whose end is noted.
struct Answer {
    body: Body,
    client: Client,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Client { link, runtime, .. } = &self.client;
        link.answered(runtime.now());
    }
}
