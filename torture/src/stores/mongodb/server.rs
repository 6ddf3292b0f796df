//! The server: one of the run's own, which can be restarted, or one that the environment names.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::Struck;
use crate::ledger::lock;
use crate::scene::Scene;

/// The variable that names the program of the server.
const PROGRAM: &str = "ORDERLOCK_TEST_MONGODB_PROGRAM";
/// The variable that names a server that runs already.
const URI: &str = "ORDERLOCK_TEST_MONGODB_URI";

/// Starts the server, and kills it at the next line, or when this program has ended, however that
/// ended: then its folder goes too.
const GUARD: &str = r#"
    folder=$1
    shift
    "$@" </dev/null 2>&1 &
    if read -r _; then again=1; fi
    kill -KILL "$!"
    wait
    if [ -z "$again" ]; then cd / && rm -rf "$folder"; fi
"#;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it is, for the links.
    pub(super) port: Arc<AtomicU16>,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    program: PathBuf,
    guard: Mutex<Option<Child>>,
    folder: TempDir,
}

impl Server {
    pub(super) async fn start() -> Result<Self> {
        if let Some(program) = std::env::var_os(PROGRAM) {
            let folder = tempfile::Builder::new()
                .prefix("orderlock-torture-")
                .tempdir()?;
            let own = Own {
                program: program.into(),
                guard: Mutex::default(),
                folder,
            };
            let port = own.free_port()?;
            let server = Self {
                port: Arc::new(AtomicU16::new(port)),
                own: Some(own),
            };
            server.begin().await?;
            return Ok(server);
        }
        let address = std::env::var(URI);
        let address = address.with_context(|| format!("neither {PROGRAM} nor {URI} is set"))?;
        let host = address
            .trim_start_matches("mongodb://")
            .trim_end_matches('/');
        let port = host.strip_prefix("127.0.0.1:");
        let port = port.and_then(|port| port.parse().ok());
        let port = port.with_context(|| format!("{URI} does not name a port of this machine"))?;
        Ok(Self {
            port: Arc::new(AtomicU16::new(port)),
            own: None,
        })
    }

    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    pub(super) fn address(&self) -> String {
        let port = self.port.load(Ordering::Acquire);
        format!("mongodb://127.0.0.1:{port}/")
    }

    /// Runs the program on its port, and returns when it listens.
    async fn begin(&self) -> Result<()> {
        let Some(own) = &self.own else {
            bail!("this server is not ours");
        };
        let port = self.port.load(Ordering::Acquire);
        let mut guard = Command::new("bash");
        guard
            .args(["-c", GUARD, "guard"])
            .arg(own.folder.path())
            .arg(&own.program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--data-dir", "data"])
            .args(["--log-file", "own.log", "--pid-file", "own.pid"])
            .current_dir(own.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut guard = guard.spawn().context("bash cannot be started")?;
        let output = guard.stdout.take().context("the output was piped")?;
        *lock(&own.guard) = Some(guard);
        tokio::task::spawn_blocking(move || -> Result<()> {
            let mut lines = BufReader::new(output).lines();
            let mut said = String::new();
            for line in lines.by_ref().map_while(std::result::Result::ok) {
                if line.contains("Listening on") {
                    // What it says is read to the end, so that it never waits for a reader.
                    std::thread::spawn(move || lines.map_while(std::result::Result::ok).count());
                    return Ok(());
                }
                said.push_str(&line);
                said.push('\n');
            }
            bail!("the server does not start: {said}")
        })
        .await?
    }

    /// Kills the server, and starts it again over what it has left.
    pub(super) async fn restart(&self, scene: &Scene) -> Struck {
        let Some(own) = &self.own else {
            return Ok(None);
        };
        let busy = scene.busy();
        if busy == 0 {
            return Ok(None);
        }
        let guard = lock(&own.guard).take();
        tokio::task::spawn_blocking(move || {
            if let Some(mut guard) = guard {
                let mut input = guard.stdin.take();
                let _told = input.as_mut().map(|input| input.write_all(b"again\n"));
                let _ended = guard.wait();
            }
        })
        .await?;
        // The port may be in use for a moment still.
        for _ in 0..20 {
            if self.begin().await.is_ok() {
                return Ok(Some(format!("killed with {busy} requests in flight")));
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        bail!("the server does not start again")
    }
}

impl Own {
    fn free_port(&self) -> Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
        Ok(listener.local_addr()?.port())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut guard) = lock(&self.guard).take() {
            drop(guard.stdin.take());
            let _ended = guard.wait();
        }
    }
}
