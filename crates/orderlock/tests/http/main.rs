//! The library as its users meet it: over HTTP, through the adapter and through the layer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what helps a test may fail as loudly as the test itself"
)]

mod blocked;
mod callers;
mod client;
mod coverage;
mod creation;
mod external;
mod failing;
mod handler;
mod paths;
mod problems;
mod replay;
mod requests;
mod resolution;
mod restart;
mod tower_layer;
mod views;
mod world;
