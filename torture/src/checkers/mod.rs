//! What must be true: while the run goes on, of each order when it is closed, and when all is over.

mod book;
mod close;
mod end;
mod given_up;
mod marks;
mod outside;
mod settles;
mod stream;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use book::{Book, words};
pub(crate) use close::{create, keep_tales, may_be_expired};
pub(crate) use end::{never_struck, quiesce};
pub(crate) use stream::{Streams, read as read_stream};
pub(crate) use watch::Watched;
