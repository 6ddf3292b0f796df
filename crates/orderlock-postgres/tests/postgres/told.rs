//! What a server has told in its log of how it carried statements out.

use serde::Deserialize;

/// How one statement was carried out.
#[derive(Debug)]
pub(crate) struct Told {
    /// As it was sent.
    pub(crate) text: String,
    /// The most rows that one step has looked at of a table, or in vain.
    pub(crate) rows: f64,
    /// The most pages that one step has looked at, with all the steps below it.
    pub(crate) pages: u64,
    /// Whether a large table was read from its beginning.
    pub(crate) walks: bool,
    /// The steps that look at tables.
    pub(crate) plan: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
struct Carried {
    #[serde(rename = "Query Text")]
    text: String,
    plan: Step,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
struct Step {
    #[serde(rename = "Node Type")]
    kind: String,
    #[serde(rename = "Relation Name")]
    table: Option<String>,
    #[serde(rename = "Index Name")]
    index: Option<String>,
    #[serde(rename = "Actual Rows", default)]
    rows: f64,
    #[serde(rename = "Actual Loops", default)]
    loops: f64,
    #[serde(rename = "Rows Removed by Filter", default)]
    filtered: f64,
    #[serde(rename = "Rows Removed by Index Recheck", default)]
    rechecked: f64,
    #[serde(rename = "Rows Removed by Join Filter", default)]
    unjoined: f64,
    #[serde(rename = "Shared Hit Blocks", default)]
    hit: u64,
    #[serde(rename = "Shared Read Blocks", default)]
    read: u64,
    #[serde(default)]
    plans: Vec<Self>,
}

/// The tables that grow with the orders.
const LARGE: [&str; 3] = ["orders", "entries", "keys"];

impl Step {
    fn note(&self, told: &mut Told) {
        let mut rows = self.filtered + self.rechecked + self.unjoined;
        // What functions tell does not grow with the orders.
        if self.table.is_some() {
            rows += self.rows;
        }
        rows *= self.loops;
        told.rows = told.rows.max(rows);
        told.pages = told.pages.max(self.hit + self.read);
        if let Some(table) = &self.table {
            let index = self.index.as_deref().unwrap_or("no index");
            let pages = self.hit + self.read;
            told.plan.push_str(&format!(
                "\n    {} of {table} by {index}: {rows} rows, {pages} pages",
                self.kind
            ));
            let large = LARGE.contains(&&**table);
            told.walks |= large && self.kind == "Seq Scan" && self.loops > 0.0;
        }
        for step in &self.plans {
            step.note(told);
        }
    }
}

/// What a log tells, the lines of which have no prefix.
pub(crate) fn told(log: &str) -> Vec<Told> {
    let mut all = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.ends_with("  plan:") {
            continue;
        }
        let mut json = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
            json.push_str(line);
            json.push('\n');
        }
        let Carried { text, plan } = serde_json::from_str(&json).unwrap();
        let mut told = Told {
            text,
            rows: 0.0,
            pages: 0,
            walks: false,
            plan: String::new(),
        };
        plan.note(&mut told);
        all.push(told);
    }
    all
}
