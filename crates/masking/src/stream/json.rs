mod string;

use std::{borrow::Cow, collections::HashSet};

use super::{
    MaskError,
    lexer::{Expect, Lexer, MAX_NAME, MAX_SCALAR, Token, escape, is_scalar_text},
    raw::Raw,
    value::{Value, whole},
};
use crate::{Masked, Masker, Span};

/// Shortest number that is looked at: a card's security code.
const MIN_NUMBER: usize = 3;

/// White space that may stand between a number and what follows it, where JSON is only presumed.
const MAX_GAP: usize = 256;

/// Whether a member name says of a text no more than that it is one. Such a name is no context, so that a text told in pieces and
/// the same text repeated under another name are masked alike.
fn is_plain(name: &str) -> bool {
    matches!(
        name,
        "arguments"
            | "chunk"
            | "content"
            | "data"
            | "delta"
            | "input"
            | "message"
            | "output"
            | "output_text"
            | "partial_json"
            | "raw"
            | "reasoning"
            | "reasoning_content"
            | "refusal"
            | "response"
            | "result"
            | "text"
            | "thinking"
            | "token"
    )
}

/// Names that are remembered to hold nothing.
const MAX_CLEAN: usize = 128;

/// What a model says of each piece of its text, and of the pieces it might have said: the text once more.
const REPEATED: &str = "logprobs";

/// Masks JSON while it arrives: what is no hit passes byte for byte.
#[derive(Debug, Default)]
pub(crate) struct JsonStream {
    lexer: Lexer,
    /// The beginning of a number, a literal or an escape whose rest has not come.
    carry: String,
    /// The string that has not ended.
    open: Option<Box<Open>>,
    /// How many strings this is in. In a string JSON is presumed: what turns out to be none is given back.
    nested: u8,
    /// At which depth a container began that is left out.
    left_out: Option<usize>,
    /// Names that were looked at and held nothing: most come again and again.
    clean: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Open {
    name: bool,
    value: Value,
    raw: Raw,
}

/// Says of a whole string, by where its source begins in a document that is told whole, what is to stand in its place: text
/// that may come from elsewhere.
pub(super) type Hook<'a> = dyn FnMut(usize, &str) -> Option<Masked> + 'a;

impl JsonStream {
    /// JSON in a string that is in so many strings.
    pub(super) fn nested(depth: u8) -> Self {
        Self { nested: depth, ..Self::default() }
    }

    pub(crate) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        self.push_with(text, masker, None, out)
    }

    pub(super) fn push_with(
        &mut self,
        text: &str,
        masker: &Masker,
        hook: Option<&mut Hook<'_>>,
        out: &mut Masked,
    ) -> Result<(), MaskError> {
        let joined = (!self.carry.is_empty()).then(|| std::mem::take(&mut self.carry) + text);
        let text = joined.as_deref().unwrap_or(text);
        let mut at = 0;
        if let Some(open) = self.open.take() {
            match self.go_on(open, text, masker, out)? {
                Some(behind) => at = behind,
                None => return Ok(()),
            }
        }
        self.tokens(text, at, masker, hook, out)
    }

    pub(crate) fn finish(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let carry = std::mem::take(&mut self.carry);
        if let Some(mut open) = self.open.take() {
            if self.nested == 0 {
                return Err(MaskError::NotJson);
            }
            // A text that was cut, in the middle of a string: half an escape is text.
            let place = &self.lexer.path;
            open.raw.plain(&carry);
            let masker = &*at_place(masker, &self.lexer, self.nested);
            let more = open.value.push(&carry, masker);
            open.raw.write(&more, place, out);
            let rest = open.value.finish(masker);
            open.raw.write(&rest, place, out);
            return Ok(());
        }
        if !carry.is_empty() {
            if self.nested > 0 {
                self.carry = carry;
                return Err(MaskError::NotJson);
            }
            match self.number(&carry, masker)? {
                Some(masked) => out.append(masked),
                None => out.text.push_str(&carry),
            }
            self.lexer.value_ended();
        }
        if self.nested > 0 || self.lexer.is_whole() { Ok(()) } else { Err(MaskError::NotJson) }
    }

    /// Where it was presumed JSON and is none: what has not left.
    pub(super) fn give_back(self) -> (String, Option<String>) {
        (self.carry, self.lexer.path.name().map(str::to_owned))
    }

    fn tokens(
        &mut self,
        text: &str,
        mut at: usize,
        masker: &Masker,
        mut hook: Option<&mut Hook<'_>>,
        out: &mut Masked,
    ) -> Result<(), MaskError> {
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        // Everything before it has left.
        let mut copied = at;
        // A number where JSON is presumed: it counts as one when JSON follows.
        let mut presumed: Option<(Expect, usize, usize, Option<Masked>)> = None;
        let mut before = String::new();
        loop {
            let (expect, begun) = (self.lexer.expect, at);
            let mut token = self.lexer.next(text, &mut at);
            if let Some((expected, from, to, masked)) = presumed.take() {
                let gap = part(to, at).len() - part(to, at).trim_start_matches([' ', '\t', '\r', '\n']).len();
                if gap > MAX_GAP || matches!(token, Ok(Token::ScalarOpen { .. })) {
                    token = Err(MaskError::NotJson);
                }
                match (&token, masked) {
                    (Err(_), _) => at = from,
                    (Ok(Token::End), _) => {
                        self.lexer.expect = expected;
                        self.leave_to(text, copied, from, out);
                        return Ok(());
                    }
                    (Ok(_), Some(masked)) => {
                        out.text.push_str(part(copied, from));
                        out.append(masked);
                        copied = to;
                    }
                    (Ok(_), None) => {}
                }
            }
            match token {
                Err(error) => {
                    self.leave_to(text, copied, at, out);
                    return Err(error);
                }
                Ok(Token::End) => {
                    self.leave_to(text, copied, text.len(), out);
                    return Ok(());
                }
                Ok(Token::ScalarOpen { from }) => {
                    self.leave_to(text, copied, from, out);
                    return if self.carry.len() > MAX_SCALAR { Err(MaskError::NotJson) } else { Ok(()) };
                }
                Ok(Token::Enter { at: from }) => {
                    let object = self.lexer.path.in_object() == Some(true);
                    if self.left_out.is_none() && self.repeats() {
                        self.left_out = Some(self.lexer.path.depth());
                        out.text.push_str(part(copied, from));
                        out.text.push_str(if object { "null" } else { "[]" });
                    }
                }
                Ok(Token::Leave { to }) => {
                    if self.left_out.is_some_and(|depth| self.lexer.path.depth() < depth) {
                        self.left_out = None;
                        copied = to;
                    }
                }
                Ok(Token::Scalar { .. } | Token::String { .. }) if self.left_out.is_some() => {}
                Ok(Token::Scalar { from, to }) => match self.number(part(from, to), masker) {
                    Err(error) => {
                        self.leave_to(text, copied, from, out);
                        return Err(error);
                    }
                    Ok(masked) if self.nested > 0 => presumed = Some((expect, from, to, masked)),
                    Ok(None) => {}
                    Ok(Some(masked)) => {
                        out.text.push_str(part(copied, from));
                        out.append(masked);
                        copied = to;
                    }
                },
                Ok(Token::String { name, from, to, escaped }) => {
                    let decoded = self.decode(part(from, to), part(from, to + 1), escaped)?;
                    if name {
                        self.lexer.path.name_more(&decoded, MAX_NAME);
                        if masker.engine().is_quiet(&decoded, "") || self.clean.contains(&*decoded) {
                            continue;
                        }
                    }
                    self.behind(name, &mut before);
                    let own = at_place(masker, &self.lexer, self.nested);
                    let told = hook.as_mut().filter(|_| !name).and_then(|hook| hook(from, &decoded));
                    if let Some(told) = told {
                        if *told.text != *decoded || !told.spans.is_empty() {
                            out.text.push_str(part(copied, from));
                            escape(&told.text, &mut out.text);
                            out.findings.absorb(&told.findings, &self.lexer.path.to_string());
                            copied = to;
                        }
                    } else if let Some(masked) = whole(&decoded, &before, depth(name, self.nested), &own) {
                        out.text.push_str(part(copied, from));
                        let mut raw = Raw::default();
                        self.decode_into(part(from, to + 1), &mut String::new(), Some(&mut raw))?;
                        raw.write(&masked, &self.lexer.path, out);
                        copied = to;
                    } else if name
                        && decoded.len() <= MAX_NAME
                        && self.clean.len() < MAX_CLEAN
                        && !masker.by_place()
                    {
                        self.clean.insert(decoded.into());
                    }
                }
                Ok(Token::StringOpen { name, from }) => {
                    if self.left_out.is_none() {
                        out.text.push_str(part(copied, from));
                    }
                    self.behind(name, &mut before);
                    let value = Value::new(before, depth(name, self.nested));
                    let open = Box::new(Open { name, value, raw: Raw::default() });
                    let rest = part(from, text.len());
                    return self.go_on(open, rest, masker, out).map(|_| ());
                }
            }
            debug_assert!(at > begun, "every token moves on");
        }
    }

    /// What stands before `to` leaves; the rest waits.
    fn leave_to(&mut self, text: &str, copied: usize, to: usize, out: &mut Masked) {
        if self.left_out.is_none() {
            out.text.push_str(text.get(copied..to).unwrap_or_default());
        }
        self.carry.push_str(text.get(to..).unwrap_or_default());
    }

    /// What stands before a value's text: the name of its member.
    fn behind(&self, name: bool, before: &mut String) {
        before.clear();
        if let Some(named) = self.lexer.path.name()
            && !name
            && !is_plain(named)
        {
            before.push_str(named);
            before.push_str(": ");
        }
    }

    /// What stands for a number that is a hit. It must be a number or a literal.
    fn number(&self, number: &str, masker: &Masker) -> Result<Option<Masked>, MaskError> {
        if number.len() > MAX_SCALAR || !is_scalar_text(number) {
            return Err(MaskError::NotJson);
        }
        if number.len() < MIN_NUMBER || number.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(None);
        }
        let mut before = String::new();
        self.behind(false, &mut before);
        let masker = at_place(masker, &self.lexer, self.nested);
        let Some(masked) = whole(number, &before, u8::MAX, &masker) else { return Ok(None) };
        let mut out = Masked { text: masker.number(number, &masked), ..Masked::default() };
        let entity = masked.spans.first().map(|span| span.entity.clone());
        let span = |entity| Span { entity, at: 0, len: number.len(), shown: out.text.len() };
        out.spans = entity.map(span).into_iter().collect();
        out.findings.absorb(&masked.findings, &self.lexer.path.to_string());
        Ok(Some(out))
    }

    /// Whether the container that begins says the text once more. Only in a document of its own: in a string it is
    /// text like any other.
    fn repeats(&self) -> bool {
        self.nested == 0 && self.lexer.path.container_name() == Some(REPEATED)
    }
}

/// Names hold no JSON.
fn depth(name: bool, nested: u8) -> u8 {
    if name { u8::MAX } else { nested + 1 }
}

/// The masker for the value the lexer is at. Inside of strings there are no places.
fn at_place<'a>(masker: &'a Masker, lexer: &Lexer, nested: u8) -> Cow<'a, Masker> {
    if nested == 0 && masker.by_place() {
        Cow::Owned(masker.at(&lexer.path.pointer()))
    } else {
        Cow::Borrowed(masker)
    }
}
