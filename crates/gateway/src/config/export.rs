//! Where the record is handed on to.

use std::collections::BTreeSet;

use toml::Spanned;

use super::{
    check::{Checker, name, url},
    crew::pem,
    raw,
    settings::{ExportSettings, ExportTo, HttpSink, ObjectPlace, ObjectsSink, SyslogSink},
    units::{Secret, referred},
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
    if raw.to.get_ref() != "objects" {
        let texts = [&raw.region, &raw.endpoint, &raw.account].into_iter().flatten().map(Spanned::span);
        for span in texts.chain(raw.key.as_ref().map(Spanned::span)) {
            check.wrong(span, "this is for `to = \"objects\"`", None);
        }
    }
    let to = match raw.to.get_ref().as_str() {
        "objects" => objects(check, raw).map(ExportTo::Objects),
        "ocsf" => http(check, raw).map(ExportTo::Ocsf),
        "otlp" => http(check, raw).map(ExportTo::Otlp),
        "syslog" => syslog(check, raw).map(ExportTo::Syslog),
        other => {
            check.wrong(
                raw.to.span(),
                format!("`{other}` is none of `objects`, `ocsf`, `otlp` and `syslog`"),
                None,
            );
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

fn objects(check: &mut Checker<'_>, raw: &raw::Export) -> Option<ObjectsSink> {
    if let Some(bearer) = &raw.bearer {
        check.wrong(bearer.span(), "an object store has `account` and `key`", None);
    }
    let parsed = check.parse(&raw.url, |text| match text.split_once("://") {
        Some((kind @ ("s3" | "gs" | "az" | "file"), rest)) => Ok((kind.to_owned(), rest.to_owned())),
        _ => Err(format!("`{text}` is none of `s3://`, `gs://`, `az://` and `file://`")),
    });
    // A service account's key is a document, the others fit where a token does.
    let service_account = raw.url.get_ref().starts_with("gs://");
    let key = raw.key.as_ref().map(|reference| {
        let beside = check.beside();
        let secret = if service_account {
            referred(reference.get_ref(), &beside).map(|(text, _)| Secret::new(text))
        } else {
            check.secret(reference.get_ref())
        };
        secret.map_err(|message| check.wrong(reference.span(), message, None)).ok()
    });
    let endpoint = raw.endpoint.as_ref().map(|text| check.parse(text, |text| url(text, false)));
    let ca = ca(check, raw)?;
    let key = match key {
        Some(read) => Some(read?),
        None => None,
    };
    let endpoint = match endpoint {
        Some(read) => Some(read?),
        None => None,
    };
    let (kind, rest) = parsed?;
    let (bucket, prefix) = match rest.split_once('/') {
        Some((bucket, prefix)) => (bucket.to_owned(), prefix.trim_matches('/').to_owned()),
        None => (rest.clone(), String::new()),
    };
    let account = raw.account.as_ref().map(|account| account.get_ref().clone());
    let place = match kind.as_str() {
        "file" => ObjectPlace::Local(check.beside().join(&rest)),
        "gs" => ObjectPlace::Gcs { bucket, key },
        "az" => {
            let Some(account) = account else { return missing(check, raw, "account") };
            ObjectPlace::Azure { account, container: bucket, key, endpoint }
        }
        _ => {
            let Some(region) = &raw.region else { return missing(check, raw, "region") };
            let region = region.get_ref().clone();
            let key = match (account, key) {
                (Some(account), Some(key)) => Some((account, key)),
                (None, None) => None,
                (Some(_), None) => return missing(check, raw, "key"),
                (None, Some(_)) => return missing(check, raw, "account"),
            };
            ObjectPlace::S3 { bucket, region, endpoint, key }
        }
    };
    let prefix = if kind == "file" { String::new() } else { prefix };
    Some(ObjectsSink { place, prefix, ca })
}

fn missing<T>(check: &mut Checker<'_>, raw: &raw::Export, what: &str) -> Option<T> {
    check.wrong(raw.url.span(), format!("`{what}` belongs to it and is missing"), None);
    None
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
