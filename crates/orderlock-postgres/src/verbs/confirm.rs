//! What is answered because it was found, and not because it was just committed: a standby that is waited
//! for may not have it. Whoever has cancelled the commit, or restarted the server, has shown it to others.

use crate::pool::connection::Connection;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::statement::{Commit, Sql};

/// Writes a word into the log that nobody reads, if commits wait for a standby. Its commit waits for all
/// that lies before it in the log.
pub(crate) static CONFIRM: Sql = Sql {
    text: "SELECT pg_logical_emit_message(true, 'orderlock', ''::text)::text
        WHERE current_setting('synchronous_standby_names') <> ''",
    types: &[],
};

/// Returns when all that was seen before is confirmed as a commit of ours is.
pub(crate) async fn confirm(connection: &Connection) -> Result<(), Failure> {
    let confirmed = connection.transaction(Commit::Flushed, [(&CONFIRM, &[])]);
    let [_] = confirmed.await.map_err(TransactionError::into_failure)?;
    Ok(())
}
