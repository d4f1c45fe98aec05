use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crewgate_core::MaskProfile;

use crate::{Entity, Masker};

/// Combinations of profiles whose masker is kept ready; a gateway uses a handful.
const MAX_READY: usize = 64;

/// The known mask profiles: names, and what each of them finds.
#[derive(Debug, Clone)]
pub struct Profiles {
    known: BTreeMap<MaskProfile, BTreeSet<Entity>>,
    ready: Arc<Mutex<HashMap<BTreeSet<MaskProfile>, Masker>>>,
}

impl Profiles {
    /// The built-in ones: `secrets` (tokens, API keys, private keys) and `pii-basic` (those, and e-mail, telephone,
    /// card, IBAN, SSN, IP address).
    #[must_use]
    pub fn builtin() -> Self {
        let secrets = [Entity::ApiKey, Entity::Bearer, Entity::Jwt, Entity::PrivateKey];
        Self { known: BTreeMap::new(), ready: Arc::default() }
            .with(MaskProfile::new("secrets"), secrets)
            .with(MaskProfile::new("pii-basic"), Entity::ALL)
    }

    /// These and one more; a known name gets a new meaning.
    #[must_use]
    pub fn with(mut self, name: MaskProfile, entities: impl IntoIterator<Item = Entity>) -> Self {
        self.known.insert(name, entities.into_iter().collect());
        self.ready = Arc::default();
        self
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &MaskProfile> {
        self.known.keys()
    }

    /// A masker that finds what any of these profiles names; `None` when one of them is not known.
    #[must_use]
    pub fn masker(&self, profiles: &BTreeSet<MaskProfile>) -> Option<Masker> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(masker) = ready.get(profiles) {
            return Some(masker.clone());
        }
        let mut entities = BTreeSet::new();
        for profile in profiles {
            entities.extend(self.known.get(profile)?.iter().copied());
        }
        let masker = Masker::named(profiles.clone(), entities);
        if ready.len() < MAX_READY {
            ready.insert(profiles.clone(), masker.clone());
        }
        Some(masker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_profile_gives_no_masker() {
        let profiles = Profiles::builtin();
        assert!(profiles.masker(&[MaskProfile::new("pii-basic"), MaskProfile::new("nope")].into()).is_none());
        assert!(
            profiles.masker(&[MaskProfile::new("pii-basic"), MaskProfile::new("secrets")].into()).is_some()
        );
    }

    #[test]
    fn several_profiles_find_what_any_of_them_names() {
        let profiles = Profiles::builtin().with(MaskProfile::new("mail"), [Entity::Email]);
        let masker =
            profiles.masker(&[MaskProfile::new("mail"), MaskProfile::new("secrets")].into()).unwrap();
        let masked = masker.mask_text("a@example.com Bearer abcdef012345 536-90-4399");
        assert_eq!(masked.text, "<EMAIL> <BEARER> 536-90-4399");
    }
}
