//! What a text becomes as fields, and what the fields give back.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, DateTime, Decimal128, doc};

use super::*;

fn fields(text: &'static str) -> Fields {
    to_fields(&Document::parse(text).unwrap()).unwrap()
}

fn text(fields: &Fields, doubles: Doubles) -> String {
    let document = to_document(fields, doubles).unwrap();
    String::from_utf8(document.as_bytes().to_vec()).unwrap()
}

#[test]
fn types_that_json_has_not_come_back_as_they_were() {
    let fields = doc! {
        "customer": ObjectId::parse_str("0123456789abcdef01234567").unwrap(),
        "at": DateTime::from_millis(1_790_000_000_123),
        "price": "12.50".parse::<Decimal128>().unwrap(),
        "flag": true,
        "lines": [{"sku": "A", "quantity": 2, "big": 1_i64 << 40, "part": 0.5, "back": -7}],
        "nothing": null,
    };
    let text = to_document(&fields, Doubles::AsTheyAre).unwrap();
    assert_eq!(to_fields(&text).unwrap(), fields);
}

/// A client's data are no business of the store's, whatever they look like.
#[test]
fn what_looks_like_extended_json_is_shown_as_it_was_sent() {
    for value in [
        r#"{"$oid":"no"}"#,
        r#"{"$oid":"0123456789ABCDEF01234567"}"#,
        r#"{"$oid":"0123456789abcdef01234567"}"#,
        r#"{"$oid":7}"#,
        r#"{"$date":"x"}"#,
        r#"{"$date":"2026-11-30T00:00:00Z"}"#,
        r#"{"$date":{"$numberLong":"7"}}"#,
        r#"{"$numberDecimal":"1.50"}"#,
        r#"{"$numberDecimal":"much"}"#,
        r#"{"$numberLong":"12"}"#,
        r#"{"$numberLong":"12","more":1}"#,
        r#"{"$numberDouble":"NaN"}"#,
        r#"{"$binary":{"base64":"AA==","subType":"00"}}"#,
        r#"{"$binary":{"subType":"00","base64":"AA=="}}"#,
        r#"{"$code":"x"}"#,
        r#"{"$minKey":1}"#,
        r#"{"$undefined":true}"#,
        r#"{"$timestamp":{"t":1,"i":2}}"#,
        r#"{"$regularExpression":{"pattern":"a","options":""}}"#,
        r#"{"$foo":1}"#,
        r#"{"":1,"a.b":2}"#,
    ] {
        let whole = format!(r#"{{"data":{value}}}"#);
        let kept = to_fields(&Document::parse(whole.clone()).unwrap()).unwrap();
        for doubles in [Doubles::AsTheyAre, Doubles::WholeAsIntegers] {
            assert_eq!(text(&kept, doubles), whole);
        }
    }
    let kept = fields(r#"{"a": {"$minKey": 1}, "b": {"$oid": "0123456789abcdef01234567"}}"#);
    assert!(
        kept.get_document("a").is_ok(),
        "nobody means the end of all keys"
    );
    assert!(kept.get_object_id("b").is_ok());
}

#[test]
fn a_value_that_was_only_shown_is_the_same() {
    for value in [
        Bson::ObjectId(ObjectId::parse_str("0123456789abcdef01234567").unwrap()),
        Bson::DateTime(DateTime::from_millis(7)),
        Bson::MinKey,
        Bson::Undefined,
        Bson::Symbol("s".into()),
        Bson::Double(f64::NAN),
        Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![0, 255],
        }),
        Bson::Binary(Binary {
            subtype: BinarySubtype::Uuid,
            bytes: vec![7; 16],
        }),
    ] {
        let shown = to_document(&doc! {"v": &value}, Doubles::AsTheyAre).unwrap();
        let returned = to_fields(&shown).unwrap();
        assert!(same(&value, returned.get("v").unwrap()), "{value}");
    }
    assert!(!same(&Bson::MinKey, &doc! {"$maxKey": 1}.into()));
}

#[test]
fn what_no_document_can_hold_is_refused_with_a_word() {
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(100), "]".repeat(100));
    for text in [
        "[]",
        "1",
        r#"{"_id": 1}"#,
        r#"{"locked": null}"#,
        r#"{"orderlock": {}}"#,
        r#"{"a.b": 1}"#,
        r#"{"$set": 1}"#,
        r#"{"": 1}"#,
        r#"{"a": {"b\u0000c": 1}}"#,
        &deep,
    ] {
        let document = Document::parse(text.to_owned()).unwrap();
        let refused = to_fields(&document);
        assert!(
            matches!(refused, Err(Failure::Impossible(_))),
            "{text}: {refused:?}"
        );
    }
    fields(r#"{"a": [[[[[[[[[[1]]]]]]]]]]}"#);
}

#[test]
fn long_numbers_are_doubles_and_their_text_is_kept() {
    let long = fields(r#"{"a": 18446744073709551615, "b": 100000000000000000000}"#);
    assert_eq!(long, doc! {"a": 18_446_744_073_709_551_615.0, "b": 1e20});
    let small = fields(r#"{"a": 2147483648, "b": -1}"#);
    assert_eq!(small, doc! {"a": 2_147_483_648_i64, "b": -1});
}

#[test]
fn a_hash_tells_values_and_types_and_nothing_else() {
    let fields = doc! {"a": 1, "b": {"c": [1, 2], "d": "x"}};
    for equal in [
        doc! {"b": {"d": "x", "c": [1_i64, 2]}, "a": 1_i64},
        doc! {"a": 1.0, "b": {"c": [1, 2.0], "d": "x"}},
    ] {
        assert_eq!(hash(&fields), hash(&equal));
        assert!(same(&fields.clone().into(), &equal.into()));
    }
    for other in [
        doc! {"a": 1, "b": {"c": [2, 1], "d": "x"}},
        doc! {"a": 1, "b": {"c": [1, 2], "d": "y"}},
        doc! {"a": 1.5, "b": {"c": [1, 2], "d": "x"}},
        doc! {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": null},
        doc! {"a": 1},
    ] {
        assert_ne!(hash(&fields), hash(&other), "{other}");
        assert!(!same(&fields.clone().into(), &other.into()));
    }
}

/// Drivers that know only doubles write them for every number.
#[test]
fn whole_doubles_are_integers_where_others_have_written_them() {
    let written = doc! {"a": 1299.0, "b": [{"c": 3e9}], "d": 0.5, "e": 1e300, "f": -0.0};
    assert_eq!(
        text(&written, Doubles::WholeAsIntegers),
        r#"{"a":1299,"b":[{"c":3000000000}],"d":0.5,"e":1e+300,"f":0}"#
    );
    assert_eq!(text(&doc! {"a": 1.0}, Doubles::AsTheyAre), r#"{"a":1.0}"#);
    // Above, neighbours have the same double.
    assert_eq!(
        text(
            &doc! {"a": 9_007_199_254_740_992.0},
            Doubles::WholeAsIntegers
        ),
        r#"{"a":9007199254740992.0}"#
    );
}

#[test]
fn a_hash_of_earlier_builds_is_known() {
    let fields = doc! {"total": 3.0, "lines": [{"sku": "A", "quantity": 1, "giftNote": "for Ann"}],
    "status": "open", "customer": "ann", "count": 0};
    let earlier = hash_with(&fields, plain_integer);
    assert_ne!(earlier, hash(&fields));
    assert!(is_hash_of(&earlier, &fields) && is_hash_of(&hash(&fields), &fields));
    assert!(!is_hash_of(&earlier, &doc! {"total": 4.0}));
}

#[test]
fn numbers_are_compared_as_they_are_written() {
    let parse = |text: &'static str| Document::parse(text).unwrap();
    assert!(says_the_same(
        &parse(r#"{"a":1,"b":2}"#),
        &parse(r#"{ "b":2, "a":1 }"#)
    ));
    assert!(!says_the_same(
        &parse(r#"{"a":1.10}"#),
        &parse(r#"{"a":1.1}"#)
    ));
}
