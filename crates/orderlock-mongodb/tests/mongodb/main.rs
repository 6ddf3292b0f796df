//! What the suite does not ask: commands as they are sent, lost connections, services that know
//! nothing of Orderlock, many nodes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests: they fail loudly and say what they did"
)]

mod bounds;
mod commands;
mod fairness;
mod faults;
mod foreign;
mod foreign_locks;
mod layout;
mod nodes;
mod opening;
#[path = "../place/mod.rs"]
mod place;
mod proxy;
mod refusals;
mod relay;
mod world;
