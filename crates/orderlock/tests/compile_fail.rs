//! The usual mistakes do not compile, and the compiler says what is wrong: snapshots of its words.
//! After a change, look at what it says and take it over with `TRYBUILD=overwrite`.

#[test]
fn the_usual_mistakes_are_told_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
