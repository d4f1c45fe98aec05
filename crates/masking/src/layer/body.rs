use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use crewgate_core::{Fact, Trail};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::inflate::Inflate;
use crate::{MaskError, MaskStream, Masker, stream::Dialect};

type BoxError = Box<dyn Error + Send + Sync>;

/// How long the beginning of a word waits for the rest of it.
const MAX_AGE: Duration = Duration::from_millis(250);

/// Makes a future that is ready after a while: the runtime's sleep.
pub(super) type Sleep = Arc<dyn Fn(Duration) -> Sleeping + Send + Sync>;

type Sleeping = Pin<Box<dyn Future<Output = ()> + Send>>;

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
    Masking(Box<Masking>),
    Pass,
    /// Masked already, and held until it was known that nothing blocks it.
    Whole(Bytes),
}

/// An answer at work.
struct Masking {
    stream: MaskStream,
    inflate: Option<Inflate>,
    trail: Option<Trail>,
    sleep: Option<Sleep>,
    /// Since the last bytes came.
    pause: Pause,
}

enum Pause {
    None,
    Waiting(Sleeping),
    Over,
}

/// The findings are noted when the body ends, however it ends.
impl Drop for Masking {
    fn drop(&mut self) {
        if let Some(trail) = &self.trail {
            let (profiles, hits) = (self.stream.masker().profiles().clone(), self.stream.findings().hits());
            trail.note(Fact::Masked { profiles, hits });
        }
    }
}

impl Masking {
    fn push(&mut self, bytes: &[u8]) -> Result<Bytes, MaskError> {
        self.pause = Pause::None;
        let Some(inflate) = &mut self.inflate else { return self.stream.push(bytes) };
        let (mut out, stream) = (BytesMut::new(), &mut self.stream);
        inflate.push(bytes, |text| stream.push(text).map(|masked| out.extend_from_slice(&masked)))?;
        Ok(out.freeze())
    }

    fn finish(&mut self) -> Result<Bytes, MaskError> {
        let Some(inflate) = &mut self.inflate else { return self.stream.finish() };
        let (mut out, stream) = (BytesMut::new(), &mut self.stream);
        inflate.finish(|text| stream.push(text).map(|masked| out.extend_from_slice(&masked)))?;
        out.extend_from_slice(&self.stream.finish()?);
        Ok(out.freeze())
    }

    /// Nothing comes at the moment: what need not wait longer leaves after a while, once.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, MaskError>> {
        let Some(sleep) = &self.sleep else { return Poll::Pending };
        if matches!(self.pause, Pause::None) {
            self.pause = Pause::Waiting(sleep(MAX_AGE));
        }
        let Pause::Waiting(sleeping) = &mut self.pause else { return Poll::Pending };
        ready!(sleeping.as_mut().poll(cx));
        self.pause = Pause::Over;
        Poll::Ready(self.stream.idle())
    }
}

/// What it takes to mask a body.
pub(super) struct How {
    pub(super) masker: Masker,
    pub(super) dialect: Dialect,
    pub(super) inflate: Option<Inflate>,
    pub(super) trail: Option<Trail>,
    pub(super) sleep: Option<Sleep>,
}

impl<B> MaskBody<B> {
    pub(super) fn masking(inner: B, how: How) -> Self {
        let How { masker, dialect, inflate, trail, sleep } = how;
        let stream = MaskStream::new(masker, dialect);
        Self {
            inner,
            mode: Mode::Masking(Box::new(Masking { stream, inflate, trail, sleep, pause: Pause::None })),
        }
    }

    /// Masks this body as it is read, without a layer.
    pub fn new(inner: B, masker: Masker, dialect: Dialect) -> Self {
        Self::masking(inner, How { masker, dialect, inflate: None, trail: None, sleep: None })
    }

    pub(super) fn passing(inner: B) -> Self {
        Self { inner, mode: Mode::Pass }
    }

    /// Bytes that were masked before.
    pub(super) fn whole(inner: B, bytes: Bytes) -> Self {
        Self { inner, mode: Mode::Whole(bytes) }
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
                Mode::Masking(_) | Mode::Pass => {}
            }
            let data = match this.inner.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => Some(data.copy_to_bytes(data.remaining())),
                    Err(_trailers) => continue,
                },
                Poll::Ready(Some(Err(error))) => {
                    // What is held may be the beginning of a secret: it is lost with the rest.
                    *this.mode = Mode::Done;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => None,
                Poll::Pending => {
                    let Mode::Masking(masking) = &mut *this.mode else { return Poll::Pending };
                    match masking.poll_idle(cx) {
                        Poll::Ready(Ok(out)) if out.is_empty() => return Poll::Pending,
                        Poll::Ready(Ok(out)) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                        Poll::Ready(Err(error)) => {
                            *this.mode = Mode::Done;
                            return Poll::Ready(Some(Err(error.into())));
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
            };
            let out = match (&mut *this.mode, &data) {
                (Mode::Masking(masking), Some(data)) => masking.push(data),
                (Mode::Masking(masking), None) => masking.finish(),
                (Mode::Pass | Mode::Done | Mode::Whole(_), data) => Ok(data.clone().unwrap_or_default()),
            };
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
            Mode::Masking(_) => false,
            Mode::Whole(bytes) => bytes.is_empty(),
            Mode::Pass => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.mode {
            Mode::Pass => self.inner.size_hint(),
            Mode::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Mode::Done | Mode::Masking(_) => SizeHint::default(),
        }
    }
}
