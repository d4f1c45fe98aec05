use std::collections::BTreeMap;

use crate::Entity;

/// Places that are told apart per entity; hits elsewhere are counted together.
const MAX_PLACES: usize = 64;

/// Where hits are counted whose place is one too many.
const ELSEWHERE: &str = "…";

/// Hits per entity and place; never the values. A place is a pattern like `choices[].text`: it says no index, and of a
/// member name only what looks like one. It is empty for a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(BTreeMap<Entity, BTreeMap<String, u64>>);

impl Findings {
    /// Counts more hits.
    pub(crate) fn add(&mut self, entity: &Entity, place: &str, count: u64) {
        let places = match self.0.get_mut(entity) {
            Some(places) => places,
            None => self.0.entry(entity.clone()).or_default(),
        };
        if let Some(counted) = places.get_mut(place) {
            *counted += count;
        } else {
            let place = if places.len() < MAX_PLACES { place } else { ELSEWHERE };
            *places.entry(place.to_owned()).or_default() += count;
        }
    }

    /// Counts these too; those of no place were at this one.
    pub(crate) fn absorb(&mut self, others: &Self, place: &str) {
        for (entity, inner, count) in others.iter() {
            self.add(entity, if inner.is_empty() { place } else { inner }, count);
        }
    }

    /// Hits of one entity, wherever they were.
    #[must_use]
    pub fn count(&self, entity: &Entity) -> u64 {
        self.0.get(entity).map_or(0, |places| places.values().sum())
    }

    /// All hits.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, _, count)| count).sum()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Entity, place, hits.
    pub fn iter(&self) -> impl Iterator<Item = (&Entity, &str, u64)> {
        self.0.iter().flat_map(|(entity, places)| {
            places.iter().map(move |(place, count)| (entity, place.as_str(), *count))
        })
    }

    /// As the record has them.
    #[must_use]
    pub fn hits(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        self.0.iter().map(|(entity, places)| (entity.name().to_owned(), places.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_no_hit_is_lost() {
        let mut findings = Findings::default();
        for place in 0..500 {
            findings.add(&Entity::Email, &format!("p{place}"), 2);
        }
        assert_eq!((findings.count(&Entity::Email), findings.total()), (1000, 1000));
        assert_eq!(findings.iter().count(), MAX_PLACES + 1);
        assert_eq!(findings.count(&Entity::Phone), 0);
    }
}
