//! The verbs of the store, a file for each, and what they share.

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
