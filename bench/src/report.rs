//! The document: the machine, the tables, the targets.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use orderlock::{Runtime as _, TokioRuntime};

use crate::Plan;
use crate::figures::{Row, Run};
use crate::plan::{WITHOUT_MONGODB, WITHOUT_POSTGRES};
use crate::subject::Base;
use crate::targets::judge;
use crate::workloads::{Left, Measured};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

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
    embedded(text, measured)?;
    shared(text, measured)?;
    documents(text, measured)?;
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

fn embedded(text: &mut String, measured: &Measured) -> Result<(), std::fmt::Error> {
    text.push_str(
        "### On a file\n\n\
         | workload | connections | requests/s (min to max) | p50 ms | p99 ms | max ms | server us | load us | flushes | bytes written | memory MiB | wrong |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in of(measured, Base::File) {
        let run = row.median();
        let flushes = run.flushes.map_or("-".to_owned(), |it| format!("{it:.3}"));
        writeln!(
            text,
            "| {}{} | {} | {} | {:.0} | {:.0} | {flushes} | {:.0} | {:.0} | {} |",
            row.name,
            mark(row),
            row.concurrency,
            speed(row),
            run.processor,
            run.load,
            run.written,
            run.resident as f64 / MEBIBYTE,
            wrong(row),
        )?;
    }
    text.push_str(
        "\n`server us` and `load us` are microseconds of processor time for each request, of the server and of the load. \
         `flushes` are those of the whole disk, for each request; `bytes written` those of the server.\n\n",
    );
    Ok(())
}

fn shared(text: &mut String, measured: &Measured) -> Result<(), std::fmt::Error> {
    text.push_str("### On a PostgreSQL\n\n");
    let Some(database) = &measured.database else {
        return writeln!(text, "{WITHOUT_POSTGRES}.");
    };
    writeln!(text, "{database}.\n")?;
    text.push_str(
        "| workload | system | connections | requests/s (min to max) | p50 ms | p99 ms | max ms | server us | database us | log bytes | log flushes | database connections | memory MiB | wrong |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in &measured.rows {
        let run = row.median();
        let Some(shared) = run.shared else {
            continue;
        };
        let processor = shared
            .processor
            .map_or("-".to_owned(), |it| format!("{it:.0}"));
        writeln!(
            text,
            "| {}{} | {} | {} | {} | {:.0} | {processor} | {:.0} | {:.3} | {} | {:.0} | {} |",
            row.name,
            mark(row),
            row.system.name(),
            row.concurrency,
            speed(row),
            run.processor,
            shared.log_bytes,
            shared.flushes,
            shared.connections,
            run.resident as f64 / MEBIBYTE,
            wrong(row),
        )?;
    }
    text.push_str(
        "\n`database us` is the processor time of all processes of the PostgreSQL, for each request; `log bytes` and \
         `log flushes` are those of its write-ahead log, for each request. It counts a flush up to a second late. \
         `memory MiB` is without the database's.\n",
    );
    if measured.left.is_empty() {
        return Ok(());
    }
    text.push_str(
        "\nWhat operations left behind in the tables, before a vacuum was asked for:\n\n\
         | system | operations | updates of orders | of them in place | orders MiB before | after | all tables MiB before | after | dead rows |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for left in &measured.left {
        remains(text, left)?;
    }
    text.push_str(
        "\nAn update in place (HOT) finds room on its page and touches no index. Sizes are with indexes.\n",
    );
    Ok(())
}

fn documents(text: &mut String, measured: &Measured) -> Result<(), std::fmt::Error> {
    text.push_str("\n### On a MongoDB\n\n");
    let Some(server) = &measured.documents else {
        return writeln!(text, "{WITHOUT_MONGODB}.");
    };
    writeln!(text, "{server}.\n")?;
    text.push_str(
        "| workload | system | connections | requests/s (min to max) | p50 ms | p99 ms | max ms | server us | memory MiB | wrong |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in of(measured, Base::Mongodb) {
        let run = row.median();
        writeln!(
            text,
            "| {}{} | {} | {} | {} | {:.0} | {:.0} | {} |",
            row.name,
            mark(row),
            row.system.name(),
            row.concurrency,
            speed(row),
            run.processor,
            run.resident as f64 / MEBIBYTE,
            wrong(row),
        )?;
    }
    text.push_str("\nThe processor time and the memory are without the database's, which counts among the others.\n");
    Ok(())
}

fn of(measured: &Measured, base: Base) -> impl Iterator<Item = &Row> {
    let rows = measured.rows.iter();
    rows.filter(move |row| row.system.base() == base)
}

fn remains(text: &mut String, left: &Left) -> Result<(), std::fmt::Error> {
    let Left {
        system,
        operations,
        before,
        after,
    } = left;
    let mebibytes = |bytes: i64| bytes as f64 / MEBIBYTE;
    let updates = after.updates - before.updates;
    let in_place = (after.in_place - before.in_place) as f64 / updates.max(1) as f64 * 100.0;
    writeln!(
        text,
        "| {} | {operations} | {updates} | {in_place:.1} % | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
        system.name(),
        mebibytes(before.orders),
        mebibytes(after.orders),
        mebibytes(before.all),
        mebibytes(after.all),
        after.dead,
    )
}

/// Whether others disturbed the row.
fn mark(row: &Row) -> &'static str {
    if row.spoilt() { "*" } else { "" }
}

/// The columns of throughput and latency.
fn speed(row: &Row) -> String {
    let run = row.median();
    let milliseconds = |microseconds: u64| microseconds as f64 / 1_000.0;
    let rate = |run: Option<&Run>| run.map_or(0.0, |run| run.rate);
    format!(
        "{:.0} ({:.0} to {:.0}) | {:.2} | {:.2} | {:.1}",
        run.rate,
        rate(row.runs.first()),
        rate(row.runs.last()),
        milliseconds(run.p50),
        milliseconds(run.p99),
        milliseconds(run.max),
    )
}

fn wrong(row: &Row) -> u64 {
    row.runs.iter().map(|run| run.errors).sum()
}
