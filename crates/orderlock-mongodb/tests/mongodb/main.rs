//! What the suite does not ask: commands as they are sent, lost connections, services that know
//! nothing of Orderlock, many nodes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests: they fail loudly and say what they did"
)]

mod bounds;
mod chosen;
mod commands;
mod cost;
mod fairness;
mod faults;
mod foreign;
mod foreign_locks;
mod handing;
mod layout;
mod nodes;
mod odd;
mod opening;
mod pages;
#[path = "../place/mod.rs"]
mod place;
mod proxy;
mod refusals;
mod relay;
mod replaced;
mod restored;
mod spilled;
mod upgrade;
mod values;
mod watch;
mod world;
