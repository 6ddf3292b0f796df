//! What the process knows in memory: leases, sessions, orders, answers, and what is on its way to the
//! disk.

pub(crate) mod answers;
pub(crate) mod context;
pub(crate) mod doubts;
pub(crate) mod durability;
pub(crate) mod health;
pub(crate) mod leases;
pub(crate) mod orders;
pub(crate) mod shared;
pub(crate) mod staged;
pub(crate) mod view;
