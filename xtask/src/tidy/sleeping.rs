//! A test waits for signals. One that sleeps is slow on a good day and wrong on a bad one.
//!
//! The `sleep` of core's `Runtime` is a method, and under the clock of the tests no time passes in
//! it; what is forbidden is the free function.

use super::finding::Finding;
use super::source::{Rust, Sources};

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    sources.rust().iter().flat_map(judge).collect()
}

fn judge(file: &Rust) -> Vec<Finding> {
    let calls = file.tokens.windows(3).filter(|window| {
        let [before, name, after] = window else {
            return false;
        };
        let called = name.text == "sleep" && after.text == "(";
        called && before.text != "." && before.text != "fn"
    });
    calls
        .map(|window| window[1].line)
        .filter(|line| file.is_test(*line) || file.path.contains("orderlock-testkit/"))
        .map(|line| {
            let reason = "wait for a signal, or turn the clock of the test's `Runtime`";
            Finding::error(&file.path, line, reason)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Sources::fixture(&[(path, text)])).len()
    }

    #[test]
    fn tests_and_the_testkit_do_not_sleep() {
        let bad = "fn a() { std::thread::sleep(Duration::from_secs(1)); }";
        assert_eq!(findings("x/tests/a.rs", bad), 1);
        assert_eq!(findings("crates/orderlock-testkit/src/a.rs", bad), 1);
        let inside = format!("#[cfg(test)]\nmod tests {{\n{bad}\n}}");
        assert_eq!(findings("x/src/a.rs", &inside), 1);
        assert_eq!(
            findings("x/tests/a.rs", "fn a() { sleep(Duration::ZERO); }"),
            1
        );
    }

    #[test]
    fn the_runtime_and_what_is_shipped_may() {
        let method = "fn sleep(d: Duration) { runtime.sleep(d); }";
        assert_eq!(findings("x/tests/a.rs", method), 0);
        assert_eq!(
            findings("x/src/a.rs", "fn a() { tokio::time::sleep(d); }"),
            0
        );
    }
}
