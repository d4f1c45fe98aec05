use std::fmt;

use http::{Method, Uri};

/// Headers a request may have; hyper's own limit is 100.
const MAX_HEADERS: usize = 96;

/// Why the gate refused a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A line ends in a bare line feed, or a carriage return stands alone.
    BareLineEnd,
    /// A chunk header is not just a length.
    ChunkExtension,
    /// A chunk's length or end is malformed.
    ChunkMalformed,
    /// `content-length` is not a plain number.
    ContentLength,
    /// A header line is malformed: a space before the colon, a folded line, a control character.
    HeaderLine,
    /// The head is longer than 32 KiB or has more than 96 lines.
    HeadTooLarge,
    /// No `host`, or one that is not a host.
    Host,
    /// The request line is malformed, or the target is not a path.
    RequestLine,
    /// A body has trailers.
    Trailers,
    /// `transfer-encoding` is something else than `chunked`.
    TransferEncoding,
    /// More than one `authorization`.
    TwoAuthorizations,
    /// `content-length` and `transfer-encoding`, or one of them twice.
    TwoFramings,
    /// More than one `host`.
    TwoHosts,
    /// A request the gate never saw; a defect on our side, refused all the same.
    Unseen,
    /// Not HTTP/1.1.
    Version,
}

impl Violation {
    /// Stable code for the refusal.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BareLineEnd => "http_bare_line_end",
            Self::ChunkExtension => "http_chunk_extension",
            Self::ChunkMalformed => "http_chunk_malformed",
            Self::ContentLength => "http_content_length",
            Self::HeadTooLarge => "http_head_too_large",
            Self::HeaderLine => "http_header_line",
            Self::Host => "http_host",
            Self::RequestLine => "http_request_line",
            Self::Trailers => "http_trailers",
            Self::TransferEncoding => "http_transfer_encoding",
            Self::TwoAuthorizations => "http_two_authorizations",
            Self::TwoFramings => "http_two_framings",
            Self::TwoHosts => "http_two_hosts",
            Self::Unseen => "http_unseen",
            Self::Version => "http_version",
        }
    }

    /// Whether it can only happen behind a head that already passed.
    #[must_use]
    pub(super) fn is_in_body(self) -> bool {
        matches!(self, Self::ChunkExtension | Self::ChunkMalformed | Self::Trailers)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineEnd => "lines must end in CRLF",
            Self::ChunkExtension => "chunk extensions are not accepted",
            Self::ChunkMalformed => "a chunk is malformed",
            Self::ContentLength => "`content-length` must be one plain number",
            Self::HeadTooLarge => "the head is too large",
            Self::HeaderLine => "a header line is malformed",
            Self::Host => "exactly one valid `host` is required",
            Self::RequestLine => "the request line is malformed",
            Self::Trailers => "trailers are not accepted",
            Self::TransferEncoding => "the only transfer coding accepted is `chunked`",
            Self::TwoAuthorizations => "more than one `authorization` header",
            Self::TwoFramings => "more than one header says how long the body is",
            Self::TwoHosts => "more than one `host` header",
            Self::Unseen => "the request did not pass the gate",
            Self::Version => "only HTTP/1.1 is accepted here",
        })
    }
}

impl std::error::Error for Violation {}

/// How the body behind a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
}

/// Checks one complete head, final empty line included.
pub(super) fn check(head: &[u8]) -> Result<Framing, Violation> {
    let body = head.strip_suffix(b"\r\n\r\n").ok_or(Violation::BareLineEnd)?;
    let mut lines = Lines(Some(body));
    request_line(lines.next().ok_or(Violation::RequestLine)??)?;
    let (mut hosts, mut authorizations, mut count) = (0, 0, 0);
    let mut framing = None;
    for line in lines {
        let line = line?;
        count += 1;
        if count > MAX_HEADERS {
            return Err(Violation::HeadTooLarge);
        }
        let (name, value) = header(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            host(value)?;
        } else if name.eq_ignore_ascii_case(b"authorization") {
            authorizations += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if framing.replace(Framing::Length(length(value)?)).is_some() {
                return Err(Violation::TwoFramings);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if framing.replace(Framing::Chunked).is_some() {
                return Err(Violation::TwoFramings);
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Violation::TransferEncoding);
            }
        }
    }
    match (hosts, authorizations) {
        (0, _) => Err(Violation::Host),
        (1, 0 | 1) => Ok(framing.unwrap_or(Framing::Length(0))),
        (1, _) => Err(Violation::TwoAuthorizations),
        _ => Err(Violation::TwoHosts),
    }
}

/// Lines between CRLFs; a lone CR or LF is an error.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.take()?;
        let Some(end) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) else { return Some(Ok(rest)) };
        let (line, rest) = rest.split_at_checked(end)?;
        match rest.strip_prefix(b"\r\n") {
            Some(rest) => {
                self.0 = Some(rest);
                Some(Ok(line))
            }
            None => Some(Err(Violation::BareLineEnd)),
        }
    }
}

fn request_line(line: &[u8]) -> Result<(), Violation> {
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Violation::RequestLine);
    };
    if version != b"HTTP/1.1" {
        return Err(if version.starts_with(b"HTTP/") { Violation::Version } else { Violation::RequestLine });
    }
    let method = Method::from_bytes(method).map_err(|_| Violation::RequestLine)?;
    // Origin form only: `*`, `CONNECT host:port` and absolute targets name another place than `host` does.
    let plain = target.first() == Some(&b'/')
        && target.iter().all(|b| {
            b.is_ascii_graphic()
                && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        });
    if method == Method::CONNECT || !plain || Uri::try_from(target).is_err() {
        return Err(Violation::RequestLine);
    }
    Ok(())
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let colon = line.iter().position(|b| *b == b':').ok_or(Violation::HeaderLine)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Violation::HeaderLine)?;
    let value = trim(value.get(1..).unwrap_or_default());
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    if name.is_empty()
        || !name.iter().all(token)
        || value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f)
    {
        return Err(Violation::HeaderLine);
    }
    Ok((name, value))
}

/// Without optional white space (RFC 9110 section 5.6.3) at its ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn host(value: &[u8]) -> Result<(), Violation> {
    let authority = http::uri::Authority::try_from(value).map_err(|_| Violation::Host)?;
    if authority.host().is_empty() || value.contains(&b'@') { Err(Violation::Host) } else { Ok(()) }
}

fn length(value: &[u8]) -> Result<u64, Violation> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Violation::ContentLength);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Violation::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<Framing, Violation> {
        check(format!("{lines}\r\n\r\n").as_bytes())
    }

    #[test]
    fn each_smuggling_shape_has_its_own_reason() {
        let post = "POST /support/kickoff HTTP/1.1\r\nhost: a";
        for (lines, expected) in [
            (format!("{post}\r\ncontent-length: 2\r\ntransfer-encoding: chunked"), Violation::TwoFramings),
            (format!("{post}\r\ncontent-length: 2\r\ncontent-length: 2"), Violation::TwoFramings),
            (format!("{post}\r\ncontent-length: 2, 2"), Violation::ContentLength),
            (format!("{post}\r\ncontent-length: +2"), Violation::ContentLength),
            (format!("{post}\r\ncontent-length: 99999999999999999999"), Violation::ContentLength),
            (format!("{post}\r\ntransfer-encoding: chunked, chunked"), Violation::TransferEncoding),
            (format!("{post}\r\ntransfer-encoding: identity"), Violation::TransferEncoding),
            (format!("{post}\r\nhost: b"), Violation::TwoHosts),
            (format!("{post}\r\nauthorization: a\r\nauthorization: b"), Violation::TwoAuthorizations),
            (format!("{post}\r\nx : y"), Violation::HeaderLine),
            (format!("{post}\r\nx: a\r\n folded"), Violation::HeaderLine),
            (format!("{post}\r\nx: a\u{c}"), Violation::HeaderLine),
            (format!("{post}\nx: y"), Violation::BareLineEnd),
            (format!("{post}\r\nx: a\rb"), Violation::BareLineEnd),
            ("GET / HTTP/1.1".to_owned(), Violation::Host),
            ("GET / HTTP/1.1\r\nhost: ".to_owned(), Violation::Host),
            ("GET / HTTP/1.0\r\nhost: a".to_owned(), Violation::Version),
            ("GET http://b/ HTTP/1.1\r\nhost: a".to_owned(), Violation::RequestLine),
            ("CONNECT a:1 HTTP/1.1\r\nhost: a".to_owned(), Violation::RequestLine),
            ("GET /a#b HTTP/1.1\r\nhost: a".to_owned(), Violation::RequestLine),
            ("GET  / HTTP/1.1\r\nhost: a".to_owned(), Violation::RequestLine),
            ("GET /\tx HTTP/1.1\r\nhost: a".to_owned(), Violation::RequestLine),
        ] {
            assert_eq!(head(&lines), Err(expected), "{lines:?}");
        }
    }

    #[test]
    fn the_framing_of_a_clean_head_is_known() {
        assert_eq!(head("GET /a?b=c HTTP/1.1\r\nHost: a:80"), Ok(Framing::Length(0)));
        assert_eq!(head("POST /a HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 7"), Ok(Framing::Length(7)));
        assert_eq!(head("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked"), Ok(Framing::Chunked));
    }
}
