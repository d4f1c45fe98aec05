use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{
    AuthorizationError, Authorizer, Decision as Verdict, Entities, Policy, PolicySet, Response, Schema,
};
use crewgate_core::{ApproverSet, Basis, Decision, Duties, GrantId, Hint, PolicyHash, RoleName, RuleId};
use crewgate_policy::{HeldRole, Query};

use crate::{
    Zone, duty,
    facts::{Facts, Reads, Subject, Types, Unaskable, held},
    index::Index,
    rule::Rule,
    session::{Session, Sessions, Site},
};

/// A loaded policy set: parsed once, never changed.
pub(crate) struct Engine {
    /// Sorted by id.
    pub(crate) rules: Vec<Rule>,
    /// Whether some permit has a hint.
    pub(crate) hinted: bool,
    pub(crate) index: Index,
    pub(crate) sessions: Sessions,
    /// Roles some rule names.
    pub(crate) roles: BTreeSet<RoleName>,
    pub(crate) hash: PolicyHash,
    pub(crate) schema: Schema,
    pub(crate) schema_text: String,
    pub(crate) zone: Zone,
    /// Actions and their groups.
    pub(crate) actions: Entities,
    pub(crate) types: Types,
    pub(crate) authorizer: Authorizer,
}

/// The rules whose scope and conditions hold, duties ignored, sorted by id.
#[derive(Debug, Default)]
pub(crate) struct Matches<'a> {
    pub(crate) permits: Vec<&'a Rule>,
    pub(crate) guards: Vec<&'a Rule>,
    /// Rules that could not be evaluated, and why.
    pub(crate) broken_permits: BTreeMap<RuleId, String>,
    pub(crate) broken_guards: BTreeMap<RuleId, String>,
}

/// What one evaluation says: rules that hold, sorted by id, and those in error.
type Sorted<'a> = (Vec<&'a Rule>, BTreeMap<RuleId, String>);

/// A query, put in the terms of these rules.
#[derive(Debug)]
struct Case<'a> {
    query: &'a Query<'a>,
    facts: Facts<'a>,
    session: Arc<Session>,
    site: Arc<Site>,
}

/// What every caller whom nothing permits is told: no more than that.
const NOT_PERMITTED: &str = "Not permitted.";

impl Engine {
    pub(crate) fn decide(&self, query: &Query<'_>) -> Decision {
        let case = self.case(query, self.sessions.of(query, self));
        case.and_then(|case| self.judge(&case)).unwrap_or_else(|Unaskable(why)| {
            tracing::warn!(%why, principal = %query.principal.key, "a request that rules cannot judge is refused");
            let reason = "This request does not fit what rules can judge.";
            self.refuse(None, reason.to_owned(), Vec::new(), Basis::default())
        })
    }

    /// Which rules match, duties ignored. Nothing is remembered: the query may be one that nobody asked.
    pub(crate) fn matches(&self, query: &Query<'_>) -> Result<Matches<'_>, Unaskable> {
        self.matching(&self.case(query, Arc::new(Session::of(query, self)))?)
    }

    /// The rules at these places, in their order.
    pub(crate) fn picked<'a>(&'a self, places: &[u32]) -> impl Iterator<Item = &'a Rule> {
        places.iter().filter_map(|place| self.rules.get(usize::try_from(*place).ok()?))
    }

    fn case<'a>(&'a self, query: &'a Query<'a>, session: Arc<Session>) -> Result<Case<'a>, Unaskable> {
        let site = session.site(query, self)?;
        Ok(Case { query, facts: Facts::of(query, &self.zone), session, site })
    }

    fn matching<'a>(&'a self, case: &Case<'_>) -> Result<Matches<'a>, Unaskable> {
        let mut matches = Matches::default();
        (matches.permits, matches.broken_permits) =
            self.evaluate(case, &self.left(case, &case.site.permits).collect::<Vec<_>>())?;
        // A stranger's request ends here: what nothing permits no guard need forbid.
        if !matches.permits.is_empty() {
            (matches.guards, matches.broken_guards) =
                self.evaluate(case, &self.left(case, &case.site.guards).collect::<Vec<_>>())?;
        }
        Ok(matches)
    }

    /// Those of these rules that do not certainly fail to hold: only they are put to Cedar.
    fn left<'a>(&'a self, case: &Case<'_>, rules: &[u32]) -> impl Iterator<Item = &'a Rule> {
        let roles = &case.session.caller.roles;
        self.picked(rules).filter(|rule| !rule.test.excludes(&case.facts, roles))
    }

    /// Cedar's word on each of these rules, as they are written.
    fn evaluate<'r>(&'r self, case: &Case<'_>, rules: &[&'r Rule]) -> Result<Sorted<'r>, Unaskable> {
        // Even where there is no rule to be asked: what the schema does not take is no question.
        let response = self.ask(case, rules, None)?;
        sort(rules, &response)
    }

    /// Puts these rules to Cedar: as they are written, or compiled and with these duties done.
    fn ask(&self, case: &Case<'_>, rules: &[&Rule], done: Option<&Duties>) -> Result<Response, Unaskable> {
        let reads = rules.iter().fold(Reads::default(), |all, rule| all.and(rule.reads));
        let subject = &case.site.subject;
        let request = subject.request(&case.facts, reads, done.map(duty::done), &self.schema)?;
        let set = case.site.set(rules, done.is_some())?;
        Ok(self.authorizer.is_authorized(&request, &set, &subject.entities))
    }

    /// Whether one rule holds for a query, of whose roles these matter; `None` when it cannot be evaluated.
    /// `done` is what `context.done` holds.
    pub(crate) fn holds(
        &self,
        query: &Query<'_>,
        rule: &Policy,
        roles: &BTreeSet<RoleName>,
        done: BTreeSet<String>,
    ) -> Option<bool> {
        let subject = Subject::of(query, &self.types, &self.actions, roles).ok()?;
        let facts = Facts::of(query, &self.zone);
        let request = subject.request(&facts, Reads::ALL, Some(done), &self.schema).ok()?;
        let set = PolicySet::from_policies([rule.clone()]).ok()?;
        let response = self.authorizer.is_authorized(&request, &set, &subject.entities);
        let evaluated = response.diagnostics().errors().next().is_none();
        // Alone it is its own reason, whether it permits or forbids.
        evaluated.then(|| response.diagnostics().reason().next().is_some())
    }

    fn judge(&self, case: &Case<'_>) -> Result<Decision, Unaskable> {
        let query = case.query;
        let given = query.approvals.map(|approvals| &approvals.sets);
        if let Some((permit, guards)) = self.foreseen(case, given)? {
            return Ok(self.pass(case, permit, &guards));
        }

        let matches = self.matching(case)?;
        for (rule, why) in &matches.broken_permits {
            tracing::warn!(%rule, %why, "a permit could not be evaluated and permits nothing");
        }
        let Some(permit) = matches.permits.iter().copied().min_by_key(|permit| cost(permit, given)) else {
            return Ok(self.refuse(None, NOT_PERMITTED.to_owned(), self.hints(query), Basis::default()));
        };
        if let Some((rule, why)) = matches.broken_guards.first_key_value() {
            tracing::error!(%rule, %why, "a guard could not be evaluated: refused");
            let reason = format!("guard-error: rule `{rule}` could not be evaluated.");
            let broken = self.rules.iter().filter(|rule| matches.broken_guards.contains_key(&rule.id));
            return Ok(self.refuse(Some(rule), reason, Vec::new(), self.basis(case, broken)));
        }
        let hard = || matches.guards.iter().copied().filter(|guard| !guard.has_duty());
        if let Some(guard) = hard().next() {
            let reason = guard.reason.clone().unwrap_or_else(|| format!("Forbidden by rule `{}`.", guard.id));
            let hint = |text: &String| Hint { text: text.clone(), roles: [].into(), approvals: [].into() };
            let hints = hard().filter_map(|guard| guard.hint.as_ref()).map(hint).collect();
            return Ok(self.refuse(Some(&guard.id), reason, hints, self.basis(case, hard())));
        }
        // Asked before people are, so that nobody approves what would be refused all the same.
        if let Err(Unaskable(why)) = self.confirm(case, permit, &matches.guards, &[]) {
            tracing::error!(%why, permit = %permit.id, "the compiled rules do not confirm the decision: refused");
            let basis = self.basis(case, matches.guards.iter().copied().chain([permit]));
            return Ok(self.refuse(None, NOT_PERMITTED.to_owned(), Vec::new(), basis));
        }
        Ok(self.pass(case, permit, &matches.guards))
    }

    /// The permit that would be chosen if all held that may, and the guards whose duties it comes with, where Cedar
    /// confirms the two: then it is chosen, and no other permit need be looked at, however many the caller's roles
    /// bring. `None` where it is to be found out who refuses.
    fn foreseen<'a>(
        &'a self,
        case: &Case<'_>,
        given: Option<&BTreeSet<ApproverSet>>,
    ) -> Result<Option<(&'a Rule, Vec<&'a Rule>)>, Unaskable> {
        let least = |most| self.picked(&case.site.permits).filter(move |permit| cost(permit, given) == most);
        let roles = &case.session.caller.roles;
        let left = |permit: &&Rule| !permit.test.excludes(&case.facts, roles);
        let Some(permit) = (0..=2).find_map(|most| least(most).find(left)) else { return Ok(None) };
        let guards = self.left(case, &case.site.guards);
        let (asking, hard): (Vec<&Rule>, Vec<&Rule>) = guards.partition(|guard| guard.has_duty());
        let (asking, broken) =
            if asking.is_empty() { Sorted::default() } else { self.evaluate(case, &asking)? };
        let confirmed = broken.is_empty() && self.confirm(case, permit, &asking, &hard).is_ok();
        Ok(confirmed.then_some((permit, asking)))
    }

    /// What passes by this permit and these guards, now or once people agree.
    fn pass(&self, case: &Case<'_>, permit: &Rule, guards: &[&Rule]) -> Decision {
        let duties = duties(permit, guards);
        let mut basis = self.basis(case, guards.iter().copied().chain([permit]));
        self.lifted(case, &mut basis);
        let given = case.query.approvals.map(|approvals| &approvals.sets);
        let missing: BTreeSet<ApproverSet> =
            duties.approvals.iter().filter(|set| !given.is_some_and(|g| g.contains(*set))).cloned().collect();
        if missing.is_empty() {
            Decision::Allow { duties, basis }
        } else {
            Decision::Ask { approvals: missing, duties, basis }
        }
    }

    /// Asks plain Cedar, with everything done that they ask for: the permit, the guards that match, and `others` that
    /// must not. A rule that does not match does not match with a condition more, so these decide as the whole set does.
    fn confirm(
        &self,
        case: &Case<'_>,
        permit: &Rule,
        guards: &[&Rule],
        others: &[&Rule],
    ) -> Result<(), Unaskable> {
        let mut rules = vec![permit];
        rules.extend(guards.iter().chain(others));
        let response = self.ask(case, &rules, Some(&duties(permit, guards)))?;
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(Unaskable(error.to_string()));
        }
        match response.decision() {
            Verdict::Allow => Ok(()),
            Verdict::Deny => {
                let mut by: Vec<_> = response.diagnostics().reason().map(ToString::to_string).collect();
                by.sort();
                Err(Unaskable(format!("denied by [{}]", by.join(", "))))
            }
        }
    }

    /// These rules, the roles of the principal that they name, and the grants by which those are held.
    fn basis<'r>(&self, case: &Case<'_>, rules: impl Iterator<Item = &'r Rule>) -> Basis {
        let mut basis = Basis { policy: Some(self.hash.clone()), ..Basis::default() };
        for rule in rules {
            basis.rules.insert(rule.id.clone());
            for (name, id) in rule.roles.iter().zip(&rule.role_ids) {
                if case.session.caller.roles.binary_search(id).is_err() {
                    continue;
                }
                for role in held(case.query).filter(|role| role.name == *name) {
                    basis.roles.insert(name.clone());
                    basis.grants.extend(role.by.grant());
                }
            }
        }
        basis
    }

    /// Adds the roles without which a guard would hold, and the grants by which those are held: what a grant lifts relies
    /// on it as much as what it permits. A caller without grants costs nothing here.
    fn lifted(&self, case: &Case<'_>, basis: &mut Basis) {
        let granted = |role: &&HeldRole| role.by.grant().is_some_and(|grant| !basis.grants.contains(&grant));
        let granted: BTreeMap<&RoleName, GrantId> = held(case.query)
            .filter(granted)
            .filter_map(|role| Some((&role.name, role.by.grant()?)))
            .collect();
        if granted.is_empty() {
            return;
        }
        for guard in self.picked(&case.site.guards) {
            let named: BTreeSet<RoleName> =
                guard.roles.iter().filter(|role| granted.contains_key(role)).cloned().collect();
            let others = || self.roles.difference(&named).cloned().collect();
            // What cannot be told counts as lifted.
            if !named.is_empty()
                && self.holds(case.query, &guard.policy, &others(), BTreeSet::new()) != Some(false)
            {
                basis.grants.extend(named.iter().filter_map(|role| granted.get(role)));
                basis.roles.extend(named);
            }
        }
    }

    fn refuse(&self, rule: Option<&RuleId>, reason: String, hints: Vec<Hint>, basis: Basis) -> Decision {
        let basis = Basis { policy: Some(self.hash.clone()), ..basis };
        Decision::Refuse { rule: rule.cloned(), reason, hints, basis }
    }
}

/// What a permit asks for: 0 is nothing, 1 what was given, 2 what is missing. One permit is chosen, whole: the first by
/// id of those that cost least. What several permits ask is never mixed: nobody granted the mixture.
fn cost(permit: &Rule, given: Option<&BTreeSet<ApproverSet>>) -> u8 {
    // A permit asks one approval at most.
    match &permit.approval {
        None => 0,
        Some(set) if given.is_some_and(|given| given.contains(set)) => 1,
        Some(_) => 2,
    }
}

/// What these ask for together.
fn duties(permit: &Rule, guards: &[&Rule]) -> Duties {
    let mut duties = Duties::default();
    permit.ask(&mut duties);
    guards.iter().for_each(|guard| guard.ask(&mut duties));
    duties
}

/// The rules a response names. One that was not asked for would be a defect, and is refused.
fn sort<'r>(asked: &[&'r Rule], response: &Response) -> Result<Sorted<'r>, Unaskable> {
    let mut matched = Vec::new();
    for id in response.diagnostics().reason() {
        let rule = asked.iter().copied().find(|rule| rule.policy.id() == id);
        matched.push(rule.ok_or_else(|| Unaskable(format!("no rule `{id}`")))?);
    }
    matched.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let broken = response.diagnostics().errors().map(|error| {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        (RuleId::new(AsRef::<str>::as_ref(error.policy_id())), error.inner().to_string())
    });
    Ok((matched, broken.collect()))
}
