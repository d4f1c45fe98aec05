use crate::{
    Masked, Masker, Span,
    stream::{MaskError, TextStream},
};

/// Containers inside each other; CrewAI's deepest recorded answer has 9.
const MAX_DEPTH: usize = 256;

/// Bytes of a number or literal.
const MAX_SCALAR: usize = 512;

/// Bytes of a member name that are remembered for a path.
const MAX_NAME: usize = 128;

/// What the lexer finds.
pub(super) enum Event {
    /// Structure and white space, passed as it is.
    Raw(char),
    /// A number or literal.
    Scalar(String),
    /// A string begins; whether it is a member name.
    Begin { name: bool },
    /// A decoded character of a string.
    Char(char),
    /// A string ends.
    End,
}

/// Splits JSON text into events, one character at a time. It knows enough of the grammar to tell names from values and
/// to refuse what is no JSON at all.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    stack: Vec<Frame>,
    state: State,
}

#[derive(Debug)]
struct Frame {
    object: bool,
    in_name: bool,
    name: String,
    index: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Between,
    Scalar(String),
    String {
        escape: Escape,
        high: Option<u16>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    Hex { digits: u8, value: u16 },
}

impl Lexer {
    pub(super) fn push(&mut self, c: char, sink: &mut impl FnMut(&Self, Event)) -> Result<(), MaskError> {
        match std::mem::take(&mut self.state) {
            State::Between => self.between(c, sink),
            State::Scalar(mut text) if c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.') => {
                text.push(c);
                if text.len() > MAX_SCALAR {
                    return Err(MaskError::NotJson);
                }
                self.state = State::Scalar(text);
                Ok(())
            }
            State::Scalar(text) => {
                self.scalar(text, sink)?;
                self.between(c, sink)
            }
            State::String { escape, high } => self.string(c, escape, high, sink),
        }
    }

    pub(super) fn finish(&mut self, sink: &mut impl FnMut(&Self, Event)) -> Result<(), MaskError> {
        match std::mem::take(&mut self.state) {
            State::Between => {}
            State::Scalar(text) => self.scalar(text, sink)?,
            State::String { .. } => return Err(MaskError::NotJson),
        }
        if self.stack.is_empty() { Ok(()) } else { Err(MaskError::NotJson) }
    }

    /// Where the current value stands, e.g. `/choices/0/delta/content`.
    pub(super) fn path(&self) -> String {
        let step = |frame: &Frame| {
            if frame.object { format!("/{}", frame.name) } else { format!("/{}", frame.index) }
        };
        self.stack.iter().map(step).collect()
    }

    /// The member name the current value belongs to.
    pub(super) fn name(&self) -> Option<&str> {
        self.stack.last().filter(|frame| frame.object).map(|frame| frame.name.as_str())
    }

    fn between(&mut self, c: char, sink: &mut impl FnMut(&Self, Event)) -> Result<(), MaskError> {
        match c {
            '{' | '[' => {
                if self.stack.len() >= MAX_DEPTH {
                    return Err(MaskError::TooDeep);
                }
                let object = c == '{';
                self.stack.push(Frame { object, in_name: object, name: String::new(), index: 0 });
            }
            '}' | ']' => {
                let closed = self.stack.pop().ok_or(MaskError::NotJson)?;
                if closed.object != (c == '}') {
                    return Err(MaskError::NotJson);
                }
            }
            ':' => match self.stack.last_mut() {
                Some(frame) if frame.object && frame.in_name => frame.in_name = false,
                _ => return Err(MaskError::NotJson),
            },
            ',' => match self.stack.last_mut() {
                Some(frame) => {
                    frame.in_name = frame.object;
                    frame.index += 1;
                }
                None => return Err(MaskError::NotJson),
            },
            '"' => {
                let name = self.stack.last().is_some_and(|frame| frame.in_name);
                if let (true, Some(frame)) = (name, self.stack.last_mut()) {
                    frame.name.clear();
                }
                self.state = State::String { escape: Escape::No, high: None };
                sink(self, Event::Begin { name });
                return Ok(());
            }
            ' ' | '\t' | '\r' | '\n' => {}
            c if c.is_ascii_alphanumeric() || c == '-' => {
                self.state = State::Scalar(c.to_string());
                return Ok(());
            }
            _ => return Err(MaskError::NotJson),
        }
        sink(self, Event::Raw(c));
        Ok(())
    }

    fn scalar(&mut self, text: String, sink: &mut impl FnMut(&Self, Event)) -> Result<(), MaskError> {
        let literal = matches!(text.as_str(), "true" | "false" | "null");
        if !literal && crewgate_core::Number::parse(text.as_str()).is_err() {
            return Err(MaskError::NotJson);
        }
        sink(self, Event::Scalar(text));
        Ok(())
    }

    fn string(
        &mut self,
        c: char,
        escape: Escape,
        high: Option<u16>,
        sink: &mut impl FnMut(&Self, Event),
    ) -> Result<(), MaskError> {
        let mut next = (Escape::No, None);
        match escape {
            Escape::No if c == '\\' => next = (Escape::Begun, high),
            Escape::No => {
                self.lone(high, sink);
                match c {
                    '"' => {
                        sink(self, Event::End);
                        return Ok(());
                    }
                    c if c < ' ' => return Err(MaskError::NotJson),
                    c => self.character(c, sink),
                }
            }
            Escape::Begun if c == 'u' => next = (Escape::Hex { digits: 0, value: 0 }, high),
            Escape::Begun => {
                self.lone(high, sink);
                self.character(unescape(c).ok_or(MaskError::NotJson)?, sink);
            }
            Escape::Hex { digits, value } => {
                let digit = c.to_digit(16).and_then(|d| u16::try_from(d).ok()).ok_or(MaskError::NotJson)?;
                let value = value << 4 | digit;
                if digits < 3 {
                    next = (Escape::Hex { digits: digits + 1, value }, high);
                } else {
                    next.1 = self.unit(high, value, sink);
                }
            }
        }
        self.state = State::String { escape: next.0, high: next.1 };
        Ok(())
    }

    /// One `\uXXXX`; returns the high surrogate that waits for its other half.
    fn unit(&mut self, high: Option<u16>, unit: u16, sink: &mut impl FnMut(&Self, Event)) -> Option<u16> {
        if let Some(high) = high
            && let Some(Ok(c)) = char::decode_utf16([high, unit]).next()
        {
            self.character(c, sink);
            return None;
        }
        self.lone(high, sink);
        match char::from_u32(u32::from(unit)) {
            Some(c) => self.character(c, sink),
            None if unit < 0xDC00 => return Some(unit),
            None => self.character(char::REPLACEMENT_CHARACTER, sink),
        }
        None
    }

    /// A surrogate without its other half cannot be written as UTF-8.
    fn lone(&mut self, high: Option<u16>, sink: &mut impl FnMut(&Self, Event)) {
        if high.is_some() {
            self.character(char::REPLACEMENT_CHARACTER, sink);
        }
    }

    fn character(&mut self, c: char, sink: &mut impl FnMut(&Self, Event)) {
        if let Some(frame) = self.stack.last_mut()
            && frame.in_name
            && frame.name.len() < MAX_NAME
        {
            frame.name.push(c);
        }
        sink(self, Event::Char(c));
    }
}

/// Masks a JSON body while it arrives.
#[derive(Debug, Default)]
pub(crate) struct JsonStream {
    lexer: Lexer,
    text: TextStream,
}

impl JsonStream {
    pub(crate) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let mut pending = String::new();
        for c in text.chars() {
            let stream = &mut self.text;
            self.lexer.push(c, &mut |_, event| string_or_raw(event, stream, &mut pending, masker, out))?;
        }
        masked(&mut self.text, &mut pending, false, masker, out);
        Ok(())
    }

    pub(crate) fn finish(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let (stream, mut pending) = (&mut self.text, String::new());
        self.lexer.finish(&mut |_, event| string_or_raw(event, stream, &mut pending, masker, out))
    }
}

/// Characters of one string are gathered in `pending` and scanned together: a scan per character would be slow.
fn string_or_raw(
    event: Event,
    stream: &mut TextStream,
    pending: &mut String,
    masker: &Masker,
    out: &mut Masked,
) {
    match event {
        Event::Raw(c) => out.text.push(c),
        Event::Scalar(text) => scalar(&text, masker, out),
        Event::Begin { .. } => out.text.push('"'),
        Event::Char(c) => pending.push(c),
        Event::End => {
            masked(stream, pending, true, masker, out);
            out.text.push('"');
        }
    }
}

fn masked(stream: &mut TextStream, pending: &mut String, last: bool, masker: &Masker, out: &mut Masked) {
    let mut clear = Masked::default();
    if !pending.is_empty() {
        stream.push(pending, masker, &mut clear);
        pending.clear();
    }
    if last {
        stream.finish(masker, &mut clear);
    }
    append(&clear, out);
}

/// Writes masked text as the inside of a JSON string, and tells where its hits stand there.
pub(super) fn append(clear: &Masked, out: &mut Masked) {
    let mut from = 0;
    for span in &clear.spans {
        escape(clear.text.get(from..span.at).unwrap_or_default(), &mut out.text);
        let at = out.text.len();
        from = span.at + span.shown;
        escape(clear.text.get(span.at..from).unwrap_or_default(), &mut out.text);
        out.spans.push(Span { at, shown: out.text.len() - at, ..span.clone() });
    }
    escape(clear.text.get(from..).unwrap_or_default(), &mut out.text);
    out.findings.absorb(&clear.findings, "");
}

/// A number that is a hit becomes another; any other passes in its source text.
pub(super) fn scalar(text: &str, masker: &Masker, out: &mut Masked) {
    let masked = masker.mask_text(text);
    if masked.findings.is_empty() {
        out.text.push_str(text);
        return;
    }
    let number = masker.number(text, &masked);
    if let Some(span) = masked.spans.into_iter().next() {
        out.spans.push(Span { at: out.text.len(), shown: number.len(), ..span });
    }
    out.text.push_str(&number);
    out.findings.absorb(&masked.findings, "");
}

/// Writes text as the inside of a JSON string (RFC 8259 section 7).
pub(crate) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

fn unescape(c: char) -> Option<char> {
    Some(match c {
        '"' | '\\' | '/' => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        _ => return None,
    })
}
