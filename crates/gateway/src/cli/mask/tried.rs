use std::{fmt, fs, path::Path};

use crewgate_masking::{Dialect, MaskStream, Masker, Reason};
use serde::Serialize;
use serde_json::Value;

use super::{Failure, Output};

/// What would be masked, and why; never a value.
#[derive(Serialize)]
struct Tried {
    blocked: bool,
    hits: Vec<Hit>,
    counts: Vec<Count>,
    masked: String,
}

#[derive(Serialize)]
struct Hit {
    /// Line and byte of a text, place of a JSON document.
    place: String,
    bytes: usize,
    entity: String,
    /// `None` where it was found in something encoded, or by several detectors together.
    detector: Option<String>,
    context: Option<String>,
    operator: &'static str,
    instead: String,
}

#[derive(Serialize)]
struct Count {
    entity: String,
    place: String,
    hits: u64,
}

/// The text of a file; `-` is standard input.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin().lock()),
        false => fs::read_to_string(file),
    };
    text.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

pub(super) fn run(masker: &Masker, file: &Path, output: Output) -> Result<(), Failure> {
    let wrong = |error: &dyn fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let text = read(file)?;
    let dialect = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json" | "jsonl" | "ndjson") => Dialect::Json,
        Some("sse") => Dialect::Sse,
        _ => Dialect::Text,
    };
    let hits = match dialect {
        Dialect::Json => in_json(masker, &text).map_err(|error| wrong(&error))?,
        _ => in_text(masker, &text),
    };
    let mut stream = MaskStream::new(masker.clone(), dialect);
    let masked = stream.push(text.as_bytes()).and_then(|first| Ok([first, stream.finish()?].concat()));
    let blocked = matches!(masked, Err(crewgate_masking::MaskError::Blocked));
    let masked = match masked {
        Err(error) if !blocked => return Err(wrong(&error)),
        masked => String::from_utf8(masked.unwrap_or_default()).map_err(|error| wrong(&error))?,
    };
    let counts = stream.findings().iter().map(|(entity, place, hits)| Count {
        entity: entity.name().to_owned(),
        place: place.to_owned(),
        hits,
    });
    output.print(&Tried { blocked, hits, counts: counts.collect(), masked }, ToString::to_string)
}

fn in_text(masker: &Masker, text: &str) -> Vec<Hit> {
    let place = |reason: &Reason| {
        let before = text.get(..reason.range.start).unwrap_or_default();
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        format!("line {} column {column}", before.matches('\n').count() + 1)
    };
    masker.explain(None, text).into_iter().map(|reason| Hit::new(place(&reason), reason)).collect()
}

/// Each string and number by itself, as the masker sees it: decoded, with its member name before it.
fn in_json(masker: &Masker, text: &str) -> Result<Vec<Hit>, serde_json::Error> {
    let mut hits = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document?;
        let mut waiting = vec![(String::new(), None, &document)];
        while let Some((pointer, name, value)) = waiting.pop() {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Array(items) => {
                    let items = items.iter().enumerate().rev();
                    waiting.extend(items.map(|(index, item)| (format!("{pointer}/{index}"), name, item)));
                    continue;
                }
                Value::Object(members) => {
                    let members = members.iter().rev();
                    waiting.extend(
                        members
                            .map(|(name, value)| (format!("{pointer}/{name}"), Some(name.as_str()), value)),
                    );
                    continue;
                }
                Value::Null | Value::Bool(_) => continue,
            };
            let reasons = masker.at(&pointer).explain(name, &text);
            hits.extend(reasons.into_iter().map(|reason| Hit::new(pointer.clone(), reason)));
        }
    }
    Ok(hits)
}

impl Hit {
    fn new(place: String, reason: Reason) -> Self {
        Self {
            place,
            bytes: reason.range.len(),
            entity: reason.entity.name().to_owned(),
            detector: reason.detector,
            context: reason.context,
            operator: reason.operator,
            instead: reason.instead,
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hit in &self.hits {
            let detector = hit.detector.as_deref().unwrap_or("several");
            write!(f, "{}: {} ({} bytes) by {detector}", hit.place, hit.entity, hit.bytes)?;
            if let Some(word) = &hit.context {
                write!(f, " near \"{word}\"")?;
            }
            writeln!(f, ", {} -> {}", hit.operator, hit.instead)?;
        }
        let total: u64 = self.counts.iter().map(|count| count.hits).sum();
        writeln!(f, "{total} hits")?;
        if self.blocked {
            return f.write_str("blocked: nothing of it would be passed on");
        }
        f.write_str("\n")?;
        f.write_str(self.masked.trim_end_matches('\n'))
    }
}
