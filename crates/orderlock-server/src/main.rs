//! The program `orderlock`.

use std::process::ExitCode;

use orderlock_server::cli::{Cli, Verb};
use orderlock_server::{Failed, log, probe, serve};

/// An operation passes through several threads, and each takes and gives back memory of the others.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = match Cli::read() {
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Openapi => serve::openapi(),
        Verb::Health(arguments) => probe::run(arguments),
    };
    let (words, code) = match ended {
        Ok(()) => (String::new(), 0),
        Err(failed) => {
            let code = match failed {
                Failed::Usage(_) => 2,
                Failed::Running(_) => 1,
            };
            (format!("orderlock: {failed}"), code)
        }
    };
    log::end(&words);
    ExitCode::from(code)
}
