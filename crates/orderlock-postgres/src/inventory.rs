//! Every statement of the store, by its name: for tests that look at how the server carries each of
//! them out. A statement that is missing here fails a test.

use tokio_postgres::types::Type;

use crate::batch::locks;
use crate::open::epoch;
use crate::pipeline::{probe, write_statement};
use crate::pool::health;
use crate::sql::statement::{Batched, Sql};
use crate::verbs::sessions::void;
use crate::verbs::views::{entries_since, lists, pages, read};
use crate::verbs::{
    acquire_facts, break_lease, confirm, create, expire, fairness, resolve, retention, sessions,
    settle_facts, statements,
};

/// A statement as it is sent.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its name in the program: `statements::GRANT`, and its form where there are two.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// The types of its parameters.
    pub types: Vec<Type>,
}

trait Listed {
    fn list(&'static self, name: &'static str) -> Vec<Statement>;
}

impl Listed for Sql {
    fn list(&'static self, name: &'static str) -> Vec<Statement> {
        let (text, types) = (self.text, self.types().collect());
        vec![Statement { name, text, types }]
    }
}

impl Listed for Batched {
    fn list(&'static self, name: &'static str) -> Vec<Statement> {
        let mut both = self.one.list(name);
        both.extend(self.many.list(name));
        both
    }
}

macro_rules! inventory {
    ($($module:ident: $($name:ident)+;)+) => {
        /// Every statement; of those with two forms, that for one request comes first.
        #[doc(hidden)]
        #[must_use]
        pub fn statements() -> Vec<Statement> {
            let lists = [$($(
                $module::$name.list(concat!(stringify!($module), "::", stringify!($name))),
            )+)+];
            lists.concat()
        }
    };
}

inventory! {
    acquire_facts: FACTS FACTS_BEFORE;
    break_lease: BREAK;
    confirm: CONFIRM;
    create: CREATE;
    entries_since: HORIZON LAG SINCE;
    epoch: BEGIN RESTORED STOP;
    expire: END_ANSWERS END_TOMBSTONES LEFT;
    fairness: FORGET WAIT;
    health: LOOK;
    lists: LEASES LIST LIST_BY_BOTH LIST_BY_CUSTOMER LIST_BY_STATUS MARKS;
    locks: LOCKED;
    pages: HISTORY MARK_END;
    probe: KEY_FACTS;
    read: LOOKUP READ;
    resolve: LOCK RESOLVE;
    retention: KEEP SEEN;
    sessions: ALL BEGIN END END_LAPSED END_OTHERS EXTEND KEEP_SECRET NAMED;
    settle_facts: SETTLE_FACTS;
    statements: GRANT LET_GO SETTLE;
    void: VOID;
    write_statement: WRITE;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The statements that stand in the sources, however they are listed above.
    fn written() -> BTreeSet<String> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = BTreeSet::new();
        let mut folders = vec![sources];
        while let Some(folder) = folders.pop() {
            for file in std::fs::read_dir(folder).unwrap() {
                let path = file.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    written_in(&path, &mut found);
                }
            }
        }
        found
    }

    /// The last name of a file's module.
    fn module(path: &Path) -> &str {
        fn name(path: &Path) -> &str {
            path.file_stem().unwrap().to_str().unwrap()
        }
        match name(path) {
            "mod" => name(path.parent().unwrap()),
            name => name,
        }
    }

    fn written_in(path: &Path, found: &mut BTreeSet<String>) {
        let module = module(path);
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let declared = line.trim_start().trim_start_matches("pub(crate) ");
            let Some((name, rest)) = declared
                .strip_prefix("static ")
                .and_then(|declared| declared.split_once(": "))
            else {
                continue;
            };
            if rest.starts_with("Sql") || rest.starts_with("Batched") {
                found.insert(format!("{module}::{name}"));
            }
        }
    }

    #[test]
    fn every_write_of_an_order_moves_its_counter() {
        for Statement { name, text, .. } in statements() {
            let writes = text.matches("UPDATE orders").count();
            assert_eq!(
                text.matches("writes = o.writes + 1").count(),
                writes,
                "{name}"
            );
        }
    }

    /// The number of the last parameter in a text.
    fn last_parameter(text: &str) -> usize {
        let numbers = text.split('$').skip(1).map(|after| {
            let digits = after.split(|it: char| !it.is_ascii_digit()).next();
            digits.unwrap_or_default().parse().unwrap_or(0)
        });
        numbers.max().unwrap_or(0)
    }

    #[test]
    fn every_parameter_has_a_type() {
        for Statement { name, text, types } in statements() {
            let last = last_parameter(text);
            // The pages of orders share one list of parameters, of which each has its own filters.
            let has_all = name.starts_with("lists::LIST") && last < types.len();
            assert!(
                has_all || last == types.len(),
                "{name}: {last} of {}",
                types.len()
            );
        }
    }

    #[test]
    fn no_statement_is_forgotten() {
        let listed: BTreeSet<_> = statements().iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(listed, written());
    }
}
