//! E-mail addresses, and addresses of the web.

use super::{
    Anchor, Match, Tail,
    boundary::{anywhere, outside_words, word_start},
    detector::detectors,
};

detectors! {
    "email" => Email {
        // 64 characters and quotation marks.
        anchor: Anchor::At(66),
        pattern: r#"(?:[\pL\pN._%+'-]+|"[^"\s]{1,64}")@[\pL\pN.-]+"#,
        // A local part longer than the window must not carry its address past us.
        begins: anywhere,
        validate: |found, _| email(found),
        finds: [
            "maria.keller@example.com", "o'brien+x@mail.example.co.uk", "jörg@bücher.example", "a@b.museum",
            "⟦user@xn--80ak6aa92e.xn--p1ai⟧.", "⟦john@acme.com⟧123", "email@198.51.100.7", "\"ann.b\"@example.com",
            "mailto:⟦sales@example.org⟧?subject=x", "<⟦ann@example.org⟧>",
        ],
        leaves: ["user@localhost", "@example.com", "a@b.c", "at example.com", "1@2.3", "info@example."],
    }
    "url" => Url {
        anchor: Anchor::Scheme,
        pattern: r"[A-Za-z][A-Za-z0-9+.-]{1,15}://[\pL\pN\-._~:/?#\[\]@!$&()*+,;=%]+",
        begins: word_start,
        validate: |found, _| url(found),
        tail: Tail::Address,
        finds: [
            "https://www.example.com/", "see ⟦http://example.com/~a?b=%2F#c⟧.", "(⟦https://example.org/a⟧)",
            "⟦http://[2001:db8::1]/x⟧", "[x](⟦https://en.example.org/wiki/A_(b)⟧)", "sftp://user:pass@host.example:/in/x.csv",
            "\"⟦https://example.org⟧\"", "https://bücher.example/straße",
        ],
        leaves: ["http:/example.com", "https://nowhere.invalid/a", "://example.com", "a://"],
    }
    "domain" => Url {
        anchor: Anchor::Any,
        pattern: r"(?:[\pL\pN][\pL\pN-]{0,62}\.){1,8}[\pL][\pL\pN-]{1,62}(?:/[\pL\pN\-._~/?#&=%]*)?",
        begins: |before| before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | '@' | '-' | '/' | '\\')),
        validate: domain,
        near: &["domain", "host", "website", "web site", "homepage", "url", "site ", "link", "visit "],
        finds: [
            "\"domain\": \"⟦example.biz⟧\"", "⟦www.example.com/start⟧", "hostname: ⟦db1.example.net⟧", "example.com",
        ],
        leaves: ["www.example", "see chat.completion", "README.md", "std.io and more", "host: localhost", "e.g. this"],
    }
}

/// RFC 5321 section 4.1.2, with internationalised names (RFC 6531).
fn email(found: &Match<'_>) -> Option<usize> {
    let at = found.text.rfind('@')?;
    let (local, domain) = (found.text.get(..at)?, found.text.get(at + 1..)?);
    if local.chars().count() > 64 || local.starts_with(['.', '\'', '-', '%']) || local.ends_with('.') {
        return None;
    }
    if let Some(len) = ipv4_prefix(domain) {
        return Some(at + 1 + len);
    }
    domain_len(domain).map(|len| at + 1 + len)
}

fn ipv4_prefix(domain: &str) -> Option<usize> {
    let end = domain.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(domain.len());
    let text = domain.get(..end)?.trim_end_matches('.');
    text.parse::<std::net::Ipv4Addr>().is_ok().then_some(text.len())
}

/// Bytes of a domain name up to the last label that can be a top-level domain: a full stop behind it ends a sentence.
fn domain_len(domain: &str) -> Option<usize> {
    let (mut at, mut best) = (0, None);
    for (index, label) in domain.split('.').enumerate() {
        let glued = label.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum::<usize>();
        // `com123`: a number stands right behind the address.
        let top = if label.starts_with("xn--") || glued == label.len() {
            label.len()
        } else if label.get(..glued).is_some_and(well_known) {
            glued
        } else {
            0
        };
        if index > 0 && top >= 2 && label.get(..top)?.chars().count() >= 2 {
            best = Some(at + top);
        }
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            break;
        }
        at += label.len() + 1;
    }
    best
}

/// Top-level domains that are no common file name's ending.
fn well_known(label: &str) -> bool {
    const GENERIC: &str = " com net org info biz edu gov mil int io dev app ai co eu uk de fr nl ch at it es pt se dk fi cz \
        us ca au nz jp cn in br mx ru ua tr kr sg hk tw id online site shop store tech blog cloud xyz club agency ";
    let label = label.to_lowercase();
    GENERIC.contains(&format!(" {label} "))
}

/// An address without the punctuation of the sentence it stands in.
fn url(found: &Match<'_>) -> Option<usize> {
    let mut text = found.text;
    loop {
        let trimmed = text.trim_end_matches(['.', ',', ';', '!', '?', '*', '_', '~']);
        let unbalanced = |open: char, close: char| {
            trimmed.ends_with(close) && trimmed.matches(close).count() > trimmed.matches(open).count()
        };
        let inner = if unbalanced('(', ')') || unbalanced('[', ']') {
            trimmed.get(..trimmed.len() - 1)?
        } else {
            trimmed
        };
        if inner.len() == text.len() {
            break;
        }
        text = inner;
    }
    let (_, rest) = text.split_once("://")?;
    let host = rest.split(['/', ':', '?', '#']).next()?;
    // RFC 6761 section 6.4: a name that leads nowhere.
    (!rest.is_empty() && !host.ends_with(".invalid")).then_some(text.len())
}

/// A name without a scheme: behind `www.`, or named as one, or all there is.
fn domain(found: &Match<'_>, near: &[&str]) -> Option<usize> {
    let len = url_path(found.text)?;
    let name = found.text.get(..len)?;
    let host = name.split('/').next()?;
    let top = host.rsplit('.').next()?;
    let www = host.len() > 4 && host.get(..4)?.eq_ignore_ascii_case("www.") && host.matches('.').count() >= 2;
    let known = well_known(top);
    let told = known
        && (found.labelled(near) || ((found.is_whole_text() || found.is_quoted()) && !host.ends_with(".co")));
    let ends = found.next.is_none_or(|c| outside_words(c) && c != '@');
    (ends && (www || told)).then_some(len)
}

fn url_path(text: &str) -> Option<usize> {
    let trimmed = text.trim_end_matches(['.', ',', '?', '-', '_', '~']);
    let host = trimmed.split('/').next()?;
    let len = domain_len(host)?;
    if len == host.len() { Some(trimmed.len()) } else { None }
}
