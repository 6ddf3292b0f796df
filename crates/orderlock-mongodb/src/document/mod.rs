//! An order's document: how it is read, and what is written into it. Nothing here asks the server.
//!
//! `order` is the whole document as it was read, `plan` one step that changes it, `update` the write of that
//! step. The rest are the parts: own fields (`json`, `difference`, `items`), `lease`, `keys`, `entry`, `waits`.

pub(crate) mod difference;
pub(crate) mod entry;
pub(crate) mod fields;
pub(crate) mod items;
pub(crate) mod json;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod order;
pub(crate) mod order_id;
pub(crate) mod plan;
pub(crate) mod update;
pub(crate) mod waits;
