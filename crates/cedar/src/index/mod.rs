//! Which rules can matter to a query: found by what they say of principal, action and resource, and by those of their
//! conditions that plain facts answer. One decision costs the same with ten rules and with ten thousand.
//!
//! A rule that is left out is neither satisfied nor in error, because its scope (the first thing Cedar evaluates) or a
//! condition with nothing fallible before it is false. So the decision, the rules that determine it and the errors are
//! those of the whole set. What is kept is decided by Cedar, scope and all: keeping too much costs time and no more.

#[cfg(test)]
mod law;
mod scope;
mod test;

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use cedar_policy::Entities;
use crewgate_core::{PrincipalKind, RoleName};

pub(crate) use self::{
    scope::{Scope, Who},
    test::Test,
};
use crate::rule::Rule;

/// Names as small numbers: given once when rules are loaded, looked up when somebody asks.
#[derive(Debug)]
pub(crate) struct Names<T>(HashMap<T, u32>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Hash + Eq> Names<T> {
    pub(crate) fn intern(&mut self, name: T) -> u32 {
        // More than 2³² names do not fit into memory.
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(name).or_insert(next)
    }

    pub(crate) fn id<Q>(&self, name: &Q) -> Option<u32>
    where
        T: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).copied()
    }
}

/// A group of resources or one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Any,
    Crew(u32),
    Fleet(u32),
}

/// Rules of one place for the same callers.
#[derive(Debug)]
struct Row {
    who: Who,
    /// Rules with the actions they speak of, one bit each.
    rules: Vec<(u64, u32)>,
}

/// The rules of one place.
#[derive(Debug, Default)]
struct Posting {
    rows: Vec<Row>,
    by_who: HashMap<Who, usize>,
}

/// Rows that are looked at one by one, beyond the number of roles, before a lookup for each role is cheaper.
const SCANNED: usize = 8;

/// Finds the rules whose scope can take a query.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) roles: Names<RoleName>,
    crews: Names<String>,
    fleets: Names<String>,
    principals: Names<(PrincipalKind, String)>,
    actions: HashMap<String, u64>,
    places: HashMap<Place, Posting>,
}

/// A caller in the numbers of one index: what of them rules speak of.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    who: Vec<Who>,
    /// Roles that rules name, sorted.
    pub(crate) roles: Vec<u32>,
}

impl Index {
    /// An index of these rules; `actions` are the actions and their groups.
    pub(crate) fn of(rules: &mut [Rule], roles: Names<RoleName>, actions: &Entities) -> Self {
        let mut index = Self { roles, ..Self::default() };
        for (at, action) in actions.iter().enumerate() {
            // Beyond 64 actions two share a bit, and Cedar tells them apart.
            let bit = 1 << (at % 64);
            index.actions.insert(action.uid().id().unescaped().to_owned(), bit);
        }
        for (at, rule) in (0_u32..).zip(rules.iter_mut()) {
            rule.role_ids = rule.roles.iter().map(|role| index.roles.intern(role.clone())).collect();
            let Scope { who, actions, place } = index.scope(&rule.policy, actions);
            let posting = index.places.entry(place).or_default();
            let next = posting.rows.len();
            let row = *posting.by_who.entry(who).or_insert(next);
            if row == next {
                posting.rows.push(Row { who, rules: Vec::new() });
            }
            if let Some(row) = posting.rows.get_mut(row) {
                row.rules.push((actions, at));
            }
        }
        index
    }

    /// The caller with these roles.
    pub(crate) fn caller<'r>(
        &self,
        kind: PrincipalKind,
        key: String,
        roles: impl IntoIterator<Item = &'r RoleName>,
    ) -> Caller {
        let roles: BTreeSet<u32> = roles.into_iter().filter_map(|role| self.roles.id(role)).collect();
        let mut who = vec![Who::Any, Who::Kind(kind)];
        who.extend(self.principals.id(&(kind, key)).map(Who::One));
        who.extend(roles.iter().copied().map(Who::Role));
        who.sort_unstable();
        Caller { who, roles: roles.into_iter().collect() }
    }

    /// Rules that can matter to this caller's doing this to a crew of these fleets, or to anybody's; sorted.
    pub(crate) fn candidates(
        &self,
        caller: Option<&Caller>,
        action: &str,
        crew: &str,
        fleets: &[String],
    ) -> Vec<u32> {
        // An action no rule could name: the schema refuses the request.
        let action = self.actions.get(action).copied().unwrap_or(u64::MAX);
        let crew = self.crews.id(crew).map(Place::Crew);
        let fleets = fleets.iter().filter_map(|fleet| self.fleets.id(fleet).map(Place::Fleet));
        let mut found = Vec::new();
        for place in crew.into_iter().chain(fleets).chain([Place::Any]) {
            let Some(posting) = self.places.get(&place) else { continue };
            let take = |row: &Row| {
                let spoken = row.rules.iter().filter(|(actions, _)| actions & action != 0);
                found.extend(spoken.map(|(_, rule)| *rule));
            };
            match caller {
                None => posting.rows.iter().for_each(take),
                Some(caller) if posting.rows.len() <= caller.who.len().saturating_add(SCANNED) => {
                    let mine = |row: &&Row| caller.who.binary_search(&row.who).is_ok();
                    posting.rows.iter().filter(mine).for_each(take);
                }
                Some(caller) => {
                    let rows = caller.who.iter().filter_map(|who| posting.by_who.get(who));
                    rows.filter_map(|row| posting.rows.get(*row)).for_each(take);
                }
            }
        }
        found.sort_unstable();
        // A fleet that is named twice.
        found.dedup();
        found
    }
}
