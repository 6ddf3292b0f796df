//! Hides passwords and tokens of databases in texts that are shown or logged.

/// A text in which an address may occur, as it may be shown: an error of a reader or a driver may
/// repeat what it could not read.
pub(crate) fn hide(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'`".contains(c);
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(ends) {
        let word = part.trim_end_matches(ends);
        shown.push_str(&masked(word));
        shown.push_str(&part[word.len()..]);
    }
    shown
}

/// An address as it may be shown: everything between a user's name and the last `@` is hidden, and
/// so is the value of every parameter that is called a password or holds tokens.
pub(crate) fn masked(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let hidden: String = rest
        .split_inclusive(['?', '&', ';', ' '])
        .map(parameter)
        .collect();
    let shown = match hidden.rsplit_once('@') {
        Some((user, place)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{place}"),
            None => hidden,
        },
        // The `@` went with a parameter, which may have been a part of the password.
        None if rest.contains('@') => match hidden.split_once(':') {
            Some((name, _)) => format!("{name}:***"),
            None => hidden,
        },
        None => hidden,
    };
    scheme + &shown
}

/// One parameter with what ends it. A value that holds a secret is hidden.
fn parameter(text: &str) -> String {
    let end = text.trim_end_matches(['?', '&', ';', ' ']).len();
    match text[..end].split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***{}", &text[end..]),
        _ => text.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("password") || name == "authmechanismproperties"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_hidden_wherever_it_stands() {
        for (address, shown) in [
            ("postgres://u:secret@h:1/d", "postgres://u:***@h:1/d"),
            ("postgres://u:se/cr@et@h/d", "postgres://u:***@h/d"),
            (
                "postgres://u@h/d?password=secret&sslmode=disable",
                "postgres://u@h/d?password=***&sslmode=disable",
            ),
            (
                "postgres://u:secret@/d?host=/run",
                "postgres://u:***@/d?host=/run",
            ),
            (
                "postgres://h/d?password=sec@ret",
                "postgres://h/d?password=***",
            ),
            (
                "postgres://u@h/d?password=secret:x@y",
                "postgres://u@h/d?password=***",
            ),
            ("postgres://u:secret?password=x@h", "postgres://u:***"),
            (
                "mongodb://u:secret@h:1,i:2/d?tlsCertificateKeyFilePassword=secret&tls=true",
                "mongodb://u:***@h:1,i:2/d?tlsCertificateKeyFilePassword=***&tls=true",
            ),
            (
                "mongodb://h/d?authMechanismProperties=AWS_SESSION_TOKEN:secret",
                "mongodb://h/d?authMechanismProperties=***",
            ),
            ("postgresql//u:secret@h/d", "postgresql//u:***@h/d"),
            (
                "host=h password=secret user=u",
                "host=h password=*** user=u",
            ),
            ("sqlite:orders.db", "sqlite:orders.db"),
        ] {
            assert_eq!(masked(address), shown);
        }
    }

    #[test]
    fn a_text_is_shown_but_for_the_addresses_in_it() {
        let text = "line 1:\n  store = \"postgres://u:secret@h/d\nexpected `\"` at 3:4, a@b";
        let shown = "line 1:\n  store = \"postgres://u:***@h/d\nexpected `\"` at 3:4, a@b";
        assert_eq!(hide(text), shown);
    }
}
