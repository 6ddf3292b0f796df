//! Folders of packages from PyPI, for the servers that no archive of Debian's has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::debian::{Missing, succeeds};
use crate::server::run_quietly;

/// How long making a folder, and filling it, may take.
const INSTALL_MAX: Duration = Duration::from_mins(5);

/// Which Python does. Debian keeps the parts with which it makes folders for packages in a package
/// of their own, without which it starts but has no `ensurepip`.
const PROBE: &str =
    "import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 15))";

/// Where Python is looked for. The second is the one that Debian's package puts there, for a machine
/// on which another one comes first.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// Looks for a module without starting it.
const FIND: &str =
    "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)";

const DEBIAN: &str = r"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install --yes --no-install-recommends python3-venv
";

/// Packages, and what to do where they cannot be had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packages {
    /// What they are needed for.
    pub(crate) what: &'static str,
    /// Each of them in the one version that is known to do.
    pub(crate) requirements: &'static str,
    /// The module that is there if they are.
    pub(crate) module: &'static str,
    pub(crate) advice: &'static str,
}

impl Packages {
    /// Fills a folder with them, unless it is whole. Returns its Python.
    ///
    /// # Errors
    /// What to do.
    pub(crate) fn need(self, folder: &Path) -> Result<PathBuf> {
        let Self {
            what, requirements, ..
        } = self;
        let python = folder.join("bin/python");
        let whole = folder.join("whole");
        let is_whole = fs::read_to_string(&whole).is_ok_and(|text| text == requirements);
        // A folder outlives the Python that it was made with.
        let mut look = Command::new(&python);
        look.args(["-c", FIND, self.module]);
        if is_whole && succeeds(&mut look) {
            return Ok(python);
        }
        let made_with = self.python3()?;
        println!("    installing {what} into {}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let log = folder.with_extension("log");
        let mut make = Command::new(made_with);
        make.args(["-m", "venv"]).arg(folder);
        run_quietly(make, &log, INSTALL_MAX).with_context(|| self.advice)?;
        let list = folder.join("requirements.txt");
        fs::write(&list, requirements)?;
        let mut fill = Command::new(&python);
        fill.args(["-m", "pip", "install", "--no-input", "--no-deps"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(&list);
        run_quietly(fill, &log, INSTALL_MAX).with_context(|| {
            format!(
                "{what} cannot be installed: look at the network, or {}",
                self.advice
            )
        })?;
        // Written last: what was interrupted is begun again.
        fs::write(whole, requirements)?;
        Ok(python)
    }

    fn python3(self) -> Result<&'static str> {
        let find = || {
            let mut names = PYTHONS.into_iter();
            names.find(|name| succeeds(Command::new(name).args(["-c", PROBE])))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        let missing = Missing {
            what: "Python with venv",
            advice: self.advice,
        };
        missing.install(DEBIAN)?;
        find().with_context(|| format!("Python was installed and does not do: {}", self.advice))
    }
}
