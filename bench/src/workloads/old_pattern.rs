//! Orderlock on a MongoDB, beside the lock that NestJS services have there.

use std::rc::Rc;

use anyhow::Result;

use super::Bench;
use crate::documents::{Documents, Own};
use crate::peer::Peer;
use crate::subject::{Subject, System};

/// One client alone, and many.
const CONCURRENCY: [usize; 2] = [1, 64];

impl Bench<'_> {
    /// Returns what the server is.
    pub(super) fn old_pattern(&mut self, address: &str) -> Result<String> {
        let documents = Rc::new(Documents::connect(address)?);
        for system in [System::MongodbNode, System::OldPattern] {
            let own = Own::new(&documents);
            let place = self.place()?;
            let server = if system == System::OldPattern {
                Peer::own(&["serve-old-pattern"], &place, Some(&own.address("")))?
            } else {
                let address = own.address("collection=orders");
                Peer::orderlock(&self.program, &place, Some(&address))?
            };
            let subject = Subject {
                own: Some(own),
                ..Subject::alone(system, server)
            };
            let paths = self.create(&subject, self.plan.documents)?;
            for concurrency in CONCURRENCY {
                self.edits("uniform", &subject, &paths, concurrency)?;
            }
        }
        Ok(documents.describe())
    }
}
