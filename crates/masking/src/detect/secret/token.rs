//! Tokens by their form.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::detect::{
    Anchor, Match, Tail, WINDOW,
    boundary::{anywhere, word_start},
    detector::detectors,
};

detectors! {
    "jwt" => Jwt {
        anchor: Anchor::Prefix(&["eyJ", "ewog", "ewo"]),
        pattern: r"(?:eyJ|ewo)[A-Za-z0-9_-]{8,}\.?",
        begins: word_start,
        validate: |found, _| jwt(found),
        tail: Tail::Token,
        finds: ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."],
        leaves: ["eyJhbGciOiJIUzI1NiJ9", "eyJmb28iOiJiYXIifQ.x.y", "eyJeyJeyJeyJ"],
    }
    "private-key" => PrivateKey {
        anchor: Anchor::Prefix(&["-----BEGIN "]),
        pattern: r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
        begins: anywhere,
        validate: |found, _| Some(found.text.len()),
        tail: Tail::Pem,
        finds: [
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhk\n-----END PRIVATE KEY-----",
            "⟦-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----⟧ and more",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhk",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQVY\n-----END PGP PRIVATE KEY BLOCK-----",
        ],
        leaves: ["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "BEGIN PRIVATE KEY"],
    }
    "bearer" => BearerToken {
        anchor: Anchor::PrefixNoCase(&["bearer "]),
        // Twelve characters with a digit: CrewAI's own keys are twelve; prose behind the word has no digits.
        pattern: r"(?i:bearer) [A-Za-z0-9._~+/=-]{12,}",
        begins: word_start,
        validate: |found, _| has_digit(found.text).then_some(found.text.len()),
        tail: Tail::Token,
        finds: ["Bearer abcdef012345", "bearer YWxhZGRpbjpvcGVuIHNlc2FtZTE="],
        leaves: ["bearer authentication", "the bearer of this", "Bearer short1", "forbearer abcdef012345"],
    }
    "basic" => BasicAuth {
        anchor: Anchor::PrefixNoCase(&["basic "]),
        pattern: r"(?i:basic) [A-Za-z0-9+/]{8,}={0,2}",
        begins: word_start,
        validate: |found, _| {
            // RFC 7617: base64 of a name, a colon and a password.
            let (_, credentials) = found.text.split_once(' ')?;
            let plain = STANDARD.decode(credentials).ok()?;
            if plain.contains(&b':') { found.whole_word() } else { None }
        },
        finds: ["Basic YWxhZGRpbjpvcGVuc2VzYW1lMQ=="],
        leaves: ["basic principles", "Basic abcdefghijkl"],
    }
    "url-password" => BasicAuth {
        anchor: Anchor::Value,
        pattern: r#"[^\s:/@"'<>`\\]{1,128}@"#,
        begins: |before| before == Some(':'),
        follows: |before, _| user_of(before, opened),
        validate: |found, _| userinfo(found),
        finds: ["https://ann:⟦hunter2⟧@example.com/", "ftp://u:⟦p%40ss⟧@h"],
        leaves: ["mail ann:x@example.com", "https://example.com:443/@a", "postgres://u:p@h"],
    }
    "connection-string" => ConnectionString {
        anchor: Anchor::Value,
        pattern: r#"[^\s:/"'<>`\\]{1,128}@"#,
        begins: |before| before == Some(':'),
        follows: |before, _| user_of(before, |scheme| !opened(scheme)),
        validate: |found, _| userinfo(found),
        finds: ["postgres://app:⟦s3cr3t⟧@db:5432/x", "mongodb+srv://u:⟦p@ss⟧@cluster0.example.net"],
        leaves: ["postgres://db:5432/x", "redis://h/0", "https://ann:hunter2@example.com/"],
    }
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

fn jwt(found: &Match<'_>) -> Option<usize> {
    let Some(header) = found.text.strip_suffix('.') else {
        // A header longer than the window: nobody writes such a word, and it opens like a JSON object.
        return (found.text.len() >= WINDOW - 4).then_some(found.text.len());
    };
    // RFC 7515 section 4.1.1: the header is JSON with an `alg`.
    let json = URL_SAFE_NO_PAD.decode(header).ok()?;
    json.windows(5).any(|five| five == b"\"alg\"").then_some(found.text.len())
}

/// Schemes of addresses that people and programs open.
fn opened(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ftp" | "sftp" | "ws" | "wss" | "git" | "ssh")
}

/// Whether a text ends in `scheme://name:`, where the scheme is one of these.
fn user_of(before: &str, fits: impl Fn(&str) -> bool) -> bool {
    let parts = before.strip_suffix(':').map(|before| {
        let outside = |c: char| c.is_whitespace() || "/:@\"'<>".contains(c);
        let end = before.rfind(outside).and_then(|at| before.get(..=at));
        end.and_then(|end| end.strip_suffix("://"))
    });
    let Some(Some(before)) = parts else { return false };
    let scheme = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "+.-".contains(c))).next();
    scheme.is_some_and(|scheme| !scheme.is_empty() && fits(&scheme.to_ascii_lowercase()))
}

/// A password before the `@` of a host.
fn userinfo(found: &Match<'_>) -> Option<usize> {
    let host = found.next.is_some_and(|c| c.is_alphanumeric() || c == '[');
    host.then_some(found.text.len() - 1)
}
