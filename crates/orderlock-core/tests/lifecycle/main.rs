//! The lifecycle over the model store: no HTTP, no SQL, no real time.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly, in its helpers too"
)]

mod bounds;
mod checkpoint;
mod clock;
mod create;
mod decide;
mod departed;
mod drain;
mod encoding;
mod ending;
mod faults;
mod handover;
mod keeping;
mod known;
mod late;
mod lease;
mod line;
mod nodes;
mod patience;
mod ready;
mod repeats;
mod resolve;
mod told;
mod vanished;
mod words;
mod world;
