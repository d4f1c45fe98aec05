//! Syslog (RFC 5424) over TCP or TLS, framed by octet counting (RFC 6587, RFC 5425).
//!
//! Syslog has no acknowledgement of its own. A batch therefore has a connection of its own: when all of it is sent we end
//! our side, and it counts as received when the other side, having read to that end, ends its own in order.

use std::{fmt::Write as _, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Batch, Event, Sink};
use crate::{client, config::SyslogSink};

/// Facility "log audit".
const FACILITY: u8 = 13;

/// Severity of what happened; what was refused is a warning.
const INFO: u8 = 6;
/// See [`INFO`].
const WARNING: u8 = 4;

pub(super) struct Syslog {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Syslog {
    pub(super) fn new(to: &SyslogSink) -> Result<Self, String> {
        let tls = if to.tls {
            let name = ServerName::try_from(to.host.clone()).map_err(|error| error.to_string())?;
            Some((TlsConnector::from(Arc::new(client::tls(to.ca.as_deref())?)), name))
        } else {
            None
        };
        Ok(Self { address: format!("{}:{}", to.host, to.port), tls })
    }
}

impl Sink for Syslog {
    fn hand_over<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), String>> {
        let events = batch.events;
        let frames: String = events.iter().map(|event| framed(&message(event))).collect();
        async move {
            let tcp = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
            match &self.tls {
                Some((connector, name)) => {
                    let tls =
                        connector.connect(name.clone(), tcp).await.map_err(|error| error.to_string())?;
                    deliver(tls, frames.as_bytes()).await
                }
                None => deliver(tcp, frames.as_bytes()).await,
            }
        }
        .boxed()
    }
}

/// Sends everything, ends our side, and waits for the other side's end.
async fn deliver(mut io: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Result<(), String> {
    let ended = async {
        io.write_all(bytes).await?;
        io.flush().await?;
        io.shutdown().await?;
        // A log server has nothing to say; what it says all the same is passed over.
        let mut said = [0; 512];
        while io.read(&mut said).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    ended.await.map_err(|error| format!("it did not take all of it: {error}"))
}

fn framed(message: &str) -> String {
    format!("{} {message}", message.len())
}

fn message(event: &Event) -> String {
    let severity = if event.is_refusal() { WARNING } else { INFO };
    let priority = FACILITY * 8 + severity;
    // From 1 to 2^31 - 1, then from 1 again (RFC 5424 §7.3.1).
    let sequence = event.leaf % 2_147_483_647 + 1;
    let mut out = format!("<{priority}>1 {} - crewgate - {}", event.time, event.phase);
    let _ = write!(
        out,
        " [meta sequenceId=\"{sequence}\"][origin software=\"crewgate\" swVersion=\"{}\"] ",
        env!("CARGO_PKG_VERSION")
    );
    // JSON's own escapes leave no control character in it.
    out.push_str(&serde_json::to_string(event).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::event::tests::leaf;

    #[tokio::test]
    async fn a_leaf_is_a_message_of_rfc_5424_in_one_counted_frame() {
        let text = message(&Event::of(&leaf().await));
        let head = "<108>1 2026-06-15T12:00:00.000000Z - crewgate - refused [meta sequenceId=\"1\"][origin software=\"crewgate\" swVersion=\"";
        assert!(text.starts_with(head), "{text}");
        let (_, json) = text.split_once("\"] {").unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&format!("{{{json}")).is_ok());
        assert!(!text.chars().any(char::is_control), "a line break would be another message elsewhere");
        let frame = framed("é");
        assert_eq!(frame, "2 é", "octets are counted, not characters");
    }
}
