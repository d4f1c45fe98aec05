use uuid::Uuid;

/// Something in a text that looks like an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// First byte.
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
    /// Its spelling; with hyphens even where the text has none.
    pub(super) id: String,
    /// Whether the text has none.
    simple: bool,
}

impl Hit {
    /// Whether the text is this id and nothing else.
    pub(super) fn is_whole(&self, text: &str) -> bool {
        self.start == 0 && self.end == text.len()
    }
}

/// Whether this is a UUID with hyphens and nothing else.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == HYPHENATED && uuid_starts(text.as_bytes())
}

const HYPHENATED: usize = 36;
const SIMPLE: usize = 32;

/// Ids in this text, left to right, without overlap. `needles` are ids that are no UUIDs.
pub(super) fn hits(text: &str, needles: &[String]) -> Vec<Hit> {
    let bytes = text.as_bytes();
    let mut hits = Vec::new();
    let mut at = 0;
    // Where the last run of hexadecimal digits began that is still going on.
    let mut run = 0;
    while let Some(rest) = bytes.get(at..) {
        let Some(first) = rest.first() else { break };
        let hit = if uuid_starts(rest) {
            text.get(at..at + HYPHENATED).map(|id| (HYPHENATED, id.to_owned(), false))
        } else if run == at && simple_starts(rest) {
            let digits = text.get(at..at + SIMPLE);
            let id = digits.and_then(|digits| Uuid::try_parse(digits).ok());
            id.map(|id| (SIMPLE, id.hyphenated().to_string(), true))
        } else {
            needles.iter().find(|n| rest.starts_with(n.as_bytes())).map(|n| (n.len(), n.clone(), false))
        };
        match hit {
            Some((length, id, simple)) => {
                hits.push(Hit { start: at, end: at + length, id, simple });
                at += length;
                run = at;
            }
            None => {
                at += 1;
                if !first.is_ascii_hexdigit() {
                    run = at;
                }
            }
        }
    }
    hits
}

/// The text with the ids replaced that `own` gives a UUID for.
pub(super) fn rewrite(text: &str, needles: &[String], own: &impl Fn(&Hit) -> Option<Uuid>) -> String {
    let hits = hits(text, needles);
    if hits.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for hit in hits {
        let Some(own) = own(&hit) else { continue };
        // A hit begins and ends beside ASCII, so on character boundaries.
        out.push_str(text.get(copied..hit.start).unwrap_or_default());
        if hit.simple {
            out.push_str(&own.simple().to_string());
        } else {
            out.push_str(&own.hyphenated().to_string());
        }
        copied = hit.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Whether the first 36 bytes are a UUID with hyphens.
fn uuid_starts(bytes: &[u8]) -> bool {
    // One comparison settles nearly every position of nearly every text.
    bytes.get(8) == Some(&b'-')
        && bytes.get(..HYPHENATED).is_some_and(|bytes| {
            bytes.iter().enumerate().all(|(n, b)| match n {
                8 | 13 | 18 | 23 => *b == b'-',
                _ => b.is_ascii_hexdigit(),
            })
        })
}

/// Whether exactly 32 hexadecimal digits stand here.
fn simple_starts(bytes: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
    bytes.get(..SIMPLE).is_some_and(digits) && !bytes.get(SIMPLE).is_some_and(u8::is_ascii_hexdigit)
}
