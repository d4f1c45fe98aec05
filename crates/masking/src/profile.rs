use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use crewgate_core::{MaskProfile, RoleName};

use crate::{CustomDetector, Entity, Masker, Operator, OperatorError, detect::sets};

/// Combinations of profiles whose masker is kept ready; a gateway uses a handful.
const MAX_READY: usize = 64;

/// What is looked for, where, and what is done with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    operators: BTreeMap<Entity, Operator>,
    detectors: Vec<Arc<CustomDetector>>,
    allowed: BTreeSet<String>,
    only: Vec<Place>,
    except: Vec<Place>,
    numbers: Numbers,
    on_request: OnRequest,
    restorers: BTreeSet<RoleName>,
}

/// What becomes of a JSON number that is a hit. The later, the more careful: of several profiles the last one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Numbers {
    /// A number with as many digits, a one and noughts; or what the operator makes of it, if that is a number.
    #[default]
    Digits,
    /// A string with what the operator makes of it.
    Text,
    /// Nought.
    Zero,
}

/// What becomes of a request whose free text holds a hit. The later, the stricter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OnRequest {
    /// The hit is masked, and the request goes on.
    #[default]
    Mask,
    /// The request is refused.
    Refuse,
}

impl Profile {
    /// Finds these entities and puts their names in their places.
    #[must_use]
    pub fn of(entities: impl IntoIterator<Item = Entity>) -> Self {
        let operators = entities.into_iter().map(|entity| (entity, Operator::default())).collect();
        Self { operators, ..Self::default() }
    }

    /// Finds this entity too, with this operator.
    ///
    /// # Errors
    ///
    /// [`OperatorError`] when the operator cannot stand on the entity.
    pub fn with(mut self, entity: Entity, operator: Operator) -> Result<Self, OperatorError> {
        operator.fits(&entity)?;
        self.operators.insert(entity, operator);
        Ok(self)
    }

    /// Finds what the other one finds, with its operators where this one has none, and leaves what the other one leaves.
    #[must_use]
    pub fn extending(mut self, other: &Self) -> Self {
        for (entity, operator) in &other.operators {
            self.operators.entry(entity.clone()).or_insert_with(|| operator.clone());
        }
        self.detectors.extend(other.detectors.iter().cloned());
        self.allowed.extend(other.allowed.iter().cloned());
        self
    }

    /// Finds what this detector finds; its name in its place, unless [`Profile::with`] says otherwise.
    #[must_use]
    pub fn detect(mut self, detector: CustomDetector) -> Self {
        self.operators.entry(detector.entity().clone()).or_default();
        self.detectors.push(Arc::new(detector));
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

    /// Says what becomes of JSON numbers.
    #[must_use]
    pub fn numbers(mut self, numbers: Numbers) -> Self {
        self.numbers = numbers;
        self
    }

    /// Says what becomes of requests.
    #[must_use]
    pub fn on_request(mut self, what: OnRequest) -> Self {
        self.on_request = what;
        self
    }

    /// Callers with one of these roles see in clear what its reversible operators stand for.
    #[must_use]
    pub fn restore_for(mut self, roles: impl IntoIterator<Item = RoleName>) -> Self {
        self.restorers.extend(roles);
        self
    }

    /// Does not look for this entity.
    #[must_use]
    pub fn without(mut self, entity: &Entity) -> Self {
        self.operators.remove(entity);
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

    pub(crate) fn detectors(&self) -> impl Iterator<Item = &Arc<CustomDetector>> {
        self.detectors.iter().filter(|detector| self.operators.contains_key(detector.entity()))
    }

    pub(crate) fn restores_for_any(&self) -> bool {
        !self.restorers.is_empty()
    }

    pub(crate) fn restores(&self, roles: &BTreeSet<RoleName>) -> bool {
        !self.restorers.is_disjoint(roles)
    }

    pub(crate) fn operators(&self) -> impl Iterator<Item = &Operator> {
        self.operators.values()
    }

    pub(crate) const fn written_numbers(&self) -> Numbers {
        self.numbers
    }

    pub(crate) const fn refuses_requests(&self) -> bool {
        matches!(self.on_request, OnRequest::Refuse)
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
    /// The built-in ones: `secrets` (tokens, keys, passwords), `payment` (cards and accounts), `pii-basic` (secrets, and
    /// e-mail, telephone, card, IBAN, SSN, IP address) and `pii-strict` (all that leads to a person, secrets included).
    #[must_use]
    pub fn builtin() -> Self {
        let known = sets::BUILT_IN.iter().map(|(name, entities)| {
            (
                MaskProfile::new(*name),
                Arc::new(Profile::of(entities.iter().flat_map(|set| set.iter().cloned()))),
            )
        });
        Self { known: known.collect(), ready: Arc::default() }
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
    use crate::{CardPart, Dialect, Keys, MaskError, MaskStream, Session};

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
            .with(named("last"), Profile::default().with(Entity::UsSsn, Operator::KeepLast(4)).unwrap())
            .with(named("gone"), Profile::default().with(Entity::UsSsn, Operator::Redact).unwrap())
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
    fn a_run_has_its_numbers_and_an_entitled_caller_sees_the_values() {
        let desk = RoleName::new("fraud-desk");
        let profile = Profile::of([Entity::UsSsn]).with(Entity::Email, Operator::Number).unwrap();
        let profiles = Profiles::builtin().with(named("desk"), profile.restore_for([desk.clone()]));
        let masker = profiles.masker(&[named("desk")].into()).unwrap();
        let (text, session) = ("a@example.com b@example.com 536-90-4399", Session::new());
        let numbered = masker.in_session(&session).mask_text(text).text;
        assert_eq!(numbered, "<EMAIL_1> <EMAIL_2> <US_SSN>");
        assert_eq!(masker.in_session(&session).mask_text("see b@example.com").text, "see <EMAIL_2>");
        assert!(masker.restorer(&session, [RoleName::new("other")].into()).is_none());
        let restored = |masker: &Masker, session: &Session| {
            let restorer = masker.restorer(session, [desk.clone()].into()).unwrap();
            restorer.mask_text("<EMAIL_1> <EMAIL_2> <US_SSN>, <EMAIL_3>").text
        };
        assert_eq!(restored(&masker, &session), "a@example.com b@example.com <US_SSN>, <EMAIL_3>");
        assert_eq!(restored(&masker, &Session::new()), "<EMAIL_1> <EMAIL_2> <US_SSN>, <EMAIL_3>");
        // Another profile that does not entitle keeps it masked.
        let strict = profiles.masker(&[named("desk"), named("pii-basic")].into()).unwrap();
        assert_eq!(restored(&strict, &session), "<EMAIL_1> <EMAIL_2> <US_SSN>, <EMAIL_3>");
        assert_eq!(masker.mask_text("b@example.com").text, "<EMAIL_1>");
    }

    #[test]
    fn tokens_are_restored_however_the_answer_is_cut() {
        let (desk, session) = (RoleName::new("desk"), Session::new());
        let keys = Keys::new([[1; 32].as_slice()]).unwrap();
        let profile = Profile::default()
            .with(Entity::Email, Operator::Vault)
            .and_then(|profile| profile.with(Entity::UsSsn, Operator::Encrypt(keys)))
            .unwrap();
        let masker = Masker::of_profile(profile.restore_for([desk.clone()]));
        let original = br#"{"a":"to \"a@example.com\", 536-90-4399","b":["a@example.com"]}"#;
        let masked = masker.in_session(&session).mask_json(original).unwrap().text;
        assert!(!masked.contains("example") && !masked.contains("4399"), "{masked}");
        let restorer = masker.restorer(&session, [desk].into()).unwrap();
        for size in 1..masked.len() {
            let mut stream = MaskStream::new(restorer.clone(), Dialect::Json);
            let mut out = Vec::new();
            for piece in masked.as_bytes().chunks(size) {
                out.extend_from_slice(&stream.push(piece).unwrap());
            }
            out.extend_from_slice(&stream.finish().unwrap());
            assert_eq!(String::from_utf8(out).unwrap().as_bytes(), original);
        }
    }

    #[test]
    fn what_blocks_lets_nothing_out() {
        let profiles = Profiles::builtin()
            .with(named("no"), Profile::default().with(Entity::UsSsn, Operator::Block).unwrap());
        let masker = profiles.masker(&[named("no")].into()).unwrap();
        assert!(masker.mask_text("536-90-4399").blocked);
        assert_eq!(masker.mask_json(br#"["536-90-4399"]"#).unwrap_err(), MaskError::Blocked);
        assert!(masker.mask_json(br#"["536-90"]"#).is_ok());
        let mut stream = MaskStream::new(masker, Dialect::Text);
        assert_eq!(stream.push(b"fine. ").unwrap(), "fine. ");
        assert!(stream.push(b"536-90-4399 and more to read here").is_err());
        assert!(stream.finish().is_err());
    }

    #[test]
    fn a_number_stays_a_number_unless_a_profile_says_otherwise() {
        let json = |numbers, operator| {
            let profile = Profile::default().with(Entity::CreditCard, operator).unwrap().numbers(numbers);
            let masker = Profiles::builtin().with(named("n"), profile).masker(&[named("n")].into()).unwrap();
            masker.mask_json(br#"{"a":4111111111111111,"b":1.50}"#).unwrap().text
        };
        assert_eq!(json(Numbers::Digits, Operator::Tag), r#"{"a":1000000000000000,"b":1.50}"#);
        assert_eq!(json(Numbers::Zero, Operator::Tag), r#"{"a":0,"b":1.50}"#);
        assert_eq!(json(Numbers::Text, Operator::Tag), r#"{"a":"<CREDIT_CARD>","b":1.50}"#);
        let keys = Keys::new([[1; 32].as_slice()]).unwrap();
        let card = json(Numbers::Digits, Operator::Card(keys, CardPart::Bin));
        assert!(card.starts_with(r#"{"a":411111"#) && !card.contains("4111111111111111"), "{card}");
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
