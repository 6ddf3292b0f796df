//! Runs every example of every crate to its end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cargo::Workspace;
use crate::process::Process;

/// How long one example may run. An example that serves has to finish by itself.
const EXAMPLE_MAX: Duration = Duration::from_mins(1);

/// Runs the examples one after the other in one folder, and each of them twice, as a reader does
/// who tries them: none may live on what another one leaves behind, or on an empty folder.
///
/// # Errors
/// One of them does not end, or fails.
pub(crate) fn run_all(workspace: &Workspace) -> Result<()> {
    workspace.build()?;
    let names = names(workspace);
    let folder = tempfile::tempdir()?;
    for name in names.iter().flat_map(|name| [name, name]) {
        println!("    example {name}");
        let start = Instant::now();
        run(workspace, name, folder.path()).with_context(|| format!("the example {name}"))?;
        println!("    example {name}: ended well in {:.1?}", start.elapsed());
    }
    println!("    {} examples ran to their end", names.len());
    Ok(())
}

fn names(workspace: &Workspace) -> Vec<&str> {
    let targets = workspace.packages.iter().flat_map(|each| &each.targets);
    targets
        .filter(|target| target.kind.iter().any(|kind| kind == "example"))
        .map(|target| target.name.as_str())
        .collect()
}

fn run(workspace: &Workspace, name: &str, folder: &Path) -> Result<()> {
    let program = workspace.program("examples").join(name);
    ensure!(program.exists(), "cargo has not built it");
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    Process::start(&mut command)?.succeed(EXAMPLE_MAX)
}
