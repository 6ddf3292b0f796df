//! A statement as it stands in the program, and what its commit waits for.

use tokio_postgres::types::{ToSql, Type};

/// A statement as it stands in the program. It is always a `static`: its address is its name.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) text: &'static str,
    /// The types of its parameters, in the lists that they are declared in, given so that they need not
    /// be asked for.
    pub(crate) types: &'static [&'static [Type]],
}

impl Sql {
    /// The types of its parameters.
    pub(crate) fn types(&self) -> impl Iterator<Item = Type> {
        self.types.iter().copied().flatten().cloned()
    }
}

/// A statement over a batch of requests, in two forms that do the same. Most of what the form for many
/// costs is setting out its joins, and a batch of one has no use for them.
#[derive(Debug)]
pub(crate) struct Batched {
    pub(crate) one: Sql,
    pub(crate) many: Sql,
}

/// The parameters of a statement.
pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Until it survives power loss, and a fail-over where the server is set up for it.
    Flushed,
    /// Nothing: a crash of the server may lose it.
    Unflushed,
}
