//! The table of the process as a document shows it.

use crate::Status;
use crate::operation::{BodyShape, OperationRow, To};
use crate::process::TABLE;

/// The process as a Markdown table, one row for each operation. A document that shows it is
/// compared with this text, so that it is never out of date.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "| operation | from | to | body | refused when | done already in |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let cells = [
            format!("`{}`", row.operation),
            from(row),
            to(row.to),
            body(row.body),
            or_dash(row.refused_when),
            or_dash(row.done_in.map_or("", Status::as_str)),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

fn from(row: &OperationRow) -> String {
    if row.from.len() == Status::ALL.len() {
        return "any".to_owned();
    }
    or_dash(&words(row.from))
}

fn to(to: To) -> String {
    match to {
        To::OneOf(states) => words(states),
        To::Same => "same".to_owned(),
        To::BeforeHold => "the state before".to_owned(),
    }
}

fn body(shape: BodyShape) -> String {
    let members = shape.members().iter();
    let members: Vec<String> = members.map(|member| format!("`{member}`")).collect();
    or_dash(&members.join(", "))
}

fn words(states: &[Status]) -> String {
    let words: Vec<&str> = states.iter().map(|status| status.as_str()).collect();
    words.join(", ")
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_operation() {
        let text = markdown();
        println!("{text}");
        assert_eq!(text.lines().count(), TABLE.len() + 2);
        for line in text.lines() {
            assert_eq!(line.matches('|').count(), 7, "{line}");
        }
        assert!(text.contains(
            "| `confirm` | pending | confirmed | - | payment is required by configuration and not \
             authorized | confirmed |"
        ));
    }
}
