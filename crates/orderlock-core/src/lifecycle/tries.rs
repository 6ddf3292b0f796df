//! Which failures of the store are asked about again, and how often: decided here and nowhere else.

use super::node::Node;
use super::verbs::Deadline;
use crate::StoreError;

/// Which failures of a verb are asked about again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Those that leave in doubt what happened, and whatever comes after one: that a later try did
    /// not happen says nothing about the one before it. A plain failure is the answer.
    InDoubt,
    /// Those that may pass: for what others wait for, such as letting an order go.
    MayPass,
}

/// The tries of one verb: at most one more than `Limits::repeats`.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    node: &'a Node,
    retry: Retry,
    /// No try begins after this time; none if only the number of tries is bounded.
    by: Option<Deadline>,
    repeats: u32,
    in_doubt: bool,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(node: &'a Node, retry: Retry, by: Option<Deadline>) -> Self {
        Self {
            node,
            retry,
            by,
            repeats: 0,
            in_doubt: false,
        }
    }

    /// Whether any try so far may have happened although it was not answered.
    pub(crate) fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Takes in how a try failed, and waits before the next one. False if there is to be none.
    pub(crate) async fn again(&mut self, error: &StoreError) -> bool {
        self.in_doubt |= error.may_have_happened();
        let worth_it = match self.retry {
            Retry::InDoubt => self.in_doubt,
            Retry::MayPass => error.may_pass(),
        };
        if !worth_it || self.repeats >= self.node.limits.repeats {
            return false;
        }
        self.repeats += 1;
        let pause = self.node.pause(self.repeats, self.node.limits.store);
        if self.by.is_some_and(|by| self.node.left(by) <= pause) {
            return false;
        }
        self.node.runtime.sleep(pause).await;
        true
    }
}
