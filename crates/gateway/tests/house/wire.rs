//! HTTP as bytes: what no well-behaved client would write can be written, and answers are read plainly.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A member that is a text, or nothing.
    pub(crate) fn field(&self, name: &str) -> String {
        let value = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.field("code"))
    }
}

/// A request of HTTP/1.1; a body gets its length.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: gateway.test\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A connection.
pub(crate) struct Wire<IO> {
    io: IO,
    read: Vec<u8>,
}

impl Wire<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// From this address of our own.
    pub(crate) async fn connect_from(own: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own, 0)).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    pub(crate) fn over(io: IO) -> Self {
        Self { io, read: Vec::new() }
    }

    /// Writes as much as the other side takes; one that hangs up in the middle may have answered already.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.io.write_all(bytes)).await.unwrap();
    }

    /// The next answer; `None` when the connection ends before it has begun.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "cut: {}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| {
                (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value.trim()).unwrap())
            })
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        answer.body = match answer.header("content-length") {
            Some(length) => self.exactly(length.parse().unwrap()).await,
            None if answer.header("transfer-encoding").is_some() => self.chunks().await,
            None => {
                while self.more().await {}
                std::mem::take(&mut self.read)
            }
        };
        Some(answer)
    }

    /// Waits until the other side ends the connection, and gives what it still said.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = find(&self.read, b"\r\n") {
                    break end;
                }
                assert!(self.more().await, "a chunked answer was cut");
            };
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            let chunk = self.exactly(size + 2).await;
            if size == 0 {
                return body;
            }
            body.extend(chunk.into_iter().take(size));
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.more().await, "an answer was cut: {}", String::from_utf8_lossy(&self.read));
        }
        self.read.drain(..length).collect()
    }

    /// Reads on; `false` at the end.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.io.read_buf(&mut self.read)).await;
        matches!(read.unwrap_or_else(|_| panic!("no answer in {PATIENCE:?}")), Ok(n) if n > 0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
