//! A closed loop: so many connections, each of which sends a request as soon as it has its answer.
//!
//! All of it runs on one thread, which must cost little, because it shares the processor with what
//! it measures. What it costs itself is part of the result.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use hdrhistogram::Histogram;

use crate::connection::{Answer, Connection};
use crate::requests::Requests;

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this time; what is on its way is waited for.
    Time(Duration),
    /// After so many requests.
    Requests(u64),
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Microseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) elapsed: Duration,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// The first answer that was wrong.
    pub(crate) first_error: Option<String>,
}

struct Shared<R, L> {
    requests: R,
    look: L,
    sent: u64,
    loaded: Loaded,
}

/// Connections that are open, to be loaded more than once.
pub(crate) struct Connections {
    runtime: tokio::runtime::Runtime,
    open: Vec<Connection>,
}

impl Connections {
    /// Opens connections to servers in turn.
    pub(crate) fn open(addresses: &[&str], number: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let open = runtime.block_on(async {
            let mut open = Vec::with_capacity(number);
            for address in addresses.iter().cycle().take(number) {
                open.push(Connection::open(address).await?);
            }
            std::io::Result::Ok(open)
        });
        let open =
            open.with_context(|| format!("{number} connections to {}", addresses.join(" and ")))?;
        Ok(Self { runtime, open })
    }

    /// Loads a server. `look` says whether an answer is as it should be.
    pub(crate) fn load<R, L>(&mut self, requests: R, until: Until, look: L) -> Result<Loaded>
    where
        R: Requests,
        L: FnMut(Answer<'_>) -> bool,
    {
        let latency = Histogram::new_with_bounds(1, 120_000_000, 3)?;
        let shared = Rc::new(RefCell::new(Shared {
            requests,
            look,
            sent: 0,
            loaded: Loaded {
                latency,
                elapsed: Duration::ZERO,
                requests: 0,
                errors: 0,
                first_error: None,
            },
        }));
        let started = Instant::now();
        let connections = self.open.iter_mut().enumerate();
        let loops = connections
            .map(|(number, connection)| one(number, connection, &shared, started, until));
        let ended = self.runtime.block_on(join_all(loops));
        let elapsed = started.elapsed();
        for one in ended {
            one.context("a connection broke")?;
        }
        let shared = Rc::into_inner(shared).context("a connection is still loaded")?;
        let mut loaded = shared.into_inner().loaded;
        loaded.elapsed = elapsed;
        Ok(loaded)
    }
}

/// The loop of one connection.
async fn one<R, L>(
    number: usize,
    connection: &mut Connection,
    shared: &Rc<RefCell<Shared<R, L>>>,
    started: Instant,
    until: Until,
) -> std::io::Result<()>
where
    R: Requests,
    L: FnMut(Answer<'_>) -> bool,
{
    let mut request = Vec::with_capacity(1_024);
    loop {
        request.clear();
        {
            let mut shared = shared.borrow_mut();
            let over = match until {
                Until::Time(time) => started.elapsed() >= time,
                Until::Requests(most) => shared.sent >= most,
            };
            if over {
                return Ok(());
            }
            shared.sent += 1;
            shared.requests.render(number, &mut request);
        }
        let sent = Instant::now();
        let looked = connection.ask(&request, |answer| {
            let shared = &mut *shared.borrow_mut();
            let (status, body) = (answer.status, answer.body);
            if !(shared.look)(answer) {
                shared.loaded.errors += 1;
                let text = || format!("{status}: {}", String::from_utf8_lossy(body));
                shared.loaded.first_error.get_or_insert_with(text);
            }
        });
        looked.await?;
        let loaded = &mut shared.borrow_mut().loaded;
        let microseconds = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        loaded.latency.saturating_record(microseconds.max(1));
        loaded.requests += 1;
    }
}
