//! The command line.

use std::path::PathBuf;

use clap::error::ContextValue;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{FILE_VARIABLE, Given, Settings, hide, masked};

/// Changes one order at a time, exactly once, whatever breaks.
///
/// Exit codes: 0 when it ended as asked, 1 when it failed while it ran, 2 when the command line or
/// a setting is wrong.
#[derive(Debug, Parser)]
#[command(name = "orderlock", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command; without one, `serve`.
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    serve: Serve,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Serves orders over HTTP
    Serve(Serve),
    /// Prints the OpenAPI document
    Openapi,
    /// Asks a running server whether it is ready, for container checks
    Health(Health),
}

/// The arguments of `orderlock serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct Serve {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
    pub config: Option<PathBuf>,

    /// Prints every setting with its value and where it came from, and ends
    #[arg(long)]
    pub print_config: bool,

    /// Flags for the settings; each replaces the value of file and variable.
    #[command(flatten)]
    pub settings: Given,
}

/// The arguments of `orderlock health`.
#[derive(Debug, Args)]
pub struct Health {
    /// The server's URL; otherwise the address in the settings
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,

    /// The TOML file with the server's settings
    #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
    pub config: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line; ends the program if it is wrong or only asks for help.
    #[must_use]
    pub fn read() -> Action {
        let matches = command()
            .try_get_matches()
            .unwrap_or_else(|error| without_secrets(error).exit());
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.action.unwrap_or(Action::Serve(cli.serve))
    }
}

/// An error as it may be shown: it repeats what it could not read, which may be an address with a
/// password.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    let repeated: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(masked(text)))),
            _ => None,
        })
        .collect();
    for (kind, value) in repeated {
        error.insert(kind, value);
    }
    // The reader of the value repeats it too.
    let text = error.to_string();
    let shown = hide(&text);
    if shown == text {
        return error;
    }
    let shown = shown.strip_prefix("error: ").unwrap_or(&shown);
    clap::Error::raw(error.kind(), shown)
}

/// The command line with the defaults and the variables in its help.
fn command() -> clap::Command {
    let described = |command: clap::Command| {
        let values = Settings::default().values();
        let settings = Settings::NAMES.iter().zip(values);
        settings.fold(command, |command, (name, value)| {
            command.mut_arg(name, |arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let variable = name.to_uppercase();
                arg.help(format!(
                    "{help} [default: {value}] [env: ORDERLOCK_{variable}]"
                ))
            })
        })
    };
    described(Cli::command()).mut_subcommand("serve", described)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Action, clap::Error> {
        let all = ["orderlock"].iter().chain(arguments);
        let matches = command()
            .try_get_matches_from(all)
            .map_err(without_secrets)?;
        let cli = Cli::from_arg_matches(&matches)?;
        Ok(cli.action.unwrap_or(Action::Serve(cli.serve)))
    }

    #[test]
    fn the_command_line_agrees_with_itself() {
        command().debug_assert();
        let help = command().render_long_help().to_string();
        assert!(
            help.contains("[default: 127.0.0.1:8080] [env: ORDERLOCK_LISTEN]"),
            "{help}"
        );
    }

    #[test]
    fn without_a_verb_it_serves() {
        for arguments in [&["--line-limit", "7"][..], &["serve", "--line-limit", "7"]] {
            let Action::Serve(serve) = parse(arguments).unwrap() else {
                panic!("{arguments:?} does not serve");
            };
            assert_eq!(serve.settings.line_limit.map(|limit| limit.0), Some(7));
        }
    }

    #[test]
    fn a_password_is_never_repeated() {
        let address = "postgresql//u:SEKRET@h/d";
        for arguments in [
            &["--store", address][..],
            &["serve", &format!("--store={address}")],
            &["--store", "postgresql//u:SE KRET@h/d"],
            &["serve", "--line-limit", address],
            &["serve", &format!("--stroe={address}")],
            &["serve", "--stroe", address],
            &["serve", address],
            &[address],
            &["health", address],
        ] {
            let error = parse(arguments).unwrap_err();
            println!("{error}");
            assert!(!error.to_string().contains("KRET"), "{error}");
        }
    }

    #[test]
    fn an_unknown_flag_is_refused_with_the_nearest_one() {
        let error = parse(&["serve", "--line-limt", "7"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--line-limit"), "{error}");
        let error = parse(&["--listen", "nowhere"]).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:8080"), "{error}");
        let wrong = [
            (["--handler-limit", "-5s"], "500ms, 30s"),
            (["--line-limit", "-1"], "write a whole number, like 1024"),
            (
                ["--body-limit", "1MB"],
                "write a number of bytes, like 1048576",
            ),
            (["--log-level", "loud"], "error, warn, info, debug or trace"),
        ];
        for (arguments, advice) in wrong {
            let error = parse(&arguments).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
    }
}
