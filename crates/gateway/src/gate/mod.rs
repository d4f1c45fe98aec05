//! The strict HTTP/1.1 gate, below hyper.
//!
//! hyper drops `content-length` beside `transfer-encoding`, folds equal lengths and takes bare line feeds before any
//! layer can see them. So this reader stands between the connection and hyper and checks every head and every chunk
//! header first: one spelling per message, or the message is refused and the connection ends. What passes, passes
//! byte for byte.
//!
//! A refused head is not answered here. hyper gets one harmless request in its place, and the reason travels beside
//! the bytes in [`Verdicts`], where no caller can forge it; so a refusal has a record and a problem document like any
//! other.

mod framer;
mod head;

use std::{
    collections::VecDeque,
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

pub use self::{
    framer::{Framer, Piece},
    head::Violation,
};

/// What hyper reads in the place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// Bytes asked of the connection at once.
const READ_BYTES: usize = 16 * 1024;

/// What the gate said of each head of a connection, in their order.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(Arc<Mutex<VecDeque<Option<Violation>>>>);

impl Verdicts {
    /// The verdict on the next request hyper hands over. A request the gate has not seen is a violation.
    #[must_use]
    pub fn next(&self) -> Option<Violation> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front().unwrap_or(Some(Violation::Unseen))
    }

    fn push(&self, verdict: Option<Violation>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(verdict);
    }
}

pin_project! {
    /// A connection whose incoming bytes are checked.
    #[derive(Debug)]
    pub struct Gate<IO> {
        #[pin]
        io: IO,
        framer: Framer,
        raw: BytesMut,
        checked: BytesMut,
        verdicts: Verdicts,
        refused: bool,
        patience: Duration,
        // Set while a head has begun and not ended.
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

impl<IO> Gate<IO> {
    /// Puts the gate before a connection; the returned handle tells what it found. A head may take `patience` from its
    /// first byte to its last; silence between two requests is hyper's to end.
    pub fn new(io: IO, patience: Duration) -> (Self, Verdicts) {
        let verdicts = Verdicts::default();
        let gate = Self {
            io,
            framer: Framer::default(),
            raw: BytesMut::new(),
            checked: BytesMut::new(),
            verdicts: verdicts.clone(),
            refused: false,
            patience,
            deadline: None,
        };
        (gate, verdicts)
    }
}

impl<IO: AsyncRead> AsyncRead for Gate<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        loop {
            if !this.checked.is_empty() {
                let n = this.checked.len().min(out.remaining());
                if let Some(bytes) = this.checked.get(..n) {
                    out.put_slice(bytes);
                }
                this.checked.advance(n);
                return Poll::Ready(Ok(()));
            }
            if *this.refused {
                // Nothing more is read from this caller; hyper answers the stand-in and closes.
                return Poll::Pending;
            }
            match this.framer.take(this.raw) {
                Ok(Some(Piece::Head(bytes))) => {
                    *this.deadline = None;
                    this.verdicts.push(None);
                    *this.checked = bytes;
                    continue;
                }
                Ok(Some(Piece::Body(bytes))) => {
                    *this.checked = bytes;
                    continue;
                }
                Ok(None) => {}
                Err(violation) if violation.is_in_body() => {
                    *this.refused = true;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
                }
                Err(violation) => {
                    *this.refused = true;
                    this.verdicts.push(Some(violation));
                    *this.checked = BytesMut::from(STAND_IN);
                    continue;
                }
            }
            if this.framer.at_head() && !this.raw.is_empty() && this.deadline.is_none() {
                *this.deadline = Some(Box::pin(tokio::time::sleep(*this.patience)));
            }
            let mut space = [0_u8; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut space);
            match this.io.as_mut().poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => this.raw.extend_from_slice(buffer.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if let Some(deadline) = this.deadline
                        && deadline.as_mut().poll(cx).is_ready()
                    {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<IO: AsyncWrite> AsyncWrite for Gate<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn read(bytes: &'static [u8]) -> (io::Result<Vec<u8>>, Verdicts) {
        let (mut gate, verdicts) = Gate::new(bytes, PATIENCE);
        let mut out = Vec::new();
        let result = tokio::time::timeout(Duration::from_millis(50), gate.read_to_end(&mut out)).await;
        (result.map_or(Ok(()), |end| end.map(|_| ())).map(|()| out), verdicts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clean_message_passes_byte_for_byte() {
        let bytes = b"POST /support/kickoff HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
        let (out, verdicts) = read(bytes).await;
        assert_eq!(out.unwrap(), bytes);
        assert_eq!(
            (verdicts.next(), verdicts.next(), verdicts.next()),
            (None, None, Some(Violation::Unseen))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_with_two_framings_is_replaced_by_the_stand_in() {
        let bytes = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nhost: a\r\n\r\n";
        let (out, verdicts) = read(bytes).await;
        let out = out.unwrap();
        assert!(out.ends_with(STAND_IN));
        assert!(!String::from_utf8_lossy(&out).contains("evil"));
        assert_eq!((verdicts.next(), verdicts.next()), (None, Some(Violation::TwoFramings)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_framing_error_inside_a_body_ends_the_connection() {
        let bytes =
            b"POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\n\r\n";
        let (out, _) = read(bytes).await;
        assert_eq!(out.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_times_out() {
        let (client, server) = tokio::io::duplex(64);
        let (mut gate, _) = Gate::new(server, PATIENCE);
        let mut client = client;
        tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HT").await.unwrap();
        let error = gate.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
