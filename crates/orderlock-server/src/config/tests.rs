use super::*;
use std::io::Write as _;

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    pairs.into_iter()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn refused(text: &str, pairs: &[(&str, &str)]) -> String {
    let file = file(text);
    let error = load(Given::default(), Some(file.path()), variables(pairs)).unwrap_err();
    println!("{error}");
    error.to_string()
}

#[test]
fn flags_win_over_variables_over_the_file_over_the_defaults() {
    let file =
        file("handler_limit = \"1s\"\nline_limit = 1\nbody_limit = 1\nrequire_payment = true");
    let flags = Given {
        handler_limit: Some(Span::seconds(3)),
        ..Given::default()
    };
    let environment = variables(&[
        ("ORDERLOCK_HANDLER_LIMIT", "2s"),
        ("ORDERLOCK_LINE_LIMIT", "2"),
        ("ORDERLOCK_CONFIG", "ignored.toml"),
        ("ORDERLOCK_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PATH", "/bin"),
    ]);
    let loaded = load(flags, Some(file.path()), environment).unwrap();
    let table = loaded.table();
    println!("{table}");
    let settings = loaded.settings;
    assert_eq!(settings.handler_limit, Span::seconds(3));
    assert_eq!(settings.line_limit, Count(2));
    assert_eq!(settings.body_limit, Bytes(1));
    assert!(settings.process().confirm_needs_payment);
    assert_eq!(settings.wait_limit, Span::seconds(30));
    let line = |name: &str| {
        let found = table.lines().find(|line| line.starts_with(name));
        found
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        line("handler_limit"),
        "handler_limit = \"3s\" # --handler-limit"
    );
    assert_eq!(line("line_limit"), "line_limit = 2 # ORDERLOCK_LINE_LIMIT");
    assert!(line("body_limit").ends_with(&file.path().display().to_string()));
    assert_eq!(line("wait_limit"), "wait_limit = \"30s\" # default");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let printed = load(Given::default(), None, variables(&[]))
        .unwrap()
        .table();
    let file = file(&printed);
    let again = load(Given::default(), Some(file.path()), variables(&[])).unwrap();
    assert_eq!(again.settings.values(), Settings::default().values());
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_name() {
    let text = refused("handler-limt = \"1s\"", &[]);
    assert!(text.contains("no setting `handler-limt` in /"), "{text}");
    assert!(text.contains("Did you mean `handler_limit`?"), "{text}");
    let text = refused("", &[("ORDERLOCK_LISTEM", "127.0.0.1:1")]);
    assert!(text.contains("Did you mean `ORDERLOCK_LISTEN`?"), "{text}");
    assert!(refused("colour = 1", &[]).contains("--print-config"));
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    let text = refused("wait_limit = 30", &[]);
    assert!(
        text.contains("`wait_limit` in ") && text.contains("30s"),
        "{text}"
    );
    // Even if a better source has the last word.
    let text = refused("line_limit = \"many\"", &[("ORDERLOCK_LINE_LIMIT", "2")]);
    assert!(text.contains("`line_limit` in "), "{text}");
    assert!(refused("", &[("ORDERLOCK_STORE", "123")]).contains("ORDERLOCK_STORE"));
    assert!(refused("", &[("ORDERLOCK_LINE_LIMIT", "0")]).contains("line_limit"));
    assert!(refused("listen = \n", &[]).contains(" cannot be read: "));
    for (text, advice) in [
        (
            "body_limit = \"12\"\nline_limit = 1.5",
            "write a whole number, like 1024",
        ),
        ("body_limit = []", "write a number of bytes, like 1048576"),
        ("log_level = \"loud\"", "error, warn, info, debug or trace"),
    ] {
        assert!(refused(text, &[]).contains(advice));
    }
    let short = "answer_retention = \"2h\"\ntombstone_retention = \"1h\"";
    assert!(refused(short, &[]).contains("tombstone_retention"));
}

#[test]
fn what_bounds_memory_has_a_bound_itself() {
    for name in [
        "LINE_LIMIT",
        "IN_FLIGHT_LIMIT",
        "BODY_LIMIT",
        "CONNECTION_LIMIT",
        "ORDER_LIMIT",
    ] {
        let text = refused("", &[(&format!("ORDERLOCK_{name}"), "9999999999")]);
        let setting = format!("`{}` is 9999999999; it must be from ", name.to_lowercase());
        assert!(text.contains(&setting), "{text}");
    }
}

#[test]
fn what_bounds_a_wait_has_a_bound_itself() {
    for (name, value) in [
        ("session_length", "36500d"),
        ("session_length", "999ms"),
        ("store_limit", "1d"),
        ("handler_limit", "0s"),
        ("body_time_limit", "2h"),
        ("header_time_limit", "0s"),
        ("shutdown_limit", "30d"),
    ] {
        let text = refused(&format!("{name} = \"{value}\""), &[]);
        assert!(text.contains(&format!("`{name}` is ")), "{text}");
        assert!(text.contains("; it must be from "), "{text}");
    }
}

#[test]
fn a_password_is_never_repeated() {
    let address = "postgres://u:SEKRET@h/d";
    for text in [
        format!("store = \"{address}"),
        format!("store = [\"{address}\"]"),
        format!("stroe = \"{address}\""),
        format!("store = \"{}\"", address.replace("://", "//")),
        format!("{address} = 1"),
        format!("line_limit = \"{address}\""),
    ] {
        let said = refused(&text, &[]);
        assert!(!said.contains("SEKRET"), "{said}");
    }
    let wrong = address.replace("://", ":/");
    let said = refused("", &[("ORDERLOCK_STORE", &wrong)]);
    assert!(!said.contains("SEKRET"), "{said}");
}

#[test]
fn only_loopback_addresses_are_taken() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
        let text = refused("", &[("ORDERLOCK_LISTEN", address)]);
        assert!(text.contains("no authentication"), "{text}");
    }
}
