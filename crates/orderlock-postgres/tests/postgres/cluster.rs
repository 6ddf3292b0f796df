//! Clusters of a test's own: to stop, to restore into, to follow, to reach by TLS.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::place::connect;

/// The superuser's password in every cluster.
pub(crate) const PASSWORD: &str = "throw-away";

/// Ends the server when the test's process has ended, however that ended: the pipe closes then.
const GUARD: &str = r#"
    read -r _
    if [ -e data/postmaster.pid ]; then "$1" stop --wait --mode=immediate --pgdata=data; fi
    cd / && rm -rf "$2"
"#;

/// A cluster in a folder of its own, on a port of its own. It goes with this value.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    port: u16,
    guard: Child,
}

impl Cluster {
    /// Makes a cluster and starts it with these settings.
    pub(crate) fn new(settings: &[&str]) -> Self {
        let cluster = Self::prepare();
        let password = cluster.path("password");
        cluster.write("password", PASSWORD);
        cluster.run(
            "initdb",
            &[
                "--pgdata=data",
                &format!("--pwfile={}", password.display()),
                "--username=postgres",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
        );
        cluster.configure(settings);
        cluster.start();
        cluster
    }

    /// Copies this one into another that follows it.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::prepare();
        let from = format!("--dbname={}", self.address("postgres"));
        let copy = [
            "--pgdata=data",
            "--write-recovery-conf",
            "--checkpoint=fast",
        ];
        standby.run("pg_basebackup", &[&[&*from], &copy[..]].concat());
        standby.configure(&[]);
        standby.start();
        standby
    }

    fn prepare() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("orderlock-pg-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        give(folder.path());
        let mut guard = command(Path::new("bash"), folder.path());
        guard
            .args(["-c", GUARD, "guard"])
            .arg(programs().join("pg_ctl"))
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            guard: guard.spawn().unwrap(),
            port: listener.local_addr().unwrap().port(),
            folder,
        }
    }

    /// Settings that last; the later of two wins.
    pub(crate) fn configure(&self, settings: &[&str]) {
        let path = self.path("data/postgresql.conf");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n",
            self.port,
            self.folder.path().display()
        ));
        text.push_str(&settings.join("\n"));
        text.push('\n');
        self.write("data/postgresql.conf", &text);
    }

    /// Changes a setting while the server runs.
    pub(crate) async fn set(&self, name: &str, value: &str) {
        let hand = connect(&self.address("postgres")).await;
        let set = format!("ALTER SYSTEM SET {name} = '{value}'");
        hand.batch_execute(&set).await.unwrap();
        hand.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        // The processes that serve connections read it one after the other.
        let look = format!("SELECT current_setting('{name}')");
        while connect(&self.address("postgres"))
            .await
            .query_one(&look, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
            != value
        {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn start(&self) {
        self.run(
            "pg_ctl",
            &["start", "--wait", "--pgdata=data", "--log=server.log"],
        );
    }

    /// Stops it as a crash does.
    pub(crate) fn crash(&self) {
        self.run(
            "pg_ctl",
            &["stop", "--wait", "--mode=immediate", "--pgdata=data"],
        );
    }

    /// Kills the server's first process, as `kill -9` does; the others find that out.
    pub(crate) fn kill(&self) {
        assert!(kill("-KILL", &self.first()));
    }

    /// Sends a signal to all of the server's processes.
    pub(crate) fn signal(&self, name: &str) {
        let first = self.first();
        assert!(kill(name, &first));
        // None is added while the first one stands still; some may have ended.
        let children = Command::new("pgrep").args(["-P", &first]).output().unwrap();
        for child in String::from_utf8(children.stdout).unwrap().lines() {
            let _sent_or_gone = kill(name, child);
        }
    }

    fn first(&self) -> String {
        let pid = fs::read_to_string(self.path("data/postmaster.pid")).unwrap();
        pid.lines().next().unwrap().to_owned()
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["promote", "--wait", "--pgdata=data"]);
    }

    /// The address of a database, for a superuser who writes to the host by this name.
    pub(crate) fn address_by(&self, host: &str, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres:{PASSWORD}@{host}:{port}/{database}")
    }

    pub(crate) fn address(&self, database: &str) -> String {
        self.address_by("127.0.0.1", database)
    }

    /// The host and port of this one.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only the server's user reads.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        give(&path);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        run(program, arguments, self.folder.path());
    }
}

fn kill(signal: &str, pid: &str) -> bool {
    let sent = Command::new("kill").args([signal, pid]).status();
    sent.unwrap().success()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Runs one of PostgreSQL's programs to its good end, and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    // A server that goes on would hold a pipe open: what is printed goes to a file.
    let mut output = tempfile::tempfile().unwrap();
    let status = command(&programs().join(program), folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output.try_clone().unwrap())
        .status()
        .unwrap();
    std::io::Seek::rewind(&mut output).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(status.success(), "{program} {arguments:?}: {text}");
    text
}

/// The folder of PostgreSQL's programs.
fn programs() -> PathBuf {
    let folder = std::env::var_os("ORDERLOCK_TEST_POSTGRES_BIN").expect(
        "these tests start servers of their own: `cargo xtask test tests` says where the programs \
         are, or set ORDERLOCK_TEST_POSTGRES_BIN to the folder of `initdb`",
    );
    folder.into()
}

/// A program that runs as a user whom the server runs for: it refuses root.
pub(crate) fn command(program: &Path, folder: &Path) -> Command {
    let mut command = match account() {
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
    command
}

/// Makes the server's user the owner of a file.
pub(crate) fn give(path: &Path) {
    if let Some((user, group)) = account() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Whom the server runs as, if this runs as root.
fn account() -> Option<(u32, u32)> {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let nobody = users.lines().find(|line| line.starts_with("nobody:"));
    let mut fields = nobody.unwrap().split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}
