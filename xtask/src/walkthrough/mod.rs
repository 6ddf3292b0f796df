//! Does what README.md says, against a real server, and compares what is printed.
//!
//! The README speaks of port 8080, which may be taken; here the server listens on a free port, and
//! the commands and the answers are read as if they named that one.

mod matcher;
mod readme;
mod server;
mod shell;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::cargo::Workspace;
use matcher::Expected;
use readme::{Readme, Step};
use server::Server;
use shell::Shell;

/// Where the README says that the server listens.
const ADDRESS: &str = "127.0.0.1:8080";

/// How long the rest of the start-up text may take to appear.
const STARTUP_MAX: Duration = Duration::from_secs(10);

/// Runs README.md.
///
/// # Errors
/// The first command that does something else than the README says, with both texts.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let text = fs::read_to_string(workspace.root.join("README.md"))
        .context("there is no README.md to walk through")?;
    let readme = Readme::parse(&text)?;
    workspace.build()?;
    let site = Site {
        programs: workspace.programs(),
        server: Box::new(|| {
            let mut command = Command::new(workspace.program("orderlock"));
            command.args(["serve", "--listen", "127.0.0.1:0"]);
            command
        }),
    };
    site.startup(&readme.startup)?;
    site.commands(&readme.steps)
}

/// What is walked through.
struct Site<'a> {
    /// The folder of the programs that the README may name.
    programs: PathBuf,
    /// How a newcomer starts the server, but on any free port.
    server: Box<dyn Fn() -> Command + 'a>,
}

impl Site<'_> {
    /// A server on an empty folder says what the README shows, and the commands that it offers work.
    fn startup(&self, expected: &[String]) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut server = Server::start((self.server)(), folder.path())?;
        let expected = Expected::new(expected);
        let complete = server.print_until(STARTUP_MAX, |printed| expected.matches(printed));
        let printed = server.printed(ADDRESS);
        ensure!(
            complete,
            "README.md: the start-up text differs\n{}",
            expected.difference(&printed)
        );
        println!("    the start-up text is as in README.md");
        let mut shell = Shell::start(&self.programs, folder.path())?;
        // The server's own commands must not only run: an error status is a failure too.
        shell.run("curl() { command curl --silent --show-error --fail-with-body \"$@\"; }")?;
        for command in readme::offered(&printed) {
            println!("    $ {command}");
            let ended = shell.run(&command.replace(ADDRESS, server.address()))?;
            if ended.status != 0 {
                bail!(
                    "a command that the server prints failed with status {}: {command}\n{}\n{}",
                    ended.status,
                    ended.printed.join("\n"),
                    server.log()
                );
            }
        }
        Ok(())
    }

    /// The commands of the README, in order, in one shell.
    fn commands(&self, steps: &[Step]) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let server = Server::start((self.server)(), folder.path())?;
        let mut shell = Shell::start(&self.programs, folder.path())?;
        for step in steps {
            println!("    README.md:{}: $ {}", step.line, step.command);
            run_step(&mut shell, server.address(), step).map_err(|error| {
                let (line, command, log) = (step.line, &step.command, server.log());
                anyhow!("README.md:{line}: $ {command}\n{error:#}\n{log}")
            })?;
        }
        println!("    {} commands do what README.md says", steps.len());
        Ok(())
    }
}

fn run_step(shell: &mut Shell, address: &str, step: &Step) -> Result<()> {
    let ended = shell.run(&step.command.replace(ADDRESS, address))?;
    let printed: Vec<String> = ended
        .printed
        .iter()
        .map(|line| line.replace(address, ADDRESS))
        .collect();
    let expected = Expected::new(&step.expected);
    ensure!(
        expected.matches(&printed),
        "the answer differs\n{}",
        expected.difference(&printed)
    );
    ensure!(ended.status == 0, "it ended with status {}", ended.status);
    Ok(())
}

/// Variables of the person who runs the tests that would change what a server or a client does.
fn is_foreign(variable: &str) -> bool {
    let variable = variable.to_ascii_lowercase();
    variable.starts_with("orderlock_") || variable.ends_with("_proxy") || variable == "bash_env"
}

/// Prepares a program to run in a folder, as if its owner had nothing but this project.
fn isolate(command: &mut Command, folder: &Path) {
    for (name, _) in std::env::vars_os() {
        if is_foreign(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.env("HOME", folder).current_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints what a server prints, and says when it was asked to stop. `$0` is the folder for that.
    const SERVER: &str = "trap 'echo asked >> \"$0/stopped\"; exit' TERM
        echo 'Orderlock is ready'
        echo '  listens on  http://127.0.0.1:41233'
        echo '  try         '
        echo '    curl --version http://127.0.0.1:41233'
        sleep infinity & wait";

    /// Walks through a README with that server. Returns how many servers were stopped, too.
    fn walk(startup: &str, console: &str) -> (Result<()>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("<!-- startup -->\n```text\n{startup}\n```\n```console\n{console}\n```");
        let readme = Readme::parse(&text).unwrap();
        let site = Site {
            programs: folder.path().into(),
            server: Box::new(|| {
                let mut command = Command::new("bash");
                command.args(["-c", SERVER]).arg(folder.path());
                command
            }),
        };
        let result = site
            .startup(&readme.startup)
            .and_then(|()| site.commands(&readme.steps));
        let stopped = fs::read_to_string(folder.path().join("stopped")).unwrap();
        (result, stopped.lines().count())
    }

    const STARTUP: &str =
        "Orderlock is ready\n  listens on  http://127.0.0.1:8080\n...\n    curl ...";

    #[test]
    fn a_readme_that_is_true_passes_and_every_server_is_stopped() {
        let console =
            "$ at=http://127.0.0.1:8080\n$ echo \"$at/v1 ord_7\"\nhttp://127.0.0.1:8080/v1 ord_...";
        let (result, stopped) = walk(STARTUP, console);
        result.unwrap();
        assert_eq!(stopped, 2);
    }

    #[test]
    fn a_readme_that_is_not_true_fails_with_the_place_and_both_texts() {
        let (result, stopped) = walk(STARTUP, "$ echo one\ntwo");
        let error = format!("{:#}", result.unwrap_err());
        for part in ["README.md:9: $ echo one", "  | one", "  | two"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(stopped, 2);
        let (result, _) = walk(STARTUP, "$ echo one; false\none");
        assert!(format!("{:#}", result.unwrap_err()).contains("status 1"));
    }

    #[test]
    fn settings_of_the_person_stay_outside() {
        assert!(is_foreign("ORDERLOCK_LISTEN") && is_foreign("http_proxy"));
        assert!(!is_foreign("PATH") && !is_foreign("TMPDIR"));
    }
}
