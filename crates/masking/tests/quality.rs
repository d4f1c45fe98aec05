//! What the detectors find in labelled text they were not written from, and in clean text. The rule is that of the
//! scorer beside the data: a hit counts when it overlaps its label by half of both together.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{collections::BTreeMap, env, fs, ops::Range, path::PathBuf};

use crewgate_core::MaskProfile;
use crewgate_masking::{Masker, Profiles};
use serde_json::Value;

/// Labels of the figures.
const CORE: [&str; 10] =
    ["EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP", "MAC", "SSN", "US_ITIN", "URL", "CRYPTO"];

/// What is labelled without gaps in sets that do not say it line by line.
const RESEARCH: [&str; 7] = ["EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP", "SSN", "URL"];
const PRIVY: [&str; 9] = ["EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP", "MAC", "SSN", "US_ITIN", "URL"];

/// The corpora; `None`, said loudly, where they are not.
fn corpora() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pii");
    if path.is_dir() {
        return Some(path);
    }
    assert!(
        env::var_os("CREWGATE_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "no labelled text at {path:?}"
    );
    eprintln!("SKIPPED: quality is not measured, there is no labelled text at {}", path.display());
    None
}

fn canonical(label: &str) -> &str {
    match label {
        "EMAIL_ADDRESS" => "EMAIL",
        "PHONE_NUMBER" | "PH_MOBILE_NUMBER" | "TR_PHONE_NUMBER" => "PHONE",
        "CREDIT_CARD_NUMBER" => "CREDIT_CARD",
        "IBAN_CODE" | "DE_IBAN" => "IBAN",
        "IP_ADDRESS" => "IP",
        "MAC_ADDRESS" => "MAC",
        "US_SSN" => "SSN",
        "DOMAIN_NAME" | "DOMAIN" => "URL",
        "BITCOIN_ADDRESS" | "ETHEREUM_ADDRESS" => "CRYPTO",
        other => other,
    }
}

/// A label or hit, in bytes.
struct Span {
    label: String,
    at: Range<usize>,
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> usize {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// Hits of a text in its own bytes: every mask is its entity's name in angle brackets.
fn hits(masker: &Masker, text: &str) -> Vec<Span> {
    let masked = masker.mask_text(text);
    let mut grown = 0_isize;
    let hits = masked.spans.iter().map(|span| {
        let start = usize::try_from(isize::try_from(span.at).unwrap() - grown).unwrap();
        let shown = span.entity.name().len() + 2;
        grown += isize::try_from(shown).unwrap() - isize::try_from(span.len).unwrap();
        Span { label: canonical(span.entity.name()).to_owned(), at: start..start + span.len }
    });
    hits.collect()
}

fn labels(record: &Value, text: &str) -> Vec<(Span, bool)> {
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let place = |span: &Value, end: &str| bytes[usize::try_from(span[end].as_u64().unwrap()).unwrap()];
    let spans = record["spans"].as_array().unwrap().iter().map(|span| {
        let label = canonical(span["label"].as_str().unwrap()).to_owned();
        let weak = span["weak"].as_bool().unwrap_or_default();
        (Span { label, at: place(span, "start")..place(span, "end") }, weak)
    });
    spans.collect()
}

#[derive(Debug, Default)]
struct Score {
    hit: f64,
    missed: f64,
    wrong: f64,
    /// Characters of labels, and those of them that stayed visible.
    labelled: f64,
    leaked: f64,
    /// Characters of texts, and those of them that were masked and are in no label.
    text: f64,
    over: f64,
}

impl Score {
    fn precision(&self) -> f64 {
        self.hit / (self.hit + self.wrong)
    }

    fn recall(&self) -> f64 {
        self.hit / (self.hit + self.missed)
    }

    fn f1(&self) -> f64 {
        2.0 * self.precision() * self.recall() / (self.precision() + self.recall())
    }

    fn leak(&self) -> f64 {
        self.leaked / self.labelled
    }

    fn overmask(&self) -> f64 {
        self.over / self.text
    }
}

fn count(characters: usize) -> f64 {
    f64::from(u32::try_from(characters).unwrap())
}

fn score(sets: &[&str]) -> Option<Score> {
    let path = corpora()?;
    let masker = Profiles::builtin().masker(&[MaskProfile::new("pii-strict")].into()).unwrap();
    let mut score = Score::default();
    for set in sets {
        for line in fs::read_to_string(path.join(format!("dev/{set}.jsonl"))).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = record["text"].as_str().unwrap();
            let (found, gold) = (hits(&masker, text), labels(&record, text));
            let scope = |label: &str| match record["labels"].as_array() {
                Some(labels) => labels.iter().any(|known| canonical(known.as_str().unwrap()) == label),
                None if *set == "presidio_research" => RESEARCH.contains(&label),
                None => PRIVY.contains(&label),
            };
            let covered = |at: &Range<usize>| found.iter().any(|hit| overlap(&hit.at, at) > 0);
            for (at, c) in text.char_indices() {
                let at = at..at + c.len_utf8();
                score.text += 1.0;
                score.over +=
                    f64::from(covered(&at) && !gold.iter().any(|(span, _)| overlap(&span.at, &at) > 0));
            }
            for (span, weak) in gold.iter().filter(|(span, _)| CORE.contains(&span.label.as_str())) {
                if *weak {
                    continue;
                }
                let value = text.get(span.at.clone()).unwrap();
                score.labelled += count(value.chars().count());
                let hidden = |(at, c): &(usize, char)| {
                    covered(&(span.at.start + at..span.at.start + at + c.len_utf8()))
                };
                score.leaked += count(value.char_indices().filter(|at| !hidden(at)).count());
                let half = |hit: &&Span| {
                    let union = hit.at.end.max(span.at.end) - hit.at.start.min(span.at.start);
                    hit.label == span.label && 2 * overlap(&hit.at, &span.at) >= union
                };
                *(if found.iter().any(|hit| half(&hit)) { &mut score.hit } else { &mut score.missed }) += 1.0;
            }
            for hit in found.iter().filter(|hit| CORE.contains(&hit.label.as_str()) && scope(&hit.label)) {
                let right =
                    gold.iter().any(|(span, _)| span.label == hit.label && overlap(&span.at, &hit.at) > 0);
                score.wrong += f64::from(!right);
            }
        }
    }
    eprintln!(
        "{sets:?}: P {:.3} R {:.3} F1 {:.3} leak {:.4} overmask {:.4}",
        score.precision(),
        score.recall(),
        score.f1(),
        score.leak(),
        score.overmask()
    );
    Some(score)
}

#[test]
fn labelled_text_is_masked_where_it_is_labelled() {
    let sets = ["presidio_research", "privy_json", "datafog", "ambientmeta", "pl_pii_bench"];
    let Some(score) = score(&sets) else { return };
    assert!(score.precision() >= 0.95 && score.recall() >= 0.95 && score.f1() >= 0.95, "{score:?}");
    assert!(score.leak() <= 0.03 && score.overmask() <= 0.003, "{score:?}");
}

#[test]
fn values_that_stand_alone_are_known() {
    let Some(score) = score(&["validatorjs", "libphonenumber", "presidio_unit"]) else { return };
    assert!(score.f1() >= 0.93, "{score:?}");
}

#[test]
fn recorded_traffic_without_people_is_left_alone() {
    let Some(path) = corpora() else { return };
    let masker = Profiles::builtin().masker(&[MaskProfile::new("pii-strict")].into()).unwrap();
    for set in ["crewai_sse", "crewai_json", "crewai_prose"] {
        let (mut found, mut characters) = (BTreeMap::<String, f64>::new(), 0.0);
        for line in fs::read_to_string(path.join(format!("clean/{set}.jsonl"))).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = record["text"].as_str().unwrap();
            characters += count(text.chars().count());
            for hit in hits(&masker, text).into_iter().filter(|hit| hit.label != "URL") {
                *found.entry(hit.label).or_default() += 1.0;
            }
        }
        let per_megabyte = found.values().sum::<f64>() / (characters / 1e6);
        eprintln!("{set}: {per_megabyte:.1} hits per MB, {found:?}");
        assert!(per_megabyte <= 5.0, "{set}: {found:?}");
    }
}
