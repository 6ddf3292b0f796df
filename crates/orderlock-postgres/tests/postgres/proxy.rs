//! A way to the server that counts round trips, and breaks when a test wants it to.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::config::Host;

use crate::place::server;

/// A way to the server, on a port of its own.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// How often a client has said something after it had heard something.
    turns: AtomicU64,
    /// Whether answers are kept back.
    deaf: AtomicBool,
    /// Whether new connections are refused.
    closed: AtomicBool,
    /// Raised to break every connection that there is.
    broken: watch::Sender<u64>,
    /// What is done at each round trip.
    each_turn: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Proxy {
    /// A way to the tests' server.
    pub(crate) async fn new() -> Self {
        let (host, port) = host_and_port();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(State {
            turns: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            broken: watch::Sender::new(0),
            each_turn: OnceLock::new(),
        });
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::clone(&state),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if state.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                connect(client, server, &state);
            }
        });
        proxy
    }

    /// An address on the tests' server, by this way.
    pub(crate) fn on_the_way_to(&self, address: &str) -> String {
        let (host, port) = host_and_port();
        let (direct, detour) = (
            format!("{host}:{port}/"),
            format!("127.0.0.1:{}/", self.port),
        );
        assert!(address.contains(&direct), "the address names {direct}");
        address.replacen(&direct, &detour, 1)
    }

    /// How many round trips there were so far, over all connections.
    pub(crate) fn turns(&self) -> u64 {
        self.state.turns.load(Ordering::SeqCst)
    }

    /// Has something done at each round trip, before it goes on.
    pub(crate) fn each_turn(&self, done: impl Fn() + Send + Sync + 'static) {
        assert!(self.state.each_turn.set(Box::new(done)).is_ok());
    }

    /// Keeps every answer back from now on.
    pub(crate) fn deafen(&self) {
        self.state.deaf.store(true, Ordering::SeqCst);
    }

    /// Breaks every connection, and refuses new ones.
    pub(crate) fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.break_all();
    }

    /// Takes connections again.
    pub(crate) fn open(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }

    /// Breaks every connection; those that are made from now on work.
    pub(crate) fn break_all(&self) {
        self.state.deaf.store(false, Ordering::SeqCst);
        self.state.broken.send_modify(|times| *times += 1);
    }
}

fn host_and_port() -> (String, u16) {
    let config: tokio_postgres::Config = server().parse().unwrap();
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host.clone(),
        other => panic!("these tests need a server on one TCP address, not {other:?}"),
    };
    (host, config.get_ports().first().copied().unwrap_or(5432))
}

fn connect(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let heard = Arc::new(AtomicBool::new(true));
    let mut broken = state.broken.subscribe();
    let asks = ask(
        from_client,
        to_server,
        Arc::clone(state),
        Arc::clone(&heard),
    );
    let answers = answer(from_server, to_client, Arc::clone(state), heard);
    tokio::spawn(async move {
        // Whatever ends first takes the rest along.
        tokio::select! {
            _ = asks => {}
            _ = answers => {}
            _ = broken.changed() => {}
        }
    });
}

async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<State>,
    heard: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        if heard.swap(false, Ordering::SeqCst) {
            state.turns.fetch_add(1, Ordering::SeqCst);
            if let Some(done) = state.each_turn.get() {
                done();
            }
        }
        to.write_all(&buffer[..bytes]).await?;
    }
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<State>,
    heard: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        if state.deaf.load(Ordering::SeqCst) {
            continue;
        }
        heard.store(true, Ordering::SeqCst);
        to.write_all(&buffer[..bytes]).await?;
    }
}
