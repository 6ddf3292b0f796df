//! A PostgreSQL of the test command's own: found or installed, started in a temporary folder, and
//! gone when the command has ended, however that ended.

mod account;
mod guard;
mod install;
mod newer;
mod programs;

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::guard::Guard;
use crate::server::{PORTS, free_port, run_quietly, tail};
use account::Account;

pub(crate) use newer::TESTED;
pub(crate) use programs::{Edition, Programs};

/// How long making the cluster, or starting it, may take.
const STEP_MAX: Duration = Duration::from_mins(2);

/// The server's settings at its start, beside its address. Commits reach the disk, as they do where
/// it counts. The connections are many because many tests run at once.
const SETTINGS: [&str; 5] = [
    "fsync=on",
    "synchronous_commit=on",
    "max_connections=500",
    "shared_buffers=128MB",
    "timezone=UTC",
];

/// A running server. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    programs: Programs,
    // The order of the fields is the order of their end: the server before its folder.
    _guard: Guard,
    _folder: TempDir,
}

impl Server {
    /// Makes a cluster in a folder of its own and starts it on a free port of loopback.
    ///
    /// # Errors
    /// What PostgreSQL's programs say.
    pub(crate) fn start(programs: &Programs) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("orderlock-pg-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("there is no room for a cluster of PostgreSQL")?;
        let account = Account::of_server()?;
        let cluster = Cluster {
            programs: &programs.folder,
            folder: folder.path(),
            account,
        };
        cluster.give(folder.path())?;
        // From here on, nothing that is made outlives this program.
        let guard = guard::over(&cluster)?;
        let password = random_hex()?;
        cluster.init(&password)?;
        let port = cluster.start()?;
        println!("    PostgreSQL {} on port {port}", programs.version);
        Ok(Self {
            url: format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres"),
            programs: programs.clone(),
            _guard: guard,
            _folder: folder,
        })
    }

    /// The tests' environment: where to connect as superuser, and where the programs are with which
    /// they start clusters and poolers of their own.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        let pooler = &self.programs.pooler;
        [
            ("ORDERLOCK_TEST_POSTGRES_URL", self.url.clone()),
            self.programs.variable(),
            ("ORDERLOCK_TEST_PGBOUNCER", pooler.display().to_string()),
        ]
    }
}

/// A cluster on its way.
struct Cluster<'a> {
    programs: &'a Path,
    folder: &'a Path,
    /// Whom it belongs to, if not to who runs this: PostgreSQL refuses to run as root.
    account: Option<Account>,
}

impl Cluster<'_> {
    fn init(&self, password: &str) -> Result<()> {
        let file = self.folder.join("password");
        fs::write(&file, password)?;
        self.give(&file)?;
        let mut command = self.command(&self.programs.join("initdb"));
        command
            .arg("--pgdata=data")
            .arg("--pwfile=password")
            .args(["--username=postgres", "--auth=scram-sha-256"])
            // The cluster is thrown away: that it was made need not survive power loss.
            .args(["--encoding=UTF8", "--locale=C", "--no-sync"]);
        self.run(command)
            .context("a cluster of PostgreSQL cannot be made")
    }

    fn start(&self) -> Result<u16> {
        let mut failure = None;
        for _ in 0..PORTS {
            let port = free_port()?;
            let mut command = self.command(&self.programs.join("pg_ctl"));
            command
                .args(["start", "--wait", "--timeout=60", "--pgdata=data"])
                .args(["--log=server.log", "--options"])
                .arg(self.options(port));
            match self.run(command) {
                Ok(()) => return Ok(port),
                Err(error) => failure = Some(error),
            }
        }
        let log = tail(&self.folder.join("server.log"));
        match failure {
            Some(error) => Err(error.context(format!("PostgreSQL does not start\n{log}"))),
            None => bail!("PostgreSQL was not started"),
        }
    }

    /// The server's command line, which a shell reads.
    fn options(&self, port: u16) -> String {
        let socket = self.folder.display();
        let mut options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='{socket}'"
        );
        for setting in SETTINGS {
            options.push_str(" -c ");
            options.push_str(setting);
        }
        options
    }

    /// A program that runs in the folder, as the folder's owner, and knows no other server.
    fn command(&self, program: &Path) -> Command {
        let mut command = match &self.account {
            None => Command::new(program),
            Some(account) => account.command(program),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir(self.folder);
        command
    }

    fn run(&self, command: Command) -> Result<()> {
        run_quietly(command, &self.folder.join("command.log"), STEP_MAX)
    }

    fn give(&self, path: &Path) -> Result<()> {
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.give(path))
    }
}

/// A password that the other users of this machine cannot guess.
fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("the operating system gives no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
