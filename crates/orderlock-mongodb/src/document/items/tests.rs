//! Which returned item is which, and what is kept of it.

use mongodb::bson::{bson, doc};

use super::*;

#[track_caller]
fn merged(was: &Bson, is: &Bson) -> Bson {
    merge(was, is, "lines").unwrap()
}

fn line(sku: &str, quantity: i32) -> Bson {
    bson!({"sku": sku, "quantity": quantity})
}

/// A line with a member that the handler's type does not know.
fn noted(sku: &str, quantity: i32) -> Bson {
    bson!({"sku": sku, "quantity": quantity, "note": format!("for {sku}")})
}

#[test]
fn what_the_type_does_not_know_of_an_item_stays() {
    let was = bson!([noted("A", 1), noted("B", 1)]);
    for (is, after) in [
        (
            bson!([line("A", 2), line("B", 1)]),
            bson!([noted("A", 2), noted("B", 1)]),
        ),
        (
            bson!([line("A", 2), line("B", 3)]),
            bson!([noted("A", 2), noted("B", 3)]),
        ),
        (
            bson!([line("B", 1), line("A", 1)]),
            bson!([noted("B", 1), noted("A", 1)]),
        ),
        (
            bson!([line("B", 2), line("A", 1)]),
            bson!([noted("B", 2), noted("A", 1)]),
        ),
        (bson!([line("B", 1)]), bson!([noted("B", 1)])),
        (bson!([line("B", 2)]), bson!([noted("B", 2)])),
        (bson!([]), bson!([])),
        (
            bson!([line("A", 1), line("B", 1), line("C", 1)]),
            bson!([noted("A", 1), noted("B", 1), line("C", 1)]),
        ),
        (
            bson!([line("A", 2), line("B", 1), line("C", 1)]),
            bson!([noted("A", 2), noted("B", 1), line("C", 1)]),
        ),
        (
            bson!([line("B", 1), line("C", 1)]),
            bson!([noted("B", 1), line("C", 1)]),
        ),
    ] {
        assert_eq!(merged(&was, &is), after, "{is}");
    }
}

#[test]
fn an_id_says_which_item_it_is() {
    let with_id = |id: i32, quantity: i32| bson!({"id": id, "quantity": quantity});
    let hidden = |id: i32, quantity: i32| bson!({"id": id, "quantity": quantity, "note": id});
    let was = bson!([hidden(1, 1), hidden(2, 1)]);
    for (is, after) in [
        (
            bson!([with_id(2, 5), with_id(1, 6)]),
            bson!([hidden(2, 5), hidden(1, 6)]),
        ),
        // A replaced item's members are nobody else's.
        (
            bson!([with_id(3, 1), with_id(2, 1)]),
            bson!([with_id(3, 1), hidden(2, 1)]),
        ),
        (bson!([with_id(3, 7)]), bson!([with_id(3, 7)])),
    ] {
        assert_eq!(merged(&was, &is), after, "{is}");
    }
}

#[test]
fn where_it_cannot_be_told_nothing_is_written() {
    let was = bson!([noted("A", 1), noted("B", 1)]);
    for is in [
        bson!([line("C", 1), line("B", 1)]),
        bson!([line("C", 1), line("D", 1)]),
        bson!([line("C", 1)]),
    ] {
        let refused = merge(&was, &is, "lines");
        assert!(matches!(refused, Err(Failure::Impossible(_))), "{is}");
    }
    // Two that are alike, of which one is changed and neither stands where it stood.
    let was = bson!([noted("A", 1), noted("A", 2)]);
    let refused = merge(&was, &bson!([line("A", 3)]), "lines");
    assert!(matches!(refused, Err(Failure::Impossible(_))));
}

#[test]
fn a_list_that_hides_nothing_is_written_as_it_was_returned() {
    let was = bson!([line("A", 1), 7, "x"]);
    for is in [
        bson!([line("C", 1)]),
        bson!([8, "y"]),
        bson!([{"sku": "A", "quantity": 2, "more": 1}]),
    ] {
        assert_eq!(merged(&was, &is), is);
    }
    assert_eq!(merged(&bson!([1, 2]), &bson!("none")), bson!("none"));
}

#[test]
fn documents_and_lists_within_items_are_gone_into() {
    let was = bson!([{"sku": "A", "to": {"city": "Ulm", "door": 4}, "parts": [noted("P", 1)]}]);
    let is = bson!([{"sku": "A", "to": {"city": "Bonn"}, "parts": [line("P", 2)]}]);
    let after = bson!([{"sku": "A", "to": {"city": "Bonn", "door": 4}, "parts": [noted("P", 2)]}]);
    assert_eq!(merged(&was, &is), after);
    let odd = doc! {"a.b": 1, "known": 1};
    let is = doc! {"known": 2};
    assert_eq!(
        merged(&odd.into(), &is.into()),
        bson!({"a.b": 1, "known": 2})
    );
}

#[test]
fn long_lists_are_bounded() {
    let many = |from: i32| {
        (from..from + 2_000)
            .map(|n| noted(&n.to_string(), n))
            .collect::<Vec<_>>()
    };
    let plain = |from: i32| {
        (from..from + 2_000)
            .map(|n| line(&n.to_string(), n))
            .collect::<Vec<_>>()
    };
    let (was, mut is) = (many(0), plain(0));
    is[1_000] = line("1000", 0);
    let after = merged(&was.clone().into(), &is.into());
    assert_eq!(
        after
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item.as_document().unwrap().contains_key("note"))
            .count(),
        2_000
    );
    let refused = merge(&was.into(), &plain(10_000).into(), "lines");
    assert!(matches!(refused, Err(Failure::Impossible(_))));
}
