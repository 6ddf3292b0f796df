//! Installs Debian's packages, if that needs no password.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::Process;

/// How long Debian may take to fetch and unpack a package.
const INSTALL_MAX: Duration = Duration::from_mins(15);

/// Something that is not there, and what to do where it cannot be installed from here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) what: &'static str,
    pub(crate) advice: &'static str,
}

impl Missing {
    /// Runs a script as root that installs it.
    ///
    /// # Errors
    /// This machine has no apt-get, or no right to use it, or the script failed: what to do instead.
    pub(crate) fn install(self, script: &str) -> Result<()> {
        self.run(&mut self.as_root()?, script, None)
    }

    /// Runs a script that needs no rights, and is given a folder.
    ///
    /// # Errors
    /// The script failed: what to do instead.
    pub(crate) fn unpack(self, script: &str, folder: &Path) -> Result<()> {
        self.run(&mut Command::new("sh"), script, Some(folder))
    }

    /// A shell that may install what is missing.
    fn as_root(self) -> Result<Command> {
        let Self { what, advice } = self;
        if !succeeds(Command::new("apt-get").arg("--version")) {
            bail!("{what} is missing: {advice}");
        }
        let shell = if is_root() {
            Command::new("sh")
        } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
            let mut shell = Command::new("sudo");
            shell.args(["-n", "sh"]);
            shell
        } else {
            bail!("{what} is missing, and only root may install it: {advice}");
        };
        println!("\n==> {what} is missing: installing Debian's");
        Ok(shell)
    }

    fn run(self, shell: &mut Command, script: &str, folder: Option<&Path>) -> Result<()> {
        shell
            .args(["-c", script, "install"])
            .args(folder)
            .stdin(Stdio::null());
        Process::start(shell)?
            .succeed(INSTALL_MAX)
            .with_context(|| {
                let Self { what, advice } = self;
                format!("{what} could not be installed: {advice}")
            })
    }
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}

/// Whether a program is there and ends well.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
