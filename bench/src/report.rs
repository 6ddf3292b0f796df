//! The document: the machine, the table, the targets.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use orderlock::{Runtime as _, TokioRuntime};

use crate::Plan;
use crate::figures::Row;
use crate::targets::judge;
use crate::workloads::Measured;

const PROSE: &str = include_str!("template.md");

/// What was found by hand: where the time goes, and what was tried.
const FINDINGS: &str = include_str!("findings.md");

pub(crate) fn document(plan: &Plan, measured: &Measured) -> String {
    let mut text = PROSE.to_owned();
    let date = TokioRuntime.wall().strftime("%Y-%m-%d").to_string();
    // Writing into a string cannot fail.
    let _ = write_all(&mut text, plan, measured, &date);
    text.push('\n');
    text.push_str(FINDINGS);
    text
}

fn write_all(
    text: &mut String,
    plan: &Plan,
    measured: &Measured,
    date: &str,
) -> Result<(), std::fmt::Error> {
    let (runs, seconds) = (plan.runs, plan.time.as_secs());
    writeln!(text, "## Measured on {date}\n")?;
    writeln!(
        text,
        "{runs} runs of {seconds} s each, Orderlock {}.\n",
        env!("CARGO_PKG_VERSION")
    )?;
    for (name, value) in &measured.machine {
        writeln!(text, "- {name}: {value}")?;
    }
    let quantiles = |histogram: &Histogram<u64>| {
        let at = |quantile| histogram.value_at_quantile(quantile);
        format!("p50 {} us, p99 {} us", at(0.5), at(0.99))
    };
    let flushes = &measured.flushes;
    writeln!(
        text,
        "- one flush of 4 KiB, overwriting: {}",
        quantiles(&flushes.overwriting)
    )?;
    writeln!(
        text,
        "- the same, growing the file: {}\n",
        quantiles(&flushes.growing)
    )?;
    text.push_str(
        "| workload | connections | requests/s (min to max) | p50 ms | p99 ms | max ms | server us | load us | flushes | bytes written | memory MiB | wrong |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in &measured.rows {
        line(text, row)?;
    }
    text.push_str(
        "\n`server us` and `load us` are microseconds of processor time for each request, of the server and of the load. \
         `flushes` are those of the whole disk, for each request; `bytes written` those of the server.\n",
    );
    writeln!(
        text,
        "\n## Targets\n\n| target | measured | met |\n| --- | ---: | --- |"
    )?;
    for target in judge(plan, measured) {
        let met = if target.met { "yes" } else { "**no**" };
        writeln!(text, "| {} | {} | {met} |", target.what, target.figure)?;
    }
    Ok(())
}

fn line(text: &mut String, row: &Row) -> Result<(), std::fmt::Error> {
    let run = row.median();
    let milliseconds = |microseconds: u64| microseconds as f64 / 1_000.0;
    let (least, most) = (row.runs.first(), row.runs.last());
    let (least, most) = (
        least.map_or(0.0, |run| run.rate),
        most.map_or(0.0, |run| run.rate),
    );
    let mark = if row.spoilt() { "*" } else { "" };
    let flushes = run
        .flushes
        .map_or("-".to_owned(), |flushes| format!("{flushes:.3}"));
    writeln!(
        text,
        "| {}{mark} | {} | {:.0} ({least:.0} to {most:.0}) | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} | {flushes} | {:.0} | {:.0} | {} |",
        row.name,
        row.concurrency,
        run.rate,
        milliseconds(run.p50),
        milliseconds(run.p99),
        milliseconds(run.max),
        run.processor,
        run.load,
        run.written,
        run.resident as f64 / (1024.0 * 1024.0),
        row.runs.iter().map(|run| run.errors).sum::<u64>(),
    )
}
