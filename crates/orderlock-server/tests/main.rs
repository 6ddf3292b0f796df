//! The order manager, through its router and as a process.

mod bad_input;
mod contract;
mod openapi;
mod process;
mod status_table;
mod support;
