//! A node's way to its server: slow, or cut before a request or after a write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::wire::{Frames, Wire};

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The server never has the request.
    Before,
    /// The server has done and committed it, and nobody hears.
    After,
}

/// A way to a server, on a port of its own.
#[derive(Clone, Debug)]
pub(super) struct Link {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    wire: Wire,
    /// Where the server is now.
    server: Arc<AtomicU16>,
    delay: AtomicU64,
    delayed: AtomicU64,
    before: AtomicBool,
    after: AtomicBool,
    met: Notify,
    /// Raised to break every connection that there is.
    broken: watch::Sender<u64>,
}

impl Link {
    pub(super) async fn new(wire: Wire, server: &Arc<AtomicU16>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("loopback has no free port")?;
        let link = Self {
            port: listener.local_addr()?.port(),
            state: Arc::new(State {
                wire,
                server: Arc::clone(server),
                delay: AtomicU64::new(0),
                delayed: AtomicU64::new(0),
                before: AtomicBool::new(false),
                after: AtomicBool::new(false),
                met: Notify::new(),
                broken: watch::Sender::new(0),
            }),
        };
        let state = Arc::clone(&link.state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, Arc::clone(&state)));
            }
        });
        Ok(link)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// From now on each piece takes so long, each way.
    pub(super) fn slow_down(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay.store(millis, Ordering::Release);
    }

    /// How many pieces have taken longer so far.
    pub(super) fn delayed(&self) -> u64 {
        self.state.delayed.load(Ordering::Acquire)
    }

    /// Cuts the connection on which the next request or write passes. False if none did for a
    /// while.
    pub(super) async fn cut(&self, cut: Cut, patience: Duration) -> bool {
        let armed = match cut {
            Cut::Before => &self.state.before,
            Cut::After => &self.state.after,
        };
        armed.store(true, Ordering::Release);
        let _met = tokio::time::timeout(patience, async {
            while armed.load(Ordering::Acquire) {
                self.state.met.notified().await;
            }
        })
        .await;
        !armed.swap(false, Ordering::AcqRel)
    }

    /// Breaks every connection that there is.
    pub(super) fn break_all(&self) {
        self.state.broken.send_modify(|times| *times += 1);
    }
}

impl State {
    async fn delay(&self) {
        let millis = self.delay.load(Ordering::Acquire);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.delayed.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn meets(&self, armed: &AtomicBool) -> bool {
        let met = armed.swap(false, Ordering::AcqRel);
        if met {
            self.met.notify_one();
        }
        met
    }
}

async fn connect(client: TcpStream, state: Arc<State>) -> io::Result<()> {
    let port = state.server.load(Ordering::Acquire);
    let mut broken = state.broken.subscribe();
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let wrote = AtomicBool::new(false);
    // Whatever ends first takes the rest along.
    tokio::select! {
        biased;
        _ = broken.changed() => Ok(()),
        end = ask(from_client, to_server, &state, &wrote) => end,
        end = answer(from_server, to_client, &state, &wrote) => end,
    }
}

async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    wrote: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut frames = Frames::new(state.wire, true);
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        let sight = frames.see(&buffer[..bytes]);
        if sight.request && state.meets(&state.before) {
            return Ok(());
        }
        if state.wire == Wire::Mongodb {
            wrote.store(sight.write, Ordering::Release);
        }
        state.delay().await;
        to.write_all(&buffer[..bytes]).await?;
    }
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    wrote: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut frames = Frames::new(state.wire, false);
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        let sight = frames.see(&buffer[..bytes]);
        if sight.write {
            wrote.store(true, Ordering::Release);
        }
        if sight.end && wrote.swap(false, Ordering::AcqRel) && state.meets(&state.after) {
            return Ok(());
        }
        state.delay().await;
        to.write_all(&buffer[..bytes]).await?;
    }
}
