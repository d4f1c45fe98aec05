use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crewgate_core::{MaskProfile, Number, RoleName, Value};

use crate::{
    CustomDetector, Entity, Operator, Session,
    detect::{Detector, Rule, detectors, is_token},
    engine::Engine,
    findings::Findings,
    profile::{Numbers, Profile},
    stream::{JsonStream, MaskError, whole},
};

/// Longest secret that can be told to the letter: shorter than what a detector sees, so that every split finds it.
const MAX_KNOWN: usize = 256;

/// What reversible operators write: `<EMAIL_1>`, `<EMAIL:v:…>`, `<EMAIL:e:KEY:…>`.
const TOKENS: &str =
    "<[A-Z][A-Z0-9_]{0,63}(?:_[0-9]{1,9}|:v:[A-Za-z0-9_-]{22}|:e:[0-9a-f]{8}:[A-Za-z0-9_-]{22,300})>";

/// Finds and replaces what a set of entities names. A clone costs a reference count.
#[derive(Clone)]
pub struct Masker {
    inner: Arc<Inner>,
    /// What belongs to one call; `None` before the first text of a masker that was given none.
    call: Option<Arc<Call>>,
}

/// What one request or answer brings along and leaves behind.
#[derive(Default)]
struct Call {
    session: Session,
    blocked: AtomicBool,
    /// Set in a masker that turns tokens back for a caller with these roles.
    restores_for: Option<BTreeSet<RoleName>>,
}

struct Inner {
    profiles: BTreeSet<MaskProfile>,
    /// What is done with a hit, one per profile in force.
    in_force: Vec<Arc<Profile>>,
    /// What is looked for beside what the profiles name.
    beside: Vec<Rule>,
    engine: Engine,
    /// For the places where only some of the profiles apply: which.
    places: Mutex<HashMap<Vec<bool>, Arc<Inner>>>,
    /// See [`Masker::without_addresses`].
    strict: OnceLock<Arc<Inner>>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.inner.engine.rules();
        f.debug_struct("Masker").field("profiles", &self.inner.profiles).field("rules", rules).finish()
    }
}

/// Where a hit was and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub entity: Entity,
    /// First byte in the *masked* text of what stands for it.
    pub at: usize,
    /// Bytes the hit had in the original.
    pub len: usize,
    /// Bytes of what stands for it.
    pub shown: usize,
}

/// A masked text, or a piece of one. What is not inside a span is the original: the bytes that were swallowed, the text
/// between the spans and the spans' own lengths add up to what the original had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masked {
    /// The text with something else in the place of each hit.
    pub text: String,
    /// Bytes of the original, in front of everything else, that belonged to a hit of an earlier piece.
    pub swallowed: usize,
    /// The hits in their order.
    pub spans: Vec<Span>,
    /// The hits counted.
    pub findings: Findings,
    /// Whether one of them blocks the whole text: it must not be passed on.
    pub blocked: bool,
}

impl Masker {
    /// Finds these entities.
    #[must_use]
    pub fn of(entities: impl IntoIterator<Item = Entity>) -> Self {
        Self::of_profile(Profile::of(entities))
    }

    /// Does what a profile says, under no name.
    #[must_use]
    pub fn of_profile(profile: Profile) -> Self {
        Self::named(BTreeSet::new(), vec![Arc::new(profile)])
    }

    /// Finds nothing: for a floor that was switched off by its dangerous name.
    #[must_use]
    pub fn nothing() -> Self {
        Self::of([])
    }

    /// This masker, which also finds these secrets to the letter, in the middle of words too. For keys that must not
    /// leave whoever prints them.
    ///
    /// # Errors
    ///
    /// Gives back a secret it could not find in every split of a text: one that is empty, longer than 256 bytes, or has
    /// other characters than a bearer token (RFC 6750 `b64token`).
    pub fn also<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut beside = self.inner.beside.clone();
        for secret in secrets {
            if secret.is_empty() || secret.len() > MAX_KNOWN || !secret.chars().all(is_token) {
                return Err(secret);
            }
            beside.push(Rule::Known(secret.into()));
        }
        Ok(Self::build(self.inner.profiles.clone(), self.inner.in_force.clone(), beside))
    }

    /// This masker, which also finds what these detectors find.
    #[must_use]
    pub fn detecting(&self, detectors: impl IntoIterator<Item = CustomDetector>) -> Self {
        let mut beside = self.inner.beside.clone();
        beside.extend(detectors.into_iter().map(|detector| Rule::Custom(Arc::new(detector))));
        Self::build(self.inner.profiles.clone(), self.inner.in_force.clone(), beside)
    }

    pub(crate) fn named(profiles: BTreeSet<MaskProfile>, in_force: Vec<Arc<Profile>>) -> Self {
        Self::build(profiles, in_force, Vec::new())
    }

    fn build(profiles: BTreeSet<MaskProfile>, in_force: Vec<Arc<Profile>>, beside: Vec<Rule>) -> Self {
        let custom = in_force.iter().flat_map(|profile| profile.detectors());
        let rules: Vec<_> = table(&in_force)
            .map(Rule::Table)
            .chain(custom.cloned().map(Rule::Custom))
            .chain(beside.iter().cloned())
            .collect();
        Self::with_rules(profiles, in_force, beside, rules)
    }

    fn with_rules(
        profiles: BTreeSet<MaskProfile>,
        in_force: Vec<Arc<Profile>>,
        beside: Vec<Rule>,
        rules: Vec<Rule>,
    ) -> Self {
        let (engine, places, strict) = (Engine::new(rules), Mutex::default(), OnceLock::new());
        let inner = Inner { profiles, in_force, beside, engine, places, strict };
        Self { inner: Arc::new(inner), call: None }
    }

    /// The profiles it stands for; empty when it was made of entities.
    #[must_use]
    pub fn profiles(&self) -> &BTreeSet<MaskProfile> {
        &self.inner.profiles
    }

    /// Masks a text.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> Masked {
        let masker = self.ready();
        let clean = || Masked { text: text.to_owned(), ..Masked::default() };
        let mut masked = whole(text, "", 1, &masker).unwrap_or_else(clean);
        masked.blocked = masker.blocked();
        masked
    }

    /// Where the hits of a text are, as it stands there: what is encoded or disguised in it is not looked for.
    ///
    /// # Examples
    ///
    /// ```
    /// use crewgate_masking::{Entity, Masker};
    ///
    /// let hits = Masker::of([Entity::Email]).find("to ann@example.com!");
    /// assert_eq!(hits, [(3..18, Entity::Email)]);
    /// ```
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<(Range<usize>, Entity)> {
        let engine = self.engine();
        let hits = engine.hits(text).into_iter();
        hits.filter_map(|hit| Some((hit.start..hit.end, engine.rule(hit.rule)?.entity()))).collect()
    }

    /// The name and the regular expression of each detector. What the expression matches is not yet a hit: where it may
    /// begin, and checks of what it matched, come to it.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.engine().rules().iter().map(|rule| (rule.name(), rule.pattern()))
    }

    /// Masks a JSON document: string values and member names are decoded, scanned and written anew; a number that is a
    /// hit (a card) becomes another number.
    ///
    /// # Errors
    ///
    /// [`MaskError`] when it is not JSON, or holds what blocks it.
    pub fn mask_json(&self, json: &[u8]) -> Result<Masked, MaskError> {
        let text = std::str::from_utf8(json).map_err(|_| MaskError::NotUtf8)?;
        let mut masked = Masked { text: String::with_capacity(text.len()), ..Masked::default() };
        let (mut stream, masker) = (JsonStream::default(), self.ready());
        stream.push(text, &masker, &mut masked)?;
        stream.finish(&masker, &mut masked)?;
        if masker.blocked() { Err(MaskError::Blocked) } else { Ok(masked) }
    }

    /// Masks every string of a value in place, member names included, and counts the hits.
    ///
    /// # Errors
    ///
    /// [`MaskError::Blocked`] when it holds what blocks it.
    pub fn mask_value(&self, value: &mut Value, findings: &mut Findings) -> Result<(), MaskError> {
        let masker = self.ready();
        // The name of the member it belongs to says what a value is: `password`.
        let mut masked = |text: &str, behind: &str| {
            let before = if behind.is_empty() { String::new() } else { format!("{behind}: ") };
            let masked = whole(text, &before, 1, &masker)?;
            findings.absorb(&masked.findings, "");
            Some(masked)
        };
        // An explicit stack: a stranger chooses how deep the value is.
        let mut waiting = vec![(value, String::new())];
        while let Some((value, behind)) = waiting.pop() {
            match value {
                Value::String(text) => {
                    if let Some(masked) = masked(text, &behind) {
                        *text = masked.text;
                    }
                }
                Value::Number(number) => {
                    if let Some(masked) = masked(number.as_str(), &behind) {
                        let text = masker.number(number.as_str(), &masked);
                        *value = match Number::parse(text.as_str()) {
                            Ok(number) => Value::Number(number),
                            Err(_) => Value::String(masked.text),
                        };
                    }
                }
                Value::Array(items) => waiting.extend(items.iter_mut().map(|item| (item, behind.clone()))),
                Value::Object(members) => {
                    for (name, value) in members {
                        let behind = name.clone();
                        if let Some(masked) = masked(name, "") {
                            *name = masked.text;
                        }
                        waiting.push((value, behind));
                    }
                }
                Value::Null | Value::Bool(_) | Value::Id(_) => {}
            }
        }
        if masker.blocked() { Err(MaskError::Blocked) } else { Ok(()) }
    }

    /// Writes what stands for a hit, and notes and counts it: every hit goes through here. What every profile in force
    /// allows is written as it is, unless it is only the beginning of a hit (`whole` is false): nobody allowed the rest.
    pub(crate) fn replace(&self, entity: &Entity, value: &str, whole: bool, out: &mut Masked) {
        let call = self.call.as_deref();
        if let Some(roles) = call.and_then(|call| call.restores_for.as_ref()) {
            let (at, restored) = (out.text.len(), self.restored(value, roles));
            out.text.push_str(restored.as_deref().unwrap_or(value));
            out.findings.add(entity, "", u64::from(restored.is_some()));
            out.spans.push(Span { entity: entity.clone(), at, len: value.len(), shown: out.text.len() - at });
            return;
        }
        let operator = match self.strictest(entity, whole.then_some(value)) {
            Some((_, operator)) => operator,
            None if self.inner.in_force.iter().any(|rule| rule.operator(entity).is_some()) => {
                out.text.push_str(value);
                return;
            }
            // Told to the letter, by no profile.
            None => &Operator::Tag,
        };
        let at = out.text.len();
        match call {
            Some(call) => {
                if *operator == Operator::Block {
                    call.blocked.store(true, Ordering::Relaxed);
                }
                operator.write(entity, value, &call.session, &mut out.text);
            }
            // Every way in makes a call; without one nothing is remembered.
            None => operator.write(entity, value, &Session::new(), &mut out.text),
        }
        out.spans.push(Span { entity: entity.clone(), at, len: value.len(), shown: out.text.len() - at });
        out.findings.add(entity, "", 1);
    }

    /// The strictest operator for this value, and the profile that asks for it. `None`: no profile in force names the
    /// entity, or all that do allow this value.
    fn strictest(&self, entity: &Entity, value: Option<&str>) -> Option<(&Profile, &Operator)> {
        let allowed = |rule: &&Arc<Profile>| value.is_some_and(|value| rule.allows(value));
        let rules = self.inner.in_force.iter().filter(|rule| !allowed(rule));
        let found = rules.filter_map(|rule| Some((rule.as_ref(), rule.operator(entity)?)));
        found.max_by_key(|(_, operator)| operator.strictness())
    }

    pub(crate) fn operator_for(&self, entity: &Entity, value: &str) -> &Operator {
        self.strictest(entity, Some(value)).map_or(&Operator::Tag, |(_, operator)| operator)
    }

    /// Each thing it looks for, and a masker that looks for nothing else.
    pub(crate) fn rules_alone(&self) -> impl Iterator<Item = (&Rule, Self)> {
        self.inner.engine.rules().iter().map(|rule| {
            let (profiles, in_force) = (self.inner.profiles.clone(), self.inner.in_force.clone());
            (rule, Self::with_rules(profiles, in_force, Vec::new(), vec![rule.clone()]))
        })
    }

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

    /// This masker with the numbers and tokens of a run.
    #[must_use]
    pub fn in_session(&self, session: &Session) -> Self {
        let call = Call { session: session.clone(), ..Call::default() };
        Self { call: Some(Arc::new(call)), ..self.clone() }
    }

    /// Whether a profile in force gives out numbers and tokens, or moves dates: then a run needs its session.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.operators().any(Operator::remembers)
    }

    /// Whether a profile in force entitles anybody to see what it masks.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.inner.in_force.iter().any(|rule| rule.restores_for_any())
    }

    /// Turns the tokens of a run in a text that was masked back into what they stand for, where a profile in force
    /// entitles one of these roles to it; every other token stays. `None` when there is nothing these roles may see.
    #[must_use]
    pub fn restorer(&self, session: &Session, roles: BTreeSet<RoleName>) -> Option<Self> {
        let entitles =
            |rule: &Arc<Profile>| rule.restores(&roles) && rule.operators().any(Operator::is_reversible);
        if !self.inner.in_force.iter().any(entitles) {
            return None;
        }
        let (profiles, in_force) = (self.inner.profiles.clone(), self.inner.in_force.clone());
        let tokens = CustomDetector::regex("TOKEN", TOKENS).ok()?;
        let rules = vec![Rule::Custom(Arc::new(tokens))];
        let call = Call { session: session.clone(), restores_for: Some(roles), ..Call::default() };
        let masker = Self::with_rules(profiles, in_force, Vec::new(), rules);
        Some(Self { call: Some(Arc::new(call)), ..masker })
    }

    /// What a token stands for, if the profile that asked for it entitles one of these roles.
    fn restored(&self, token: &str, roles: &BTreeSet<RoleName>) -> Option<String> {
        let name = token.strip_prefix('<')?.strip_suffix('>')?;
        let name = match name.split_once(':') {
            Some((name, _)) => name,
            None => name.rsplit_once('_')?.0,
        };
        let entity =
            self.inner.in_force.iter().flat_map(|rule| rule.entities()).find(|e| e.name() == name)?;
        let (rule, operator) = self.strictest(entity, Some(token))?;
        match operator {
            _ if !rule.restores(roles) => None,
            Operator::Encrypt(keys) => keys.decrypt(token),
            Operator::Number | Operator::Vault => self.call.as_ref()?.session.value(token),
            _ => None,
        }
    }

    fn operators(&self) -> impl Iterator<Item = &Operator> {
        self.inner.in_force.iter().flat_map(|rule| rule.operators())
    }

    /// With something to remember by: what a text of its own, without a run, has to itself.
    pub(crate) fn ready(&self) -> Self {
        Self { call: Some(self.call.clone().unwrap_or_default()), ..self.clone() }
    }

    /// Whether a hit of this call is one that blocks it.
    #[must_use]
    pub fn blocked(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.blocked.load(Ordering::Relaxed))
    }

    /// Whether a profile in force can block: then an answer is not begun before it is known that nothing does.
    pub(crate) fn may_block(&self) -> bool {
        self.operators().any(|operator| *operator == Operator::Block)
    }

    /// Whether a profile in force refuses requests that hold one of these.
    pub(crate) fn refuses_request(&self, findings: &Findings) -> bool {
        let refusing = self.inner.in_force.iter().filter(|rule| rule.refuses_requests());
        refusing.flat_map(|rule| rule.entities()).any(|entity| findings.count(entity) > 0)
    }

    /// What is written for a JSON number that held a hit: a number again, unless a profile says otherwise.
    pub(crate) fn number(&self, number: &str, masked: &Masked) -> String {
        if crewgate_core::Number::parse(masked.text.as_str()).is_ok() {
            return masked.text.clone();
        }
        // The most careful of the profiles in force says how.
        let numbers = self.inner.in_force.iter().map(|rule| rule.written_numbers()).max().unwrap_or_default();
        match numbers {
            Numbers::Digits => {
                let digits = number.bytes().filter(u8::is_ascii_digit).count();
                format!("1{}", "0".repeat(digits.saturating_sub(1)))
            }
            Numbers::Zero => "0".to_owned(),
            Numbers::Text => {
                let mut text = String::from("\"");
                crate::stream::escape(&masked.text, &mut text);
                text.push('"');
                text
            }
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }
}

/// The rows of the table that find what these profiles name.
fn table(profiles: &[Arc<Profile>]) -> impl Iterator<Item = &'static Detector> {
    let named = |detector: &&Detector| profiles.iter().any(|rule| rule.operator(&detector.entity).is_some());
    detectors().filter(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, MaskStream};

    fn all() -> Masker {
        Masker::of(Entity::ALL.iter().cloned())
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
        let mut findings = Findings::default();
        all().mask_value(&mut value, &mut findings).unwrap();
        let expected = Value::Object(vec![
            ("<EMAIL>".to_owned(), Value::Array(vec![Value::String("<US_SSN>".to_owned()), Value::Null])),
            ("card".to_owned(), Value::Number(Number::parse("1000000000000000").unwrap())),
            ("n".to_owned(), Value::Number(Number::parse("1.10").unwrap())),
        ]);
        assert_eq!(value, expected);
        assert_eq!(findings.total(), 3);
    }

    #[test]
    fn a_member_of_a_value_is_known_by_its_name() {
        let secret = || Value::Array(vec![Value::String("hunter2-Tr0ub4dor".to_owned())]);
        let mut value =
            Value::Object(vec![("password".to_owned(), secret()), ("colour".to_owned(), secret())]);
        Masker::of([Entity::Password]).mask_value(&mut value, &mut Findings::default()).unwrap();
        let masked = Value::Array(vec![Value::String("<PASSWORD>".to_owned())]);
        assert_eq!(
            value,
            Value::Object(vec![("password".to_owned(), masked), ("colour".to_owned(), secret())])
        );
    }

    #[test]
    fn a_known_secret_is_found_to_the_letter_however_the_text_is_cut() {
        let masker = all().also(["org-5b1c0d9e7f3a"]).unwrap();
        assert_eq!(masker.mask_text("my key is org-5b1c0d9e7f3a!").text, "my key is <KNOWN_SECRET>!");
        assert_eq!(masker.mask_text("xorg-5b1c0d9e7f3ax").text, "x<KNOWN_SECRET>x");
        let mut stream = MaskStream::new(masker, Dialect::Json);
        let pieces =
            br#"{"a":"see org-5b1c0d9e7f3a"}"#.chunks(1).map(|byte| stream.push(byte).unwrap().to_vec());
        let mut out: Vec<u8> = pieces.collect::<Vec<_>>().concat();
        out.extend_from_slice(&stream.finish().unwrap());
        assert_eq!(out, br#"{"a":"see <KNOWN_SECRET>"}"#);
        assert_eq!(all().also(["with space"]).err(), Some("with space"));
        assert!(all().also([""]).is_err() && all().also(["x".repeat(300).as_str()]).is_err());
    }

    #[test]
    fn an_escape_in_json_inside_a_string_hides_nothing() {
        for (text, expected) in [
            (r#"{"k":"a\nsk-proj-abc123def456ghi789\n536-90-4399"}"#, r#"{"k":"a\n<API_KEY>\n<US_SSN>"}"#),
            (r"\teyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", r"\t<JWT>"),
            (r"\u003cAKIAIOSFODNN7EXAMPLE", r"\u003c<API_KEY>"),
            (r"%0A4111 1111 1111 1111", r"%0A<CREDIT_CARD>"),
        ] {
            assert_eq!(all().mask_text(text).text, expected);
        }
    }

    #[test]
    fn the_allowed_beginning_of_a_longer_secret_is_not_allowed() {
        let head = "eyJhbGciOiJIUzI1NiJ9.";
        let profile = Profile::of([Entity::Jwt, Entity::Email]).allow(head);
        let masker = Masker::of_profile(profile);
        let token = format!("{head}eyJzdWIiOiJhIn0.c2lnbmF0dXJl");
        let masked = masker.mask_text(&format!("a@example.com {token} rest"));
        assert_eq!(masked.text, "<EMAIL> <JWT> rest");
        assert_eq!(masked.spans.iter().map(|span| span.len).collect::<Vec<_>>(), [13, token.len()]);
    }

    #[test]
    fn spans_tell_where_and_how_long() {
        let masked = all().mask_text("id 7, maria.keller@example.com; +49 30 901820");
        assert_eq!(masked.text, "id 7, <EMAIL>; <PHONE>");
        assert_eq!(masked.spans[0], Span { entity: Entity::Email, at: 6, len: 24, shown: 7 });
        assert_eq!(masked.spans[1], Span { entity: Entity::Phone, at: 15, len: 13, shown: 7 });
    }

    #[test]
    fn a_secret_longer_than_any_window_is_swallowed_whole() {
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}.sig", "a1".repeat(50_000));
        assert_eq!(all().mask_text(&format!("t={jwt} end")).text, "t=<JWT> end");
        let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}", "MIIE\n".repeat(10_000));
        assert_eq!(all().mask_text(&format!("k: {key}")).text, "k: <PRIVATE_KEY>");
    }
}
