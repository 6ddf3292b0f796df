//! The lifecycle over the model store: no HTTP, no SQL, no real time.

mod checkpoint;
mod create;
mod drain;
mod ending;
mod lease;
mod line;
mod nodes;
mod world;
