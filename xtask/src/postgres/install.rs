//! Installs Debian's PostgreSQL, where that needs nobody's consent.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::account::is_root;
use super::programs::ADVICE;
use crate::process::Process;

/// How long Debian may take to fetch and unpack it.
const INSTALL_MAX: Duration = Duration::from_mins(15);

/// Debian makes a cluster with the package, and starts it with the machine. Nobody asked for that
/// here, so it is told not to, for as long as the package is installed.
const SCRIPT: &str = r#"
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

/// Installs it.
///
/// # Errors
/// This machine has no apt-get, or no right to use it: what to do instead.
pub(super) fn install() -> Result<()> {
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("PostgreSQL is missing: {ADVICE}");
    }
    let mut command = if is_root() {
        Command::new("sh")
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut command = Command::new("sudo");
        command.args(["-n", "sh"]);
        command
    } else {
        bail!("PostgreSQL is missing, and only root may install it: {ADVICE}");
    };
    println!("\n==> PostgreSQL is missing: installing Debian's package `postgresql`");
    command.args(["-c", SCRIPT]).stdin(Stdio::null());
    Process::start(&mut command)?
        .succeed(INSTALL_MAX)
        .with_context(|| format!("PostgreSQL could not be installed: {ADVICE}"))
}

fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
