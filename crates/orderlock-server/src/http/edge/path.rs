//! What of a path may stand in the log.

/// How much of a path is logged that no route has.
const SHOWN_MAX: usize = 100;

/// A path that no route has, short and without control characters. What stands where a key would
/// is left out: it may be one, under a path that is misspelt.
pub(super) fn shown(path: &str) -> String {
    let path = match path.split_once("/operations/") {
        Some((before, _)) => format!("{before}/operations/..."),
        None => path.to_owned(),
    };
    let mut shown: String = path.chars().take(SHOWN_MAX).collect();
    if shown.len() < path.len() {
        shown.push_str("...");
    }
    shown.escape_default().to_string()
}

/// The order that the path of a route names, as it stands there.
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
        assert_eq!(
            shown("/v1/order/a/operations/secret"),
            "/v1/order/a/operations/..."
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
