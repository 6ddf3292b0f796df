//! Serving: from the command line to the end of the process.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hyper_util::server::graceful::GracefulShutdown;
use orderlock::OrderStore as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::cli::Serve;
use crate::config::{self, Settings};
use crate::connections::{self, Bounds};
use crate::opened::Opened;
use crate::signals::Signals;
use crate::welcome::{self, Trial};
use crate::{BodyLimits, Context, Failed, app, http, log};

/// How long the last answers may take to leave, once they are there.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Prints the OpenAPI document.
///
/// # Errors
/// [`Failed::Running`] if it cannot be printed.
pub fn openapi() -> Result<(), Failed> {
    let document = http::document().context("the document cannot be written")?;
    print(&format!("{document}\n")).context("the document cannot be printed")?;
    Ok(())
}

/// Serves until a signal ends it.
///
/// # Errors
/// [`Failed::Usage`] for a wrong setting, [`Failed::Running`] for everything else.
pub fn run(arguments: Serve) -> Result<(), Failed> {
    let file = arguments.config.as_deref();
    // A variable that is no Unicode text is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = config::load(arguments.settings, file, variables)?;
    if arguments.print_config {
        print(&loaded.table()).context("the settings cannot be printed")?;
        return Ok(());
    }
    log::start(&loaded.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let ended = runtime.block_on(serve(&loaded.settings));
    // What still runs has been told, and was waited for as long as the limit says.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(ended?)
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("signals cannot be listened to")?;
    // Before the store: a start that fails for its port leaves no file behind.
    let listener = bind(settings.listen.0).await?;
    let opened = Opened::open(settings).await?;
    let address = listener.local_addr().context("the address is not known")?;
    let context = assemble(&opened, settings, address);
    let started = context.orders().lifecycle().start().await;
    started.map_err(|denied| anyhow!("the store does not take a session: {}", denied.as_str()))?;
    let trial = Trial::new(context.orders().lifecycle()).await;
    let node = settings.node_name.resolve(&settings.store, address);
    let text = welcome::text(address, &node, &opened.store().describe(), trial.as_ref());
    // A server whose output nobody reads still serves.
    let _unread = print(&text);
    tracing::info!(%address, store = %settings.store, "listening");

    let bounds = Bounds {
        connections: settings.connection_limit.0,
        header_time: settings.header_time_limit.0,
    };
    let stop = context.draining().clone();
    let serving = connections::serve(listener, app(context.clone()), bounds, &stop);
    let first_signal = async {
        signals.next().await;
        tracing::info!("shutting down");
        stop.cancel();
    };
    let (open, ()) = tokio::join!(serving, first_signal);
    let requests = context.open_requests();
    if requests > 0 {
        tracing::info!(
            requests,
            "waiting for open requests; a second signal ends the program at once"
        );
    }
    let ending = end(&context, open, settings.shutdown_limit.0);
    tokio::select! {
        biased;
        () = ending => {}
        () = signals.next() => bail!("a second signal ended it at once"),
    }
    opened.log_statistics();
    tracing::info!("ended");
    Ok(())
}

/// Tells those who wait, lets what runs settle, and lets connections end with the answers that they
/// carry; all of it within the limit.
async fn end(context: &Context, open: GracefulShutdown, limit: Duration) {
    let deadline = Instant::now() + limit;
    // From here on each connection ends with its answer, also while the node drains.
    let closed = tokio::spawn(open.shutdown());
    if let Err(error) = context.orders().drain(limit).await {
        tracing::warn!(%error, "the session could not be ended; it lapses by itself");
    }
    // What was stopped at the limit has its answer only now.
    let deadline = deadline.max(Instant::now() + LAST_ANSWERS);
    if tokio::time::timeout_at(deadline, closed).await.is_err() {
        tracing::warn!("connections were still open at the end");
    }
}

/// What the routes work with.
fn assemble(opened: &Opened, settings: &Settings, address: SocketAddr) -> Context {
    let body = BodyLimits {
        bytes: settings.body_limit.0,
        time: settings.body_time_limit.0,
    };
    let node = settings.node_name.resolve(&settings.store, address);
    let (limits, process) = (settings.limits(), settings.process());
    let lag = {
        let opened = opened.clone();
        move || opened.lag()
    };
    Context::new(opened.store(), &node, limits, process, body).with_journal_lag(lag)
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "the address {address} is in use by another program; stop that one, or choose another \
             with --listen {}",
            SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8080))
        ),
        _ => anyhow!(error).context(format!("the address {address} cannot be listened on")),
    })
}

/// Prints to stdout. A reader that has seen enough, like `head`, is no failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
