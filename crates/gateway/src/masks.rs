//! Which masks apply where.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use crewgate_core::{Decision, Fact, InputValue, MaskProfile, Operation, Outgoing, Resource, Trail};
use crewgate_masking::{Mask, Masker, Profiles};
use http::Extensions;
use serde_json::json;

use crate::{
    config::Settings,
    crews::{Crew, Crews},
    live::Live,
    sessions::Scoped,
};

/// The profile every stored or shown request is masked with, whatever policy says of its answer.
const STORED: &str = "pii-basic";

/// Combinations of crew and profiles whose masker is kept ready; building one compiles its patterns.
const MAX_READY: usize = 4096;

/// The masks of a request: its crew's floor and its decision's duties. The crew's own key is masked whatever they say:
/// a crew that prints it must not hand it out.
#[derive(Debug, Clone)]
pub(crate) struct Masks {
    live: Live,
    crews: Arc<Crews>,
}

/// The profiles of a generation, and what was built from them so far.
#[derive(Debug)]
pub(crate) struct Maskers {
    /// The configuration they were read from.
    text: String,
    profiles: Profiles,
    ready: Mutex<HashMap<Wanted, Masker>>,
}

/// A crew and the profiles that apply.
type Wanted = (String, BTreeSet<MaskProfile>);

/// The masker a call began with: profiles that change meanwhile count from the next call on.
#[derive(Clone)]
pub(crate) struct Chosen(pub(crate) Masker);

impl Maskers {
    /// Of the profiles of these settings.
    #[must_use]
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            text: settings.text.clone(),
            profiles: settings.masks.profiles.clone(),
            ready: Mutex::default(),
        }
    }

    /// The configuration they were read from.
    #[must_use]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// One profile and no crew's.
    fn alone(&self, profile: &str) -> Option<Masker> {
        self.profiles.masker(&[MaskProfile::new(profile)].into())
    }

    /// The crew's floor, these profiles and the crew's keys.
    fn with_floor(&self, crew: &Crew, more: impl IntoIterator<Item = MaskProfile>) -> Option<Masker> {
        let mut profiles = crew.settings.floor.clone();
        profiles.extend(more);
        let key = (crew.settings.name.clone(), profiles);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(masker) = ready.get(&key) {
            return Some(masker.clone());
        }
        let shared = crew.settings.shared_key.as_ref().map(|shared| shared.key.expose());
        let secrets = [crew.settings.credential.expose()].into_iter().chain(shared);
        let masker = self.profiles.masker(&key.1)?.also(secrets).ok()?;
        if ready.len() < MAX_READY {
            ready.insert(key, masker.clone());
        }
        Some(masker)
    }
}

impl Masks {
    /// Over the profiles that count now, and these crews.
    #[must_use]
    pub(crate) fn new(live: Live, crews: Arc<Crews>) -> Self {
        Self { live, crews }
    }

    /// For what is stored about a crew, or shown to people who decide.
    #[must_use]
    pub(crate) fn stored(&self, crew: &str) -> Option<Masker> {
        self.with_floor(crew, [MaskProfile::new(STORED)])
    }

    /// For messages about a request: as it is stored of a crew; a role that is asked for is no crew's.
    pub(crate) fn told(&self, resource: &Resource) -> Option<Masker> {
        if resource.kind == crewgate_console::ROLE {
            return self.live.current().maskers().alone(STORED);
        }
        self.stored(&resource.name)
    }

    fn with_floor(&self, crew: &str, more: impl IntoIterator<Item = MaskProfile>) -> Option<Masker> {
        self.live.current().maskers().with_floor(&*self.crews.find(crew)?, more)
    }

    /// The inputs rules saw, as they may be stored: those that a mask would change, by name alone.
    #[must_use]
    pub(crate) fn stored_inputs(&self, operation: &Operation) -> Vec<(String, Option<InputValue>)> {
        if operation.inputs.is_empty() {
            return Vec::new();
        }
        let masker = self.stored(&operation.resource.name);
        let body = operation.message.body.as_ref();
        let nested = body.is_some_and(|body| body.member("inputs").is_some());
        let stored = |(name, value): &(String, InputValue)| {
            // Where it stood in the body: masks may look at the place.
            let place = if nested { json!({ "inputs": { name: value } }) } else { json!({ name: value }) };
            let masked = masker.as_ref()?.mask_json(place.to_string().as_bytes()).ok()?;
            let same = serde_json::from_str::<serde_json::Value>(&masked.text).ok()? == place;
            same.then(|| value.clone())
        };
        operation.inputs.iter().map(|input| (input.0.clone(), stored(input))).collect()
    }

    /// The body of a request as it may be stored: `None` where there is none, and nothing of one that cannot be masked.
    #[must_use]
    pub(crate) fn stored_body(&self, extensions: &Extensions) -> Option<Bytes> {
        let (operation, outgoing) = (extensions.get::<Operation>()?, extensions.get::<Outgoing>()?);
        if outgoing.body.is_empty() {
            return None;
        }
        let body = with_own_ids(operation, outgoing)?;
        let masked = self.stored(&operation.resource.name)?.mask_json(body.as_bytes()).ok()?;
        Some(Bytes::from(masked.text))
    }
}

/// For answers. An undecided request has no masker: it is refused.
impl Mask for Masks {
    fn masker(&self, extensions: &Extensions) -> Option<Masker> {
        let in_session = |masker: Masker| match extensions.get::<Scoped>() {
            Some(scoped) => masker.in_session(&scoped.session),
            None => masker,
        };
        if let Some(Chosen(masker)) = extensions.get() {
            return Some(in_session(masker.clone()));
        }
        let operation = extensions.get::<Operation>()?;
        let duties = extensions.get::<Decision>()?.duties()?;
        // What observe mode lets pass was refused before policy said how to mask it: as strictly as we know how.
        let observed = extensions
            .get::<Trail>()
            .is_some_and(|trail| trail.facts().iter().any(|fact| matches!(fact, Fact::Observed { .. })));
        let more = duties.masks.iter().cloned().chain(observed.then(|| MaskProfile::new(STORED)));
        let masker = self.with_floor(&operation.resource.name, more)?;
        Some(in_session(masker))
    }
}

/// What will be sent, with our ids in the places of CrewAI's: whoever reads it later knows only ours.
pub(crate) fn with_own_ids(operation: &Operation, outgoing: &Outgoing) -> Option<String> {
    let body = std::str::from_utf8(&outgoing.body).ok()?.to_owned();
    let known = operation.ids.iter().filter_map(|id| Some((id.upstream.as_deref()?, id.own)));
    Some(known.fold(body, |body, (upstream, own)| body.replace(upstream, &own.to_string())))
}
