//! Where the record is handed on to.

use std::collections::BTreeSet;

use super::{
    check::{Checker, name, url},
    crew::pem,
    raw,
    settings::{ExportSettings, ExportTo, HttpSink, SyslogSink},
};

pub(super) fn exports(check: &mut Checker<'_>, raw: &[raw::Export]) -> Vec<ExportSettings> {
    let mut names = BTreeSet::new();
    let mut exports = Vec::new();
    for raw in raw {
        let named = raw.name.as_ref().unwrap_or(&raw.to);
        let export = export(check, raw);
        if !names.insert(named.get_ref()) {
            let help = "each keeps how far it has come under its `name`, which is `to` where none is given";
            check.wrong(named.span(), format!("export `{}` stands twice", named.get_ref()), Some(help));
        }
        exports.extend(export);
    }
    exports
}

fn export(check: &mut Checker<'_>, raw: &raw::Export) -> Option<ExportSettings> {
    let to = match raw.to.get_ref().as_str() {
        "ocsf" => http(check, raw).map(ExportTo::Ocsf),
        "otlp" => http(check, raw).map(ExportTo::Otlp),
        "syslog" => syslog(check, raw).map(ExportTo::Syslog),
        other => {
            check.wrong(raw.to.span(), format!("`{other}` is none of `ocsf`, `otlp` and `syslog`"), None);
            None
        }
    };
    let name = check.parse(raw.name.as_ref().unwrap_or(&raw.to), name);
    Some(ExportSettings { name: name?, to: to? })
}

fn http(check: &mut Checker<'_>, raw: &raw::Export) -> Option<HttpSink> {
    let bearer = raw.bearer.as_ref().map(|reference| {
        let secret = check.secret(reference.get_ref());
        secret.map_err(|message| check.wrong(reference.span(), message, None)).ok()
    });
    let (url, ca) = (check.parse(&raw.url, |text| url(text, false)), ca(check, raw));
    let bearer = match bearer {
        Some(read) => Some(read?),
        None => None,
    };
    Some(HttpSink { url: url?, bearer, ca: ca? })
}

fn syslog(check: &mut Checker<'_>, raw: &raw::Export) -> Option<SyslogSink> {
    if let Some(bearer) = &raw.bearer {
        check.wrong(bearer.span(), "syslog has no bearer", None);
    }
    let parsed = check.parse(&raw.url, |text| {
        let wrong = || format!("`{text}` is no log server: `tls://host:6514`, or `tcp://` on this machine");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let (Some(host), Some(port), "" | "/") = (uri.host(), uri.port_u16(), uri.path()) else {
            return Err(wrong());
        };
        let host = host.trim_matches(['[', ']']);
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("tls") => Ok((host.to_owned(), port, true)),
            Some("tcp") if local => Ok((host.to_owned(), port, false)),
            Some("tcp") => Err(format!("`{text}` is plain TCP to another machine: use tls")),
            _ => Err(wrong()),
        }
    });
    let ca = ca(check, raw);
    let (host, port, tls) = parsed?;
    Some(SyslogSink { host, port, tls, ca: ca? })
}

/// The certificate authority that is trusted besides the system's: none, or the file's.
fn ca(check: &mut Checker<'_>, raw: &raw::Export) -> Option<Option<Vec<u8>>> {
    let Some(text) = &raw.ca else { return Some(None) };
    let file = check.beside().join(text.get_ref());
    check.parse(text, |_| pem(&file)).map(Some)
}
