//! What can change while calls are served: rules, and the words of the configuration that rules and people stand on.
//!
//! One [`Generation`] is read whole and replaced whole. Everything that decides asks [`Live`] for the generation of this
//! very moment, so a call that is decided under one set of rules is never judged by the words of another.

mod reload;
mod restart;
mod shadow;
mod stamp;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use crewgate_approval::{EligibilityUnknown, Eligible, GrantStore, Tier};
use crewgate_cedar::CedarPolicy;
use crewgate_console::{BreaksGlass, Erases, GlassTerms, ReadsRecord, Requestable, Revokes, Terms};
use crewgate_core::{
    ApproverSet, Clock, Decision, Human, MaskProfile, Operation, Principal, PrincipalKey, RoleName, Timestamp,
};
use crewgate_crewai::Crew as Wire;
use crewgate_policy::{HeldRole, Policy, Query, RoleSource, RolesUnavailable, Swap};
use futures_util::future::BoxFuture;

pub(crate) use self::{reload::Reloader, shadow::watcher};
use crate::{
    config::{ConfigError, CrewSettings, Diagnostic, Settings},
    masks::Maskers,
    people::{self, People},
    policies,
    roles::{self, JoinedRoles},
};

/// What does not change with a generation, and what the next one is made with.
pub(crate) struct Makings {
    /// Crews that are served, and the floor each has until a restart; another one needs a restart too.
    pub(crate) served: BTreeMap<String, BTreeSet<MaskProfile>>,
    /// Roles that were given for a while.
    pub(crate) grants: Arc<dyn GrantStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Makings {
    /// Every floor that is in use stands on profiles there are.
    fn floors(&self, settings: &Settings) -> Result<(), ConfigError> {
        let known: BTreeSet<_> = settings.masks.profiles.names().collect();
        let floors = self.served.iter().flat_map(|(crew, floor)| floor.iter().map(move |name| (crew, name)));
        let gone = floors.filter(|(_, name)| !known.contains(name)).map(|(crew, name)| {
            let text = format!(
                "the answers of crew `{crew}` are masked with `{name}` until a restart, so it must stay"
            );
            Diagnostic::whole(&settings.file, text)
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() { Ok(()) } else { Err(ConfigError(gone)) }
    }
}

/// Rules and words, read together.
pub(crate) struct Generation {
    policy: CedarPolicy,
    people: People,
    persons: HashMap<PrincipalKey, Human>,
    wires: HashMap<String, Wire>,
    /// Kept from one generation to the next where profiles have not changed: building them takes time.
    maskers: Arc<Maskers>,
    /// The configuration they were read from.
    settings: Settings,
}

impl Generation {
    /// Reads and checks the rules these settings name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, each with its place.
    pub(crate) fn read(
        settings: Settings,
        makings: &Makings,
        maskers: Arc<Maskers>,
    ) -> Result<Self, ConfigError> {
        makings.floors(&settings)?;
        let roles = Arc::new(JoinedRoles::new(&settings, Arc::clone(&makings.grants)));
        let served = settings.crews.iter().filter(|crew| makings.served.contains_key(&crew.name));
        Ok(Self {
            policy: policies::load(&settings)?,
            people: People::new(&settings, roles, Arc::clone(&makings.clock)),
            persons: people::persons(&settings.persons).into_iter().collect(),
            wires: served.map(|crew| (crew.name.clone(), wire(crew))).collect(),
            maskers,
            settings,
        })
    }

    /// The configuration they were read from.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its mask profiles.
    pub(crate) fn maskers(&self) -> &Maskers {
        &self.maskers
    }

    /// These settings with masks that can follow on the ones in use, and their maskers. Keys that seal what is kept
    /// change with a restart only, and profiles that may use new ones with them.
    fn masks_after(&self, settings: Settings) -> (Settings, Arc<Maskers>) {
        let before = &self.settings.masks;
        if settings.masks.kept_alike(before) && !restart::same(self.maskers.text(), &settings.text, "mask") {
            let maskers = Arc::new(Maskers::new(&settings));
            return (settings, maskers);
        }
        (Settings { masks: before.clone(), ..settings }, Arc::clone(&self.maskers))
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The generation that counts now, for everything that asks.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<Swap<Generation>>);

impl Live {
    /// Starts with this one.
    pub(crate) fn new(first: Generation) -> Self {
        Self(Arc::new(Swap::new(first)))
    }

    pub(crate) fn current(&self) -> Arc<Generation> {
        self.0.current()
    }

    /// Counts from the next question on; gives back the earlier one.
    fn replace(&self, next: Arc<Generation>) -> Arc<Generation> {
        self.0.replace_shared(next)
    }

    /// How many different people of a set must say yes.
    pub(crate) fn need(&self, set: &ApproverSet) -> NonZeroU32 {
        self.current().people.need(set)
    }

    /// Whom a request to a set goes to while nobody decides.
    pub(crate) fn escalation(&self, set: &ApproverSet) -> Vec<Tier> {
        self.current().people.escalation(set)
    }

    /// Whose identity this is, where several belong to one person.
    pub(crate) fn person(&self, key: &PrincipalKey) -> Option<Human> {
        self.current().persons.get(key).cloned()
    }

    /// Roles that are about to end or have ended; see [`roles::ending`].
    pub(crate) fn ending(&self, now: Timestamp) -> Vec<(String, String)> {
        roles::ending(&self.current().settings, now)
    }

    /// How this crew is called, and what it may be given.
    pub(crate) fn wire<T>(&self, crew: &str, with: impl FnOnce(&Wire) -> T) -> Option<T> {
        self.current().wires.get(crew).map(with)
    }
}

impl Policy for Live {
    fn decide(&self, query: &Query<'_>) -> Decision {
        self.current().policy.decide(query)
    }
}

impl RoleSource for Live {
    fn roles<'a>(
        &'a self,
        principal: &'a Principal,
        operation: Option<&'a Operation>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<HeldRole>, RolesUnavailable>> {
        let roles = self.current().people.roles();
        Box::pin(async move { roles.roles(principal, operation, now).await })
    }
}

impl Eligible for Live {
    fn sets<'a>(
        &'a self,
        approver: &'a Principal,
    ) -> BoxFuture<'a, Result<BTreeSet<ApproverSet>, EligibilityUnknown>> {
        let people = self.current().people.clone();
        Box::pin(async move { people.sets(approver).await })
    }
}

impl Requestable for Live {
    fn terms(&self, role: &RoleName) -> Option<Terms> {
        self.current().people.terms(role)
    }
}

impl BreaksGlass for Live {
    fn glass<'a>(&'a self, who: &'a Principal) -> BoxFuture<'a, Option<GlassTerms>> {
        let people = self.current().people.clone();
        Box::pin(async move { people.glass(who).await })
    }
}

impl ReadsRecord for Live {
    fn reads_record<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        let people = self.current().people.clone();
        Box::pin(async move { people.reads_record(principal).await })
    }
}

impl Erases for Live {
    fn erases<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        let people = self.current().people.clone();
        Box::pin(async move { people.erases(principal).await })
    }
}

impl Revokes for Live {
    fn revokes<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        let people = self.current().people.clone();
        Box::pin(async move { people.revokes(principal).await })
    }
}

fn wire(settings: &CrewSettings) -> Wire {
    let mut crew = Wire::new(settings.name.as_str()).human_input(settings.human_input);
    for fleet in &settings.fleet {
        crew = crew.fleet(fleet.as_str());
    }
    for (name, declaration) in &settings.inputs {
        crew = crew.input(name.as_str(), declaration.clone());
    }
    for operation in &settings.operations {
        crew = crew.operation(operation.clone());
    }
    crew.prompts(settings.prompts.clone()).undeclared(settings.undeclared)
}
