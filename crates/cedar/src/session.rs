//! What stays the same from one request of a token to the next, remembered. Everything here can be computed anew from
//! the query and the rules; what is remembered is compared with the query before it is used, and none of it decides.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cedar_policy::PolicySet;
use crewgate_core::{Action, PrincipalKey, PrincipalKind, Resource, RoleName};
use crewgate_policy::Query;

use crate::{
    engine::Engine,
    facts::{Subject, Unaskable, held},
    index::Caller,
    rule::Rule,
};

/// Tokens that are remembered in one generation; there are two. What is used moves to the young one; when that is full
/// it becomes the old one, and what was not used since then is gone.
const TOKENS: usize = 512;

/// Actions on resources that are remembered of one token.
const SITES: usize = 8;

/// Rule sets that are remembered of one action on one resource.
const SETS: usize = 4;

/// Remembers tokens of one rule set.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Arc<Session>>,
    old: HashMap<String, Arc<Session>>,
}

/// One token's caller, with the roles that were held at the last request.
#[derive(Debug)]
pub(crate) struct Session {
    key: PrincipalKey,
    kind: PrincipalKind,
    held: Vec<RoleName>,
    pub(crate) caller: Caller,
    sites: Mutex<Vec<Arc<Site>>>,
}

/// One action of this caller on one resource.
#[derive(Debug)]
pub(crate) struct Site {
    action: Action,
    resource: Resource,
    pub(crate) subject: Subject,
    /// Permits and guards whose scope can take it, sorted.
    pub(crate) permits: Vec<u32>,
    pub(crate) guards: Vec<u32>,
    sets: Mutex<Vec<Kept>>,
}

/// A set that was put to Cedar.
#[derive(Debug)]
struct Kept {
    /// Where its rules stand.
    places: Vec<(usize, usize)>,
    compiled: bool,
    set: Arc<PolicySet>,
}

impl Sessions {
    /// What is known of this query's token, or what there is to know.
    pub(crate) fn of(&self, query: &Query<'_>, engine: &Engine) -> Arc<Session> {
        let token = &query.principal.token.fingerprint;
        let mut known = lock(&self.0);
        if let Some(session) = known.young.get(token).filter(|session| session.is_of(query)) {
            return Arc::clone(session);
        }
        let old = known.old.remove(token).filter(|session| session.is_of(query));
        let session = old.unwrap_or_else(|| Arc::new(Session::of(query, engine)));
        if known.young.len() >= TOKENS {
            let Generations { young, old } = &mut *known;
            *old = std::mem::take(young);
        }
        known.young.insert(token.clone(), Arc::clone(&session));
        session
    }
}

impl Session {
    /// Nothing remembered yet.
    pub(crate) fn of(query: &Query<'_>, engine: &Engine) -> Self {
        let principal = query.principal;
        let held: Vec<RoleName> = held(query).map(|role| role.name.clone()).collect();
        Self {
            key: principal.key.clone(),
            kind: principal.kind,
            caller: engine.index.caller(principal.kind, principal.key.to_string(), &held),
            held,
            sites: Mutex::default(),
        }
    }

    /// Whether it is this query's caller with just these roles: both can change while a token lives.
    fn is_of(&self, query: &Query<'_>) -> bool {
        let Self { key, kind, held: known, .. } = self;
        *key == query.principal.key
            && *kind == query.principal.kind
            && held(query).map(|role| &role.name).eq(known)
    }

    /// This caller's doing this.
    pub(crate) fn site(&self, query: &Query<'_>, engine: &Engine) -> Result<Arc<Site>, Unaskable> {
        let operation = query.operation;
        let same = |site: &&Arc<Site>| site.action == operation.action && site.resource == operation.resource;
        if let Some(site) = lock(&self.sites).iter().find(same) {
            return Ok(Arc::clone(site));
        }
        let Resource { name, parents, .. } = &operation.resource;
        let found = engine.index.candidates(Some(&self.caller), operation.action.as_str(), name, parents);
        let of = |rules: &[u32]| engine.picked(rules).flat_map(|rule| rule.roles.iter().cloned()).collect();
        let subject = Subject::of(query, &engine.types, &engine.actions, &of(&found))?;
        let is_permit = |rule: &u32| engine.picked(std::slice::from_ref(rule)).any(|rule| rule.permit);
        let (permits, guards) = found.iter().partition(|rule| is_permit(rule));
        let site = Arc::new(Site {
            action: operation.action.clone(),
            resource: operation.resource.clone(),
            subject,
            permits,
            guards,
            sets: Mutex::default(),
        });
        remember(&mut lock(&self.sites), Arc::clone(&site), SITES);
        Ok(site)
    }
}

impl Site {
    /// These rules as a set: as written, or with their duties compiled in.
    pub(crate) fn set(&self, rules: &[&Rule], compiled: bool) -> Result<Arc<PolicySet>, Unaskable> {
        let places = || rules.iter().map(|rule| rule.place);
        let same = |kept: &&Kept| kept.compiled == compiled && kept.places.iter().copied().eq(places());
        if let Some(kept) = lock(&self.sets).iter().find(same) {
            return Ok(Arc::clone(&kept.set));
        }
        let policy = |rule: &&Rule| if compiled { rule.compiled().clone() } else { rule.policy.clone() };
        let set = Arc::new(PolicySet::from_policies(rules.iter().map(policy))?);
        let kept = Kept { places: places().collect(), compiled, set: Arc::clone(&set) };
        remember(&mut lock(&self.sets), kept, SETS);
        Ok(set)
    }
}

/// Adds one; the one added first makes room.
fn remember<T>(all: &mut Vec<T>, one: T, most: usize) {
    if all.len() >= most {
        all.remove(0);
    }
    all.push(one);
}

/// Whoever held the lock can only have left out an addition.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
