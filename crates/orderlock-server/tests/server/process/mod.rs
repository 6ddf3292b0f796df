//! The program itself: started, asked, stopped and killed.

mod concurrency;
mod connections;
mod crash;
mod file_limit;
mod load;
mod mongodb;
mod postgres;
mod server;
mod shutdown;
mod start;
