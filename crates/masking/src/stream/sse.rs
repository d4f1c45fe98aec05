use memchr::memchr2;

use super::{
    MaskError,
    events::{Events, line},
};
use crate::{Masked, Masker};

/// Bytes of one event; the largest recorded one of a crew has 335 kB.
pub(super) const MAX_EVENT: usize = 1 << 20;

/// Masks server-sent events (WHATWG HTML section 9.2) while they arrive. An event leaves when it is complete.
#[derive(Debug, Default)]
pub(super) struct SseStream {
    events: Events,
    line: String,
    after_return: bool,
    lines: Vec<String>,
    size: usize,
}

impl SseStream {
    pub(super) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let mut rest = text;
        while !rest.is_empty() {
            // Lines end in CR, LF or both.
            if std::mem::take(&mut self.after_return) {
                rest = rest.strip_prefix('\n').unwrap_or(rest);
            }
            let end = memchr2(b'\n', b'\r', rest.as_bytes());
            let (more, behind) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
            self.size += more.len();
            if self.size > MAX_EVENT {
                return Err(MaskError::EventTooLarge);
            }
            self.line.push_str(more);
            if end.is_some() {
                self.after_return = behind.starts_with('\r');
                self.end_of_line(masker, out)?;
            }
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        // An event whose blank line never came is masked like any other, not passed.
        if !self.line.is_empty() {
            self.end_of_line(masker, out)?;
        }
        if !self.lines.is_empty() {
            self.event(masker, out)?;
        }
        self.events.finish(masker, &mut |name, masked| made(name, masked, out))
    }

    pub(super) fn idle(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        self.events.idle(masker, &mut |name, masked| made(name, masked, out))
    }

    fn end_of_line(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.event(masker, out);
        }
        self.lines.push(line);
        // So that many short lines are bounded too.
        self.size += 1;
        Ok(())
    }

    fn event(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let lines = std::mem::take(&mut self.lines);
        self.size = 0;
        if !lines.iter().any(|line| is_data(line)) {
            for line_ in &lines {
                line(line_, masker, out);
                out.text.push('\n');
            }
            out.text.push('\n');
            return Ok(());
        }
        let name = field(&lines, "event").unwrap_or_default();
        self.events.event(name, &data(&lines), masker, &mut |made_name, masked| {
            if made_name.is_some() {
                return made(made_name, masked, out);
            }
            let mut masked = Some(masked);
            for line_ in &lines {
                if !is_data(line_) {
                    line(line_, masker, out);
                    out.text.push('\n');
                } else if let Some(masked) = masked.take() {
                    write(&masked, out);
                }
            }
            out.text.push('\n');
        })
    }
}

/// An event that was made here. It has no id: that marks where a client resumes.
fn made(name: Option<&str>, masked: Masked, out: &mut Masked) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        out.text.push_str("event: ");
        out.text.push_str(name);
        out.text.push('\n');
    }
    write(&masked, out);
    out.text.push('\n');
}

fn write(masked: &Masked, out: &mut Masked) {
    for line in masked.text.split('\n') {
        out.text.push_str("data: ");
        out.text.push_str(line);
        out.text.push('\n');
    }
    out.findings.absorb(&masked.findings, "");
}

fn is_data(line: &str) -> bool {
    line == "data" || line.starts_with("data:")
}

/// The event's data: its data lines, joined.
fn data(lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().filter(|line| is_data(line)).map(|line| value(line)).collect();
    lines.join("\n")
}

fn field<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().rev().find(|line| line.split(':').next() == Some(name)).map(|line| value(line))
}

/// What stands behind the colon, without one space.
fn value(line: &str) -> &str {
    let value = line.split_once(':').map_or("", |(_, value)| value);
    value.strip_prefix(' ').unwrap_or(value)
}
