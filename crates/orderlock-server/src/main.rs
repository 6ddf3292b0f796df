//! The order manager.
fn main() {}
