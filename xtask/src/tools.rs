//! The tools that a step needs, and what to do when one is missing.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A program that the test command calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The formatter.
    Rustfmt,
    /// The linter.
    Clippy,
    /// The C compiler: it builds the bundled SQLite, and links.
    Compiler,
    /// The shell that runs the commands of README.md.
    Bash,
    /// The client in README.md.
    Curl,
}

impl Tool {
    fn probe(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Rustfmt => ("cargo", &["fmt", "--version"]),
            Self::Clippy => ("cargo", &["clippy", "--version"]),
            Self::Compiler => ("cc", &["--version"]),
            Self::Bash => ("bash", &["--version"]),
            Self::Curl => ("curl", &["--version"]),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Rustfmt => "rustfmt is missing. Install it with: rustup component add rustfmt",
            Self::Clippy => "clippy is missing. Install it with: rustup component add clippy",
            Self::Compiler => "there is no C compiler `cc`. On Debian: apt-get install gcc",
            Self::Bash => "bash is missing. On Debian: apt-get install bash",
            Self::Curl => "curl is missing. On Debian: apt-get install curl",
        }
    }
}

/// Asks whether a tool is there.
///
/// # Errors
/// How to install it.
pub(crate) fn need(tool: Tool) -> Result<()> {
    let (program, arguments) = tool.probe();
    let answer = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match answer {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("{}", tool.remedy()),
    }
}
