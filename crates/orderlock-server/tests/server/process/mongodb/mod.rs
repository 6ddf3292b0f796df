//! The NestJS service whose lock Orderlock replaces: alone, and beside Orderlock on one collection.
//! The test command builds the service, starts a server for both and says where they are; with
//! `--without mongodb` it leaves these tests out, by the name of this module.

mod beside;
mod foreign;
mod holes;
mod log;
mod members;
mod nodes;
mod place;
mod provider;
mod refunds;
mod service;
