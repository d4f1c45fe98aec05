//! Who can do something, and what somebody can do: by scope, with every condition that is not known shown instead of
//! guessed. What is known is evaluated by Cedar.

use std::{collections::BTreeSet, fmt};

use cedar_policy::{EntityUid, PrincipalConstraint};
use crewgate_core::{ApproverSet, PrincipalKind, RoleName, RuleId};
use serde::Serialize;

use super::{
    Question, RoleLookup,
    literals::clauses,
    question::{Asked, Unknown, unknown},
    scope::{Fit, Known, speaks_of},
};
use crate::{CedarPolicy, Vocabulary, engine::Engine, rule::Rule, vocabulary::CrewDeclaration};

/// Whom a permit speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "who", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Who {
    /// Everybody who is authenticated.
    Anybody,
    /// Every person, or every program.
    Every {
        /// Which of both.
        kind: PrincipalKind,
    },
    /// Who holds a role.
    Role {
        /// The role.
        role: RoleName,
    },
    /// One principal.
    Principal {
        /// `issuer:subject`
        principal: String,
        /// Person or program.
        kind: PrincipalKind,
    },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Every { kind: PrincipalKind::User } => f.write_str("every person"),
            Self::Every { kind: PrincipalKind::Service } => f.write_str("every program"),
            Self::Role { role } => write!(f, "role {role}"),
            Self::Principal { principal, .. } => f.write_str(principal),
        }
    }
}

impl Who {
    /// Whom this permit speaks of.
    fn of(rule: &Rule) -> Self {
        let kind_of = |name: &str| match name {
            "Service" => PrincipalKind::Service,
            _ => PrincipalKind::User,
        };
        let one = |uid: &EntityUid| match uid.type_name().to_string().as_str() {
            "Role" => Self::Role { role: RoleName::new(uid.id().unescaped()) },
            kind => Self::Principal { principal: uid.id().unescaped().to_owned(), kind: kind_of(kind) },
        };
        match rule.policy.principal_constraint() {
            PrincipalConstraint::Any => Self::Anybody,
            PrincipalConstraint::Is(kind) => Self::Every { kind: kind_of(&kind.to_string()) },
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => one(&uid),
        }
    }

    fn known(&self) -> Known {
        match self {
            Self::Anybody => Known::default(),
            Self::Every { kind } => Known { kind: Some(*kind), ..Known::default() },
            Self::Role { role } => Known { roles: [role.clone()].into(), ..Known::default() },
            Self::Principal { principal, kind } => {
                Known { kind: Some(*kind), key: Some(principal.clone()), ..Known::default() }
            }
        }
    }
}

/// A permit that can let them through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The permit.
    pub permit: RuleId,
    /// Who must say yes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApproverSet>,
    /// What must hold besides, in Cedar's words; empty: nothing.
    pub conditions: Vec<String>,
}

/// A guard that can stand in their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// The guard.
    pub guard: RuleId,
    /// What must be done for it, in the words of `context.done`; empty: it forbids.
    pub duties: BTreeSet<String>,
    /// When it applies, in Cedar's words; empty: always.
    pub conditions: Vec<String>,
}

/// That somebody can do something on a crew, by which permits, within which guards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Who.
    #[serde(flatten)]
    pub who: Who,
    /// What.
    pub action: String,
    /// On which crew.
    pub crew: String,
    /// Any of these permits.
    pub ways: Vec<Way>,
    /// All of these guards.
    pub limits: Vec<Limit>,
}

impl Access {
    /// Whether nothing but being who they are is needed: no approval and no condition, whatever is masked or counted.
    #[must_use]
    pub fn is_unconditional(&self) -> bool {
        let hindered = |limit: &Limit| {
            limit.duties.is_empty() || limit.duties.iter().any(|duty| duty.starts_with("approval:"))
        };
        self.ways.iter().any(|way| way.approval.is_none() && way.conditions.is_empty())
            && !self.limits.iter().any(hindered)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.who, self.action, self.crew)?;
        for way in &self.ways {
            write!(f, "\n  may by {}", way.permit)?;
            way.approval.iter().try_for_each(|set| write!(f, ", after approval of {set}"))?;
            way.conditions.iter().try_for_each(|condition| write!(f, "\n      {condition}"))?;
        }
        for limit in &self.limits {
            if limit.duties.is_empty() {
                write!(f, "\n  not by {}", limit.guard)?;
            } else {
                let duties: Vec<_> = limit.duties.iter().map(String::as_str).collect();
                write!(f, "\n  {} by {}", duties.join(", "), limit.guard)?;
            }
            limit.conditions.iter().try_for_each(|condition| write!(f, "\n      {condition}"))?;
        }
        Ok(())
    }
}

/// What is known of a request, so that conditions on it are evaluated instead of shown.
struct Facts<'a> {
    engine: &'a Engine,
    asked: &'a Asked,
    /// Whether the inputs are known, and the datasets they name.
    inputs: bool,
    /// Whether the principal is.
    principal: bool,
}

impl Facts<'_> {
    fn knows(&self, fact: &str) -> bool {
        match fact {
            "action" | "resource" => true,
            "principal" => self.principal,
            "datasets" => self.inputs,
            fact => self.inputs && fact.starts_with("input."),
        }
    }

    /// The conditions of a rule that remain open; `None` when one of them fails.
    fn open(&self, rule: &Rule) -> Option<Vec<String>> {
        let mut open = Vec::new();
        for clause in clauses(&rule.policy) {
            let known = clause.reads().iter().all(|fact| self.knows(fact));
            let holds = clause.alone().filter(|_| known).and_then(|alone| {
                self.engine.holds(&self.asked.query(), &alone, &rule.roles, BTreeSet::new())
            });
            match holds {
                Some(true) => {}
                Some(false) => return None,
                // A clause that cannot be evaluated is shown too.
                None => open.push(clause.text()),
            }
        }
        Some(open)
    }

    /// As [`open`](Self::open), with what the scope asks of the principal in front.
    fn open_for(&self, known: &Known, rule: &Rule) -> Option<Vec<String>> {
        let scope = match known.fits(rule) {
            Fit::No => return None,
            Fit::Yes => None,
            Fit::If(condition) => Some(format!("when {{ {condition} }}")),
        };
        let open = self.open(rule)?;
        Some(scope.into_iter().chain(open).collect())
    }

    /// What `who` can do; `None` where no permit is left or a guard always forbids.
    fn access(&self, who: Who, known: &Known, permits: &[&Rule], guards: &[&Rule]) -> Option<Access> {
        let way = |rule: &&Rule| {
            let conditions = self.open_for(known, rule)?;
            Some(Way { permit: rule.id.clone(), approval: rule.approval.clone(), conditions })
        };
        let limit = |rule: &&Rule| {
            let conditions = self.open_for(known, rule)?;
            let mut duties = crewgate_core::Duties::default();
            rule.ask(&mut duties);
            Some(Limit { guard: rule.id.clone(), duties: crate::duty::done(&duties), conditions })
        };
        let ways: Vec<_> = permits.iter().filter_map(way).collect();
        let limits: Vec<_> = guards.iter().filter_map(limit).collect();
        let barred = limits.iter().any(|limit| limit.duties.is_empty() && limit.conditions.is_empty());
        let operation = &self.asked.operation;
        (!ways.is_empty() && !barred).then(|| Access {
            who,
            action: operation.action.to_string(),
            crew: operation.resource.name.clone(),
            ways,
            limits,
        })
    }
}

/// Everybody who can do `question.action` on `question.crew`: complete over what permits can speak of, each with what
/// must hold besides. With inputs in the question, conditions on inputs are evaluated (one not given is not sent).
///
/// # Errors
///
/// What the question says that the configuration does not know.
pub fn who_can(
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    question: &Question,
) -> Result<Vec<Access>, String> {
    let asked = question.asked(policy, vocabulary, None)?;
    let engine = policy.engine();
    let (permits, guards) = speaking(engine, vocabulary, question).map_err(|unknown| unknown.to_string())?;
    let facts = Facts { engine, asked: &asked, inputs: !question.input.is_empty(), principal: false };
    let all: BTreeSet<Who> = permits.iter().map(|rule| Who::of(rule)).collect();
    let of = |who: Who| {
        let own: Vec<&Rule> = permits.iter().copied().filter(|rule| Who::of(rule) == who).collect();
        let known = who.known();
        facts.access(who, &known, &own, &guards)
    };
    Ok(all.into_iter().filter_map(of).collect())
}

/// Everything `question.principal` can do with the roles it holds, on every crew, each with what must hold besides.
///
/// # Errors
///
/// What the question says that the configuration does not know.
pub fn what_can(
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    question: &Question,
    lookup: Option<RoleLookup<'_>>,
) -> Result<Vec<Access>, String> {
    let engine = policy.engine();
    let mut found = Vec::new();
    for crew in &vocabulary.crews {
        for (action, _) in &vocabulary.actions {
            let question =
                Question { action: action.to_string(), crew: crew.name.clone(), ..question.clone() };
            let asked = question.asked(policy, vocabulary, lookup)?;
            let (permits, guards) =
                speaking(engine, vocabulary, &question).map_err(|unknown| unknown.to_string())?;
            let known = Known {
                kind: Some(question.kind),
                key: Some(question.principal.clone()),
                roles: asked.roles.iter().map(|role| role.name.clone()).collect(),
                all_roles: true,
            };
            let facts = Facts { engine, asked: &asked, inputs: false, principal: true };
            let who = Who::Principal { principal: question.principal.clone(), kind: question.kind };
            found.extend(facts.access(who, &known, &permits, &guards));
        }
    }
    Ok(found)
}

/// Permits and guards whose scope takes the action on the crew, sorted by id.
pub(crate) fn speaking<'e>(
    engine: &'e Engine,
    vocabulary: &Vocabulary,
    question: &Question,
) -> Result<(Vec<&'e Rule>, Vec<&'e Rule>), Unknown> {
    let none = CrewDeclaration::default();
    let declared = vocabulary.crews.iter().find(|crew| crew.name == question.crew).unwrap_or(&none);
    let mut crew = declared.clone();
    crew.fleets.clone_from(question.fleets.as_ref().unwrap_or(&declared.fleets));
    let action = engine
        .actions
        .iter()
        .map(|action| action.uid())
        .find(|uid| uid.id().unescaped() == question.action)
        .ok_or_else(|| {
            unknown("action", &question.action, vocabulary.actions.iter().map(|a| a.0.as_str()))
        })?;
    let mut rules: Vec<&Rule> =
        engine.rules.iter().filter(|rule| speaks_of(engine, &rule.policy, &action, &crew)).collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rules.into_iter().partition(|rule| rule.permit))
}
