//! The program `orderlock`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use orderlock_server::cli::{Cli, Verb};
use orderlock_server::{Failed, probe, serve};

/// An operation passes through several threads, and each takes and gives back memory of the others.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = match Cli::read() {
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Openapi => serve::openapi(),
        Verb::Health(arguments) => probe::run(&arguments.server),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // Nobody may be left to read it.
            let _unread = writeln!(io::stderr(), "orderlock: {failed}");
            ExitCode::from(match failed {
                Failed::Usage(_) => 2,
                Failed::Running(_) => 1,
            })
        }
    }
}
