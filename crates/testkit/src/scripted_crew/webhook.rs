use std::{io, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where a pause is told, and with which token.
#[derive(Clone)]
pub(super) struct Webhook {
    url: String,
    token: Option<String>,
}

impl Webhook {
    /// What a kickoff or resume asks for.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let webhook = body.get("humanInputWebhook")?;
        let token = webhook.pointer("/authentication/token").and_then(Value::as_str).map(str::to_owned);
        Some(Self { url: webhook.get("url")?.as_str()?.to_owned(), token })
    }

    /// Calls it once, like the real thing: nobody tries again.
    pub(super) async fn call(self, body: Value) {
        let url = self.url.clone();
        let called = tokio::time::timeout(Duration::from_secs(5), self.post(&body)).await;
        if !matches!(called, Ok(Ok(()))) {
            eprintln!("scripted crew: the webhook {url} could not be called: {called:?}");
        }
    }

    /// `http` only: there is nobody but loopback to call.
    async fn post(self, body: &Value) -> io::Result<()> {
        let rest = self.url.strip_prefix("http://").ok_or(io::ErrorKind::Unsupported)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let body = body.to_string();
        let authorization =
            self.token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{authorization}\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        if answer.starts_with(b"HTTP/1.1 2") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
