//! The core takes tasks, time and randomness from its `Runtime` alone, so that one seed can drive
//! all of it. Only the file of the `Runtime` may name their true sources.

use super::finding::Finding;
use super::source::{Rust, Sources, Token};

const ROOM: &str = "crates/orderlock-core/src/";
const EXEMPT: &str = "crates/orderlock-core/src/runtime.rs";

const FORBIDDEN: [(&str, &str); 5] = [
    ("Instant :: now", "ask the `Runtime` for the time"),
    ("SystemTime :: now", "ask the `Runtime` for the time"),
    ("Timestamp :: now", "ask the `Runtime` for the time"),
    ("thread :: spawn", "let the `Runtime` spawn it"),
    ("getrandom ::", "ask the `Runtime` for randomness"),
];

/// The parts of Tokio that only the `Runtime` may use.
const FORBIDDEN_OF_TOKIO: [&str; 4] = ["spawn", "time", "task", "runtime"];

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let files = sources.rust().iter();
    files
        .filter(|file| file.path.starts_with(ROOM) && file.path != EXEMPT)
        .flat_map(judge)
        .collect()
}

fn judge(file: &Rust) -> Vec<Finding> {
    let error = |line, reason: &str| Finding::error(&file.path, line, reason);
    let mut findings = Vec::new();
    for (sequence, reason) in FORBIDDEN {
        findings.extend(
            file.places(sequence)
                .into_iter()
                .map(|line| error(line, reason)),
        );
    }
    for (index, token) in file.tokens.iter().enumerate() {
        let rest = &file.tokens[index + 1..];
        if token.text == "tokio" && of_tokio(rest) {
            findings.push(error(
                token.line,
                "tasks and timers come from the `Runtime`",
            ));
        }
        if token.text == "select" && unbiased(rest) {
            let reason = "begin with `biased;`: else the thread's own randomness decides";
            findings.push(error(token.line, reason));
        }
    }
    findings
}

/// Whether `tokio` is followed by a forbidden part, or by braces with one in them.
fn of_tokio(rest: &[Token]) -> bool {
    let forbidden = |token: &Token| FORBIDDEN_OF_TOKIO.contains(&token.text.as_str());
    match rest {
        [colons, open, inside @ ..] if colons.text == "::" && open.text == "{" => inside
            .iter()
            .take_while(|token| token.text != ";")
            .any(forbidden),
        [colons, part, ..] => colons.text == "::" && forbidden(part),
        _ => false,
    }
}

fn unbiased(rest: &[Token]) -> bool {
    match rest {
        [call, _open, first, ..] => call.text == "!" && first.text != "biased",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Sources::fixture(&[(path, text)])).len()
    }

    #[test]
    fn each_hidden_source_is_found() {
        for bad in [
            "fn a() { tokio::spawn(b()); }",
            "fn a() { tokio::task::spawn_blocking(b); }",
            "use tokio::{sync::watch, time};",
            "fn a() { std::time::Instant::now(); }",
            "fn a() { tokio::time::sleep(b); }",
            "fn a() { tokio::select! { _ = b() => {} } }",
        ] {
            assert_eq!(findings("crates/orderlock-core/src/a.rs", bad), 1, "{bad}");
            assert_eq!(
                findings("crates/orderlock-server/src/a.rs", bad),
                0,
                "{bad}"
            );
            assert_eq!(findings(EXEMPT, bad), 0, "{bad}");
        }
    }

    #[test]
    fn what_can_be_driven_is_allowed() {
        for good in [
            "use tokio::sync::{oneshot, watch};",
            "fn a() { tokio::select! { biased; _ = b() => {} } }",
            "fn a(runtime: &dyn Runtime) { runtime.now(); }",
        ] {
            assert_eq!(
                findings("crates/orderlock-core/src/a.rs", good),
                0,
                "{good}"
            );
        }
    }
}
