//! Dispatch: whether memory, a reader or the writer carries a verb out, and for how long it is waited
//! for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{
    Acquire, Acquired, Known, Lookup, OrderView, Read, Released, StoreFuture, StoreInfo,
};
use orderlock_core::{LeaseView, LeaseViewState, Runtime, StoreError, Tenant};
use rusqlite::Connection;

use crate::deadline::Deadline;
use crate::file::error::Fault;
use crate::file::readers;
use crate::file::readers::{Readers, Snapshot};
use crate::open::owner::OwnerLock;
use crate::state::context::WriteContext;
use crate::verbs::acquire;
use crate::verbs::from_file::{Asking, Verb};
use crate::verbs::in_memory::{Asked, Direct};
use crate::verbs::pages::HeldRows;
use crate::verbs::settle;
use crate::verbs::settle::LetGo;
use crate::verbs::views;
use crate::writer::Writer;

// The order of the fields is the order of their end: those who read first, so that the writer can
// leave the file whole; the owner's lock last.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) direct: Arc<Direct>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) timeout: Duration,
    pub(crate) info: StoreInfo,
    pub(crate) _owner: OwnerLock,
}

impl Inner {
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(&self.runtime, self.timeout)
    }

    /// A verb that is a job of the writer.
    pub(crate) fn write<R, T>(
        &self,
        request: R,
        verb: fn(&mut WriteContext<'_>, &R) -> Result<T, Fault>,
    ) -> StoreFuture<'_, T>
    where
        R: Send + 'static,
        T: Send + 'static,
    {
        let work = move |context: &mut WriteContext<'_>| verb(context, &request);
        self.writer.run(work, self.deadline()).boxed()
    }

    pub(crate) async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        self.direct.owned()?;
        let mut asked = self.direct.acquire(&request)?;
        if matches!(asked, Asked::TheFile) {
            let read = self.ask_the_file(request.clone());
            // Once it is late nobody waits for it, and it grants nothing; but it may just have.
            let late = || StoreError::OutcomeUnknown("the store did not grant it in time".into());
            asked = self.deadline().within(read).await.ok_or_else(late)???;
        }
        match asked {
            Asked::Told(answer) => Ok(answer),
            Asked::TheFile | Asked::TheWriter => self.write(request, acquire::acquire).await,
        }
    }

    pub(crate) async fn let_go(&self, request: LetGo) -> Result<Released, StoreError> {
        self.direct.owned()?;
        match self.direct.let_go(&request)? {
            Asked::Told(released) => Ok(released),
            Asked::TheFile | Asked::TheWriter => self.write(request, settle::let_go).await,
        }
    }

    /// Reads one order and its lease at one moment. What is read is on the disk when this returns.
    pub(crate) async fn read_one(&self, request: Read) -> Result<Option<OrderView>, StoreError> {
        let asked = match self.direct.read(&request) {
            Asked::Told(view) => return Ok(Some(view)),
            Asked::TheWriter => Asked::TheWriter,
            Asked::TheFile => self.in_time(self.ask_the_file(request.clone())).await?,
        };
        match asked {
            Asked::Told(view) => Ok(view),
            _ => self.write(request, views::read_on_writer).await,
        }
    }

    /// Looks a key up. What is told of it is on the disk when this returns.
    pub(crate) async fn look_up(&self, request: Lookup) -> Result<Known, StoreError> {
        let mut asked = self.direct.look_up(&request);
        if matches!(asked, Asked::TheFile) {
            asked = self.in_time(self.ask_the_file(request.clone())).await?;
        }
        let Asked::Told(known) = asked else {
            return self.write(request, views::look_up_on_writer).await;
        };
        // The order that a creation made under a chosen id may just be written.
        if matches!(&known, Known::Settled(entry) if entry.target != request.target) {
            self.reached().await?;
        }
        Ok(known)
    }

    /// Has a reader look at the file. If the future is dropped before that has begun, nothing is read.
    async fn ask_the_file<V: Verb>(
        &self,
        verb: V,
    ) -> Result<Result<Asked<V::Answer>, Fault>, StoreError> {
        let (question, answer) = Asking::new(&self.direct, verb);
        self.readers.order(question).await?;
        answer.await.map_err(|_| readers::stopped())
    }

    /// Reads a page of a tenant's orders and their leases: the leases first, so that none is missing
    /// that the snapshot shows at work. What is read is on the disk when this returns.
    pub(crate) async fn read_tenant<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        work: impl FnOnce(&Connection, &HeldRows) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (direct, tenant) = (Arc::clone(&self.direct), tenant.clone());
        let read = move |file: &Connection| {
            let held = direct.leases.of_tenant(&tenant);
            let snapshot = Snapshot::begin(file)?;
            work(&snapshot, &held)
        };
        let page = self.in_time(self.readers.page(read)).await?;
        self.reached().await?;
        Ok(page)
    }

    /// What was granted since the leases were looked at is no mark that nobody attends to.
    pub(crate) fn attended(&self, view: &mut LeaseView) {
        if view.state == LeaseViewState::Marked
            && let Some(held) = self.direct.held(&view.target)
        {
            *view = held.lease().view(&view.target);
        }
    }

    /// Reads the journal. What is read is on the disk when this returns.
    pub(crate) async fn read_journal<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let read = move |file: &Connection| {
            let snapshot = Snapshot::begin(file)?;
            work(&snapshot)
        };
        let read = self.in_time(self.readers.page(read)).await?;
        self.reached().await?;
        Ok(read)
    }

    /// Waits until all that was read is on the disk.
    pub(crate) async fn reached(&self) -> Result<(), StoreError> {
        let reached = self
            .deadline()
            .within(self.direct.durability.reached())
            .await;
        reached.ok_or_else(late)?
    }

    /// What is read in time.
    async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<Result<T, Fault>, StoreError>>,
    ) -> Result<T, StoreError> {
        let read = self.deadline().within(read).await;
        Ok(read.ok_or_else(late)???)
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        if self.writer.has_died() {
            return Some("the store's writer has stopped; restart the process".to_owned());
        }
        self.direct.shared.health.trouble()
    }
}

/// Nothing was changed by what took too long.
fn late() -> StoreError {
    StoreError::NotApplied("the store did not read it in time".into())
}
