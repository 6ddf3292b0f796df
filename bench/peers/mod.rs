//! What one would write by hand in the place of Orderlock, as fair and well-made peers: axum, a
//! pool of connections to PostgreSQL, and transactions; on a MongoDB, the old pattern. `README.md` beside this file says what each
//! of them does.

mod http;
mod line;
pub(crate) mod old_pattern;
pub(crate) mod one_transaction;
mod pool;
pub(crate) mod two_transactions;
mod work;
