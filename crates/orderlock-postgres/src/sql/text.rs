//! The text of a statement, put together from its pieces while the program is compiled.

/// Puts pieces together, which may be constants, where `concat!` takes literals only.
macro_rules! text {
    ($($piece:expr),+ $(,)?) => {{
        const PIECES: &[&str] = &[$($piece),+];
        const BYTES: [u8; $crate::sql::text::length(PIECES)] = $crate::sql::text::join(PIECES);
        const TEXT: &str = $crate::sql::text::as_text(&BYTES);
        TEXT
    }};
}

pub(crate) use text;

/// How many bytes the pieces have together.
pub(crate) const fn length(pieces: &[&str]) -> usize {
    let (mut length, mut at) = (0, 0);
    while at < pieces.len() {
        length += pieces[at].len();
        at += 1;
    }
    length
}

/// The bytes of all pieces.
pub(crate) const fn join<const LENGTH: usize>(pieces: &[&str]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (mut end, mut at) = (0, 0);
    while at < pieces.len() {
        let (piece, mut from) = (pieces[at].as_bytes(), 0);
        while from < piece.len() {
            bytes[end] = piece[from];
            end += 1;
            from += 1;
        }
        at += 1;
    }
    bytes
}

/// Pieces of text are text together.
pub(crate) const fn as_text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => "",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_become_one_text() {
        const MORE: &str = "ä, $2";
        assert_eq!(text!("$1, ", MORE, ""), "$1, ä, $2");
    }
}
