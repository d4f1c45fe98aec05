use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{
    AuthorizationError, Authorizer, Decision as Verdict, Entities, Policy, PolicySet, Request, Response,
    Schema,
};
use crewgate_core::{ApproverSet, Basis, Decision, Duties, Hint, PolicyHash, RoleName, RuleId};
use crewgate_policy::Query;

use crate::{
    Zone, duty,
    facts::{Facts, Subject, Types, Unaskable, held},
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
        match case.and_then(|case| self.matching(&case).map(|matches| (case, matches))) {
            Ok((case, matches)) => self.judge(&case, &matches),
            Err(Unaskable(why)) => {
                tracing::warn!(%why, principal = %query.principal.key, "a request that rules cannot judge is refused");
                let reason = "This request does not fit what rules can judge.";
                self.refuse(None, reason.to_owned(), Vec::new(), Basis::default())
            }
        }
    }

    /// Which rules match, duties ignored. Nothing is remembered: the query may be one that nobody asked.
    pub(crate) fn matches(&self, query: &Query<'_>) -> Result<Matches<'_>, Unaskable> {
        self.matching(&self.case(query, Arc::new(Session::of(query, self)))?)
    }

    /// The rules at these places, in their order.
    pub(crate) fn picked<'r>(&'r self, places: &'r [u32]) -> impl Iterator<Item = &'r Rule> {
        places.iter().filter_map(|place| self.rules.get(usize::try_from(*place).ok()?))
    }

    fn case<'a>(&'a self, query: &'a Query<'a>, session: Arc<Session>) -> Result<Case<'a>, Unaskable> {
        let site = session.site(query, self)?;
        Ok(Case { query, facts: Facts::of(query, &self.zone), session, site })
    }

    fn matching(&self, case: &Case<'_>) -> Result<Matches<'_>, Unaskable> {
        // Even where no rule is left to be asked: what the schema does not take is no question.
        let request = case.site.subject.request(&case.facts, BTreeSet::new(), &self.schema)?;
        let mut matches = Matches::default();
        (matches.permits, matches.broken_permits) = self.evaluate(case, &request, &case.site.permits)?;
        // A stranger's request ends here: what nothing permits no guard need forbid.
        if !matches.permits.is_empty() {
            (matches.guards, matches.broken_guards) = self.evaluate(case, &request, &case.site.guards)?;
        }
        Ok(matches)
    }

    /// Cedar's word on these rules; those that certainly do not hold are not put to it.
    fn evaluate(
        &self,
        case: &Case<'_>,
        request: &Request,
        candidates: &[u32],
    ) -> Result<Sorted<'_>, Unaskable> {
        let roles = &case.session.caller.roles;
        let left = |place: &u32| {
            let rule = self.picked(std::slice::from_ref(place)).next();
            rule.is_some_and(|rule| !rule.test.excludes(&case.facts, roles))
        };
        let rules: Vec<u32> = candidates.iter().copied().filter(left).collect();
        if rules.is_empty() {
            return Ok(Sorted::default());
        }
        let set = case.site.set(&rules, false, self)?;
        let response = self.authorizer.is_authorized(request, &set, &case.site.subject.entities);
        self.sort(&rules, &response)
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
        let request = subject.request(&Facts::of(query, &self.zone), done, &self.schema).ok()?;
        let set = PolicySet::from_policies([rule.clone()]).ok()?;
        let response = self.authorizer.is_authorized(&request, &set, &subject.entities);
        let evaluated = response.diagnostics().errors().next().is_none();
        evaluated.then(|| response.decision() == Verdict::Allow)
    }

    fn judge(&self, case: &Case<'_>, matches: &Matches<'_>) -> Decision {
        for (rule, why) in &matches.broken_permits {
            tracing::warn!(%rule, %why, "a permit could not be evaluated and permits nothing");
        }
        let query = case.query;
        let given = query.approvals.map(|approvals| &approvals.sets);
        let Some(permit) = chosen(matches, given) else {
            return self.refuse(None, NOT_PERMITTED.to_owned(), self.hints(query), Basis::default());
        };
        if let Some((rule, why)) = matches.broken_guards.first_key_value() {
            tracing::error!(%rule, %why, "a guard could not be evaluated: refused");
            let reason = format!("guard-error: rule `{rule}` could not be evaluated.");
            let broken = self.rules.iter().filter(|rule| matches.broken_guards.contains_key(&rule.id));
            return self.refuse(Some(rule), reason, Vec::new(), self.basis(case, broken));
        }
        let hard = || matches.guards.iter().copied().filter(|guard| !guard.has_duty());
        if let Some(guard) = hard().next() {
            let reason = guard.reason.clone().unwrap_or_else(|| format!("Forbidden by rule `{}`.", guard.id));
            let hint = |text: &String| Hint { text: text.clone(), roles: [].into(), approvals: [].into() };
            let hints = hard().filter_map(|guard| guard.hint.as_ref()).map(hint).collect();
            return self.refuse(Some(&guard.id), reason, hints, self.basis(case, hard()));
        }

        let mut duties = Duties::default();
        permit.ask(&mut duties);
        matches.guards.iter().for_each(|guard| guard.ask(&mut duties));
        let determining = || matches.guards.iter().copied().chain([permit]);
        let basis = self.basis(case, determining());
        // With everything done plain Cedar must say yes; asked before people are, so that nobody approves what
        // would be refused all the same.
        if let Err(Unaskable(why)) = self.confirm(case, determining(), &duties) {
            tracing::error!(%why, permit = %permit.id, "the compiled rules do not confirm the decision: refused");
            return self.refuse(None, NOT_PERMITTED.to_owned(), Vec::new(), basis);
        }
        let missing: BTreeSet<ApproverSet> =
            duties.approvals.iter().filter(|set| !given.is_some_and(|g| g.contains(*set))).cloned().collect();
        if missing.is_empty() {
            Decision::Allow { duties, basis }
        } else {
            Decision::Ask { approvals: missing, duties, basis }
        }
    }

    /// Asks plain Cedar: the permit that was chosen and every guard that matched, duties compiled in. A rule that did
    /// not match does not match with a condition more, so these decide as the whole set does.
    fn confirm<'r>(
        &'r self,
        case: &Case<'_>,
        rules: impl Iterator<Item = &'r Rule>,
        duties: &Duties,
    ) -> Result<(), Unaskable> {
        if *duties == Duties::default() {
            // Without duties the rules are already plain Cedar: that this permit holds and no guard does was its word.
            return Ok(());
        }
        let mut rules: Vec<u32> = rules.filter_map(|rule| self.place(rule)).collect();
        rules.sort_unstable();
        let request = case.site.subject.request(&case.facts, duty::done(duties), &self.schema)?;
        let set = case.site.set(&rules, true, self)?;
        let response = self.authorizer.is_authorized(&request, &set, &case.site.subject.entities);
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

    fn place(&self, rule: &Rule) -> Option<u32> {
        let place = self.rules.binary_search_by(|known| known.id.cmp(&rule.id)).ok()?;
        u32::try_from(place).ok()
    }

    /// The rules a response names. One that was not asked for would be a defect, and is refused.
    fn sort<'r>(&'r self, asked: &[u32], response: &Response) -> Result<Sorted<'r>, Unaskable> {
        let mut matched = Vec::new();
        for id in response.diagnostics().reason() {
            let rule = asked.iter().find_map(|place| {
                self.rules.get(usize::try_from(*place).ok()?).filter(|rule| rule.policy.id() == id)
            });
            matched.push(rule.ok_or_else(|| Unaskable(format!("no rule `{id}`")))?);
        }
        matched.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let broken = response.diagnostics().errors().map(|error| {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            (RuleId::new(AsRef::<str>::as_ref(error.policy_id())), error.inner().to_string())
        });
        Ok((matched, broken.collect()))
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

    fn refuse(&self, rule: Option<&RuleId>, reason: String, hints: Vec<Hint>, basis: Basis) -> Decision {
        let basis = Basis { policy: Some(self.hash.clone()), ..basis };
        Decision::Refuse { rule: rule.cloned(), reason, hints, basis }
    }
}

/// One permit, whole: fewest missing approvals, then fewest approvals, then the first id. What several permits ask is
/// never mixed: nobody granted the mixture.
fn chosen<'a>(matches: &Matches<'a>, given: Option<&BTreeSet<ApproverSet>>) -> Option<&'a Rule> {
    let missing = |rule: &Rule| {
        rule.approval.as_ref().is_some_and(|set| !given.is_some_and(|given| given.contains(set)))
    };
    // A permit asks one approval at most; they are sorted by id, and the first of equals is taken.
    matches.permits.iter().copied().min_by_key(|rule| (missing(rule), rule.approval.is_some()))
}
