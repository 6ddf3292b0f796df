//! Which parts of a path are logged.

/// How much of a path is logged that no route has.
const SHOWN_MAX: usize = 100;

/// How many of its parts are logged: `/v1/orders/{id}`.
const PARTS_MAX: usize = 3;

/// A path that no route has, short and without control characters. Of the part behind an order's id
/// nothing is shown: under a path that is misspelt it may be a key.
pub(super) fn shown(path: &str) -> String {
    let mut end = path.len().min(SHOWN_MAX);
    // A slash may be written in two ways.
    let slashes = path
        .match_indices(['/', '%'])
        .filter(|(at, _)| {
            let text = &path.as_bytes()[*at..];
            text.starts_with(b"/") || text.len() >= 3 && text[..3].eq_ignore_ascii_case(b"%2f")
        })
        .map(|(at, _)| at);
    if let Some(at) = slashes.skip(1).nth(PARTS_MAX - 1) {
        end = end.min(at);
    }
    end = path.floor_char_boundary(end);
    let more = if end < path.len() { "..." } else { "" };
    format!("{}{more}", path[..end].escape_default())
}

/// The order that a route's path names, as it is written there.
pub(super) fn order(path: &str) -> Option<&str> {
    let order = path.strip_prefix("/v1/orders/")?.split('/').next()?;
    (!order.is_empty() && order.len() <= SHOWN_MAX).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_short_and_without_keys() {
        assert_eq!(shown("/v1/order/ord_1"), "/v1/order/ord_1");
        for path in [
            "/v1/orders/a/operation/secret",
            "/v1/orders/a/Operations/secret",
            "/v1/orders/a/operations%2Fsecret",
            "/v1/orders/a/operations%2fsecret/",
            "/v1/orders/a//secret",
            "/v1/orders%2Fa/operation/secret",
        ] {
            let shown = shown(path);
            assert!(
                shown.ends_with("a...") && !shown.contains("secret"),
                "{shown}"
            );
        }
        assert_eq!(
            shown("/orders/a/operation/secret"),
            "/orders/a/operation..."
        );
        let long = shown(&format!("/{}", "a".repeat(60_000)));
        assert_eq!(long.len(), SHOWN_MAX + 3);
        assert_eq!(shown("/\u{1b}[31m"), "/\\u{1b}[31m");
    }

    #[test]
    fn an_order_is_the_third_part() {
        assert_eq!(order("/v1/orders/ord_1/confirm"), Some("ord_1"));
        assert_eq!(order("/v1/orders/ord_1"), Some("ord_1"));
        assert_eq!(order("/v1/orders/"), None);
        assert_eq!(order("/v1/locks/1"), None);
    }
}
