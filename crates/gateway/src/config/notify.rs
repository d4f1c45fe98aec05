//! Who is told what of approvals, and where.

use std::{collections::BTreeSet, time::Duration};

use crewgate_core::ApproverSet;
use lettre::Address;

use super::{
    check::{Checker, is_safe, name},
    crew::pem,
    raw,
    settings::ApproverSettings,
    units::{Secret, duration},
};
use crate::notify::SigningKey;

/// How long before its end a request that nobody has decided is told of again: half of an hour, in which somebody can
/// still be found.
const DEFAULT_BEFORE: Duration = Duration::from_secs(1800);

/// One receiver of messages.
#[derive(Debug, Clone)]
pub struct NotifySettings {
    /// Its name: what it has been told is kept under it.
    pub name: String,
    /// Where it is.
    pub to: NotifyTo,
    /// Of what it is told.
    pub on: BTreeSet<Occasion>,
    /// Of requests to these sets alone; empty: of all.
    pub approvers: BTreeSet<ApproverSet>,
    /// How long before its end an undecided request, or a role given for a while, is told of.
    pub before: Duration,
    /// Address of the page where a person reads and decides, with `{id}` in it.
    pub link: String,
}

/// What a receiver is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Occasion {
    /// People are asked.
    Asked,
    /// They said yes or no, or it was taken back.
    Decided,
    /// The glass was broken, somebody looked at that, or nobody did in time.
    Broken,
    /// A role that was given for a while is about to end.
    Ending,
    /// It goes to others, because nobody decided.
    Escalated,
    /// It is about to end undecided.
    Expiring,
}

/// Where messages go.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NotifyTo {
    /// A webhook, signed.
    Webhook(WebhookSettings),
    /// An incoming webhook of Slack.
    Slack(ChatSettings),
    /// An incoming webhook of Teams.
    Teams(ChatSettings),
    /// Mail.
    Smtp(MailSettings),
}

/// A signed webhook.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Its address.
    pub url: Secret,
    /// What signs, all of them.
    pub secrets: Vec<Secret>,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
}

/// An incoming webhook whose address is its secret.
#[derive(Debug, Clone)]
pub struct ChatSettings {
    /// Its address.
    pub url: Secret,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: MailTls,
    /// Name and password.
    pub login: Option<(String, Secret)>,
    /// The sender.
    pub from: Address,
    /// The receivers.
    pub recipients: Vec<Address>,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the three ways there are")]
pub enum MailTls {
    /// From the first byte.
    Implicit,
    /// Not at all, on this machine.
    None,
    /// After `STARTTLS`, or not at all.
    StartTls,
}

pub(super) fn notify(
    check: &mut Checker<'_>,
    raw: &[raw::Notify],
    sets: &[ApproverSettings],
) -> Vec<NotifySettings> {
    check.unique("notify", raw.iter().map(|notify| &notify.name));
    raw.iter().filter_map(|raw| one(check, raw, sets)).collect()
}

fn one(check: &mut Checker<'_>, raw: &raw::Notify, sets: &[ApproverSettings]) -> Option<NotifySettings> {
    let to = to(check, raw);
    let occasion = |text: &str| match text {
        "asked" => Ok(Occasion::Asked),
        "decided" => Ok(Occasion::Decided),
        "broken" => Ok(Occasion::Broken),
        "ending" => Ok(Occasion::Ending),
        "escalated" => Ok(Occasion::Escalated),
        "expiring" => Ok(Occasion::Expiring),
        _ => Err(format!(
            "`{text}` is none of `asked`, `broken`, `decided`, `ending`, `escalated` and `expiring`"
        )),
    };
    let on: BTreeSet<_> = raw.on.get_ref().iter().filter_map(|text| check.parse(text, occasion)).collect();
    if raw.on.get_ref().is_empty() {
        check.wrong(raw.on.span(), "it would never be told anything", None);
    }
    let set = |text: &str| match sets.iter().any(|set| set.name == text) {
        true => Ok(ApproverSet::new(text)),
        false => Err(format!("no approvers `{text}`")),
    };
    let approvers = raw.approvers.iter().filter_map(|text| check.parse(text, set)).collect();
    let link = check.parse(&raw.link, |text| {
        if !text.contains("{id}") {
            return Err(format!("`{text}` leads to no approval: `{{id}}` stands for its id"));
        }
        address(&text.replace("{id}", "id")).map(|_| text.to_owned())
    });
    Some(NotifySettings {
        name: check.parse(&raw.name, name)?,
        to: to?,
        on,
        approvers,
        before: check.parse_or(raw.before.as_ref(), DEFAULT_BEFORE, duration),
        link: link?,
    })
}

fn to(check: &mut Checker<'_>, raw: &raw::Notify) -> Option<NotifyTo> {
    let kind = raw.to.get_ref().as_str();
    let mut foreign = |found: Option<std::ops::Range<usize>>, key: &str, of: &str| {
        if let Some(span) = found.filter(|_| kind != of) {
            check.wrong(span, format!("`{key}` belongs to `to = \"{of}\"`"), None);
        }
    };
    foreign(raw.secrets.first().map(toml::Spanned::span), "secrets", "webhook");
    foreign(raw.server.as_ref().map(toml::Spanned::span), "server", "smtp");
    foreign(raw.username.as_ref().map(toml::Spanned::span), "username", "smtp");
    foreign(raw.password.as_ref().map(toml::Spanned::span), "password", "smtp");
    foreign(raw.from.as_ref().map(toml::Spanned::span), "from", "smtp");
    foreign(raw.recipients.first().map(toml::Spanned::span), "recipients", "smtp");
    let beside = check.beside();
    let ca = match &raw.ca {
        Some(file) => Some(check.parse(file, |file| pem(&beside.join(file)))?),
        None => None,
    };
    match kind {
        "webhook" => {
            let secrets: Vec<_> = raw.secrets.iter().filter_map(|secret| signing(check, secret)).collect();
            if raw.secrets.is_empty() {
                let help = "`echo whsec_$(openssl rand -base64 32)` makes one";
                check.wrong(raw.to.span(), "a webhook is signed: give `secrets`", Some(help));
            }
            Some(NotifyTo::Webhook(WebhookSettings { url: receiver(check, raw)?, secrets, ca }))
        }
        "slack" => Some(NotifyTo::Slack(ChatSettings { url: receiver(check, raw)?, ca })),
        "teams" => Some(NotifyTo::Teams(ChatSettings { url: receiver(check, raw)?, ca })),
        "smtp" => mail(check, raw, ca).map(NotifyTo::Smtp),
        other => {
            let text = format!("`{other}` is none of `webhook`, `slack`, `teams` and `smtp`");
            check.wrong(raw.to.span(), text, None);
            None
        }
    }
}

/// What a reference stands for, whatever it is made of; nothing real where secrets are not read.
fn secret(check: &mut Checker<'_>, reference: &toml::Spanned<raw::SecretRef>) -> Option<Secret> {
    match check.pem(reference.get_ref()) {
        Ok(Some(secret)) => Some(Secret::new(secret.expose().trim())),
        Ok(None) => Some(Secret::new("not-read")),
        Err(message) => {
            check.wrong(reference.span(), message, None);
            None
        }
    }
}

fn signing(check: &mut Checker<'_>, reference: &toml::Spanned<raw::SecretRef>) -> Option<Secret> {
    let read = check.pem(reference.get_ref()).is_ok_and(|read| read.is_some());
    let secret = secret(check, reference)?;
    if read && let Err(message) = SigningKey::parse(secret.expose()) {
        check.wrong(reference.span(), message, None);
        return None;
    }
    Some(secret)
}

/// The address of a webhook, in the file or, because it may be all there is to know, by reference.
fn receiver(check: &mut Checker<'_>, raw: &raw::Notify) -> Option<Secret> {
    let Some(url) = &raw.url else {
        check.wrong(raw.to.span(), "give `url`", None);
        return None;
    };
    let (text, read) = match url.get_ref() {
        raw::Address::Plain(text) => (text.clone(), true),
        raw::Address::Reference(reference) => {
            let read = check.pem(reference).is_ok_and(|read| read.is_some());
            let reference = toml::Spanned::new(url.span(), reference.clone());
            (secret(check, &reference)?.expose().to_owned(), read)
        }
    };
    // What a reference holds is not shown.
    if read && address(&text).is_err() {
        check.wrong(url.span(), "it is no https address, nor one on this machine", None);
        return None;
    }
    Some(Secret::new(text))
}

/// An address that messages may be sent to, or people be led to: over TLS, or on this machine.
fn address(text: &str) -> Result<http::Uri, String> {
    let uri = text.parse::<http::Uri>().ok().filter(|_| !text.contains(['#', '@']));
    uri.filter(is_safe).ok_or_else(|| format!("`{text}` is no https address, nor one on this machine"))
}

fn mail(check: &mut Checker<'_>, raw: &raw::Notify, ca: Option<Vec<u8>>) -> Option<MailSettings> {
    let (Some(server), Some(from)) = (&raw.server, &raw.from) else {
        check.wrong(raw.to.span(), "mail has a `server` and comes `from` somebody", None);
        return None;
    };
    if raw.recipients.is_empty() {
        check.wrong(raw.to.span(), "mail has `recipients`", None);
    }
    if let Some(url) = &raw.url {
        check.wrong(url.span(), "mail has a `server`, not a `url`", None);
    }
    let login = match (&raw.username, &raw.password) {
        (Some(name), Some(password)) => Some((name.get_ref().clone(), secret(check, password)?)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            check.wrong(server.span(), "`username` and `password` belong together", None);
            None
        }
    };
    let (host, port, tls) = check.parse(server, smtp)?;
    let mailbox = |text: &str| text.parse::<Address>().map_err(|error| format!("`{text}`: {error}"));
    let from = check.parse(from, mailbox);
    let recipients = raw.recipients.iter().filter_map(|text| check.parse(text, mailbox)).collect();
    Some(MailSettings { host, port, tls, login, from: from?, recipients, ca })
}

/// `smtps://host`, `smtp://host:587` (which must offer `STARTTLS`), or plain `smtp` on this machine.
fn smtp(text: &str) -> Result<(String, u16, MailTls), String> {
    let wrong = || format!("`{text}` is no mail server: `smtps://host`, or `smtp://host:587` with STARTTLS");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let (Some(host), "" | "/") = (uri.host(), uri.path()) else { return Err(wrong()) };
    let local = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let (port, tls) = match uri.scheme_str() {
        Some("smtps") => (465, MailTls::Implicit),
        Some("smtp") if local => (25, MailTls::None),
        Some("smtp") => (587, MailTls::StartTls),
        _ => return Err(wrong()),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(port), tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_reached_over_tls_unless_it_is_on_this_machine() {
        let read = |text: &str| smtp(text).ok();
        let host = "mail.example.com".to_owned();
        assert_eq!(read("smtps://mail.example.com"), Some((host.clone(), 465, MailTls::Implicit)));
        assert_eq!(read("smtp://mail.example.com:2525"), Some((host, 2525, MailTls::StartTls)));
        assert_eq!(read("smtp://127.0.0.1:25"), Some(("127.0.0.1".to_owned(), 25, MailTls::None)));
        for wrong in
            ["mail.example.com", "https://mail.example.com", "smtp://mail.example.com/inbox", "smtp://"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
