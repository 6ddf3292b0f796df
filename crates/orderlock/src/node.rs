//! What the node behind a lock is made from, and made from again when it is configured.

use std::sync::Arc;

use orderlock_core::{
    Answer, Answers, Lifecycle, Limits, OrderStore, Problem, Runtime, SettledView,
};

/// What the node is made from. A lifecycle cannot be changed, so it is made again.
#[derive(Clone, Debug)]
pub(crate) struct NodeParts {
    pub(crate) store: Arc<dyn OrderStore>,
    pub(crate) answers: Arc<dyn Answers>,
    pub(crate) limits: Limits,
    pub(crate) name: Option<String>,
}

impl NodeParts {
    /// A node of its own over the store.
    pub(crate) fn build(&self, runtime: &Arc<dyn Runtime>) -> Lifecycle {
        let builder =
            Lifecycle::builder(Arc::clone(&self.store), Shared(Arc::clone(&self.answers)))
                .limits(self.limits.clone())
                .runtime(Arc::clone(runtime));
        match &self.name {
            Some(name) => builder.node_name(name).build(),
            None => builder.build(),
        }
    }
}

/// Answers that several lifecycles share.
#[derive(Debug)]
struct Shared(Arc<dyn Answers>);

impl Answers for Shared {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        self.0.answer(settled)
    }

    fn problem(&self, problem: &Problem, order: Option<SettledView<'_>>) -> Answer {
        self.0.problem(problem, order)
    }
}
