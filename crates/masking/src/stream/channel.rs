use std::cmp::Reverse;

use super::{TextStream, base64::Runs, shadow::Shadow};
use crate::{Entity, Masked, Masker, Span};

/// Longest beginning of a word that [`Channel::idle`] lets go.
const MAX_SHOWN: usize = 24;

/// One text of a body, looked at in several ways at once: as it is; with escapes, percent and entity encodings and
/// disguises undone; and with its base64 decoded. A hit of any view is a hit of the text. What leaves is decided in
/// every view.
///
/// Where hits of two views overlap they are one, told as the first of them: what lies behind it is hidden too.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// What has come and has not been told, from `told` on.
    held: String,
    /// Positions count the bytes of the text: before this one everything has left or is hidden.
    told: usize,
    /// Where the last hit ended.
    hidden: usize,
    plain: View,
    /// Made when the first encoded or disguised character comes.
    shadow: Option<Box<Shadow>>,
    base64: Runs,
    /// Hits that are not yet told.
    hits: Vec<Hit>,
}

/// A hit of a view, in positions of the text.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What it is and what stands for it; `None` for the rest of one that was told before.
    pub(super) told: Option<(Entity, String)>,
}

/// One way of looking at a text.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) text: TextStream,
    /// What it has decided, in bytes of its own text.
    pub(super) told: usize,
    /// What a look writes to; kept for the next.
    out: Masked,
}

impl View {
    /// Looks at more, or at the end; gives the hits in positions of its own text.
    pub(super) fn look(&mut self, text: Option<&str>, masker: &Masker, hits: &mut Vec<Hit>) {
        let mut out = std::mem::take(&mut self.out);
        match text {
            Some(text) => self.text.push(text, masker, &mut out),
            None => self.text.finish(masker, &mut out),
        }
        let mut hit = |len: usize, told: &mut usize, what| {
            hits.push(Hit { start: *told, end: *told + len, told: what });
            *told += len;
        };
        if out.swallowed > 0 {
            hit(out.swallowed, &mut self.told, None);
        }
        let mut from = 0;
        for span in &out.spans {
            self.told += span.at - from;
            from = span.at + span.shown;
            let shown = out.text.get(span.at..from).unwrap_or_default().to_owned();
            hit(span.len, &mut self.told, Some((span.entity.clone(), shown)));
        }
        self.told += out.text.len() - from;
        out.clear();
        self.out = out;
    }
}

impl Channel {
    /// A text that stands behind another: the name of a member.
    pub(super) fn behind(before: &str) -> Self {
        let mut channel = Self::default();
        channel.plain.text.behind(before);
        channel
    }

    /// Masks a whole text; `None` when there is nothing to mask.
    pub(super) fn whole(text: &str, before: &str, masker: &Masker) -> Option<Masked> {
        if masker.engine().is_quiet(text, before) {
            return None;
        }
        if !Shadow::may_begin(text) && !Runs::may_be_in(text) {
            return TextStream::whole(text, before, masker);
        }
        let mut channel = Self::behind(before);
        let mut masked = channel.push(text, masker);
        masked.append(channel.finish(masker));
        (!masked.spans.is_empty()).then_some(masked)
    }

    pub(super) fn push(&mut self, text: &str, masker: &Masker) -> Masked {
        self.held.push_str(text);
        if self.shadow.is_none()
            && let Some((before, behind)) = Shadow::split(text)
        {
            self.plain.look(Some(before), masker, &mut self.hits);
            // Up to here both have seen the same.
            self.shadow =
                Some(Box::new(Shadow::new(self.plain.clone(), self.told + self.held.len() - behind.len())));
            self.look(behind, masker);
        } else {
            self.look(text, masker);
        }
        self.base64.push(text, masker, &mut self.hits);
        self.tell(false)
    }

    /// More of the text, which may as well be a text of its own: what is a hit in it alone is one here.
    pub(super) fn push_alone(&mut self, text: &str, masker: &Masker) -> Masked {
        let at = self.told + self.held.len();
        let (mut view, mut own) = (View::default(), Vec::new());
        view.look(Some(text), masker, &mut own);
        view.look(None, masker, &mut own);
        self.hits.extend(own.into_iter().map(|hit| Hit { start: hit.start + at, end: hit.end + at, ..hit }));
        self.push(text, masker)
    }

    pub(super) fn finish(&mut self, masker: &Masker) -> Masked {
        self.base64.finish(masker, &mut self.hits);
        self.plain.look(None, masker, &mut self.hits);
        if let Some(shadow) = &mut self.shadow {
            shadow.finish(masker, &mut self.hits);
        }
        let out = self.tell(true);
        *self = Self::default();
        out
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// The beginning of a word leaves that waits only because an address could begin with it. Should it be one, then
    /// all that comes is hidden. What could become anything else stays, however long it takes.
    pub(super) fn idle(&mut self, masker: &Masker) -> Masked {
        let is_word =
            self.held.len() <= MAX_SHOWN && self.held.bytes().all(|b| b.is_ascii_alphabetic() || b == b' ');
        let waits = self.shadow.is_some() || !self.hits.is_empty() || self.base64.tells();
        if self.held.is_empty() || !is_word || waits {
            return Masked::default();
        }
        let (mut stream, mut out) = (TextStream::default(), Masked::default());
        stream.push(&self.held, &masker.without_addresses(), &mut out);
        if !stream.holds_nothing() {
            return Masked::default();
        }
        self.told += self.held.len();
        Masked { text: std::mem::take(&mut self.held), ..Masked::default() }
    }

    fn look(&mut self, text: &str, masker: &Masker) {
        self.plain.look(Some(text), masker, &mut self.hits);
        if let Some(shadow) = &mut self.shadow {
            shadow.push(text, masker, &mut self.hits);
            if self.hits.is_empty() && shadow.sees_no_more_than(&self.plain) {
                self.shadow = None;
            }
        }
    }

    /// Tells what every view has decided.
    fn tell(&mut self, ended: bool) -> Masked {
        let come = self.told + self.held.len();
        let mut decided = self.plain.told.min(self.base64.decided());
        if self.hits.is_empty() && self.shadow.is_none() {
            // Nearly always.
            let leaves = if ended { self.held.len() } else { decided.saturating_sub(self.told) };
            let text = self.held.get(..leaves).unwrap_or_default().to_owned();
            self.held.drain(..text.len());
            self.told += text.len();
            return Masked { text, ..Masked::default() };
        }
        let mut known = come;
        if let Some(shadow) = &self.shadow {
            decided = decided.min(shadow.decided());
            known = shadow.known();
            for hit in &mut self.hits {
                shadow.snap(hit);
            }
            // The first bytes of an escape belong to what they stand for.
            self.hits.retain(|hit| hit.start < hit.end);
        }
        if ended {
            (decided, known) = (come, come);
        }
        // The rest of a hit that was told comes first: in one piece it would reach over whatever begins here.
        self.hits.sort_by_key(|hit| (hit.start, hit.told.is_some(), Reverse(hit.end)));
        let (mut out, held, begun) = (Masked::default(), std::mem::take(&mut self.held), self.told);
        let part = |from: usize, to: usize| held.get(from - begun..to - begun).unwrap_or_default();
        let mut hits = std::mem::take(&mut self.hits).into_iter().peekable();
        while let Some(hit) = hits.next_if(|hit| hit.start < decided && (hit.end <= known || ended)) {
            if hit.end <= self.told {
                continue;
            }
            if hit.start < self.hidden || hit.told.is_none() && hit.start == self.hidden {
                out.hide(hit.end - self.told);
            } else {
                out.text.push_str(part(self.told, hit.start.max(self.told)));
                let (at, start) = (out.text.len(), hit.start.max(self.told));
                if let Some((entity, shown)) = hit.told {
                    out.text.push_str(&shown);
                    out.findings.add(&entity, "", 1);
                    out.spans.push(Span { entity, at, len: hit.end - start, shown: shown.len() });
                } else {
                    out.hide(hit.end - start);
                }
            }
            (self.told, self.hidden) = (hit.end, hit.end);
        }
        if let Some(hit) = hits.peek() {
            decided = decided.min(hit.start);
        }
        if decided > self.told {
            out.text.push_str(part(self.told, decided));
            self.told = decided;
        }
        self.hits = hits.collect();
        self.held = held.get(self.told - begun..).unwrap_or_default().to_owned();
        if let Some(shadow) = &mut self.shadow {
            shadow.forget(self.told);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_lasts_as_long_as_something_encoded_can_be_looked_back_at() {
        let masker = Masker::of([Entity::Email]);
        let (mut channel, mut shown) = (Channel::default(), String::new());
        let mut push = |channel: &mut Channel, text: &str| shown.push_str(&channel.push(text, &masker).text);
        push(&mut channel, "100%25 of ");
        assert!(channel.shadow.is_some());
        for _ in 0..40 {
            push(&mut channel, "a word or two ");
        }
        assert!(channel.shadow.is_none());
        for piece in ["ann%4", "0example.com", " and ", "bob@example.com "] {
            push(&mut channel, piece);
        }
        shown.push_str(&channel.finish(&masker).text);
        assert!(
            shown.starts_with("100%25 of a word") && shown.ends_with("two <EMAIL> and <EMAIL> "),
            "{shown}"
        );
    }
}
