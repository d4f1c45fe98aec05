//! What can change while calls are served: rules, and the words of the configuration that rules and people stand on.
//!
//! One [`Generation`] is read whole and replaced whole. Everything that decides asks [`Live`] for the generation of this
//! very moment, so a call that is decided under one set of rules is never judged by the words of another.

mod reload;
mod restart;
mod shadow;
mod stamp;

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use crewgate_approval::{EligibilityUnknown, Eligible, GrantStore};
use crewgate_cedar::CedarPolicy;
use crewgate_console::{ReadsRecord, Revokes};
use crewgate_core::{ApproverSet, Clock, Decision, HumanId, Operation, Principal, PrincipalKey, Timestamp};
use crewgate_crewai::Crew as Wire;
use crewgate_policy::{HeldRole, Policy, Query, RoleSource, RolesUnavailable, Swap};
use futures_util::future::BoxFuture;

pub(crate) use self::{reload::Reloader, shadow::watcher};
use crate::{
    config::{ConfigError, CrewSettings, MaskSettings, Settings},
    people::{self, People},
    policies,
    roles::{self, JoinedRoles},
};

/// What does not change with a generation, and what the next one is made with.
pub(crate) struct Makings {
    /// Crews that are served; another one needs a restart.
    pub(crate) served: BTreeSet<String>,
    /// Mask profiles that are ready: rules may ask for no other.
    pub(crate) masks: MaskSettings,
    /// Roles that were given for a while.
    pub(crate) grants: Arc<dyn GrantStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Makings {
    /// Settings with what of them needs a restart as it was.
    fn over(&self, settings: Settings) -> Settings {
        Settings { masks: self.masks.clone(), ..settings }
    }
}

/// Rules and words, read together.
pub(crate) struct Generation {
    policy: CedarPolicy,
    people: People,
    persons: HashMap<PrincipalKey, HumanId>,
    wires: HashMap<String, Wire>,
    /// The configuration they were read from.
    settings: Settings,
}

impl Generation {
    /// Reads and checks the rules these settings name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, each with its place.
    pub(crate) fn read(settings: Settings, makings: &Makings) -> Result<Self, ConfigError> {
        let roles = Arc::new(JoinedRoles::new(&settings, Arc::clone(&makings.grants)));
        let served = settings.crews.iter().filter(|crew| makings.served.contains(&crew.name));
        Ok(Self {
            policy: policies::load(&settings)?,
            people: People::new(&settings, roles, Arc::clone(&makings.clock)),
            persons: people::persons(&settings.persons).into_iter().collect(),
            wires: served.map(|crew| (crew.name.clone(), wire(crew))).collect(),
            settings,
        })
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

    /// Whose identity this is, where several belong to one person.
    pub(crate) fn person(&self, key: &PrincipalKey) -> Option<HumanId> {
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

impl ReadsRecord for Live {
    fn reads_record<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        let people = self.current().people.clone();
        Box::pin(async move { people.reads_record(principal).await })
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
