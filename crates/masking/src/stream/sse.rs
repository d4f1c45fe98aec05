use crate::{
    Masked, Masker,
    stream::{
        MaskError, TextStream,
        json::{Event as Json, Lexer, append, scalar},
    },
};

/// Bytes of one event; CrewAI's largest recorded one has 335 kB.
const MAX_EVENT: usize = 1 << 20;

/// Texts told piece by piece in one stream.
const MAX_CHANNELS: usize = 64;

/// Member names under which models and CrewAI tell a text piece by piece.
const PIECES: [&str; 7] =
    ["chunk", "content", "delta", "partial_json", "reasoning_content", "text", "thinking"];

/// Event names and `type`s behind which no further piece of the text comes.
const ENDS: [&str; 12] = [
    "content_block_stop",
    "done",
    "end",
    "error",
    "flow_finished",
    "message_stop",
    "response.completed",
    "response.output_text.done",
    "result",
    "turn_completed",
    "turn_failed",
    "[DONE]",
];

/// Masks server-sent events while they arrive. An event leaves when it is complete. A text that is told in pieces over
/// several events is one text to the masker: what it holds back leaves with a later piece, or before the event that
/// ends it.
#[derive(Debug, Default)]
pub(super) struct SseStream {
    line: String,
    after_return: bool,
    lines: Vec<String>,
    size: usize,
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    key: String,
    text: TextStream,
    /// The event that supplied the newest piece: the shape of the one that carries what was held.
    shape: Vec<String>,
}

impl SseStream {
    pub(super) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        for c in text.chars() {
            // Lines end in CR, LF or both.
            let skip = std::mem::replace(&mut self.after_return, c == '\r') && c == '\n';
            match c {
                _ if skip => {}
                '\n' | '\r' => self.end_of_line(masker, out)?,
                c => {
                    self.line.push(c);
                    self.size += c.len_utf8();
                }
            }
            if self.size > MAX_EVENT {
                return Err(MaskError::EventTooLarge);
            }
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
        self.flush(masker, out)
    }

    fn end_of_line(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.event(masker, out);
        }
        self.lines.push(line);
        Ok(())
    }

    fn event(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let lines = std::mem::take(&mut self.lines);
        self.size = 0;
        if lines.is_empty() {
            out.text.push('\n');
            return Ok(());
        }
        let ends = ends(&lines);
        if ends {
            self.flush(masker, out)?;
        }
        let mut pieces = |key: String, piece: &str| self.piece(key, piece, ends, &lines, masker);
        write(&lines, masker, out, &mut pieces)
    }

    /// One piece of a channel's text; gives what may leave.
    fn piece(
        &mut self,
        key: String,
        piece: &str,
        last: bool,
        lines: &[String],
        masker: &Masker,
    ) -> Result<Masked, MaskError> {
        let index = match self.channels.iter().position(|channel| channel.key == key) {
            Some(index) => index,
            None if self.channels.len() >= MAX_CHANNELS => return Err(MaskError::EventTooLarge),
            None => {
                self.channels.push(Channel { key, text: TextStream::default(), shape: Vec::new() });
                self.channels.len() - 1
            }
        };
        let mut out = Masked::default();
        if let Some(channel) = self.channels.get_mut(index) {
            channel.text.push(piece, masker, &mut out);
            if last {
                channel.text.finish(masker, &mut out);
            } else {
                channel.shape = lines.to_vec();
            }
        }
        Ok(out)
    }

    /// What is held leaves, each channel's in one more event of its own shape.
    fn flush(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        for mut channel in std::mem::take(&mut self.channels) {
            if channel.text.holds_nothing() {
                continue;
            }
            let mut rest = Some(Masked::default());
            if let Some(rest) = &mut rest {
                channel.text.finish(masker, rest);
            }
            // An id marks where a client resumes: the synthetic event has none.
            let shape: Vec<String> =
                channel.shape.into_iter().filter(|line| !line.starts_with("id")).collect();
            write(&shape, masker, out, &mut |key, _| {
                Ok(if key == channel.key { rest.take().unwrap_or_default() } else { Masked::default() })
            })?;
        }
        Ok(())
    }
}

/// Whether no further piece of any text comes behind this event.
fn ends(lines: &[String]) -> bool {
    let data = data(lines);
    let named = field(lines, "event").is_some_and(|name| ENDS.contains(&name));
    named || data == "[DONE]" || {
        let (mut found, mut lexer, mut text) = (false, Lexer::default(), None::<String>);
        let mut sink = |lexer: &Lexer, event: Json| match event {
            Json::Begin { name: false }
                if matches!(lexer.name(), Some("type" | "finish_reason" | "stop_reason")) =>
            {
                text = Some(String::new());
            }
            Json::Char(c) => {
                if let Some(text) = &mut text {
                    text.push(c);
                }
            }
            Json::End => {
                if let Some(text) = text.take() {
                    // A finish or stop reason is null until the text has ended.
                    found |= lexer.name() != Some("type") || ENDS.contains(&text.as_str());
                }
            }
            _ => {}
        };
        data.chars().try_for_each(|c| lexer.push(c, &mut sink)).is_ok() && found
    }
}

/// Writes an event, masked; `pieces` says what becomes of a piece of a channel.
fn write(
    lines: &[String],
    masker: &Masker,
    out: &mut Masked,
    pieces: &mut dyn FnMut(String, &str) -> Result<Masked, MaskError>,
) -> Result<(), MaskError> {
    let mut written = false;
    for line in lines {
        if !is_data(line) {
            add(masker.mask_text(line), out);
            out.text.push('\n');
        } else if !written {
            written = true;
            let name = field(lines, "event").unwrap_or_default();
            let masked = mask_data(&data(lines), name, masker, pieces)?;
            for line in masked.text.split('\n') {
                out.text.push_str("data: ");
                out.text.push_str(line);
                out.text.push('\n');
            }
            count(&masked, out);
        }
    }
    out.text.push('\n');
    Ok(())
}

fn mask_data(
    data: &str,
    name: &str,
    masker: &Masker,
    pieces: &mut dyn FnMut(String, &str) -> Result<Masked, MaskError>,
) -> Result<Masked, MaskError> {
    if data == "[DONE]" {
        return Ok(Masked { text: data.to_owned(), ..Masked::default() });
    }
    match mask_json(data, name, masker, pieces) {
        // Text that is no JSON is told piece by piece too.
        Err(MaskError::NotJson) => pieces(format!("{name} text"), data),
        other => other,
    }
}

fn mask_json(
    data: &str,
    name: &str,
    masker: &Masker,
    pieces: &mut dyn FnMut(String, &str) -> Result<Masked, MaskError>,
) -> Result<Masked, MaskError> {
    // First whether it is JSON at all: a channel must not be fed by half an event.
    let mut probe = Lexer::default();
    data.chars().try_for_each(|c| probe.push(c, &mut |_, _| {}))?;
    probe.finish(&mut |_, _| {})?;
    let (mut out, mut lexer, mut text, mut failed) =
        (Masked::default(), Lexer::default(), String::new(), None);
    let mut is_name = false;
    let mut sink = |lexer: &Lexer, event: Json| match event {
        Json::Raw(c) => out.text.push(c),
        Json::Scalar(text) => scalar(&text, masker, &mut out),
        Json::Begin { name } => is_name = name,
        Json::Char(c) => text.push(c),
        Json::End => {
            let whole = std::mem::take(&mut text);
            let piece = !is_name && lexer.name().is_some_and(|name| PIECES.contains(&name));
            let masked = if piece {
                pieces(format!("{name} {}", lexer.path()), &whole)
            } else {
                Ok(masker.mask_text(&whole))
            };
            match masked {
                Ok(masked) => {
                    out.text.push('"');
                    append(&masked, &mut out);
                    out.text.push('"');
                }
                Err(error) => failed = Some(error),
            }
        }
    };
    data.chars().try_for_each(|c| lexer.push(c, &mut sink))?;
    lexer.finish(&mut sink)?;
    failed.map_or(Ok(out), Err)
}

fn add(masked: Masked, out: &mut Masked) {
    out.text.push_str(&masked.text);
    count(&masked, out);
}

fn count(masked: &Masked, out: &mut Masked) {
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
