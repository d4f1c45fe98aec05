use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crewgate_core::{MaskProfile, Value};
use regex::Regex;

use crate::{
    Entity,
    detect::{Detector, Hit},
    stream::{JsonStream, MaskError, TextStream},
};

/// Hits per entity; never the values.
pub type Findings = BTreeMap<Entity, u64>;

/// Finds and replaces what a set of entities names. A clone costs a reference count.
#[derive(Clone)]
pub struct Masker(Arc<Inner>);

struct Inner {
    profiles: BTreeSet<MaskProfile>,
    gate: Option<Regex>,
    detectors: Vec<(Entity, &'static Detector)>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entities: Vec<_> = self.0.detectors.iter().map(|(entity, _)| entity).collect();
        f.debug_struct("Masker").field("profiles", &self.0.profiles).field("entities", &entities).finish()
    }
}

/// Where a hit was and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub entity: Entity,
    /// First byte of the tag in the *masked* text.
    pub at: usize,
    /// Bytes the hit had in the original.
    pub len: usize,
}

/// A masked text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masked {
    /// The text with each hit replaced by its entity's name in angle brackets.
    pub text: String,
    /// The hits in their order.
    pub spans: Vec<Span>,
    /// The hits counted.
    pub findings: Findings,
}

impl Masker {
    /// Finds these entities.
    #[must_use]
    pub fn of(entities: impl IntoIterator<Item = Entity>) -> Self {
        Self::named(BTreeSet::new(), entities.into_iter().collect())
    }

    /// Finds nothing: for a floor that was switched off by its dangerous name.
    #[must_use]
    pub fn nothing() -> Self {
        Self::of([])
    }

    pub(crate) fn named(profiles: BTreeSet<MaskProfile>, entities: BTreeSet<Entity>) -> Self {
        let detectors: Vec<_> = entities.into_iter().map(|entity| (entity, entity.detector())).collect();
        let gates: Vec<_> = detectors.iter().map(|(_, detector)| format!("(?:{})", detector.gate)).collect();
        #[expect(clippy::expect_used, reason = "joins constant patterns; a test builds every one of them")]
        let gate =
            (!gates.is_empty()).then(|| Regex::new(&gates.join("|")).expect("the gates are valid patterns"));
        Self(Arc::new(Inner { profiles, gate, detectors }))
    }

    /// The profiles it stands for; empty when it was made of entities.
    #[must_use]
    pub fn profiles(&self) -> &BTreeSet<MaskProfile> {
        &self.0.profiles
    }

    /// Masks a text.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> Masked {
        let mut masked = Masked { text: String::with_capacity(text.len()), ..Masked::default() };
        let mut stream = TextStream::default();
        stream.push(text, self, &mut masked);
        stream.finish(self, &mut masked);
        masked
    }

    /// Masks a JSON document: string values and member names are decoded, scanned and written anew; a number that is a
    /// hit (a card) becomes a string.
    ///
    /// # Errors
    ///
    /// [`MaskError`] when it is not JSON.
    pub fn mask_json(&self, json: &[u8]) -> Result<Masked, MaskError> {
        let text = std::str::from_utf8(json).map_err(|_| MaskError::NotUtf8)?;
        let mut masked = Masked { text: String::with_capacity(text.len()), ..Masked::default() };
        let mut stream = JsonStream::default();
        stream.push(text, self, &mut masked)?;
        stream.finish(self, &mut masked)?;
        Ok(masked)
    }

    /// Masks every string of a value in place, member names included, and counts the hits.
    pub fn mask_value(&self, value: &mut Value, findings: &mut Findings) {
        let mut replace = |text: &mut String| {
            let masked = self.mask_text(text);
            for (entity, count) in masked.findings {
                *findings.entry(entity).or_default() += count;
            }
            *text = masked.text;
        };
        // An explicit stack: a stranger chooses how deep the value is.
        let mut waiting = vec![value];
        while let Some(value) = waiting.pop() {
            match value {
                Value::String(text) => replace(text),
                Value::Number(number) => {
                    let mut text = number.as_str().to_owned();
                    replace(&mut text);
                    if text != number.as_str() {
                        *value = Value::String(text);
                    }
                }
                Value::Array(items) => waiting.extend(items),
                Value::Object(members) => {
                    for (name, value) in members {
                        replace(name);
                        waiting.push(value);
                    }
                }
                Value::Null | Value::Bool(_) | Value::Id(_) => {}
            }
        }
    }

    /// The next position at or after `from` where a hit may begin.
    pub(crate) fn candidate(&self, text: &str, from: usize) -> Option<usize> {
        self.0.gate.as_ref()?.find_at(text, from).map(|found| found.start())
    }

    /// The longest hit at the start of this window, which stands behind `before`.
    pub(crate) fn decide(&self, window: &str, before: Option<char>) -> Option<(Entity, Hit)> {
        self.0
            .detectors
            .iter()
            .filter(|(_, detector)| before.is_none_or(detector.begins_behind))
            .filter_map(|(entity, detector)| (detector.decide)(window).map(|hit| (*entity, hit)))
            .reduce(|best, next| if next.1.len > best.1.len { next } else { best })
    }
}

#[cfg(test)]
mod tests {
    use crewgate_core::Number;

    use super::*;

    fn all() -> Masker {
        Masker::of(Entity::ALL)
    }

    #[test]
    fn every_string_number_and_name_of_a_value_is_masked() {
        let mut value = Value::Object(vec![
            (
                "a@example.com".to_owned(),
                Value::Array(vec![Value::String("536-90-4399".to_owned()), Value::Null]),
            ),
            ("card".to_owned(), Value::Number(Number::parse("4111111111111111").unwrap())),
            ("n".to_owned(), Value::Number(Number::parse("1.10").unwrap())),
        ]);
        let mut findings = Findings::new();
        all().mask_value(&mut value, &mut findings);
        let expected = Value::Object(vec![
            ("<EMAIL>".to_owned(), Value::Array(vec![Value::String("<US_SSN>".to_owned()), Value::Null])),
            ("card".to_owned(), Value::String("<CREDIT_CARD>".to_owned())),
            ("n".to_owned(), Value::Number(Number::parse("1.10").unwrap())),
        ]);
        assert_eq!(value, expected);
        assert_eq!(findings.values().sum::<u64>(), 3);
    }

    #[test]
    fn spans_tell_where_and_how_long() {
        let masked = all().mask_text("id 7, maria.keller@example.com; +49 30 901820");
        assert_eq!(masked.text, "id 7, <EMAIL>; <PHONE>");
        assert_eq!(masked.spans[0], Span { entity: Entity::Email, at: 6, len: 24 });
        assert_eq!(masked.spans[1], Span { entity: Entity::Phone, at: 15, len: 13 });
    }

    #[test]
    fn a_secret_longer_than_any_window_is_swallowed_whole() {
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}.sig", "a1".repeat(50_000));
        assert_eq!(all().mask_text(&format!("t={jwt} end")).text, "t=<JWT> end");
        let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}", "MIIE\n".repeat(10_000));
        assert_eq!(all().mask_text(&format!("k: {key}")).text, "k: <PRIVATE_KEY>");
    }
}
