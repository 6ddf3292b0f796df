//! What only a real PostgreSQL shows: schedules of its locks, lost connections, many nodes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests: they fail loudly and say what they did"
)]

mod answers;
mod batching;
mod chains;
mod cluster;
mod cut_short;
mod deeds;
mod doubt;
mod ending;
mod environment;
mod failover;
mod fairness;
mod faults;
mod health;
mod held_up;
mod journal;
mod marks;
mod nodes;
mod opening;
#[path = "../place/mod.rs"]
mod place;
mod plans;
mod pooler;
mod proxy;
mod recheck;
mod seen;
mod sessions;
mod tls;
mod told;
mod upgrade;
mod values;
mod world;
