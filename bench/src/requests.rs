//! The requests of the workloads, rendered into a buffer that is used again.

use std::io::Write as _;

/// One kind of request after the other.
pub(crate) trait Requests {
    /// Writes the next request of one connection.
    fn render(&mut self, connection: usize, into: &mut Vec<u8>);
}

/// What an edit sends: small, and the order keeps its size. Each is unlike the one before it on its
/// order, because an edit that changes nothing writes nothing of the order.
fn edit(run: u64, number: u64) -> String {
    let note = run % 1_000 * 10_000_000 + number % 10_000_000;
    format!(r#"{{"metadata":{{"channel":"web","note":"{note:010}"}}}}"#)
}

const CREATION: &str = r#"{"customer":"cus_42","currency":"EUR","submit":true,"metadata":{"channel":"web"},"lines":[{"sku":"TEA-250","name":"Green tea","quantity":2,"unitPrice":1299},{"sku":"CUP-1","name":"Cup","quantity":1,"unitPrice":900}]}"#;

/// Every request waits in line: two that meet by chance at one order are no error.
fn request(into: &mut Vec<u8>, method: &str, path: &str, key: (u64, u64), body: &str) {
    let (run, number) = key;
    let length = body.len();
    // Writing into memory cannot fail.
    let _written = write!(
        into,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {run:x}-{number:x}\r\nPrefer: wait=30\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

/// New orders.
pub(crate) struct Creations {
    pub(crate) run: u64,
    pub(crate) next: u64,
}

impl Requests for Creations {
    fn render(&mut self, _: usize, into: &mut Vec<u8>) {
        self.next += 1;
        let key = (self.run, self.next);
        request(into, "POST", "/v1/orders", key, CREATION);
    }
}

/// Edits of orders under fresh keys: of one order after another in an order that no cache
/// foresees, or of the same one.
pub(crate) struct Edits<'a> {
    pub(crate) paths: &'a [String],
    pub(crate) run: u64,
    pub(crate) next: u64,
}

impl Requests for Edits<'_> {
    fn render(&mut self, _: usize, into: &mut Vec<u8>) {
        self.next += 1;
        let path = pick(self.paths, self.next);
        let body = edit(self.run, self.next);
        request(into, "PATCH", path, (self.run, self.next), &body);
    }
}

/// Edits that were sent before, under the same keys.
pub(crate) struct Replays<'a> {
    pub(crate) paths: &'a [String],
    pub(crate) run: u64,
    pub(crate) settled: u64,
    pub(crate) next: u64,
}

impl Requests for Replays<'_> {
    fn render(&mut self, _: usize, into: &mut Vec<u8>) {
        self.next = self.next % self.settled + 1;
        let path = pick(self.paths, self.next);
        let body = edit(self.run, self.next);
        request(into, "PATCH", path, (self.run, self.next), &body);
    }
}

/// Calls of the handler that sleeps; each connection has an order of its own.
pub(crate) struct Sleeps {
    pub(crate) run: u64,
    pub(crate) next: u64,
    pub(crate) milliseconds: u64,
}

impl Requests for Sleeps {
    fn render(&mut self, connection: usize, into: &mut Vec<u8>) {
        self.next += 1;
        let path = format!("/orders/o{connection}/sleep");
        let body = self.milliseconds.to_string();
        request(into, "POST", &path, (self.run, self.next), &body);
    }
}

/// Spreads numbers over the orders; the same number is always the same order.
fn pick(paths: &[String], number: u64) -> &str {
    // The multiplier of splitmix64: neighbours fall far apart.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
    let at = usize::try_from(spread % paths.len() as u64).unwrap_or(0);
    &paths[at]
}
