//! The library as its users meet it: over HTTP, through the adapter and through the layer.

mod client;
mod coverage;
mod world;
