use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use crewgate_core::MaskProfile;

use crate::{Entity, Masker, Operator};

/// Combinations of profiles whose masker is kept ready; a gateway uses a handful.
const MAX_READY: usize = 64;

/// What is looked for, where, and what is done with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    operators: BTreeMap<Entity, Operator>,
    allowed: BTreeSet<String>,
    only: Vec<Place>,
    except: Vec<Place>,
}

impl Profile {
    /// Finds these entities and puts their names in their places.
    #[must_use]
    pub fn of(entities: impl IntoIterator<Item = Entity>) -> Self {
        let operators = entities.into_iter().map(|entity| (entity, Operator::default())).collect();
        Self { operators, ..Self::default() }
    }

    /// Finds this entity too, with this operator.
    #[must_use]
    pub fn with(mut self, entity: Entity, operator: Operator) -> Self {
        self.operators.insert(entity, operator);
        self
    }

    /// Leaves this very value as it is.
    #[must_use]
    pub fn allow(mut self, value: impl Into<String>) -> Self {
        self.allowed.insert(value.into());
        self
    }

    /// Applies at these places of a JSON document only. Where a body has no places, it applies everywhere.
    #[must_use]
    pub fn only(mut self, places: impl IntoIterator<Item = Place>) -> Self {
        self.only.extend(places);
        self
    }

    /// Does not apply at these places of a JSON document.
    #[must_use]
    pub fn except(mut self, places: impl IntoIterator<Item = Place>) -> Self {
        self.except.extend(places);
        self
    }

    /// What it finds.
    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.operators.keys()
    }

    /// What it does with an entity; `None` when it does not look for it.
    #[must_use]
    pub fn operator(&self, entity: &Entity) -> Option<&Operator> {
        self.operators.get(entity)
    }

    pub(crate) fn allows(&self, value: &str) -> bool {
        self.allowed.contains(value)
    }

    pub(crate) fn by_place(&self) -> bool {
        !(self.only.is_empty() && self.except.is_empty())
    }

    pub(crate) fn covers(&self, pointer: &str) -> bool {
        let covered = |places: &[Place]| places.iter().any(|place| place.covers(pointer));
        (self.only.is_empty() || covered(&self.only)) && !covered(&self.except)
    }
}

/// A place in a JSON document and everything below it: names joined by dots, `*` for any one name or index:
/// `result`, `last_step.*`, `choices.*.message.content`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Vec<Option<String>>);

impl Place {
    /// Whether the value at this JSON pointer stands there or below.
    fn covers(&self, pointer: &str) -> bool {
        let mut steps = pointer.split('/').skip(1);
        self.0.iter().all(|wanted| match (wanted, steps.next()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(step)) => wanted == step,
        })
    }
}

impl FromStr for Place {
    type Err = String;

    /// # Errors
    ///
    /// Says what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let step = |step: &str| match step {
            "" => Err(format!("`{text}` is not a place in JSON: names joined by dots, like `result.text`")),
            "*" => Ok(None),
            name if name.contains(['*', '/']) => Err(format!(
                "`{text}` is not a place in JSON: `*` stands for one whole name, and `/` in none"
            )),
            name => Ok(Some(name.to_owned())),
        };
        text.split('.').map(step).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&str> = self.0.iter().map(|step| step.as_deref().unwrap_or("*")).collect();
        f.write_str(&steps.join("."))
    }
}

/// The known mask profiles by name.
#[derive(Debug, Clone)]
pub struct Profiles {
    known: BTreeMap<MaskProfile, Arc<Profile>>,
    ready: Arc<Mutex<HashMap<BTreeSet<MaskProfile>, Masker>>>,
}

impl Profiles {
    /// The built-in ones: `secrets` (tokens, API keys, private keys) and `pii-basic` (those, and e-mail, telephone,
    /// card, IBAN, SSN, IP address).
    #[must_use]
    pub fn builtin() -> Self {
        let secrets = [Entity::ApiKey, Entity::BearerToken, Entity::Jwt, Entity::PrivateKey];
        Self { known: BTreeMap::new(), ready: Arc::default() }
            .with(MaskProfile::new("secrets"), Profile::of(secrets))
            .with(MaskProfile::new("pii-basic"), Profile::of(Entity::ALL.iter().cloned()))
    }

    /// These and one more; a known name gets a new meaning.
    #[must_use]
    pub fn with(mut self, name: MaskProfile, profile: Profile) -> Self {
        self.known.insert(name, Arc::new(profile));
        self.ready = Arc::default();
        self
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &MaskProfile> {
        self.known.keys()
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, name: &MaskProfile) -> Option<&Profile> {
        self.known.get(name).map(AsRef::as_ref)
    }

    /// A masker that finds what any of these profiles names; `None` when one of them is not known.
    #[must_use]
    pub fn masker(&self, profiles: &BTreeSet<MaskProfile>) -> Option<Masker> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(masker) = ready.get(profiles) {
            return Some(masker.clone());
        }
        let rules = profiles.iter().map(|name| self.known.get(name).cloned()).collect::<Option<Vec<_>>>()?;
        let masker = Masker::named(profiles.clone(), rules);
        if ready.len() < MAX_READY {
            ready.insert(profiles.clone(), masker.clone());
        }
        Some(masker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> MaskProfile {
        MaskProfile::new(name)
    }

    #[test]
    fn an_unknown_profile_gives_no_masker() {
        let profiles = Profiles::builtin();
        assert!(profiles.masker(&[named("pii-basic"), named("nope")].into()).is_none());
        assert!(profiles.masker(&[named("pii-basic"), named("secrets")].into()).is_some());
    }

    #[test]
    fn several_profiles_find_what_any_of_them_names() {
        let profiles = Profiles::builtin().with(named("mail"), Profile::of([Entity::Email]));
        let masker = profiles.masker(&[named("mail"), named("secrets")].into()).unwrap();
        let masked = masker.mask_text("a@example.com Bearer abcdef012345 536-90-4399");
        assert_eq!(masked.text, "<EMAIL> <BEARER_TOKEN> 536-90-4399");
    }

    #[test]
    fn the_strictest_operator_counts_and_a_value_is_allowed_only_by_all() {
        let profiles = Profiles::builtin()
            .with(named("last"), Profile::default().with(Entity::UsSsn, Operator::KeepLast(4)))
            .with(named("gone"), Profile::default().with(Entity::UsSsn, Operator::Redact))
            .with(named("open"), Profile::of([Entity::UsSsn]).allow("536-90-4399"));
        let masked = |names: &[&str]| {
            let names = names.iter().map(|name| named(name)).collect();
            profiles.masker(&names).unwrap().mask_text("536-90-4399").text
        };
        assert_eq!(masked(&["last"]), "***-**-4399");
        assert_eq!(masked(&["last", "gone"]), "");
        assert_eq!(masked(&["open"]), "536-90-4399");
        assert_eq!(masked(&["open", "last"]), "***-**-4399");
    }

    #[test]
    fn a_place_covers_what_is_below_it() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        for (text, pointer, covered) in [
            ("result", "/result", true),
            ("result", "/result/0/text", true),
            ("result", "/results", false),
            ("last_step.*", "/last_step/x/y", true),
            ("last_step.*", "/last_step", false),
            ("choices.*.text", "/choices/0/text", true),
            ("choices.*.text", "/choices/0/name", false),
        ] {
            assert_eq!(place(text).covers(pointer), covered, "{text} {pointer}");
            assert_eq!(place(text).to_string(), text);
        }
        for text in ["", "a..b", "a*", "a/b", "."] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
