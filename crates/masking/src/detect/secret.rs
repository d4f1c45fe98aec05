use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Detector, Hit, SCHEMES, Tail, WINDOW, is_token, outside_words};

pub(super) const JWT: Detector = Detector {
    gate: r"eyJ[A-Za-z0-9_-]{8}",
    begins_behind: outside_words,
    decide: |window| {
        let end = window
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(window.len());
        let header = window.get(..end)?;
        let hit = Hit { len: end, tail: Tail::Token };
        if end >= WINDOW - 3 {
            // A header longer than the window: nobody writes such a word, and it opens like a JSON object.
            return Some(hit);
        }
        // RFC 7515 section 4.1.1: the header is JSON with an `alg`.
        let json = URL_SAFE_NO_PAD.decode(header).ok()?;
        let has_alg = json.windows(5).any(|five| five == b"\"alg\"");
        (has_alg && window.get(end..)?.starts_with('.')).then_some(hit)
    },
    #[cfg(test)]
    examples: &["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."],
    #[cfg(test)]
    counter_examples: &["eyJhbGciOiJIUzI1NiJ9", "eyJmb28iOiJiYXIifQ.x.y", "eyJeyJeyJeyJ"],
};

pub(super) const BEARER: Detector = Detector {
    gate: r"(?i)(?:bearer|basic) [A-Za-z0-9]",
    begins_behind: outside_words,
    decide: |window| {
        let (scheme, credentials) = window.split_once(' ')?;
        let known = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let end = credentials.find(|c| !is_token(c)).unwrap_or(credentials.len());
        let token = credentials.get(..end)?;
        // Twelve characters with a digit: CrewAI's own keys are twelve; prose behind the word has no digits.
        let shaped = token.len() >= 12 && token.bytes().any(|b| b.is_ascii_digit());
        (known && shaped).then_some(Hit { len: scheme.len() + 1 + end, tail: Tail::Token })
    },
    #[cfg(test)]
    examples: &[
        "Bearer abcdef012345",
        "bearer YWxhZGRpbjpvcGVuIHNlc2FtZTE=",
        "Basic YWxhZGRpbjpvcGVuc2VzYW1lMQ==",
    ],
    #[cfg(test)]
    counter_examples: &[
        "bearer authentication",
        "the bearer of this",
        "Bearer short1",
        "forbearer abcdef012345",
    ],
};

/// Published prefixes, the characters that may follow, and how many must.
const PREFIXES: &[(&str, usize)] = &[
    ("AIza", 35),
    ("AKIA", 16),
    ("ASIA", 16),
    ("SG.", 20),
    ("cgr_", 64),
    ("dapi", 32),
    ("dop_v1_", 40),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghr_", 30),
    ("ghs_", 30),
    ("ghu_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("hf_", 30),
    ("hvs.", 20),
    ("npm_", 30),
    ("pypi-", 30),
    ("rk_live_", 16),
    ("shpat_", 30),
    ("sk-", 16),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xoxa-", 16),
    ("xoxr-", 16),
    ("xoxs-", 16),
];

pub(super) const API_KEY: Detector = Detector {
    gate: r"(?:AIza|A[KS]IA|SG\.|cgr_|dapi|dop_v1_|gh[opsur]_|github_pat_|glpat-|hf_|hvs\.|npm_|pypi-|[rs]k_|sk-|shpat_|xox[abprs]-)[A-Za-z0-9]",
    begins_behind: outside_words,
    decide: |window| {
        PREFIXES.iter().filter(|(prefix, _)| window.starts_with(prefix)).find_map(|(prefix, least)| {
            let body = window.get(prefix.len()..)?;
            let end = body
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.'))
                .unwrap_or(body.len());
            let body = body.get(..end)?;
            let mixed = body.bytes().any(|b| b.is_ascii_digit());
            (body.len() >= *least && mixed).then_some(Hit { len: prefix.len() + end, tail: Tail::Token })
        })
    },
    #[cfg(test)]
    examples: &[
        "sk-proj-abc123def456ghi789",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "xoxb-123456789012-abcdef",
    ],
    #[cfg(test)]
    counter_examples: &[
        "sk-learn",
        "task-123456789012345678",
        "hf_model",
        "sk-abcdefghijklmnopqrstuvwxyz",
        "AKIA",
    ],
};

pub(super) const PRIVATE_KEY: Detector = Detector {
    gate: r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
    begins_behind: |_| true,
    decide: |window| {
        let label = window.strip_prefix("-----BEGIN ")?;
        let end = label.find("-----")?;
        let label = label.get(..end)?;
        let fits = label.ends_with("PRIVATE KEY") && label.len() <= 52;
        fits.then_some(Hit { len: 11 + end + 5, tail: Tail::Pem })
    },
    #[cfg(test)]
    examples: &["-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhk\n-----END PRIVATE KEY-----"],
    #[cfg(test)]
    counter_examples: &["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "BEGIN PRIVATE KEY"],
};
