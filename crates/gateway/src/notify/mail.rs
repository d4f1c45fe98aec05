//! Mail over SMTP.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    address::Envelope,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

use super::{Deliver, PATIENCE, Undelivered, notice::Notice};
use crate::{
    client::chain,
    config::{MailSettings, MailTls},
};

/// Columns of base64 in a line (RFC 2045 section 6.8).
const COLUMNS: usize = 76;

pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    envelope: Envelope,
}

impl Mail {
    pub(super) fn new(settings: &MailSettings) -> Result<Self, String> {
        let tls = || {
            let mut parameters = TlsParameters::builder(settings.host.clone());
            if let Some(pem) = &settings.ca {
                let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
                parameters = parameters.add_root_certificate(certificate);
            }
            parameters.build().map_err(|error| error.to_string())
        };
        let tls = match settings.tls {
            MailTls::None => Tls::None,
            MailTls::StartTls => Tls::Required(tls()?),
            MailTls::Implicit => Tls::Wrapper(tls()?),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host);
        let mut builder = builder.port(settings.port).tls(tls).timeout(Some(PATIENCE));
        if let Some((name, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(name.clone(), password.expose().to_owned()));
        }
        let envelope = Envelope::new(Some(settings.from.clone()), settings.recipients.clone());
        let envelope = envelope.map_err(|error| error.to_string())?;
        Ok(Self { transport: builder.build(), envelope })
    }
}

impl Deliver for Mail {
    fn deliver<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(async move {
            let message = message(notice, &self.envelope);
            self.transport.send_raw(&self.envelope, message.as_bytes()).await.map_err(|error| match error
                .is_permanent()
            {
                true => Undelivered::Refused(chain(&error)),
                false => Undelivered::Down(chain(&error)),
            })?;
            Ok(())
        })
    }
}

/// A message of RFC 5322: headers of ASCII, text in base64.
fn message(notice: &Notice, envelope: &Envelope) -> String {
    let date = httpdate::fmt_http_date(notice.at.into()).replace("GMT", "+0000");
    let from = envelope.from().map(ToString::to_string).unwrap_or_default();
    let domain = from.rsplit('@').next().unwrap_or("crewgate").to_owned();
    let to = envelope.to().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let subject: String =
        notice.title.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect();
    let mut message = format!(
        "From: Crewgate <{from}>\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {date}\r\n\
         Message-ID: <{id}@{domain}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        id = notice.id,
    );
    for line in STANDARD.encode(notice.text()).as_bytes().chunks(COLUMNS) {
        message.push_str(&String::from_utf8_lossy(line));
        message.push_str("\r\n");
    }
    message
}
