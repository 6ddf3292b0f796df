//! Histories by the script, for the checkers themselves: each with the one promise that it breaks, and
//! with one that is like it and breaks none.

mod close;
mod holds;
mod marks;
mod script;
mod stream;
mod watch;
