use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use crewgate_core::Ending;
use http_body::{Body, SizeHint};
use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};

use crate::{Frame, Seat, open::Open, open::ended, tlog::Hash};

/// Whether anybody still waits for an answer: an extension of every answer that is recorded as it is read. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub struct Recipient(Arc<AtomicBool>);

impl Recipient {
    /// Nobody does: when the answer is read to its end all the same, the record says [`Ending::Unheard`].
    pub fn has_gone(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Frames of one answer that are kept: a frame of one byte costs fifty in memory, so bytes alone are no bound.
const MAX_FRAMES: usize = 16_384;

pin_project! {
    /// An answer on its way to the caller, written down as it passes; see [`AuditLayer`](crate::AuditLayer).
    ///
    /// Frames, trailers, errors and the size hint pass unchanged.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the record: as complete when every byte was handed over, as "caller gone" otherwise.
    #[derive(Debug)]
    pub struct AuditBody<B> {
        #[pin]
        inner: B,
        recording: Option<Recording>,
    }
}

impl<B: Body> AuditBody<B> {
    /// Passes the body on without a look at it.
    pub(crate) fn silent(inner: B) -> Self {
        Self { inner, recording: None }
    }

    pub(crate) fn recorded(inner: B, mut recording: Recording) -> Self {
        recording.exact = inner.size_hint().exact();
        recording.whole = inner.is_end_stream() || recording.exact == Some(0);
        Self { inner, recording: Some(recording) }
    }
}

impl<B: Body<Data = Bytes>> Body for AuditBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = ready!(this.inner.as_mut().poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(recording) = this.recording {
                    if let Some(bytes) = frame.data_ref() {
                        recording.take(bytes);
                    }
                    recording.whole = this.inner.is_end_stream() || recording.exact == Some(recording.bytes);
                }
            }
            Some(Err(_)) => {
                if let Some(mut recording) = this.recording.take() {
                    recording.close(Ending::Cut);
                }
            }
            None => {
                if let Some(mut recording) = this.recording.take() {
                    recording.close(Ending::Complete);
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What has been handed over so far.
pub(crate) struct Recording {
    open: Open,
    seat: Option<Box<dyn Seat>>,
    recipient: Recipient,
    status: u16,
    keep: usize,
    frames: Vec<Frame>,
    bytes: u64,
    sha256: Sha256,
    /// The length the body announced: a server that has sent it asks for nothing more.
    exact: Option<u64>,
    /// Whether nothing is left to hand over.
    whole: bool,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("open", &self.open)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Recording {
    pub(crate) fn new(
        open: Open,
        seat: Option<Box<dyn Seat>>,
        recipient: Recipient,
        status: u16,
        keep: usize,
    ) -> Self {
        Self {
            open,
            seat,
            recipient,
            status,
            keep,
            frames: Vec::new(),
            bytes: 0,
            sha256: Sha256::new(),
            exact: None,
            whole: false,
        }
    }

    fn take(&mut self, bytes: &Bytes) {
        self.sha256.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let kept = bytes.get(..bytes.len().min(self.keep)).unwrap_or_default();
        if kept.is_empty() || self.frames.len() >= MAX_FRAMES {
            return;
        }
        self.keep -= kept.len();
        let offset = self.open.began.elapsed().as_micros();
        // Copied: a clone would keep the whole read buffer behind ten bytes alive.
        self.frames.push(Frame {
            offset_micros: u64::try_from(offset).unwrap_or(u64::MAX),
            bytes: Bytes::copy_from_slice(kept),
        });
    }

    fn close(&mut self, how: Ending) {
        let unheard = how == Ending::Complete && self.recipient.0.load(Ordering::Relaxed);
        let how = if unheard { Ending::Unheard } else { how };
        let sha256 = Hash::from(<[u8; 32]>::from(std::mem::take(&mut self.sha256).finalize()));
        let end = ended(how, self.status, self.bytes, sha256);
        self.open.close(self.seat.take(), end, std::mem::take(&mut self.frames));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.close(if self.whole { Ending::Complete } else { Ending::CallerGone });
    }
}
