//! JSON text, read piece by piece in one pass: numbers and names stay as they are written, and
//! however deep the text nests, each byte is looked at once.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Reads the pieces of one JSON value. It is only made of text that serde has found to be JSON, so
/// that it has to find where pieces end and not whether they are right.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// How a value begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun<'a> {
    /// An object: its members follow, see [`Reader::member`].
    Object,
    /// An array: its items follow, see [`Reader::item`].
    Array,
    /// A whole value as it is written: a text with its quotes, a number, or a word.
    Scalar(&'a str),
}

impl<'a> Reader<'a> {
    /// A reader of text that holds one JSON value.
    ///
    /// # Errors
    /// What serde says if it does not.
    pub fn new(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_slice(text)?;
        let text = raw.get();
        Ok(Self { text, at: 0 })
    }

    /// Begins the next value: the whole one, that of a member, or an item.
    pub fn value(&mut self) -> Begun<'a> {
        match self.next() {
            Some(b'{') => {
                self.at += 1;
                Begun::Object
            }
            Some(b'[') => {
                self.at += 1;
                Begun::Array
            }
            Some(b'"') => Begun::Scalar(self.string()),
            _ => Begun::Scalar(self.bare()),
        }
    }

    /// The name of the next member as it is written, with its quotes; none at the object's end. Its
    /// value is to be read before the next one.
    pub fn member(&mut self) -> Option<&'a str> {
        match self.next() {
            Some(b'"') => Some(self.string()),
            _ => {
                self.at += 1;
                None
            }
        }
    }

    /// Whether another item follows, which is to be read; otherwise the array is at its end.
    pub fn item(&mut self) -> bool {
        let follows = self.next().is_some_and(|byte| byte != b']');
        if !follows {
            self.at += 1;
        }
        follows
    }

    /// Passes over the next value, whatever is in it.
    pub fn skip(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.next() {
                Some(b'{' | b'[') => {
                    self.at += 1;
                    open += 1;
                }
                Some(b'}' | b']') => {
                    self.at += 1;
                    open = open.saturating_sub(1);
                }
                Some(b'"') => drop(self.string()),
                Some(_) => drop(self.bare()),
                None => return,
            }
            // The name of a member is passed over like a value, and is never the last.
            if open == 0 {
                return;
            }
        }
    }

    /// The next byte that is part of a value.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let apart = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        self.at += rest.iter().take_while(|byte| apart(byte)).count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// The text that begins here, with its quotes.
    fn string(&mut self) -> &'a str {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        loop {
            let rest = bytes.get(end..).unwrap_or_default();
            match rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
                Some(at) if rest[at] == b'\\' => end += at + 2,
                Some(at) => return self.piece(end + at + 1),
                None => return self.piece(bytes.len()),
            }
        }
    }

    /// The number or word that begins here.
    fn bare(&mut self) -> &'a str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.piece(self.at + length.max(1))
    }

    fn piece(&mut self, end: usize) -> &'a str {
        let piece = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        piece
    }
}

/// What a text says that is written with its quotes.
///
/// # Errors
/// What serde says if it is no Unicode text.
pub fn unquoted(written: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let inner = written
        .strip_prefix('"')
        .and_then(|it| it.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(written).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The same value, put together from its pieces.
    fn read(reader: &mut Reader<'_>) -> Value {
        match reader.value() {
            Begun::Object => {
                let mut object = serde_json::Map::new();
                while let Some(name) = reader.member() {
                    let name = unquoted(name).unwrap().into_owned();
                    object.insert(name, read(reader));
                }
                Value::Object(object)
            }
            Begun::Array => {
                let mut array = Vec::new();
                while reader.item() {
                    array.push(read(reader));
                }
                Value::Array(array)
            }
            Begun::Scalar(text) => serde_json::from_str(text).unwrap(),
        }
    }

    const TEXTS: [&str; 12] = [
        "{}",
        " [ ] ",
        "7",
        "-1.50e+3",
        "\"a\\\"b\\\\\"",
        "null",
        "[1,2 , [3,{}],\"x,]\"]",
        "{\"a\":{\"b\":[]},\"c\" : \"}\",\n\"d\":true}",
        "[[],[[]],{}]",
        "{\"\\u0061\":1,\"\":{\"\":\"\"}}",
        "[\"\u{e4}\u{1F375}\", \"\\\\\"]",
        "[false,null,0,-0,1E5]",
    ];

    #[test]
    fn the_pieces_make_the_value() {
        for text in TEXTS {
            let mut reader = Reader::new(text.as_bytes()).unwrap();
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(&mut reader), value, "{text}");
            assert_eq!(reader.next(), None, "{text}");
        }
    }

    #[test]
    fn a_value_that_is_passed_over_is_passed_whole() {
        for text in TEXTS {
            let text = format!("[{text}, \"after\"]");
            let mut reader = Reader::new(text.as_bytes()).unwrap();
            assert_eq!(reader.value(), Begun::Array);
            assert!(reader.item());
            reader.skip();
            assert!(reader.item(), "{text}");
            assert_eq!(reader.value(), Begun::Scalar("\"after\""), "{text}");
            assert!(!reader.item());
        }
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in ["", "{", "[1,]", "{\"a\"}", "\u{1}", "1 2", "\"\n\""] {
            assert!(Reader::new(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Reader::new(b"\"\xff\"").is_err());
        assert!(unquoted("\"\\ud800\"").is_err());
    }
}
