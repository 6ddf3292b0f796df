//! The library as its users meet it: over HTTP, through the adapter and through the layer.

mod client;
mod coverage;
mod failing;
mod problems;
mod replay;
mod requests;
mod tower_layer;
mod world;
