use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::{
    AuthorizationError, Authorizer, Decision as Verdict, Entities, Policy, PolicyId, PolicySet, Request,
    Response, Schema,
};
use crewgate_core::{ApproverSet, Basis, Decision, Duties, Hint, PolicyHash, RoleName, RuleId};
use crewgate_policy::{HeldRole, Query};

use crate::{
    duty,
    facts::{Subject, Types, Unaskable, held},
    rule::Rule,
};

/// A loaded policy set: parsed once, never changed.
pub(crate) struct Engine {
    /// As written: duties do not count for whether a rule matches.
    pub(crate) permits: PolicySet,
    pub(crate) guards: PolicySet,
    /// Everything, with duties compiled in: plain Cedar, which has the last word.
    pub(crate) exported: PolicySet,
    pub(crate) rules: HashMap<PolicyId, Rule>,
    /// Permits with a hint, sorted by id.
    pub(crate) hinted: Vec<PolicyId>,
    /// Roles some rule names.
    pub(crate) roles: BTreeSet<RoleName>,
    pub(crate) hash: PolicyHash,
    pub(crate) export: String,
    pub(crate) schema: Schema,
    pub(crate) schema_text: String,
    /// Actions and their groups.
    pub(crate) actions: Entities,
    pub(crate) types: Types,
    pub(crate) authorizer: Authorizer,
}

/// The rules that can matter to a query. All of them, for now; a scope index narrows them here and nowhere else.
struct Candidates<'a> {
    permits: &'a PolicySet,
    guards: &'a PolicySet,
    exported: &'a PolicySet,
    roles: &'a BTreeSet<RoleName>,
}

/// The rules whose scope and conditions hold, duties ignored, sorted by id.
#[derive(Default)]
pub(crate) struct Matches<'a> {
    pub(crate) permits: BTreeMap<&'a RuleId, &'a Rule>,
    pub(crate) guards: BTreeMap<&'a RuleId, &'a Rule>,
    /// Rules that could not be evaluated, and why.
    pub(crate) broken_permits: BTreeMap<RuleId, String>,
    pub(crate) broken_guards: BTreeMap<RuleId, String>,
}

/// What every caller whom nothing permits is told: no more than that.
const NOT_PERMITTED: &str = "Not permitted.";

impl Engine {
    pub(crate) fn decide(&self, query: &Query<'_>) -> Decision {
        match self.matches(query) {
            Ok((subject, matches)) => self.judge(query, &subject, &matches),
            Err(Unaskable(why)) => {
                tracing::warn!(%why, principal = %query.principal.key, "a request that rules cannot judge is refused");
                self.refuse(
                    None,
                    "This request does not fit what rules can judge.".to_owned(),
                    Vec::new(),
                    Basis::default(),
                )
            }
        }
    }

    /// Which rules match, duties ignored.
    pub(crate) fn matches(&self, query: &Query<'_>) -> Result<(Subject, Matches<'_>), Unaskable> {
        let candidates = self.candidates(query);
        let subject = Subject::of(query, &self.types, &self.actions, candidates.roles)?;
        let request = subject.request(query, BTreeSet::new(), &self.schema)?;
        let mut matches = Matches::default();
        let permits = self.authorizer.is_authorized(&request, candidates.permits, &subject.entities);
        (matches.permits, matches.broken_permits) = self.sort(&permits)?;
        // A stranger's request ends here: what nothing permits no guard need forbid.
        if !matches.permits.is_empty() {
            let guards = self.authorizer.is_authorized(&request, candidates.guards, &subject.entities);
            (matches.guards, matches.broken_guards) = self.sort(&guards)?;
        }
        Ok((subject, matches))
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
        let request = subject.request(query, done, &self.schema).ok()?;
        let set = PolicySet::from_policies([rule.clone()]).ok()?;
        let response = self.authorizer.is_authorized(&request, &set, &subject.entities);
        let evaluated = response.diagnostics().errors().next().is_none();
        evaluated.then(|| response.decision() == Verdict::Allow)
    }

    fn candidates(&self, _: &Query<'_>) -> Candidates<'_> {
        Candidates {
            permits: &self.permits,
            guards: &self.guards,
            exported: &self.exported,
            roles: &self.roles,
        }
    }

    fn judge(&self, query: &Query<'_>, subject: &Subject, matches: &Matches<'_>) -> Decision {
        for (rule, why) in &matches.broken_permits {
            tracing::warn!(%rule, %why, "a permit could not be evaluated and permits nothing");
        }
        let given = query.approvals.map(|approvals| &approvals.sets);
        let Some(permit) = chosen(matches, given) else {
            return self.refuse(None, NOT_PERMITTED.to_owned(), self.hints(query), Basis::default());
        };
        if let Some((rule, why)) = matches.broken_guards.first_key_value() {
            tracing::error!(%rule, %why, "a guard could not be evaluated: refused");
            let reason = format!("guard-error: rule `{rule}` could not be evaluated.");
            let basis = self.basis(query, matches.broken_guards.keys());
            return self.refuse(Some(rule), reason, Vec::new(), basis);
        }
        let hard = || matches.guards.values().filter(|guard| !guard.has_duty());
        if let Some(guard) = hard().next() {
            let reason = guard.reason.clone().unwrap_or_else(|| format!("Forbidden by rule `{}`.", guard.id));
            let hint = |text: &String| Hint { text: text.clone(), roles: [].into(), approvals: [].into() };
            let hints = hard().filter_map(|guard| guard.hint.as_ref()).map(hint).collect();
            let basis = self.basis(query, hard().map(|guard| &guard.id));
            return self.refuse(Some(&guard.id), reason, hints, basis);
        }

        let mut duties = Duties::default();
        permit.ask(&mut duties);
        matches.guards.values().for_each(|guard| guard.ask(&mut duties));
        let determining = matches.guards.keys().copied().chain([&permit.id]);
        let basis = self.basis(query, determining);
        // With everything done plain Cedar must say yes; asked before people are, so that nobody approves what
        // would be refused all the same.
        if let Err(Unaskable(why)) = self.confirm(query, subject, &duties) {
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

    fn confirm(&self, query: &Query<'_>, subject: &Subject, duties: &Duties) -> Result<(), Unaskable> {
        let request = subject.request(query, duty::done(duties), &self.schema)?;
        let response = self.exported(query, &request, &subject.entities);
        for error in response.diagnostics().errors() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            // A permit that cannot be evaluated is only lost; a guard must be.
            if self.rules.get(error.policy_id()).is_none_or(|rule| !rule.permit) {
                return Err(Unaskable(error.to_string()));
            }
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

    fn exported(&self, query: &Query<'_>, request: &Request, entities: &Entities) -> Response {
        self.authorizer.is_authorized(request, self.candidates(query).exported, entities)
    }

    /// The rules a response names. One that is not of this set would be a defect, and is refused.
    #[expect(clippy::type_complexity, reason = "two maps, named where they are taken apart")]
    fn sort(
        &self,
        response: &Response,
    ) -> Result<(BTreeMap<&RuleId, &Rule>, BTreeMap<RuleId, String>), Unaskable> {
        let mut matched = BTreeMap::new();
        for id in response.diagnostics().reason() {
            let rule = self.rules.get(id).ok_or_else(|| Unaskable(format!("no rule `{id}`")))?;
            matched.insert(&rule.id, rule);
        }
        let broken = response.diagnostics().errors().map(|error| {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            (RuleId::new(AsRef::<str>::as_ref(error.policy_id())), error.inner().to_string())
        });
        Ok((matched, broken.collect()))
    }

    /// These rules, the roles of the principal that they name, and the grants by which those are held.
    fn basis<'r>(&self, query: &Query<'_>, rules: impl IntoIterator<Item = &'r RuleId>) -> Basis {
        let rules: BTreeSet<RuleId> = rules.into_iter().cloned().collect();
        let named = |role: &&HeldRole| {
            let rule = |id: &RuleId| self.rules.get(&PolicyId::new(id.as_str()));
            rules.iter().filter_map(rule).any(|rule| rule.roles.contains(&role.name))
        };
        let roles = held(query).filter(named).map(|role| role.name.clone()).collect();
        let grants = held(query).filter(named).filter_map(|role| role.by.grant()).collect();
        Basis { rules, roles, grants, policy: Some(self.hash.clone()) }
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
    // A permit asks one approval at most; the map is sorted by id, and the first of equals is taken.
    matches.permits.values().copied().min_by_key(|rule| (missing(rule), rule.approval.is_some()))
}
