//! Builds the NestJS service, outside its source, with Debian's Node.js or a newer one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::debian::{Missing, succeeds};
use crate::server::run_quietly;

/// How long fetching the packages, or compiling, may take.
const STEP_MAX: Duration = Duration::from_mins(10);

/// What the service is built from, beside its source.
const FILES: [&str; 4] = [
    ".npmrc",
    "package-lock.json",
    "package.json",
    "tsconfig.json",
];

const NODE_PROBE: &str = "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)";

const NODE: Missing = Missing {
    what: "Node.js with npm",
    advice: "install Node.js 18 or later with npm (on Debian, as root: apt-get install nodejs npm), \
             or leave these tests out: cargo xtask test --without mongodb",
};

const NODE_PACKAGES: &str = r"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install --yes --no-install-recommends nodejs npm
";

/// Builds the service, and returns the folder in which it lies. Packages are fetched only when
/// their list has changed.
///
/// # Errors
/// What npm or the compiler says.
pub(super) fn build(source: &Path, folder: &Path) -> Result<PathBuf> {
    need_node()?;
    fs::create_dir_all(folder)?;
    for name in FILES {
        fs::copy(source.join(name), folder.join(name))
            .with_context(|| format!("copying {name}"))?;
    }
    for made in ["src", "dist"] {
        let made = folder.join(made);
        if made.exists() {
            fs::remove_dir_all(made)?;
        }
    }
    copy(&source.join("src"), &folder.join("src"))?;
    let log = folder.with_extension("log");
    fetch(folder, &log)?;
    let mut compile = npm(folder);
    compile.args(["run", "build"]);
    run_quietly(compile, &log, STEP_MAX).context("the NestJS example cannot be built")?;
    Ok(folder.to_owned())
}

fn need_node() -> Result<()> {
    let is_there = || {
        succeeds(Command::new("node").args(["-e", NODE_PROBE]))
            && succeeds(Command::new("npm").arg("--version"))
    };
    if is_there() {
        return Ok(());
    }
    NODE.install(NODE_PACKAGES)?;
    anyhow::ensure!(
        is_there(),
        "Node.js was installed and does not do: {}",
        NODE.advice
    );
    Ok(())
}

/// Fetches exactly the packages of the lock file. None of their scripts is run.
fn fetch(folder: &Path, log: &Path) -> Result<()> {
    let wanted = fs::read(folder.join("package-lock.json"))?;
    let fetched = folder.join("node_modules/.fetched");
    if fs::read(&fetched).is_ok_and(|list| list == wanted) {
        return Ok(());
    }
    println!("    fetching the packages of the NestJS example");
    let mut command = npm(folder);
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run_quietly(command, log, STEP_MAX)
        .context("the packages of the NestJS example cannot be fetched: look at the network")?;
    // Written last: what was interrupted is begun again.
    Ok(fs::write(fetched, wanted)?)
}

fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder);
    command
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
