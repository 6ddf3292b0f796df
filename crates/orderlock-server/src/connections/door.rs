//! The door: a thread of its own that accepts connections, looks after them, and answers those who
//! ask whether the process lives.
//!
//! Requests are worked on by the threads of another runtime. Should all of them be blocked, at a
//! disk that hangs for example, the process still lives and says so, ends connections that are
//! overdue, and hears the signal that ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::Request;
use orderlock::problems::SHUTTING_DOWN;
use orderlock::{Rejection, Runtime};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

use super::link::Link;
use super::registry::{Place, Registry};
use super::{Bounds, GREETING_LEAST, GREETING_MAX, LOOK, serving};
use crate::http::crowded;

/// How many connections may wait in the operating system's queue.
const BACKLOG: u32 = 1_024;

/// How much of an answer the operating system takes for a client that does not read. What it does
/// not take is seen, bounded and ended here.
const SEND_BUFFER: u32 = 128 * 1024;

/// How a request for the process's health begins.
const HEALTH: &[u8] = b"GET /healthz ";

/// How long to wait after a failure to accept: it means most often that there are too many files
/// open, and trying again at once would only burn time.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the thread may take to drop what its tasks hold, above all the store: it brings its log to
/// the file then. A disk that hangs does not keep the process for ever.
const ENDING: Duration = Duration::from_secs(5);

/// A thread with a runtime of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Aside {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    /// Closed when the thread has dropped its runtime, and all that the tasks there held.
    ended: mpsc::Receiver<()>,
}

impl Aside {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (end, asked) = oneshot::channel::<()>();
        let (ending, ended) = mpsc::channel();
        thread::Builder::new()
            .name("door".to_owned())
            .spawn(move || {
                let _ending = ending;
                let _asked = runtime.block_on(asked);
                drop(runtime);
            })?;
        let end = Some(end);
        Ok(Self { handle, end, ended })
    }

    /// Where its tasks are started, and whose signals and sockets are heard by this thread.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Aside {
    /// Waits for the thread. The last hold on the store may be there, and a process that ended before
    /// it is dropped would leave the store as a crash does.
    fn drop(&mut self) {
        self.end = None;
        if self.ended.recv_timeout(ENDING) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                "the door's thread was still ending, perhaps with the store's last write"
            );
        }
    }
}

/// Listens on an address, on the thread aside.
pub(crate) fn listen(aside: &Aside, address: SocketAddr) -> io::Result<TcpListener> {
    let _aside = aside.handle.enter();
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Every connection that is accepted inherits it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What the door needs to serve connections.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) bounds: Bounds,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Where requests are worked on.
    pub(crate) workers: Handle,
}

/// The open door. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Listening {
    greeting: Arc<Registry>,
    pub(super) admitted: Arc<Registry>,
    stop: CancellationToken,
}

impl Door {
    /// Opens it: connections are accepted from here on.
    pub(crate) fn open(self, aside: &Aside, listener: TcpListener) -> Listening {
        let most = self.bounds.connections;
        let greeting = Registry::new(GREETING_MAX.min(most.max(GREETING_LEAST)));
        let listening = Listening {
            greeting: Arc::clone(&greeting),
            admitted: Registry::new(most),
            stop: CancellationToken::new(),
        };
        let hall = Hall {
            greeting,
            admitted: Arc::clone(&listening.admitted),
            door: self,
        };
        let stopped = listening.stop.clone();
        let looking = hall.clone();
        aside.handle.spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = hall.accept(listener) => {}
            }
        });
        let dropped = listening.stop.clone();
        aside
            .handle
            .spawn(async move { looking.look(&dropped).await });
        listening
    }
}

impl Listening {
    /// Accepts no more, ends what rests at once, and everything else with its answer.
    pub(crate) fn close(&self) {
        self.stop.cancel();
        self.greeting.close();
        self.admitted.close();
    }

    /// Resolves when no connection is open.
    pub(crate) async fn emptied(&self) {
        self.greeting.emptied().await;
        self.admitted.emptied().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The connections behind the door.
#[derive(Clone)]
struct Hall {
    greeting: Arc<Registry>,
    admitted: Arc<Registry>,
    door: Door,
}

impl Hall {
    async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let link = Arc::new(Link::new(self.door.runtime.now()));
                    let place = self.greeting.enter(&link).await;
                    let hall = self.clone();
                    tokio::spawn(hall.greet(stream, link, place));
                }
                Err(error) => {
                    // Those that rest make room for others.
                    self.admitted.make_room();
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits for the first bytes, and has the connection served where they belong.
    async fn greet(self, stream: TcpStream, link: Arc<Link>, place: Place) {
        let mut begins = [0; HEALTH.len()];
        let heard = tokio::select! {
            biased;
            () = link.ended() => return,
            heard = stream.peek(&mut begins) => heard.unwrap_or_default(),
        };
        if begins[..heard] == *HEALTH {
            self.serve_here(stream, link, place).await;
            return;
        }
        link.queues(self.door.runtime.now());
        let limit = self.door.bounds.timeouts.head;
        let admitted = tokio::select! {
            biased;
            () = link.ended() => return,
            admitted = self.admitted.enter(&link) => admitted,
            () = self.door.runtime.sleep(limit) => {
                return self.turn_away(stream, link, place).await;
            }
        };
        link.admitted(self.door.runtime.now());
        drop(place);
        // A socket is heard by the runtime that it belongs to.
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let Door {
            router, runtime, ..
        } = self.door;
        self.door.workers.spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serving::serve(stream, link, runtime, router).await;
            }
            drop(admitted);
        });
    }

    /// Tells it on this thread that there is no place for it. Nothing of its request was looked at.
    async fn turn_away(self, stream: TcpStream, link: Arc<Link>, place: Place) {
        let runtime = self.door.runtime;
        link.admitted(runtime.now());
        let service = service_fn(async |request: Request<Body>| Ok(crowded(request.headers())));
        serving::serve(stream, link, runtime, service).await;
        drop(place);
    }

    /// Serves it on this thread, but for requests that may have to wait.
    async fn serve_here(self, stream: TcpStream, link: Arc<Link>, place: Place) {
        let Door {
            router,
            workers,
            runtime,
            ..
        } = self.door;
        let service = service_fn(move |request: Request<Body>| {
            let (router, workers) = (router.clone(), workers.clone());
            async move {
                if request.uri().path() == "/healthz" {
                    return router.oneshot(request).await;
                }
                let answered = workers.spawn(router.oneshot(request)).await;
                // It was dropped with its runtime.
                answered
                    .unwrap_or_else(|_| Ok(Rejection(SHUTTING_DOWN.described()).into_response()))
            }
        });
        serving::serve(stream, link, runtime, service).await;
        drop(place);
    }

    /// Looks at all connections, as long as there are any.
    async fn look(self, stop: &CancellationToken) {
        let timeouts = self.door.bounds.timeouts;
        let shortest = timeouts.head.min(timeouts.idle).min(timeouts.answer);
        let pause = LOOK.min(shortest / 2).max(Duration::from_millis(1));
        while !(stop.is_cancelled() && self.admitted.count() + self.greeting.count() == 0) {
            self.door.runtime.sleep(pause).await;
            let now = self.door.runtime.now();
            self.greeting.look(now, &timeouts);
            self.admitted.look(now, &timeouts);
        }
    }
}
