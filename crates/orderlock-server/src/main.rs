//! The program `orderlock`.

use std::process::ExitCode;

use orderlock_server::cli::{Action, Cli};
use orderlock_server::{ProgramError, log, probe, serve};

/// An operation passes through several threads, and each takes and gives back memory of the others.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = match Cli::read() {
        Action::Serve(arguments) => serve::run(arguments),
        Action::Openapi => serve::openapi(),
        Action::Health(arguments) => probe::run(arguments),
    };
    let (words, code) = match ended {
        Ok(()) => (String::new(), 0),
        Err(failed) => {
            let code = match failed {
                ProgramError::Usage(_) => 2,
                ProgramError::Running(_) => 1,
            };
            (format!("orderlock: {failed}"), code)
        }
    };
    log::end(&words);
    ExitCode::from(code)
}
