mod place;
mod restore;
#[cfg(test)]
mod tests;
mod value;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crewgate_core::{MaskProfile, RoleName};

use crate::{
    CustomDetector, Entity, Masked, Operator, Session, Span,
    detect::{Detector, Rule, detectors, is_token},
    engine::Engine,
    findings::Findings,
    profile::Profile,
    stream::{JsonStream, MaskError, whole},
};

/// Longest secret that can be told to the letter: shorter than what a detector sees, so that every split finds it.
const MAX_KNOWN: usize = 256;

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

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }
}

/// The rows of the table that find what these profiles name.
fn table(profiles: &[Arc<Profile>]) -> impl Iterator<Item = &'static Detector> {
    let named = |detector: &&Detector| profiles.iter().any(|rule| rule.operator(&detector.entity).is_some());
    detectors().filter(named)
}
