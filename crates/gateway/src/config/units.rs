//! Durations, instants, addresses and secrets as they are written in the file.

use std::{fmt, fs, net::SocketAddr, path::Path, time::Duration};

use crewgate_core::Timestamp;

use super::raw::SecretRef;

/// A secret read by reference. Its `Debug` shows nothing, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A secret from a string (tests, embedders).
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What `{ env = … }` or `{ file = … }` holds, and where that is in words.
pub(super) fn referred(reference: &SecretRef, beside: &Path) -> Result<(String, String), String> {
    let (text, whence) = match (&reference.env, &reference.file) {
        (Some(name), None) => {
            let value =
                std::env::var(name).map_err(|_| format!("environment variable `{name}` is not set"))?;
            (value, format!("environment variable `{name}`"))
        }
        (None, Some(name)) => {
            let path = beside.join(name);
            let value = fs::read_to_string(&path)
                .map_err(|error| format!("secret file `{}` cannot be read: {error}", path.display()))?;
            (value, format!("secret file `{}`", path.display()))
        }
        _ => return Err("a secret is given by exactly one of `env` and `file`".to_owned()),
    };
    if text.trim_ascii().is_empty() { Err(format!("{whence} is empty")) } else { Ok((text, whence)) }
}

/// A secret that is sent as it is; a file's final line break does not belong to it.
pub(super) fn secret(reference: &SecretRef, beside: &Path) -> Result<Secret, String> {
    let (text, whence) = referred(reference, beside)?;
    let text = match reference.file {
        Some(_) => text.trim_end_matches(['\r', '\n']).to_owned(),
        None => text,
    };
    // RFC 6750 `b64token`: what a bearer token is made of, and what masks can find to the letter.
    let token =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    if text.len() > 256 || !text.bytes().all(token) {
        return Err(format!("{whence} is not a bearer token: letters, digits and `-._~+/=`, at most 256"));
    }
    Ok(Secret(text))
}

/// `30s`, `5m`, `1h`, `2days`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration like `30s`, `5m` or `1h`: {error}"))?;
    if parsed.is_zero() { Err(format!("`{text}` is no time at all")) } else { Ok(parsed) }
}

/// `2026-12-31` (the first instant of that day, UTC) or a full RFC 3339 instant.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    humantime::parse_rfc3339(&full).map(Timestamp::from).map_err(|_| {
        format!("`{text}` is not a date like `2026-12-31` or an instant like `2026-12-31T18:00:00Z`")
    })
}

/// The end of the day for a bare date, since "until 2026-12-31" includes that day; a full instant as it stands.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    let start = instant(text)?;
    Ok(if text.len() == 10 { start.saturating_add(Duration::from_secs(86_400)) } else { start })
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address like `127.0.0.1:8443`"))
}

/// `100/s`, `6000/min`: calls of one address in a time.
pub(super) fn rate(text: &str) -> Result<(u32, Duration), String> {
    let wrong = || format!("`{text}` is not a rate like `200/s` or `6000/min`");
    let (calls, period) = text.split_once('/').ok_or_else(wrong)?;
    let calls: u32 = calls.trim().parse().map_err(|_| wrong())?;
    let period = match period.trim() {
        "s" => Duration::from_secs(1),
        "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err(wrong()),
    };
    if calls == 0 { Err(wrong()) } else { Ok((calls, period)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_end_date_includes_its_day() {
        assert_eq!(until("2026-12-31").unwrap(), instant("2027-01-01T00:00:00Z").unwrap());
        assert_eq!(until("2026-12-31T12:00:00Z").unwrap(), instant("2026-12-31T12:00:00Z").unwrap());
        assert!(until("31.12.2026").is_err());
    }

    #[test]
    fn a_secret_never_shows_itself() {
        assert_eq!(format!("{:?}", Secret::new("org-000000000001")), "Secret(..)");
    }

    #[test]
    fn a_rate_has_calls_and_a_period() {
        assert_eq!(rate("200/s").unwrap(), (200, Duration::from_secs(1)));
        for bad in ["0/s", "x/s", "5", "5/fortnight"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
