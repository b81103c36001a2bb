//! The tokens of a JSON text (RFC 8259), one at a time, with the grammar checked on the way.
//!
//! No recursion and no copies: the nesting is a stack of one byte a level, bounded by `max_depth`.

use super::syntax_error::SyntaxError;

/// What a token is; commas and colons are checked but not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Key,
    String,
    Number,
    Literal,
}

/// A token's kind and its bytes `start..end` in the text; strings include their quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// What the grammar allows next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A value: the whole text, or an element after a comma, or a member's value.
    Value,
    /// The first element of an array, or its end.
    ElementOrEnd,
    /// The first key of an object, or its end.
    KeyOrEnd,
    /// A key after a comma.
    Key,
    /// A comma or the end of the innermost container.
    CommaOrEnd,
    /// Nothing but whitespace.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// Reads `text` from its start; after an error it must not be asked again.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    next: Next,
    open: Vec<Container>,
    max_depth: usize,
}

impl<'a> Lexer<'a> {
    /// A lexer that refuses more than `max_depth` containers inside each other.
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        Self {
            text,
            at: 0,
            next: Next::Value,
            open: Vec::new(),
            max_depth,
        }
    }

    /// A lexer for text that was validated before, at whatever depth was allowed then.
    pub fn trusted(text: &'a str) -> Self {
        Self::new(text, usize::MAX)
    }

    /// How many containers are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token, or `None` after the value and its trailing whitespace.
    pub fn token(&mut self) -> Result<Option<Token>, SyntaxError> {
        loop {
            self.whitespace();
            let byte = self.text.as_bytes().get(self.at).copied();
            return match (self.next, byte) {
                (Next::Nothing, None) => Ok(None),
                (Next::Nothing, Some(_)) => self.fail("the end of the text"),
                (Next::Value, _) => self.value("a value").map(Some),
                (Next::ElementOrEnd, Some(b']')) => Ok(Some(self.end(Kind::ArrayEnd))),
                (Next::ElementOrEnd, _) => self.value("a value or ']'").map(Some),
                (Next::KeyOrEnd, Some(b'}')) => Ok(Some(self.end(Kind::ObjectEnd))),
                (Next::KeyOrEnd, Some(b'"')) | (Next::Key, Some(b'"')) => self.key().map(Some),
                (Next::KeyOrEnd, _) => self.fail("a key in double quotes or '}'"),
                (Next::Key, _) => self.fail("a key in double quotes"),
                (Next::CommaOrEnd, Some(b',')) => {
                    self.at += 1;
                    self.next = match self.open.last() {
                        Some(Container::Object) => Next::Key,
                        _ => Next::Value,
                    };
                    continue;
                }
                (Next::CommaOrEnd, byte) => match (self.open.last(), byte) {
                    (Some(Container::Object), Some(b'}')) => Ok(Some(self.end(Kind::ObjectEnd))),
                    (Some(Container::Array), Some(b']')) => Ok(Some(self.end(Kind::ArrayEnd))),
                    (Some(Container::Array), _) => self.fail("',' or ']'"),
                    _ => self.fail("',' or '}'"),
                },
            };
        }
    }

    fn value(&mut self, expected: &str) -> Result<Token, SyntaxError> {
        let start = self.at;
        let kind = match self.text.as_bytes().get(start) {
            Some(b'{') => return self.start(Container::Object),
            Some(b'[') => return self.start(Container::Array),
            Some(b'"') => {
                self.string()?;
                Kind::String
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            _ => return self.fail(expected),
        };
        self.after_value();
        Ok(Token {
            kind,
            start,
            end: self.at,
        })
    }

    fn start(&mut self, container: Container) -> Result<Token, SyntaxError> {
        if self.open.len() >= self.max_depth {
            let limit = format!("at most {} levels of nesting", self.max_depth);
            return Err(SyntaxError::with(self.text, self.at, limit, "one more"));
        }
        self.open.push(container);
        let start = self.at;
        self.at += 1;
        let kind = match container {
            Container::Object => {
                self.next = Next::KeyOrEnd;
                Kind::ObjectStart
            }
            Container::Array => {
                self.next = Next::ElementOrEnd;
                Kind::ArrayStart
            }
        };
        Ok(Token {
            kind,
            start,
            end: self.at,
        })
    }

    fn end(&mut self, kind: Kind) -> Token {
        self.open.pop();
        self.at += 1;
        self.after_value();
        Token {
            kind,
            start: self.at - 1,
            end: self.at,
        }
    }

    fn after_value(&mut self) {
        self.next = if self.open.is_empty() {
            Next::Nothing
        } else {
            Next::CommaOrEnd
        };
    }

    fn key(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        self.string()?;
        let end = self.at;
        self.whitespace();
        if self.text.as_bytes().get(self.at) != Some(&b':') {
            return self.fail("':' after the key");
        }
        self.at += 1;
        self.next = Next::Value;
        Ok(Token {
            kind: Kind::Key,
            start,
            end,
        })
    }

    /// RFC 8259 section 7; `at` is on the opening quote and ends behind the closing one.
    fn string(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return self.fail("control characters in a string to be escaped"),
                Some(_) => self.at += 1,
                None => return self.fail("'\"' at the end of the string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        self.at += 1;
        match self.text.as_bytes().get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unicode_escape()? {
                0xd800..=0xdbff => {
                    let low = self.text.as_bytes().get(self.at..self.at + 2) == Some(b"\\u");
                    if low {
                        self.at += 1;
                        if (0xdc00..=0xdfff).contains(&self.unicode_escape()?) {
                            return Ok(());
                        }
                    }
                    self.unpaired(start)
                }
                0xdc00..=0xdfff => self.unpaired(start),
                _ => Ok(()),
            },
            _ => self.fail("one of \" \\ / b f n r t u after '\\'"),
        }
    }

    /// An unpaired surrogate is no Unicode text (RFC 8259 section 8.2, RFC 7493 section 2.1).
    fn unpaired(&self, start: usize) -> Result<(), SyntaxError> {
        let got = self.text.get(start..start + 6).unwrap_or_default();
        let expected = "a surrogate pair of two \\u escapes, high then low";
        Err(SyntaxError::with(
            self.text,
            start,
            expected,
            format!("an unpaired \"{got}\""),
        ))
    }

    /// The code unit of `uXXXX`; `at` is on the `u` and ends behind the digits.
    fn unicode_escape(&mut self) -> Result<u32, SyntaxError> {
        let mut unit = 0;
        for _ in 0..4 {
            self.at += 1;
            let digit = self
                .text
                .as_bytes()
                .get(self.at)
                .and_then(|&b| char::from(b).to_digit(16));
            match digit {
                Some(digit) => unit = unit * 16 + digit,
                None => return self.fail("four hexadecimal digits after \"\\u\""),
            }
        }
        self.at += 1;
        Ok(unit)
    }

    /// RFC 8259 section 6, of any length and any magnitude.
    fn number(&mut self) -> Result<(), SyntaxError> {
        if self.text.as_bytes().get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.text.as_bytes().get(self.at) == Some(&b'0') {
            self.at += 1;
            if matches!(self.text.as_bytes().get(self.at), Some(b'0'..=b'9')) {
                return self.fail("no digit after a leading zero");
            }
        } else {
            self.digits()?;
        }
        if self.text.as_bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.as_bytes().get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
        if self.at == start {
            self.fail("a digit")
        } else {
            Ok(())
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<Kind, SyntaxError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(Kind::Literal);
        }
        self.fail(word)
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, expected: &str) -> Result<T, SyntaxError> {
        Err(SyntaxError::at(self.text, self.at, expected))
    }
}
