//! What a run tells at its end.

use std::collections::BTreeMap;
use std::fmt;

use crate::faults::Fault;
use crate::plan::Plan;
use crate::run::Outcome;

/// A run's table.
pub(crate) struct Report<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) outcome: &'a Outcome,
}

fn counts<'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    writeln!(f, "  {title}")?;
    for (what, times) in rows {
        writeln!(f, "{times:>10}  {what}")?;
    }
    Ok(())
}

fn by_name(counted: &BTreeMap<String, u64>) -> impl Iterator<Item = (&str, u64)> {
    counted.iter().map(|(what, times)| (what.as_str(), *times))
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, outcome } = self;
        let pages = &outcome.pages;
        let (store, seed) = (plan.store.name(), plan.seed);
        let took = outcome.took.as_secs_f64();
        writeln!(f, "{store}, seed {seed}, {took:.0} s")?;
        counts(f, "operations", by_name(&pages.ends))?;
        counts(f, "verbs of the store", by_name(&pages.verbs))?;
        writeln!(f, "  faults that struck (and that met nothing)")?;
        let mut faults: Vec<Fault> = pages.struck.keys().copied().collect();
        faults.extend(pages.missed.keys());
        faults.sort();
        faults.dedup();
        for fault in faults {
            let times = |counted: &BTreeMap<Fault, u64>| counted.get(&fault).copied().unwrap_or(0);
            let (struck, missed) = (times(&pages.struck), times(&pages.missed));
            writeln!(f, "{struck:>10}  {} ({missed})", fault.name())?;
        }
        counts(
            f,
            "checks",
            pages.checks.iter().map(|(rule, times)| (*rule, *times)),
        )?;
        writeln!(f, "  entries that each reader had: {:?}", outcome.entries)
    }
}
