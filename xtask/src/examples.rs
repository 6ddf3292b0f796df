//! Runs every example of every crate to its end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cargo::Workspace;
use crate::process::Process;

/// How long one example may run. An example that serves has to finish by itself.
const EXAMPLE_MAX: Duration = Duration::from_mins(1);

/// Runs the examples one after the other, each in an empty folder.
///
/// # Errors
/// One of them does not end, or fails.
pub(crate) fn run_all(workspace: &Workspace) -> Result<()> {
    workspace.build()?;
    let names = names(workspace);
    for name in &names {
        println!("    example {name}");
        let start = Instant::now();
        run(workspace, name).with_context(|| format!("the example {name}"))?;
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

fn run(workspace: &Workspace, name: &str) -> Result<()> {
    let program = workspace.program("examples").join(name);
    ensure!(program.exists(), "cargo has not built it");
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command.current_dir(folder.path()).stdin(Stdio::null());
    Process::start(&mut command)?.succeed(EXAMPLE_MAX)
}
