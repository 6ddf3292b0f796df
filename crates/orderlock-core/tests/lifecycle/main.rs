//! The lifecycle over the model store: no HTTP, no SQL, no real time.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly, in its helpers too"
)]

mod checkpoint;
mod create;
mod departed;
mod drain;
mod encoding;
mod ending;
mod faults;
mod handover;
mod keeping;
mod late;
mod lease;
mod line;
mod nodes;
mod patience;
mod resolve;
mod world;
