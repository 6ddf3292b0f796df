//! A look at a session which all who want it at the same moment share: under load, many requests of one
//! node ask whether the same session goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use mongodb::bson::doc;
use orderlock_core::SessionId;

use crate::database::calls::Calls;
use crate::document::fields::hex;
use crate::error::Failure;
use crate::sessions::row::SessionRow;

type SharedLook = Shared<BoxFuture<'static, Result<Option<i64>, Failure>>>;

/// The looks that are under way.
#[derive(Debug, Default)]
pub(crate) struct SharedLooks(Mutex<HashMap<SessionId, SharedLook>>);

impl SharedLooks {
    /// How often a session was renewed, or none if it has ended.
    pub(crate) async fn look(
        &self,
        calls: &Arc<Calls>,
        session: SessionId,
    ) -> Result<Option<i64>, Failure> {
        let look = {
            let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            looks.retain(|_, look| look.peek().is_none());
            let look = looks
                .entry(session)
                .or_insert_with(|| begin(calls, session));
            SharedLook::clone(look)
        };
        look.await
    }
}

/// Begins a look, in a task of its own: it comes to its end also if those who wait go away.
fn begin(calls: &Arc<Calls>, session: SessionId) -> SharedLook {
    let runtime = Arc::clone(&calls.runtime);
    let calls = Arc::clone(calls);
    let look = async move {
        let query = calls.sessions.find_one(doc! {"_id": hex(session.0)});
        let found = calls.one(query).await?;
        let row = found.as_ref().map(SessionRow::read).transpose()?;
        Ok(row.map(|row| row.renewals))
    };
    let look = look.boxed().shared();
    runtime.spawn(SharedLook::clone(&look).map(drop).boxed());
    look
}
