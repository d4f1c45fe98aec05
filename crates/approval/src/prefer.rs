use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Wait;

/// RFC 7240 section 2.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// RFC 7240 section 3: on an answer, the preferences that were followed.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How a caller would like to wait: `Prefer: wait=10`, `Prefer: respond-async` (RFC 7240 sections 4.1 and 4.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preference {
    /// Rather be let go than held.
    pub respond_async: bool,
    /// Rather be held for this long.
    pub wait: Option<Duration>,
}

impl Preference {
    /// What the headers prefer. What is not understood is not preferred, and of what stands twice the first counts
    /// (RFC 7240 section 2).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let mut named_wait = false;
        for text in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()) {
            for preference in split(text, ',') {
                // Parameters of a preference change nothing here.
                let preference = split(preference, ';').next().unwrap_or_default();
                let (name, value) = match preference.split_once('=') {
                    Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
                    None => (preference.trim(), ""),
                };
                if name.eq_ignore_ascii_case("respond-async") {
                    found.respond_async = true;
                } else if name.eq_ignore_ascii_case("wait") && !named_wait {
                    named_wait = true;
                    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                    // Digits alone fail to parse when there are too many: as long as may be.
                    found.wait =
                        digits.then(|| Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
                }
            }
        }
        found
    }

    /// How the caller waits who would otherwise wait like this, for at most `longest`; and what to say of it.
    pub(crate) fn apply(self, otherwise: Wait, longest: Duration) -> (Wait, Option<HeaderValue>) {
        match (self.wait, self.respond_async) {
            (None, false) => (otherwise, None),
            (None, true) => (Wait::Ticket, Some(HeaderValue::from_static("respond-async"))),
            (Some(wait), respond_async) => {
                let wait = wait.min(longest);
                let also = if respond_async { ", respond-async" } else { "" };
                (Wait::Hold(wait), HeaderValue::try_from(format!("wait={}{also}", wait.as_secs())).ok())
            }
        }
    }
}

/// The parts between these separators, except for those inside a quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Preference {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        Preference::of(&headers)
    }

    fn wait(secs: u64) -> Option<Duration> {
        Some(Duration::from_secs(secs))
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        for (values, respond_async, waits) in [
            (vec![], false, None),
            (vec!["respond-async, wait=100"], true, wait(100)),
            (vec!["respond-async", "wait=10"], true, wait(10)),
            (vec!["Wait = \"7\"; foo=bar"], false, wait(7)),
            (vec!["wait=5, wait=50"], false, wait(5)),
            (vec!["wait=soon, wait=50"], false, None),
            (vec!["wait=-1"], false, None),
            (vec!["wait"], false, None),
            (vec!["foo; wait=3, return=minimal"], false, None),
            (vec!["foo=\"a, wait=3, \\\"b\", wait=4"], false, wait(4)),
            (vec!["wait=99999999999999999999999"], false, wait(u64::from(u32::MAX))),
        ] {
            assert_eq!(of(&values), Preference { respond_async, wait: waits }, "{values:?}");
        }
    }

    #[test]
    fn no_caller_waits_longer_than_the_bound() {
        let longest = Duration::from_secs(20);
        let applied = |values: &[&str]| {
            let (wait, said) = of(values).apply(Wait::Hold(Duration::from_secs(3)), longest);
            (wait, said.map(|said| said.to_str().unwrap().to_owned()))
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(applied(&[]), (Wait::Hold(Duration::from_secs(3)), None));
        assert_eq!(applied(&["wait=5"]), (Wait::Hold(Duration::from_secs(5)), said("wait=5")));
        assert_eq!(applied(&["wait=500"]), (Wait::Hold(longest), said("wait=20")));
        assert_eq!(applied(&["respond-async"]), (Wait::Ticket, said("respond-async")));
        let both = applied(&["wait=0, respond-async"]);
        assert_eq!(both, (Wait::Hold(Duration::ZERO), said("wait=0, respond-async")));
    }
}
