//! Words, callers and operations for the tests of the engine.

use std::time::Duration;

use crewgate_cedar::{CedarPolicy, CrewDeclaration, InputType, LoadError, Vocabulary};
use crewgate_core::{
    Action, Approvals, ApproverSet, Clock, Decision, Effect, InputValue, MaskProfile, Message, Operation,
    Principal, PrincipalKey, PrincipalKind, Resource, RoleName, Timestamp, TokenFacts,
};
use crewgate_policy::{HeldBy, HeldRole, Policy, Query};
use crewgate_testkit::ManualClock;

pub(crate) fn vocabulary() -> Vocabulary {
    let roles = ["marketing-analysts", "support", "interns", "hr-partners", "privacy-officers", "operators"];
    let crew = |name: &str, fleets: &[&str]| CrewDeclaration {
        name: name.to_owned(),
        fleets: fleets.iter().map(ToString::to_string).collect(),
        inputs: vec![
            ("dataset".to_owned(), InputType::String),
            ("max_rows".to_owned(), InputType::Long),
            ("urgent".to_owned(), InputType::Bool),
            ("regions".to_owned(), InputType::Strings),
        ],
    };
    Vocabulary {
        roles: roles.into_iter().map(RoleName::new).collect(),
        approvers: ["marketing-leads", "hr-data-owners"].into_iter().map(ApproverSet::new).collect(),
        masks: ["secrets", "pii-basic"].into_iter().map(MaskProfile::new).collect(),
        crews: vec![
            crew("market-research", &[]),
            crew("nightly-report", &["prod"]),
            crew("customer-care", &["customer", "prod"]),
            crew("payroll", &["hr"]),
        ],
        ..Vocabulary::default()
    }
}

pub(crate) fn load(text: &str) -> Result<CedarPolicy, Vec<LoadError>> {
    CedarPolicy::load(vec![("policy/rules.cedar".to_owned(), text.to_owned())], &vocabulary())
}

/// One question, to be changed part by part.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) principal: Principal,
    pub(crate) roles: Vec<HeldRole>,
    pub(crate) operation: Operation,
    pub(crate) approvals: Option<Approvals>,
    pub(crate) now: Timestamp,
}

impl Ask {
    /// A person with these roles, ten minutes after signing in, at noon of a Monday.
    pub(crate) fn new(roles: &[&str], action: &'static str, crew: &str) -> Self {
        let now = ManualClock::new().now();
        let role = |name: &&str| HeldRole::new(RoleName::new(*name), HeldBy::Group(format!("okta:{name}")));
        let parents = vocabulary().crews.into_iter().find(|c| c.name == crew).map(|c| c.fleets);
        let effect = if matches!(action, "kickoff" | "resume") { Effect::Write } else { Effect::Read };
        Self {
            principal: Principal {
                key: PrincipalKey::new("okta", "alice"),
                kind: PrincipalKind::User,
                groups: Default::default(),
                client: None,
                token: TokenFacts {
                    issued: now.saturating_sub(Duration::from_secs(600)),
                    expires: now.saturating_add(Duration::from_secs(3000)),
                    fingerprint: "00".to_owned(),
                    mfa: true,
                    sender_constrained: false,
                    authenticated: None,
                    class: None,
                    actors: Vec::new(),
                    exchanged: None,
                },
                human: None,
            },
            roles: roles.iter().map(role).collect(),
            operation: Operation {
                action: Action::of(action),
                resource: Resource {
                    kind: "Crew".into(),
                    name: crew.to_owned(),
                    parents: parents.unwrap_or_default(),
                },
                effect,
                inputs: Vec::new(),
                datasets: Vec::new(),
                prompts: Vec::new(),
                has_undeclared_inputs: false,
                body_bytes: 100,
                webhook_hosts: Vec::new(),
                ids: Vec::new(),
                owner: None,
                run: None,
                message: Message {
                    method: http::Method::POST,
                    path: Vec::new(),
                    body: None,
                    free_text: Vec::new(),
                },
            },
            approvals: None,
            now,
        }
    }

    pub(crate) fn input(mut self, name: &str, value: InputValue) -> Self {
        self.operation.inputs.push((name.to_owned(), value));
        self
    }

    pub(crate) fn dataset(self, name: &str) -> Self {
        self.input("dataset", InputValue::String(name.to_owned()))
    }

    pub(crate) fn approved(mut self, sets: &[&str]) -> Self {
        let sets = sets.iter().map(|set| ApproverSet::new(*set)).collect();
        let approval = crewgate_core::ApprovalId::random();
        self.approvals = Some(Approvals { approval, sets });
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            principal: &self.principal,
            roles: &self.roles,
            operation: &self.operation,
            approvals: self.approvals.as_ref(),
            now: self.now,
        }
    }

    pub(crate) fn of(&self, policy: &impl Policy) -> Decision {
        policy.decide(&self.query())
    }
}

/// `allow [duties]`, `ask [missing] [duties]`, `refuse rule`: a decision in one line.
pub(crate) fn brief(decision: &Decision) -> String {
    let duties = || {
        let duties = decision.duties().cloned().unwrap_or_default();
        let approvals = duties.approvals.iter().map(|set| format!("approval:{set}"));
        let masks = duties.masks.iter().map(|mask| format!("mask:{mask}"));
        let rates = duties.rates.iter().map(|duty| format!("{}:{}", duty.rule, duty.rate));
        approvals.chain(masks).chain(rates).collect::<Vec<_>>().join(" ")
    };
    match decision {
        Decision::Allow { .. } => format!("allow [{}]", duties()),
        Decision::Ask { approvals, .. } => {
            let missing: Vec<_> = approvals.iter().map(ToString::to_string).collect();
            format!("ask {} [{}]", missing.join(" "), duties())
        }
        Decision::Refuse { rule: Some(rule), .. } => format!("refuse {rule}"),
        Decision::Refuse { rule: None, .. } => "refuse".to_owned(),
    }
}
