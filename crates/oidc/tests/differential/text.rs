//! What may be changed in the text of a signed token.

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use proptest::{prelude::RngExt, test_runner::TestRng};

use crate::issuer::b64;

/// ECDSA-Sig-Value (RFC 3279 section 2.2.3) of a signature of fixed length: what other protocols use.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let sign = if bytes.first().is_none_or(|first| *first > 127) { vec![0] } else { Vec::new() };
        let body = [sign.as_slice(), bytes].concat();
        [&[2, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    let length = u8::try_from(body.len()).unwrap();
    let head = if length < 128 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    [head, body].concat()
}

/// Changes a token; says how.
pub(crate) fn change(rng: &mut TestRng, token: &mut String) -> String {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let [header, claims, signature] = parts.as_slice() else { return "none".to_owned() };
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let with = |signature: &[u8]| format!("{header}.{claims}.{}", b64(signature));
    let at = rng.random_range(0..3_usize);
    let whole = |change: &dyn Fn(&str) -> String| {
        let mut parts = parts.clone();
        parts[at] = change(&parts[at]);
        parts.join(".")
    };
    let (changed, what) = match rng.random_range(0..18) {
        0 => (whole(&|part| format!("{part}=")), "padding"),
        1 => (
            whole(&|part| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).unwrap_or_default())),
            "right padding",
        ),
        2 => (whole(&|part| part.replace('-', "+").replace('_', "/")), "standard alphabet"),
        3 => (whole(&|part| format!("{part}\n")), "a line end"),
        4 => (whole(&|part| format!(" {part}")), "a space"),
        5 => {
            // The last character carries bits that no byte takes: another spelling of the same bytes.
            let respelt = whole(&|part| {
                const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let (rest, last) = part.split_at(part.len().saturating_sub(1));
                let index =
                    LETTERS.iter().position(|letter| last.as_bytes().first() == Some(letter)).unwrap_or(0);
                format!("{rest}{}", char::from(LETTERS[index ^ 1]))
            });
            (respelt, "stray bits")
        }
        6 => (format!("{token}."), "a fourth segment"),
        7 => (format!("{token}.AA.AA"), "five segments"),
        8 => (format!("{header}.{claims}"), "two segments"),
        9 => (format!("{header}.{claims}."), "no signature"),
        10 => (format!("{claims}.{header}.{signature}"), "swapped"),
        11 if bytes.len() <= 132 => (with(&der(&bytes)), "DER"),
        12 => (with(&vec![0; bytes.len()]), "zeros"),
        13 => (with(&[&[0], bytes.as_slice()].concat()), "a leading zero"),
        14 => (with(&bytes[..bytes.len().saturating_sub(1)]), "one byte short"),
        15 => {
            let mut other = bytes.clone();
            if !other.is_empty() {
                let at = rng.random_range(0..other.len());
                other[at] ^= 1 << rng.random_range(0..8);
            }
            (with(&other), "a bit")
        }
        16 => {
            let claims = b64(URL_SAFE_NO_PAD.decode(claims).unwrap_or_default().repeat(2));
            (format!("{header}.{claims}.{signature}"), "claims twice")
        }
        _ => {
            let at = rng.random_range(0..token.len());
            let letter = char::from(rng.random_range(b' '..b'~'));
            let mut changed = token.clone();
            changed.replace_range(at..=at, &letter.to_string());
            (changed, "a character")
        }
    };
    *token = changed;
    format!("text {what}")
}
