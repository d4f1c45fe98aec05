use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use crewgate_core::{Fact, Trail};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{MaskStream, Masker, stream::Dialect};

type BoxError = Box<dyn Error + Send + Sync>;

pin_project! {
    /// A body that is masked while it is read. Trailers are dropped: they could repeat what the body says.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what was held; nothing more is emitted. What was found so far is noted on the trail.
    pub struct MaskBody<B> {
        #[pin]
        inner: B,
        mode: Mode,
    }
}

enum Mode {
    Done,
    Masking {
        stream: Box<MaskStream>,
        note: Box<Note>,
    },
    Pass,
    /// Masked already, and held until it was known that nothing blocks it.
    Whole(Bytes),
}

/// Notes the findings when the body ends, however it ends.
struct Note {
    trail: Option<Trail>,
    fact: Option<Fact>,
}

impl Drop for Note {
    fn drop(&mut self) {
        if let (Some(trail), Some(fact)) = (&self.trail, self.fact.take()) {
            trail.note(fact);
        }
    }
}

impl<B> MaskBody<B> {
    pub(super) fn masking(inner: B, masker: Masker, dialect: Dialect, trail: Option<Trail>) -> Self {
        let mut mode = Mode::Masking {
            stream: Box::new(MaskStream::new(masker, dialect)),
            note: Box::new(Note { trail, fact: None }),
        };
        mode.remember();
        Self { inner, mode }
    }

    pub(super) fn passing(inner: B) -> Self {
        Self { inner, mode: Mode::Pass }
    }

    /// Bytes that were masked before.
    pub(super) fn whole(inner: B, bytes: Bytes) -> Self {
        Self { inner, mode: Mode::Whole(bytes) }
    }
}

impl Mode {
    /// Keeps the fact ready, so that a drop at any moment tells what was found by then.
    fn remember(&mut self) {
        if let Self::Masking { stream, note } = self {
            let (profiles, hits) = (stream.masker().profiles().clone(), stream.findings().hits());
            note.fact = Some(Fact::Masked { profiles, hits });
        }
    }
}

impl<B: Default> Default for MaskBody<B> {
    fn default() -> Self {
        Self::passing(B::default())
    }
}

impl<B: fmt::Debug> fmt::Debug for MaskBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<B> Body for MaskBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            match this.mode {
                Mode::Done => return Poll::Ready(None),
                Mode::Whole(bytes) => {
                    let bytes = std::mem::take(bytes);
                    *this.mode = Mode::Done;
                    return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
                }
                Mode::Masking { .. } | Mode::Pass => {}
            }
            let frame = ready!(this.inner.as_mut().poll_frame(cx));
            let frame = match frame.transpose() {
                Ok(frame) => frame,
                Err(error) => {
                    // What is held may be the beginning of a secret: it is lost with the rest.
                    *this.mode = Mode::Done;
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            let data = match frame.map(Frame::into_data) {
                Some(Ok(mut data)) => Some(data.copy_to_bytes(data.remaining())),
                Some(Err(_trailers)) => continue,
                None => None,
            };
            let out = match (&mut *this.mode, &data) {
                (Mode::Masking { stream, .. }, Some(data)) => stream.push(data),
                (Mode::Masking { stream, .. }, None) => stream.finish(),
                (Mode::Pass | Mode::Done | Mode::Whole(_), data) => Ok(data.clone().unwrap_or_default()),
            };
            this.mode.remember();
            if data.is_none() || out.is_err() {
                *this.mode = Mode::Done;
            }
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.mode {
            Mode::Done => true,
            Mode::Masking { .. } => false,
            Mode::Whole(bytes) => bytes.is_empty(),
            Mode::Pass => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.mode {
            Mode::Pass => self.inner.size_hint(),
            Mode::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Mode::Done | Mode::Masking { .. } => SizeHint::default(),
        }
    }
}
