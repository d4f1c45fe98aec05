use super::{channel::Channel, json::JsonStream};
use crate::{Masked, Masker};

/// Strings inside of strings that are looked at as JSON.
const MAX_NESTED: u8 = 3;

/// White space before a text, by which it is not yet told whether it is JSON.
const MAX_BLANK: usize = 64;

/// One text: plain, or JSON inside of a string, whose own strings are texts again. What turns out to be no JSON is plain
/// text from there on.
#[derive(Debug)]
pub(crate) struct Value {
    before: String,
    depth: u8,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Blank(String),
    Json(Box<JsonStream>),
    Text(Box<Channel>),
}

impl Value {
    /// A text that stands behind another and in so many strings.
    pub(super) fn new(before: String, depth: u8) -> Self {
        Self { before, depth, kind: Kind::Blank(String::new()) }
    }

    pub(super) fn push(&mut self, text: &str, masker: &Masker) -> Masked {
        let mut out = Masked::default();
        self.step(text, masker, &mut out);
        out
    }

    /// More of the text, which may as well be a text of its own.
    pub(super) fn push_alone(&mut self, text: &str, masker: &Masker) -> Masked {
        let mut out = Masked::default();
        if let Kind::Blank(blank) = &self.kind
            && blank.is_empty()
            && !text.trim_start_matches(is_blank).starts_with(['{', '['])
        {
            self.kind = Kind::Text(Box::new(Channel::behind(&self.before)));
        }
        match &mut self.kind {
            Kind::Text(channel) => out.append(channel.push_alone(text, masker)),
            Kind::Blank(_) | Kind::Json(_) => self.step(text, masker, &mut out),
        }
        out
    }

    pub(super) fn finish(&mut self, masker: &Masker) -> Masked {
        let mut out = Masked::default();
        match &mut self.kind {
            Kind::Blank(blank) => out.text.push_str(blank),
            Kind::Text(channel) => out.append(channel.finish(masker)),
            Kind::Json(json) => {
                if json.finish(masker, &mut out).is_err() {
                    self.fall_back("", masker, &mut out);
                    out.append(self.finish(masker));
                }
            }
        }
        out
    }

    /// Text that waits only because it might go on as an address leaves: see [`Channel::idle`].
    pub(super) fn idle(&mut self, masker: &Masker) -> Masked {
        match &mut self.kind {
            Kind::Text(channel) => channel.idle(masker),
            Kind::Blank(_) | Kind::Json(_) => Masked::default(),
        }
    }

    pub(super) fn holds_nothing(&self) -> bool {
        match &self.kind {
            Kind::Blank(blank) => blank.is_empty(),
            // Whether a string in it holds something is told by ending it.
            Kind::Json(_) => false,
            Kind::Text(channel) => channel.holds_nothing(),
        }
    }

    fn step(&mut self, text: &str, masker: &Masker, out: &mut Masked) {
        match &mut self.kind {
            Kind::Text(channel) => out.append(channel.push(text, masker)),
            Kind::Json(json) => {
                if json.push(text, masker, out).is_err() {
                    self.fall_back("", masker, out);
                }
            }
            Kind::Blank(blank) => {
                let shown = text.trim_start_matches(is_blank);
                let free = MAX_BLANK - blank.len();
                if shown.is_empty() && text.len() <= free {
                    blank.push_str(text);
                    return;
                }
                let text = std::mem::take(blank) + text;
                let is_json = self.depth <= MAX_NESTED
                    && text.len() - shown.len() <= MAX_BLANK
                    && shown.starts_with(['{', '[']);
                self.kind = if is_json {
                    Kind::Json(Box::new(JsonStream::nested(self.depth)))
                } else {
                    Kind::Text(Box::new(Channel::behind(&self.before)))
                };
                self.step(&text, masker, out);
            }
        }
    }

    /// It is no JSON: what has not left is text, behind the name it stands at.
    fn fall_back(&mut self, more: &str, masker: &Masker, out: &mut Masked) {
        let Kind::Json(json) = std::mem::replace(&mut self.kind, Kind::Blank(String::new())) else { return };
        let (rest, name) = json.give_back();
        let before = name.map_or_else(|| std::mem::take(&mut self.before), |name| name + ": ");
        self.kind = Kind::Text(Box::new(Channel::behind(&before)));
        self.step(&(rest + more), masker, out);
    }
}

/// Masks a whole text; `None` when there is nothing to mask.
pub(crate) fn whole(text: &str, before: &str, depth: u8, masker: &Masker) -> Option<Masked> {
    if depth > MAX_NESTED || !text.trim_start_matches(is_blank).starts_with(['{', '[']) {
        return Channel::whole(text, before, masker);
    }
    let mut value = Value::new(before.to_owned(), depth);
    let mut masked = value.push(text, masker);
    masked.append(value.finish(masker));
    (!masked.spans.is_empty()).then_some(masked)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
