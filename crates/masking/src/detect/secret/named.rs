//! Values that are secret by their name: `password=…`, `"api_key": "…"`.

use std::sync::LazyLock;

use crate::detect::{Anchor, Match, boundary, check::entropy, detector::detectors};

detectors! {
    "password" => Password {
        anchor: Anchor::Value,
        pattern: r#"[^\s"'`<>\\]{4,128}"#,
        begins: begins_value,
        follows: named,
        validate: |found, _| {
            let value = value(found)?;
            let written = value.contains(|c: char| !c.is_ascii_alphabetic() && !"_-.".contains(c));
            (quoted(found) || found.is_whole_text() || written).then_some(value.len())
        },
        near: &["password", "passwd", "passphrase", "pwd", "passwort", "mot de passe", "contraseña", "senha", "hasło", "pass", "pin code"],
        finds: [
            "password: ⟦hunter2⟧", "\"current-password\": \"⟦*e7nC@wR4S⟧\"", "DB_PASSWORD=⟦s3cr3t!⟧", "userPassword = '⟦correcthorse⟧'",
            "Server=x;Password=⟦s3cr3t⟧;",
        ],
        leaves: [
            "password: str", "password = os.environ", "password: ${PASSWORD}", "password: <password>", "passwords: hunter2x", "password: ********",
            "password=getpass()", "the password is known", "password: null", "pass: 1",
        ],
    }
    "secret-by-name" => Secret {
        anchor: Anchor::Value,
        pattern: r#"[A-Za-z0-9_+/=.~!@#$%^*:-]{12,200}"#,
        begins: begins_value,
        follows: named,
        validate: |found, _| {
            let value = value(found)?;
            let digits = value.bytes().filter(u8::is_ascii_digit).count();
            let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
            let random = digits >= 2 && letters >= 2 && entropy(value) >= 3.0 && !value.contains("://");
            random.then_some(value.len())
        },
        near: &[
            "secret", "api key", "apikey", "access key", "accesskey", "secret key", "secretkey", "private key", "privatekey", "auth key",
            "account key", "accountkey", "encryption key", "signing key", "master key", "shared access key", "sharedaccesskey", "license key",
            "token", "access token", "auth token", "authtoken", "refresh token", "id token", "session token", "client secret", "clientsecret",
            "credential", "credentials", "authorization", "x api key", "session id", "sessionid", "cookie", "sig", "access key id",
        ],
        finds: [
            "api_key: ⟦9f8a7b6c5d4e3f2a1b0c⟧", "\"clientSecret\": \"⟦kJ8~x2Qp9.Lm4Zr7Wd1a⟧\"", "AWS_SECRET_ACCESS_KEY=⟦wJalrXUtnFEMI/K7MDENG/bPxRfiCYzK3vT9xQ2A⟧",
            "AccountKey=⟦Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg==⟧",
        ],
        leaves: [
            "token: abcdefghijklmnop", "max_tokens: 4096123412341234", "secret: hello-world-and-more", "api_key=os.environ.get", "token: 12345678901234",
            "monkey: 9f8a7b6c5d4e3f2a1b0c",
        ],
    }
}

/// Marks that may stand between a name and its separator, and as many between that and the value.
const MAX_MARKS: usize = 12;

/// Bytes of a name that are read, from its end.
const MAX_NAME: usize = 96;

fn begins_value(before: Option<char>) -> bool {
    before.is_none_or(|c| matches!(c, ' ' | '"' | '\'' | '`' | ':' | '='))
}

/// Whether the value stands in quotation marks.
fn quoted(found: &Match<'_>) -> bool {
    let quotes = ['"', '\'', '`'];
    found.before.ends_with(quotes) && found.next.is_some_and(|c| quotes.contains(&c))
}

/// Whether a text ends in a name that ends in one of these, and a separator.
fn named(before: &str, names: &[&str]) -> bool {
    let mark = |byte| matches!(byte, b' ' | b'"' | b'\'' | b'`');
    let Some((name, b":" | b"=")) = without(before, mark)
        .and_then(|name| name.split_at_checked(name.len().checked_sub(1)?))
        .map(|(name, last)| (name, last.as_bytes()))
    else {
        return false;
    };
    let Some(name) = without(name, |byte| mark(byte) || matches!(byte, b':' | b']')) else { return false };
    // Most names of a text end otherwise.
    let known = |(slot, bit): (usize, u64)| ENDINGS.get(slot).is_none_or(|bits| bits & bit != 0);
    if !ending(name).is_some_and(|ending| ending.is_none_or(known)) {
        return false;
    }
    let name = name.get(name.floor_char_boundary(name.len().saturating_sub(MAX_NAME))..).unwrap_or_default();
    let name = name.rsplit(|c: char| c.is_whitespace() || "\"'`{}[](),;&?<>|=".contains(c)).next();
    let name = boundary::plain(name.unwrap_or_default());
    let name = name.trim_end_matches(' ');
    names.iter().any(|ending| name.strip_suffix(ending).is_some_and(|name| name.ends_with(' ')))
}

/// A text without such marks at its end; `None` when they are too many.
fn without(text: &str, mark: impl Fn(u8) -> bool) -> Option<&str> {
    let len = text.bytes().rev().take(MAX_MARKS).take_while(|byte| mark(*byte)).count();
    if len < MAX_MARKS { text.get(..text.len() - len) } else { None }
}

/// How the names end that say that a value is secret, as bits by [`ending`].
static ENDINGS: LazyLock<[u64; 64]> = LazyLock::new(|| {
    let mut endings = [0; 64];
    for (slot, bit) in TABLE.iter().flat_map(|detector| detector.context).filter_map(|name| ending(name)?) {
        if let Some(bits) = endings.get_mut(slot) {
            *bits |= bit;
        }
    }
    endings
});

/// Where the last three letters or digits of a name stand among 4096 bits, whatever their case and what parts them. Others
/// may share a bit. `None` where there are not so many at its end: no name is shorter. Nothing is told beyond ASCII.
fn ending(name: &str) -> Option<Option<(usize, u64)>> {
    let mut letters =
        name.bytes().rev().take(MAX_MARKS).filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
    let letters = [letters.next()?, letters.next()?, letters.next()?];
    let sum = letters.iter().fold(0, |sum, letter| sum * 23 + usize::from(letter.to_ascii_lowercase()));
    Some(letters.is_ascii().then(|| (sum / 64 % 64, 1 << (sum % 64))))
}

/// The value, when it is no placeholder, expression or type.
fn value<'a>(found: &Match<'a>) -> Option<&'a str> {
    let value =
        if quoted(found) { found.text } else { found.text.trim_end_matches([',', ';', ')', ']', '}', '.']) };
    let value = if quoted(found) { value } else { value.split([',', ';', '&']).next()? };
    let blank = value.chars().all(|c| "*xX.-_#".contains(c));
    let expression = value.starts_with(['$', '{', '%', '<', '(', '[']) && !quoted(found)
        || value.starts_with("${")
        || value.starts_with("{{")
        || value.contains("()")
        || value.contains("($");
    let call = found.next == Some('(') || (!quoted(found) && value.contains('('));
    let word = matches!(
        value.to_ascii_lowercase().as_str(),
        "null"
            | "none"
            | "true"
            | "false"
            | "undefined"
            | "string"
            | "str"
            | "required"
            | "optional"
            | "redacted"
            | "changeme"
    );
    (value.len() >= 4 && !blank && !expression && !call && !word).then_some(value)
}
