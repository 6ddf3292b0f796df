//! Runs everything that the project checks.
fn main() {}
