//! Maskers that do less, for a place or a purpose.

use std::sync::{Arc, PoisonError};

use super::Masker;
use crate::detect::Rule;

impl Masker {
    /// Whether a profile in force speaks of places, so that [`Masker::at`] must be asked for each.
    pub(crate) fn by_place(&self) -> bool {
        self.inner.in_force.iter().any(|rule| rule.by_place())
    }

    /// The masker for the value at this place of a JSON document, a JSON pointer like `/result/0/text`. The empty
    /// pointer is the document. What stands at no place (text, an unknown shape) is masked by all profiles.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Self {
        if !self.by_place() {
            return self.clone();
        }
        let covers: Vec<bool> = self.inner.in_force.iter().map(|rule| rule.covers(pointer)).collect();
        if covers.iter().all(|covers| *covers) {
            return self.clone();
        }
        let mut places = self.inner.places.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = Arc::clone(places.entry(covers).or_insert_with_key(|covers| {
            let in_force = self.inner.in_force.iter().zip(covers).filter(|(_, covers)| **covers);
            let in_force = in_force.map(|(rule, _)| Arc::clone(rule)).collect();
            Self::build(self.inner.profiles.clone(), in_force, self.inner.beside.clone()).inner
        }));
        Self { inner, call: self.call.clone() }
    }

    /// This masker, which leaves be what begins like any word: addresses of people and pages, identifiers that begin with letters.
    pub(crate) fn without_addresses(&self) -> Self {
        let inner = self.inner.strict.get_or_init(|| {
            let strict = |rule: &&Rule| !rule.begins_like_a_word();
            let rules: Vec<_> = self.inner.engine.rules().iter().filter(strict).cloned().collect();
            let (profiles, in_force) = (self.inner.profiles.clone(), self.inner.in_force.clone());
            Self::with_rules(profiles, in_force, self.inner.beside.clone(), rules).inner
        });
        Self { inner: Arc::clone(inner), call: self.call.clone() }
    }
}
