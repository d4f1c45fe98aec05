use std::io::{BufRead, Write};

use crewgate_masking::Masker;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Failure, closed_pipe};

#[derive(Serialize)]
struct Span<'a> {
    start: usize,
    end: usize,
    label: &'a str,
}

/// Line by line: what has been read is written before more is asked for.
pub(super) fn run(masker: &Masker, mut input: impl BufRead, output: &mut impl Write) -> Result<(), Failure> {
    let (mut line, mut number) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        number += 1;
        let wrong = |what: &str| Failure::usage(format!("line {number}: {what}"));
        if input.read_until(b'\n', &mut line).map_err(|error| wrong(&error.to_string()))? == 0 {
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut row: Map<String, Value> =
            serde_json::from_slice(&line).map_err(|error| wrong(&format!("not a JSON object: {error}")))?;
        let Some(Value::String(text)) = row.remove("text") else {
            return Err(wrong("`text` is not a string"));
        };
        let masked = masker.mask_text(&text);
        let spans = masked.originals();
        let spans: Vec<_> = spans
            .map(|(range, entity)| Span { start: range.start, end: range.end, label: entity.name() })
            .collect();
        row.insert("spans".to_owned(), serde_json::json!(spans));
        let mut told = serde_json::to_vec(&row).map_err(|error| wrong(&error.to_string()))?;
        told.push(b'\n');
        if let Err(error) = output.write_all(&told) {
            return closed_pipe(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use crewgate_masking::Entity;

    use super::*;

    fn spans(input: &str) -> Result<String, Failure> {
        let mut out = Vec::new();
        run(&Masker::of([Entity::Email, Entity::UsSsn]), input.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn spans_are_byte_offsets_and_other_fields_stay() {
        let input = "{\"id\":7,\"text\":\"ü a@example.com\",\"lang\":\"de\"}\n\n{\"text\":\"536-90-4399\"}";
        let expected = "{\"id\":7,\"lang\":\"de\",\"spans\":[{\"start\":3,\"end\":16,\"label\":\"EMAIL\"}]}\n\
                        {\"spans\":[{\"start\":0,\"end\":11,\"label\":\"US_SSN\"}]}\n";
        let values = |lines: &str| -> Vec<Value> {
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert_eq!(values(&spans(input).unwrap()), values(expected));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (input, told) in [
            ("{\"text\":\"\"}\n{\"text\":1}", "line 2: `text` is not a string"),
            ("{\"text\":\"\"}\n\n[]\n", "line 3: not a JSON object"),
            ("{\"id\":1}", "line 1: `text` is not a string"),
            ("{\"text\":\"a", "line 1: not a JSON object"),
        ] {
            let error = spans(input).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
