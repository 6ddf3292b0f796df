//! The process table in the documentation is the one in the code.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails loudly")]

use std::fs;

use orderlock_orders::markdown;

#[test]
fn the_documented_process_is_the_process() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/order-manager.md");
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- process -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- end -->").unwrap();
    let table = markdown();
    if std::env::var_os("BLESS").is_some() {
        let whole = format!("{before}<!-- process -->\n{table}<!-- end -->{after}");
        fs::write(path, whole).unwrap();
        return;
    }
    assert_eq!(shown, table, "write it anew with BLESS=1");
}
