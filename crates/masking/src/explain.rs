//! Why a text is masked where it is.

use std::ops::Range;

use crate::{Entity, Masked, Masker, detect::BEHIND, stream::TextStream};

/// One hit, and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// Its bytes in the original text.
    pub range: Range<usize>,
    /// What it is.
    pub entity: Entity,
    /// The detector that found it, in the field's term; `None` where only several together did.
    pub detector: Option<String>,
    /// The word before it without which it would have been left.
    pub context: Option<String>,
    /// What is done with it.
    pub operator: &'static str,
    /// What stands in its place.
    pub instead: String,
}

impl Masked {
    /// The hits as byte ranges of the original text, which was masked in one piece.
    pub fn originals(&self) -> impl Iterator<Item = (Range<usize>, &Entity)> {
        let (mut masked, mut original) = (0, self.swallowed);
        self.spans.iter().map(move |span| {
            let start = original + span.at.saturating_sub(masked);
            masked = span.at + span.shown;
            original = start + span.len;
            (start..original, &span.entity)
        })
    }
}

impl Masker {
    /// Says of each hit of a text why it is one. The text is a JSON value when it has a member name.
    #[must_use]
    pub fn explain(&self, name: Option<&str>, text: &str) -> Vec<Reason> {
        let masked = self.mask_named(name, text);
        let alone: Vec<_> = self.rules_alone().collect();
        let reason = |(range, entity): (Range<usize>, &Entity), shown: &str| {
            let found = alone.iter().filter(|(rule, _)| rule.entity() == *entity).find(|(_, masker)| {
                let alone = masker.mask_named(name, text);
                alone.originals().any(|(other, _)| other == range)
            });
            let before =
                format!("{}: {}", name.unwrap_or_default(), text.get(..range.start).unwrap_or_default());
            let near = before.floor_char_boundary(before.len().saturating_sub(BEHIND));
            let near = before.get(near..).unwrap_or_default().to_lowercase();
            let context = found.and_then(|(rule, _)| {
                rule.context().into_iter().find(|word| near.contains(*word)).map(str::to_owned)
            });
            let value = text.get(range.clone()).unwrap_or_default();
            Reason {
                entity: entity.clone(),
                detector: found.map(|(rule, _)| rule.name().to_owned()),
                context,
                operator: self.operator_for(entity, value).name(),
                instead: shown.to_owned(),
                range,
            }
        };
        let shown = masked.spans.iter().map(|span| masked.text.get(span.at..span.at + span.shown));
        masked.originals().zip(shown).map(|(hit, shown)| reason(hit, shown.unwrap_or_default())).collect()
    }

    fn mask_named(&self, name: Option<&str>, text: &str) -> Masked {
        let (mut masked, mut stream, masker) = (Masked::default(), TextStream::default(), self.ready());
        if let Some(name) = name {
            stream.behind(&format!("{name}: "));
        }
        stream.push(text, &masker, &mut masked);
        stream.finish(&masker, &mut masked);
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CustomDetector, Profile};

    #[test]
    fn a_hit_tells_its_place_detector_and_context() {
        let badge = CustomDetector::regex("BADGE", "[A-Z][0-9]{5}").unwrap().near(["badge"]);
        let masker = Masker::of_profile(Profile::of([Entity::Email]).detect(badge));
        let text = "Badge of ä: B12345, mail a@example.com";
        let reasons = masker.explain(None, text);
        let told: Vec<_> =
            reasons.iter().map(|r| (text.get(r.range.clone()).unwrap(), r.entity.name())).collect();
        assert_eq!(told, [("B12345", "BADGE"), ("a@example.com", "EMAIL")]);
        assert_eq!(reasons[0].context.as_deref(), Some("badge"));
        assert_eq!(reasons[0].detector.as_deref(), Some("badge"));
        assert_eq!((reasons[1].operator, reasons[1].instead.as_str()), ("type", "<EMAIL>"));
        assert_eq!(masker.explain(Some("badge"), "B12345").len(), 1);
        assert!(masker.explain(Some("part"), "B12345").is_empty());
    }

    #[test]
    fn originals_lie_where_the_hits_were() {
        let text = "x a@example.com, ü 536-90-4399; b@example.org";
        let masked = Masker::of([Entity::Email, Entity::UsSsn]).mask_text(text);
        let originals: Vec<_> = masked.originals().map(|(range, _)| text.get(range).unwrap()).collect();
        assert_eq!(originals, ["a@example.com", "536-90-4399", "b@example.org"]);
    }
}
