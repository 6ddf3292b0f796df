//! The grammar that request headers share (RFC 9110, 5.6): tokens, quoted strings, lists.

/// What is left of a header's value.
pub(super) struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes over optional white space.
    pub(super) fn space(&mut self) {
        self.run(|byte| matches!(byte, b' ' | b'\t'));
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.0.first() == Some(&byte);
        if eaten {
            self.0 = &self.0[1..];
        }
        eaten
    }

    /// As many bytes as fit.
    pub(super) fn run(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.0.iter().take_while(|byte| fits(**byte)).count();
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        run
    }

    pub(super) fn token(&mut self) -> Option<&'a str> {
        let token =
            self.run(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let text = std::str::from_utf8(token).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// What a quoted string says; none if it does not begin here or does not end. `escapable` are
    /// the characters that a backslash may precede.
    pub(super) fn quoted(&mut self, escapable: impl Fn(u8) -> bool) -> Option<String> {
        let visible = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7f;
        if !self.eat(b'"') {
            return None;
        }
        let mut content = Vec::new();
        loop {
            content.extend(self.run(|byte| visible(byte) && byte != b'"' && byte != b'\\'));
            match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return String::from_utf8(content).ok();
                }
                [b'\\', escaped, rest @ ..] if visible(*escaped) && escapable(*escaped) => {
                    content.push(*escaped);
                    self.0 = rest;
                }
                _ => return None,
            }
        }
    }

    /// A token or a quoted string.
    pub(super) fn word(&mut self) -> Option<String> {
        match self.0.first() {
            Some(b'"') => self.quoted(|_| true),
            _ => self.token().map(ToOwned::to_owned),
        }
    }

    /// The parameters that follow: `;name=value`, each value a word. None if they are malformed.
    pub(super) fn parameters(&mut self) -> Option<Vec<(&'a str, String)>> {
        let mut parameters = Vec::new();
        loop {
            self.space();
            if !self.eat(b';') {
                return Some(parameters);
            }
            self.space();
            // An empty one says nothing.
            let Some(name) = self.token() else {
                continue;
            };
            self.space();
            let mut value = String::new();
            if self.eat(b'=') {
                self.space();
                value = self.word()?;
            }
            parameters.push((name, value));
        }
    }

    /// Whether another element of a list begins here. Empty elements are passed over.
    pub(super) fn element(&mut self) -> bool {
        self.space();
        while self.eat(b',') {
            self.space();
        }
        !self.is_done()
    }

    /// Whether an element of a list ends here.
    pub(super) fn element_ends(&mut self) -> bool {
        self.space();
        self.is_done() || self.eat(b',')
    }
}
