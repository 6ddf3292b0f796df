//! The verbs of the store, a file for each, and what several of them do.
//!
//! An `acquire` is decided in `decide`, what stands in its way is answered in `answers`, and what is left to
//! do under a new lease before its holder may begin is in `grant`. `hand_over` does the same for the next
//! request when a lease ends, by a settle or by `give_up`. `fairness` keeps an order for a node that has
//! waited for long enough. `leases` ends many leases at once, for the sessions whose renewals `tend` to
//! them, and for the sweep. `insert` writes a new order, also under a `chosen_id`.

pub(crate) mod acquire;
pub(crate) mod answers;
pub(crate) mod break_lease;
pub(crate) mod changed_elsewhere;
pub(crate) mod chosen_id;
pub(crate) mod create;
pub(crate) mod cursor;
pub(crate) mod decide;
pub(crate) mod entries_since;
pub(crate) mod expire;
pub(crate) mod fairness;
pub(crate) mod give_up;
pub(crate) mod grant;
pub(crate) mod hand_over;
pub(crate) mod history;
pub(crate) mod insert;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod read;
pub(crate) mod release;
pub(crate) mod resolve;
pub(crate) mod sessions;
pub(crate) mod settle;
pub(crate) mod sweep;
pub(crate) mod tend;
