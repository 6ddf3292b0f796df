//! Installs Debian's programs, where that needs nobody's consent.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::account::is_root;
use super::programs::ADVICE;
use crate::process::Process;

/// How long Debian may take to fetch and unpack a package.
const INSTALL_MAX: Duration = Duration::from_mins(15);

/// Debian makes a cluster with the package, and starts it with the machine. Nobody asked for that
/// here, so it is told not to, for as long as the package is installed.
const POSTGRESQL: &str = r#"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install --yes --no-install-recommends postgresql-common
    setting=/etc/postgresql-common/createcluster.d/orderlock-test.conf
    mkdir -p "${setting%/*}"
    trap 'rm -f "$setting"' EXIT
    echo 'create_main_cluster = false' > "$setting"
    apt-get install --yes --no-install-recommends postgresql
"#;

/// Debian starts the pooler with its package, and with the machine. So only the libraries that it
/// needs are installed, and the program itself is unpacked into a folder of this project's.
const LIBRARIES: &str = r#"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    libraries=$(apt-cache depends pgbouncer | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
    apt-get install --yes --no-install-recommends $libraries
"#;
const UNPACK: &str = r#"
    set -e
    mkdir -p "$1"
    cd "$1"
    apt-get download pgbouncer
    dpkg-deb --extract pgbouncer_*.deb .
"#;

/// Installs the server.
///
/// # Errors
/// This machine has no apt-get, or no right to use it: what to do instead.
pub(super) fn postgresql() -> Result<()> {
    run(&mut as_root("PostgreSQL")?, POSTGRESQL, None)
}

/// Unpacks the pooler into a folder.
///
/// # Errors
/// As for the server.
pub(super) fn pgbouncer(folder: &Path) -> Result<()> {
    run(&mut as_root("PgBouncer")?, LIBRARIES, None)?;
    run(&mut Command::new("sh"), UNPACK, Some(folder))
}

/// A shell that may install what is missing.
fn as_root(missing: &str) -> Result<Command> {
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("{missing} is missing: {ADVICE}");
    }
    let shell = if is_root() {
        Command::new("sh")
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut shell = Command::new("sudo");
        shell.args(["-n", "sh"]);
        shell
    } else {
        bail!("{missing} is missing, and only root may install it: {ADVICE}");
    };
    println!("\n==> {missing} is missing: installing Debian's");
    Ok(shell)
}

fn run(shell: &mut Command, script: &str, folder: Option<&Path>) -> Result<()> {
    shell
        .args(["-c", script, "install"])
        .args(folder)
        .stdin(Stdio::null());
    Process::start(shell)?
        .succeed(INSTALL_MAX)
        .with_context(|| format!("it could not be installed: {ADVICE}"))
}

fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
