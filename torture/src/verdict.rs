//! What a run comes to.

use anyhow::{Result, ensure};

use crate::plan::Plan;
use crate::planted::Planted;
use crate::run::Outcome;

/// The last line of a run that is as it should be.
///
/// # Errors
/// What was found that should not be, or was not found.
pub(crate) fn verdict(plan: &Plan, outcome: &Outcome) -> Result<String> {
    let took = outcome.took.as_secs_f64();
    let (store, seed, seconds) = (plan.store.name(), plan.seed, plan.length.as_secs());
    let broken = &outcome.pages.broken;
    if let Some(planted) = plan.planted {
        return found(planted, broken, took, seed);
    }
    let again = format!(
        "to draw the same again: cargo xtask torture --store {store} --seconds {seconds} --seed {seed}"
    );
    ensure!(
        broken.is_empty(),
        "on {store}, a promise broke: {}\n{again}",
        broken.join("; ")
    );
    let never: Vec<_> = outcome.never_struck.iter().map(|it| it.name()).collect();
    ensure!(
        never.is_empty(),
        "on {store}, never struck: {}; such a run proves nothing of them\n{again}",
        never.join(", ")
    );
    Ok(format!("{store}: every promise held for {took:.0} s"))
}

/// Whether the first promise that broke is the one that the planted fault breaks. Another one is a
/// fault that nobody has planted.
fn found(planted: Planted, broken: &[String], took: f64, seed: u64) -> Result<String> {
    let first = broken.first().map_or("", String::as_str);
    ensure!(
        !first.is_empty(),
        "the planted fault was not found within {took:.0} s; seed {seed}"
    );
    let its_own = planted.breaks().iter().any(|words| first.contains(words));
    ensure!(
        its_own,
        "a promise broke that the planted fault does not break: {}; seed {seed}",
        broken.join("; ")
    );
    Ok(format!(
        "the planted fault was found after {took:.0} s: {first}"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::faults::Fault;
    use crate::ledger::Pages;
    use crate::stores::Kind;

    fn comes_to(planted: Option<Planted>, broken: &[&str], never: &[Fault]) -> Result<String> {
        let length = Duration::from_secs(90);
        let plan = Plan::new(7, Kind::Sqlite, length, planted);
        let broken = broken.iter().map(|what| (*what).to_owned()).collect();
        let outcome = Outcome {
            pages: Pages {
                broken,
                ..Pages::default()
            },
            never_struck: never.to_vec(),
            entries: Vec::new(),
            took: length,
        };
        verdict(&plan, &outcome)
    }

    /// What the checkers say of the fault that the tests plant.
    const ITS_OWN: &str = "order-1: odd/k2 was run although it has taken effect (after 2.4 s)";
    const ANOTHER: &str = "the run came to no end when all was calm (after 300.0 s)";

    #[test]
    fn a_run_is_well_where_nothing_broke_and_every_fault_struck() {
        assert!(comes_to(None, &[], &[]).is_ok());
        assert!(comes_to(None, &[ITS_OWN], &[]).is_err());
        assert!(comes_to(None, &[], &[Fault::DiskFull]).is_err());
    }

    #[test]
    fn a_planted_fault_is_found_by_its_own_checker() {
        let planted = Some(Planted::AnyClock);
        assert!(comes_to(planted, &[ITS_OWN], &[]).is_ok());
        assert!(comes_to(planted, &[ITS_OWN, ANOTHER], &[]).is_ok());
        assert!(comes_to(planted, &[], &[]).is_err());
        let another = comes_to(planted, &[ANOTHER, ITS_OWN], &[]);
        let error = another.unwrap_err().to_string();
        assert!(error.contains("does not break"), "{error}");
    }
}
