use super::{
    MaskError,
    json::JsonStream,
    survey::{Group, Piece, Survey, agree},
    value::{Value, whole},
};
use crate::{Masked, Masker};

/// Texts told piece by piece at the same time in one body.
const MAX_CHANNELS: usize = 64;

/// Bytes of the event that carries what was held: of a larger one no text is held back.
const MAX_SHAPE: usize = 16 << 10;

/// What ends a stream of OpenAI's.
const DONE: &str = "[DONE]";

/// Masks events, however they are framed. A text that is told in pieces over several events is one text to the masker:
/// what it holds back leaves with a later piece, or in one more event before the one that ends it. What repeats the
/// text as a whole is masked as a whole, which gives the same.
#[derive(Debug, Default)]
pub(super) struct Events {
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    key: String,
    group: Group,
    value: Value,
    /// Where the newest piece stood, and the event it came with, without pieces: the shape of one more.
    pointer: String,
    name: String,
    shape: String,
}

/// An event to send: its data, and the name of one that was made here; `None` for the one that came.
pub(super) type Emit<'a> = dyn FnMut(Option<&str>, Masked) + 'a;

impl Events {
    /// Masks one event; what others held and must leave before it is told first.
    pub(super) fn event(
        &mut self,
        name: &str,
        data: &str,
        masker: &Masker,
        emit: &mut Emit<'_>,
    ) -> Result<(), MaskError> {
        if data == DONE {
            self.flush(&[Group::new()], &[], masker, emit)?;
            emit(None, Masked { text: data.to_owned(), ..Masked::default() });
            return Ok(());
        }
        // A number or an empty container is as likely a piece of text.
        let may_be = data.trim_start().starts_with(['{', '[']) && data.contains('"');
        match if may_be { self.json(name, data, masker, emit) } else { Err(MaskError::NotJson) } {
            Err(MaskError::NotJson) => self.text(name, data, masker, emit),
            other => other,
        }
    }

    /// Masks one event that must be JSON; when it is not, nothing has happened.
    pub(super) fn json(
        &mut self,
        name: &str,
        data: &str,
        masker: &Masker,
        emit: &mut Emit<'_>,
    ) -> Result<(), MaskError> {
        let survey = Survey::of(name, data)?;
        let keys: Vec<&str> = survey.pieces.iter().map(|piece| piece.key.as_str()).collect();
        self.flush(&survey.ended, &keys, masker, emit)?;
        let shape = shape(data, &survey.pieces);
        let mut told = Vec::with_capacity(survey.pieces.len());
        for piece in &survey.pieces {
            let ends = shape.len() > MAX_SHAPE || survey.ended.iter().any(|ended| agree(&piece.group, ended));
            told.push((piece, ends, self.channel(piece, name, &shape)?));
        }
        let mut failed = None;
        let mut out = Masked::default();
        let mut json = JsonStream::default();
        let channels = &mut self.channels;
        let mut hook = |from: usize, text: &str| {
            let (piece, ends, index) = told.iter().find(|(piece, ..)| piece.from == from)?;
            let Some(channel) = channels.get_mut(*index) else {
                failed = Some(MaskError::EventTooLarge);
                return None;
            };
            let value = &mut channel.value;
            let mut masked =
                if piece.sure { value.push(text, masker) } else { value.push_alone(text, masker) };
            if *ends {
                masked.append(channel.value.finish(masker));
            }
            Some(masked)
        };
        json.push_with(data, masker, Some(&mut hook), &mut out)?;
        json.finish(masker, &mut out)?;
        if let Some(error) = failed {
            return Err(error);
        }
        let over: Vec<String> =
            told.iter().filter(|(_, ends, _)| *ends).map(|(piece, ..)| piece.key.clone()).collect();
        self.channels.retain(|channel| !over.contains(&channel.key));
        emit(None, out);
        Ok(())
    }

    /// Everything has been told: what is held leaves.
    pub(super) fn finish(&mut self, masker: &Masker, emit: &mut Emit<'_>) -> Result<(), MaskError> {
        self.flush(&[Group::new()], &[], masker, emit)
    }

    /// Nothing has come for a while: see [`Value::idle`].
    pub(super) fn idle(&mut self, masker: &Masker, emit: &mut Emit<'_>) -> Result<(), MaskError> {
        for channel in &mut self.channels {
            let masked = channel.value.idle(masker);
            if !masked.text.is_empty() {
                emit(Some(&channel.name), channel.carry(masked, masker)?);
            }
        }
        Ok(())
    }

    /// Text that is no JSON is told piece by piece too.
    fn text(
        &mut self,
        name: &str,
        data: &str,
        masker: &Masker,
        emit: &mut Emit<'_>,
    ) -> Result<(), MaskError> {
        let (key, group) = (format!("{name}\ntext"), Group::new());
        let piece = Piece { pointer: String::new(), key, group, sure: true, from: 0, to: data.len() };
        let index = self.channel(&piece, name, "")?;
        let channel = self.channels.get_mut(index).ok_or(MaskError::EventTooLarge)?;
        emit(None, channel.value.push(data, masker));
        Ok(())
    }

    /// The channel a piece belongs to.
    fn channel(&mut self, piece: &Piece, name: &str, shape: &str) -> Result<usize, MaskError> {
        let index = match self.channels.iter().position(|channel| channel.key == piece.key) {
            Some(index) => index,
            None => {
                if self.channels.len() >= MAX_CHANNELS {
                    let idle = self.channels.iter().position(|channel| channel.value.holds_nothing());
                    self.channels.remove(idle.ok_or(MaskError::EventTooLarge)?);
                }
                self.channels.push(Channel {
                    key: piece.key.clone(),
                    group: piece.group.clone(),
                    value: Value::new(String::new(), 1),
                    pointer: String::new(),
                    name: String::new(),
                    shape: String::new(),
                });
                self.channels.len() - 1
            }
        };
        if let Some(channel) = self.channels.get_mut(index).filter(|_| shape.len() <= MAX_SHAPE) {
            piece.pointer.clone_into(&mut channel.pointer);
            name.clone_into(&mut channel.name);
            shape.clone_into(&mut channel.shape);
        }
        Ok(index)
    }

    /// What the texts hold that have ended leaves, each in one more event. Those that have a piece to come are spared.
    fn flush(
        &mut self,
        ended: &[Group],
        spared: &[&str],
        masker: &Masker,
        emit: &mut Emit<'_>,
    ) -> Result<(), MaskError> {
        if ended.is_empty() {
            return Ok(());
        }
        let over = |channel: &Channel| {
            ended.iter().any(|ended| agree(&channel.group, ended)) && !spared.contains(&channel.key.as_str())
        };
        let (over, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.channels).into_iter().partition(over);
        self.channels = stay;
        for mut channel in over {
            let rest = channel.value.finish(masker);
            if !rest.text.is_empty() {
                emit(Some(&channel.name), channel.carry(rest, masker)?);
            }
        }
        Ok(())
    }
}

impl Channel {
    /// One more event with this piece of the text.
    fn carry(&self, piece: Masked, masker: &Masker) -> Result<Masked, MaskError> {
        if self.pointer.is_empty() {
            return Ok(piece);
        }
        let pieces = Survey::of(&self.name, &self.shape)?.pieces;
        let (mut rest, mut out, mut json) = (Some(piece), Masked::default(), JsonStream::default());
        let mut hook = |from: usize, _: &str| {
            let piece = pieces.iter().find(|piece| piece.from == from)?;
            if piece.pointer == self.pointer { rest.take() } else { Some(Masked::default()) }
        };
        json.push_with(&self.shape, masker, Some(&mut hook), &mut out)?;
        json.finish(masker, &mut out)?;
        Ok(out)
    }
}

/// An event without its pieces.
fn shape(data: &str, pieces: &[Piece]) -> String {
    let (mut shape, mut from) = (String::with_capacity(data.len().min(MAX_SHAPE)), 0);
    for piece in pieces {
        shape.push_str(data.get(from..piece.from).unwrap_or_default());
        from = piece.to;
    }
    shape.push_str(data.get(from..).unwrap_or_default());
    shape
}

/// Masks a line that is no data: a comment, a name, an id.
pub(super) fn line(line: &str, masker: &Masker, out: &mut Masked) {
    match whole(line, "", u8::MAX, masker) {
        Some(masked) => out.append(masked),
        None => out.text.push_str(line),
    }
}
