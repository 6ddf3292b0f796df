//! The order manager, through its router and as a process.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails loudly, in its helpers too"
)]

mod bad_input;
mod contract;
mod elsewhere;
mod large;
mod openapi;
mod passed_over;
mod process;
mod readiness;
mod refusals;
mod resolution;
mod status_table;
mod strict;
mod strict_heads;
mod support;
