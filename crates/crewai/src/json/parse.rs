use crewgate_core::{Number, Value};

use super::{JsonError, JsonErrorKind as Kind};

/// The deepest nesting any caller of [`parse`] can ask for. The parser, the renderer and dropping a value recurse, so
/// this is what keeps a stranger's brackets from using up the stack (about 200 bytes of it per level).
pub const MAX_DEPTH: usize = 512;

/// Reads one JSON text with at most `max_depth` (and never more than [`MAX_DEPTH`]) arrays and objects inside each
/// other. Takes time and memory in proportion to the text.
///
/// # Errors
///
/// [`JsonError`]: see the [module](super) for what is refused beyond the grammar.
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError { kind: Kind::Utf8, offset: error.valid_up_to() })?;
    if text.starts_with('\u{FEFF}') {
        return Err(JsonError { kind: Kind::ByteOrderMark, offset: 0 });
    }
    let mut parser = Parser { text, at: 0 };
    parser.space();
    let value = parser.value(max_depth.min(MAX_DEPTH))?;
    parser.space();
    if parser.at < text.len() { Err(parser.error(Kind::Trailing)) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, kind: Kind) -> JsonError {
        JsonError { kind, offset: self.at }
    }

    fn syntax<T>(&self) -> Result<T, JsonError> {
        Err(self.error(Kind::Syntax))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The text from `start` to here; both always stand beside an ASCII byte, so on a character boundary.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    /// Takes this byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.syntax();
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.syntax(),
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let part = |b: &&u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        self.at += self.rest().iter().take_while(part).count();
        Number::parse(self.since(start))
            .map(Value::Number)
            .map_err(|_| JsonError { kind: Kind::Syntax, offset: start })
    }

    /// Opens an array or object and says how much deeper it may go.
    fn open(&mut self, depth: usize) -> Result<usize, JsonError> {
        let inner = depth.checked_sub(1).ok_or_else(|| self.error(Kind::TooDeep))?;
        self.at += 1;
        self.space();
        Ok(inner)
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let inner = self.open(depth)?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(inner)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return self.syntax();
            }
            self.space();
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let inner = self.open(depth)?;
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.syntax();
            }
            let name = self.string()?;
            self.space();
            if !self.take(b':') {
                return self.syntax();
            }
            self.space();
            members.push((name, self.value(inner)?));
            self.space();
            if self.take(b'}') {
                return self.unique(members);
            }
            if !self.take(b',') {
                return self.syntax();
            }
            self.space();
        }
    }

    /// Sorting finds duplicates in n·log n comparisons whatever the names; a hash map could be attacked and a scan is
    /// quadratic.
    fn unique(&self, members: Vec<(String, Value)>) -> Result<Value, JsonError> {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
            Some((name, _)) => Err(self.error(Kind::DuplicateName((*name).to_owned()))),
            None => Ok(Value::Object(members)),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut decoded = String::new();
        loop {
            let start = self.at;
            self.at += self.rest().iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..0x20)).count();
            let plain = self.since(start);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    // Most strings hold no escape: one copy of the right size.
                    if decoded.is_empty() {
                        return Ok(plain.to_owned());
                    }
                    decoded.push_str(plain);
                    return Ok(decoded);
                }
                Some(b'\\') => {
                    decoded.push_str(plain);
                    decoded.push(self.escape()?);
                }
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(c)
    }

    /// `\uXXXX`, or two of them that name one character beyond U+FFFF. Stands at the `u`.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let first = self.hex4()?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        let lone = JsonError { kind: Kind::LoneSurrogate, offset: start };
        if first >= 0xDC00 || !self.take(b'\\') || self.peek() != Some(b'u') {
            return Err(lone);
        }
        let second = self.hex4()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(lone)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let digits = self.rest().get(..4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            let Some(digit) = char::from(*digit).to_digit(16) else { return self.syntax() };
            code = code * 16 + digit;
        }
        if digits.len() < 4 {
            return self.syntax();
        }
        self.at += 4;
        Ok(code)
    }
}
