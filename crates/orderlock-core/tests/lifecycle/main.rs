//! The lifecycle over the model store: no HTTP, no SQL, no real time.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly, in its helpers too"
)]

mod asked_first;
mod bounds;
mod checkpoint;
mod clock;
mod create;
mod decide;
mod decided_late;
mod declared;
mod departed;
mod drain;
mod encoding;
mod ending;
mod faults;
mod flushes;
mod handover;
mod in_doubt;
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
mod told_in_time;
mod undo;
mod vanished;
mod voided;
mod words;
mod world;
