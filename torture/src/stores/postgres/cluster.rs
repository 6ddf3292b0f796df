//! A cluster of the run's own: started in a folder of its own, crashed, killed, followed, promoted.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// The superuser's password in every cluster.
pub(super) const PASSWORD: &str = "throw-away";

/// The variable that names the folder of PostgreSQL's programs.
const PROGRAMS: &str = "ORDERLOCK_TEST_POSTGRES_BIN";

/// Ends the server when this program has ended, however that ended: the pipe closes then.
const GUARD: &str = r#"
    read -r _
    if [ -e data/postmaster.pid ]; then "$1" stop --wait --mode=immediate --pgdata=data; fi
    cd / && rm -rf "$2"
"#;

/// A cluster on a port of its own. It goes with this value.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: TempDir,
    pub(super) port: u16,
    guard: Child,
}

impl Cluster {
    /// Makes a cluster and starts it with these settings.
    pub(super) fn new(settings: &[&str]) -> Result<Self> {
        let cluster = Self::prepare()?;
        cluster.write("password", PASSWORD)?;
        let init = [
            "--pgdata=data",
            "--pwfile=password",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ];
        cluster.run("initdb", &init)?;
        cluster.configure(settings)?;
        cluster.start()?;
        Ok(cluster)
    }

    /// Copies this one into another that follows it.
    pub(super) fn standby(&self) -> Result<Self> {
        let standby = Self::prepare()?;
        let from = format!("--dbname={}", self.address());
        let copy = [
            &*from,
            "--pgdata=data",
            "--write-recovery-conf",
            "--checkpoint=fast",
        ];
        standby.run("pg_basebackup", &copy)?;
        standby.configure(&[])?;
        standby.start()?;
        Ok(standby)
    }

    fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("orderlock-torture-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        give(folder.path())?;
        let mut guard = command(Path::new("bash"), folder.path())?;
        guard
            .args(["-c", GUARD, "guard"])
            .arg(programs()?.join("pg_ctl"))
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let listener = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
        Ok(Self {
            guard: guard.spawn().context("bash cannot be started")?,
            port: listener.local_addr()?.port(),
            folder,
        })
    }

    /// Settings that last; the later of two wins.
    fn configure(&self, settings: &[&str]) -> Result<()> {
        let path = self.folder.path().join("data/postgresql.conf");
        let mut text = fs::read_to_string(&path)?;
        text.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n{}\n",
            self.port,
            self.folder.path().display(),
            settings.join("\n")
        ));
        self.write("data/postgresql.conf", &text)
    }

    pub(super) fn start(&self) -> Result<()> {
        let start = ["start", "--wait", "--pgdata=data", "--log=server.log"];
        self.run("pg_ctl", &start)
    }

    /// Stops it as a crash does.
    pub(super) fn crash(&self) -> Result<()> {
        let stop = ["stop", "--wait", "--mode=immediate", "--pgdata=data"];
        self.run("pg_ctl", &stop)
    }

    /// Kills the server's first process, as `kill -9` does; the others find that out.
    pub(super) fn kill(&self) -> Result<()> {
        let file = fs::read_to_string(self.folder.path().join("data/postmaster.pid"))?;
        let process = file.lines().next().context("a server names its process")?;
        let mut kill = Command::new("bash");
        kill.args(["-c", "kill -KILL \"$1\"", "kill", process]);
        ensure!(kill.status()?.success(), "the server was gone already");
        Ok(())
    }

    /// Makes a standby the primary.
    pub(super) fn promote(&self) -> Result<()> {
        self.run("pg_ctl", &["promote", "--wait", "--pgdata=data"])
    }

    /// Its address, for a superuser.
    pub(super) fn address(&self) -> String {
        let port = self.port;
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// Writes a file that only the server's user reads.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        give(&path)
    }

    /// Runs one of PostgreSQL's programs to its good end.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        // A server that goes on would hold a pipe open: what is printed goes to a file.
        let said = self.folder.path().join("said.log");
        let output = File::create(&said)?;
        let status = command(&programs()?.join(program), self.folder.path())?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .with_context(|| format!("{program} cannot be started"))?;
        if !status.success() {
            let said = fs::read_to_string(said).unwrap_or_default();
            bail!("{program} {arguments:?}: {said}");
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ended = self.guard.wait();
    }
}

/// The folder of PostgreSQL's programs.
fn programs() -> Result<PathBuf> {
    let folder = std::env::var_os(PROGRAMS);
    let folder = folder.with_context(|| {
        format!("`cargo xtask torture` says where PostgreSQL's programs are, or set {PROGRAMS}")
    })?;
    Ok(folder.into())
}

/// A program that runs as a user whom the server runs for: it refuses root.
fn command(program: &Path, folder: &Path) -> Result<Command> {
    let mut command = match account()? {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"))
                .args(["--clear-groups", "--"])
                .arg(program);
            command
        }
    };
    command.env("LC_ALL", "C").current_dir(folder);
    Ok(command)
}

/// Makes the server's user the owner of a file.
fn give(path: &Path) -> Result<()> {
    if let Some((user, group)) = account()? {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// Whom the server runs as, if this runs as root.
fn account() -> Result<Option<(u32, u32)>> {
    let id = Command::new("id").arg("-u").output()?;
    if id.stdout != b"0\n" {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let nobody = users.lines().find(|line| line.starts_with("nobody:"));
    let mut fields = nobody
        .context("this machine has no user `nobody`")?
        .split(':')
        .skip(2);
    let mut number = || fields.next().and_then(|number| number.parse().ok());
    Ok(number().zip(number()))
}
