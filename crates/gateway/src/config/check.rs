use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    diagnostic::Diagnostic,
    raw::{SecretRef, Text},
    units::{Secret, referred, secret},
};

/// Walks the raw file and keeps every mistake it meets, so that one run reports them all.
pub(super) struct Checker<'a> {
    file: &'a Path,
    text: &'a str,
    secrets: bool,
    pub(super) found: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, secrets: bool) -> Self {
        Self { file, text, secrets, found: Vec::new() }
    }

    /// What a reference to a secret stands for; nothing real where secrets are not read.
    pub(super) fn secret(&self, reference: &SecretRef) -> Result<Secret, String> {
        if self.secrets { secret(reference, &self.beside()) } else { Ok(Secret::new("not-read")) }
    }

    /// A private key in PEM behind a reference; `None` where secrets are not read.
    pub(super) fn pem(&self, reference: &SecretRef) -> Result<Option<Secret>, String> {
        if !self.secrets {
            return Ok(None);
        }
        referred(reference, &self.beside()).map(|(text, _)| Some(Secret::new(text)))
    }

    pub(super) fn file(&self) -> &Path {
        self.file
    }

    pub(super) fn text(&self) -> &str {
        self.text
    }

    /// The folder relative paths in the file start from.
    pub(super) fn beside(&self) -> PathBuf {
        self.file.parent().map(Path::to_owned).unwrap_or_default()
    }

    pub(super) fn wrong(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        let mut diagnostic = Diagnostic::at(self.file, self.text, span, message);
        if let Some(help) = help {
            diagnostic = diagnostic.with_help(help);
        }
        self.found.push(diagnostic);
    }

    /// The parsed value, or a note of what is wrong with it.
    pub(super) fn parse<T>(
        &mut self,
        text: &Text,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text.get_ref()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(text.span(), message, None);
                None
            }
        }
    }

    /// The parsed value or the default where nothing is written.
    pub(super) fn parse_or<T>(
        &mut self,
        text: Option<&Text>,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        match text {
            Some(text) => self.parse(text, parse).unwrap_or(default),
            None => default,
        }
    }

    /// Notes names that stand twice.
    pub(super) fn unique<'n>(&mut self, what: &str, names: impl Iterator<Item = &'n Text>) {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if !seen.insert(name.get_ref().clone()) {
                self.wrong(name.span(), format!("{what} `{}` stands twice", name.get_ref()), None);
            }
        }
    }
}

/// `[a-z][a-z0-9-]*`, at most 63 characters: a name that can stand in an address and in a policy.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.len() <= 63;
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a name: lower-case letters, digits and `-`, a letter first, at most 63"))
    }
}

/// An `http` or `https` address without query or fragment; `http` only for this machine.
pub(super) fn url(text: &str, allow_plain: bool) -> Result<http::Uri, String> {
    let uri: http::Uri = text.parse().map_err(|_| format!("`{text}` is not a URL"))?;
    match uri.scheme_str() {
        _ if is_safe(&uri) => {}
        Some("http") if allow_plain => {}
        Some("http") => return Err(format!("`{text}` is plain HTTP to another machine: use https")),
        _ => return Err(format!("`{text}` is not an http or https URL")),
    }
    if uri.query().is_some() || text.contains('#') || text.contains('@') {
        return Err(format!("`{text}` must have no query, fragment or user information"));
    }
    Ok(uri)
}

/// Whether secrets may be sent there: over TLS, or on this machine.
pub(crate) fn is_safe(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let local = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || (local && uri.scheme_str() == Some("http"))
}
