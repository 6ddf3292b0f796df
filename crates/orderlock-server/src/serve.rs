//! Serving: from the command line to the end of the process.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use orderlock::OrderStore as _;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::cli::Serve;
use crate::config::{self, Settings};
use crate::connections::{self, Aside, Bounds, Door, Listening, Timeouts};
use crate::opened::Opened;
use crate::signals::Signals;
use crate::welcome::{self, Trial};
use crate::{BodyLimits, Context, ProgramError, app, descriptors, http, log};

/// How long the last answers may take to leave, once they are there.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

const AT_ONCE: &str = "a second signal ended it at once";

/// Prints the OpenAPI document.
///
/// # Errors
/// [`ProgramError::Running`] if it cannot be printed.
pub fn openapi() -> Result<(), ProgramError> {
    let document = http::document().context("the document cannot be written")?;
    print(&format!("{document}\n")).context("the document cannot be printed")?;
    Ok(())
}

/// Serves until a signal ends it.
///
/// # Errors
/// [`ProgramError::Usage`] for a wrong setting, [`ProgramError::Running`] for everything else.
pub fn run(arguments: Serve) -> Result<(), ProgramError> {
    let file = arguments.config.as_deref();
    let loaded = config::load(arguments.settings, file, config::environment())?;
    if arguments.print_config {
        print(&loaded.table()).context("the settings cannot be printed")?;
        return Ok(());
    }
    log::start(&loaded.settings)?;
    let aside = Aside::start().context("the door's thread cannot be started")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let ended = runtime.block_on(serve(&loaded.settings, &aside));
    // Whatever still runs was asked to end, and had the limit's time to do so.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(ended?)
}

async fn serve(settings: &Settings, aside: &Aside) -> anyhow::Result<()> {
    // Received by a separate thread, so also while all others are blocked.
    let listened = {
        let _aside = aside.handle().enter();
        Signals::listen()
    };
    let mut signals = listened.context("signals cannot be listened to")?;
    // Before the store: a start that fails for its port leaves no file behind.
    let listener = bind(aside, settings.listen.0)?;
    let connections = descriptors::connections(settings);
    let address = listener.local_addr().context("the address is not known")?;
    let begun = tokio::select! {
        biased;
        // It may take long: a database that says nothing is waited for, and so is another node that
        // changes its layout. What was begun is left as by a node that has died.
        () = signals.next() => {
            tracing::info!("ended by a signal, before it served");
            return Ok(());
        }
        begun = Begun::new(settings, address) => begun?,
    };
    let Begun {
        opened,
        context,
        trial,
    } = begun;
    let node = settings.node_name.resolve(&settings.store, address);
    let door = Door {
        router: app(context.clone()),
        bounds: bounds(settings, connections),
        runtime: Arc::clone(context.orders().lifecycle().runtime()),
        workers: Handle::current(),
    };
    let listening = door.open(aside, listener);
    let text = welcome::text(address, &node, &opened.store().describe(), trial.as_ref());
    // A server whose output is not read still serves, and still stops on a signal.
    let _printed = tokio::task::spawn_blocking(move || print(&text));
    tracing::info!(%address, store = %settings.store, "listening");

    signals.next().await;
    context.draining().cancel();
    tracing::info!("shutting down");
    // A load balancer sees it before the door is closed.
    tokio::select! {
        biased;
        () = signals.next() => bail!(AT_ONCE),
        () = tokio::time::sleep(settings.shutdown_delay.0) => {}
    }
    context.ending().cancel();
    listening.close();
    let requests = context.open_requests();
    if requests > 0 {
        tracing::info!(
            requests,
            "waiting for open requests; a second signal ends the program at once"
        );
    }
    let ending = end(&context, &listening, settings.shutdown_limit.0);
    tokio::select! {
        biased;
        () = ending => {}
        () = signals.next() => bail!(AT_ONCE),
    }
    opened.log_statistics();
    tracing::info!("ended");
    Ok(())
}

/// What has to be there before the door is opened.
struct Begun {
    opened: Opened,
    context: Context,
    trial: Option<Trial>,
}

impl Begun {
    async fn new(settings: &Settings, address: SocketAddr) -> anyhow::Result<Self> {
        let opened = Opened::open(settings).await?;
        let context = assemble(&opened, settings, address);
        let lifecycle = context.orders().lifecycle();
        let started = lifecycle.start().await;
        started.map_err(|denied| {
            let trouble = lifecycle.store().describe().trouble;
            anyhow!(http::no_session(&denied, trouble.as_deref()))
        })?;
        let trial = Trial::new(lifecycle).await;
        Ok(Self {
            opened,
            context,
            trial,
        })
    }
}

/// Tells those who wait, lets what runs settle, and lets the answers leave; all of it within the
/// limit. Connections are not waited for beyond that: a client that has not said all of its
/// request, or does not read its answer, delays no others.
async fn end(context: &Context, listening: &Listening, limit: Duration) {
    let deadline = Instant::now() + limit;
    if let Err(error) = context.orders().drain(limit).await {
        tracing::warn!(%error, "the session could not be ended; it lapses by itself");
    }
    // What was stopped at the limit has its answer only now.
    let deadline = deadline.max(Instant::now() + LAST_ANSWERS);
    let answered = context.all_answered();
    if tokio::time::timeout_at(deadline, answered).await.is_err() {
        tracing::warn!("requests were still open at the end");
    }
    let emptied = listening.emptied();
    if tokio::time::timeout(LAST_ANSWERS, emptied).await.is_err() {
        tracing::info!("connections whose clients do not read were closed");
    }
}

fn bounds(settings: &Settings, connections: usize) -> Bounds {
    Bounds {
        connections,
        timeouts: Timeouts {
            head: settings.header_time_limit.0,
            idle: settings.idle_time_limit.0,
            answer: settings.answer_time_limit.0,
        },
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
    Context::new(opened.store(), &node, limits, process, body)
        .with_memory(settings.memory_limit.0)
        .with_origins(settings.allowed_origins.clone())
        .with_journal_lag(lag)
}

fn bind(aside: &Aside, address: SocketAddr) -> anyhow::Result<TcpListener> {
    connections::listen(aside, address).map_err(|error| match error.kind() {
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
