use std::collections::{BTreeMap, BTreeSet};

use crewgate_core::{
    Action, ApprovalId, Approvals, ApproverSet, Effect, InputValue, Message, Operation, Principal,
    PrincipalKey, PrincipalKind, Resource, RoleName, Timestamp, TokenFacts,
};
use crewgate_policy::{HeldBy, HeldRole, Query};
use serde::{Deserialize, Serialize};

use crate::{CedarPolicy, Vocabulary, error::closest};

/// Finds the roles a principal holds at an instant, as the configuration binds them.
pub type RoleLookup<'a> = &'a dyn Fn(&Principal, Timestamp) -> Vec<HeldRole>;

/// One question to policy as people write it: what is not said is the least anybody can bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// Who asks, `issuer:subject`.
    pub principal: String,
    /// A person or a program.
    pub kind: PrincipalKind,
    /// Roles they hold, whoever gave them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<RoleName>,
    /// Groups of their token, `issuer:group`; the configuration's bindings make roles of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Whether they signed in with more than one factor.
    #[serde(skip_serializing_if = "is_default")]
    pub mfa: bool,
    /// Whether the token is bound to its sender's key.
    #[serde(skip_serializing_if = "is_default")]
    pub sender_constrained: bool,
    /// Age of the token in seconds.
    pub token_age: u64,
    /// Life of the token in seconds.
    pub token_lifetime: u64,
    /// When they ask, RFC 3339 in UTC.
    #[serde(with = "instant")]
    pub at: Timestamp,
    /// Moves `at` to the next time it is this hour (0–23).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<i64>,
    /// Moves `at` to the next such day of the week (1 is Monday).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekday: Option<i64>,
    /// What they do.
    pub action: String,
    /// On which crew.
    pub crew: String,
    /// The crew's fleets, where they are not those of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleets: Option<Vec<String>>,
    /// Declared inputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<String, InputValue>,
    /// Datasets; absent, those that the inputs name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasets: Option<Vec<String>>,
    /// Ids of the allow-listed prompts it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Length of the body.
    pub body_bytes: u64,
    /// Whether it carries inputs that are not declared.
    #[serde(skip_serializing_if = "is_default")]
    pub has_undeclared_inputs: bool,
    /// Hosts to be called back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook_hosts: Vec<String>,
    /// Whose run it is about, `issuer:subject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Approver sets that have said yes to this very request.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub approved: BTreeSet<ApproverSet>,
}

fn is_default(flag: &bool) -> bool {
    !flag
}

/// 2026-06-15T12:00:00Z, a Monday at noon.
const NOON: Timestamp = Timestamp::from_secs(1_781_524_800);

impl Default for Question {
    fn default() -> Self {
        Self {
            principal: "test:somebody".to_owned(),
            kind: PrincipalKind::User,
            roles: BTreeSet::new(),
            groups: BTreeSet::new(),
            mfa: false,
            sender_constrained: false,
            token_age: 60,
            token_lifetime: 3600,
            at: NOON,
            hour: None,
            weekday: None,
            action: String::new(),
            crew: String::new(),
            fleets: None,
            input: BTreeMap::new(),
            datasets: None,
            prompts: Vec::new(),
            body_bytes: 100,
            has_undeclared_inputs: false,
            webhook_hosts: Vec::new(),
            owner: None,
            approved: BTreeSet::new(),
        }
    }
}

/// A question with everything a [`Query`] borrows.
#[derive(Debug, Clone)]
pub struct Asked {
    pub(crate) principal: Principal,
    pub(crate) roles: Vec<HeldRole>,
    pub(crate) operation: Operation,
    approvals: Option<Approvals>,
    now: Timestamp,
}

impl Asked {
    /// The question as policy takes it.
    #[must_use]
    pub fn query(&self) -> Query<'_> {
        Query {
            principal: &self.principal,
            roles: &self.roles,
            operation: &self.operation,
            approvals: self.approvals.as_ref(),
            now: self.now,
        }
    }
}

/// A word of a question that the configuration does not know, and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The word as written.
    pub(crate) word: String,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl Question {
    /// The question for `policy`, with the crew's fleets as declared and roles from `lookup` besides those it names.
    ///
    /// # Errors
    ///
    /// What it says that the configuration does not know: a misspelt role would make a test pass for the wrong reason.
    pub fn asked(
        &self,
        policy: &CedarPolicy,
        vocabulary: &Vocabulary,
        lookup: Option<RoleLookup<'_>>,
    ) -> Result<Asked, String> {
        self.build(policy, vocabulary, lookup).map_err(|unknown| unknown.to_string())
    }

    pub(crate) fn build(
        &self,
        policy: &CedarPolicy,
        vocabulary: &Vocabulary,
        lookup: Option<RoleLookup<'_>>,
    ) -> Result<Asked, Unknown> {
        let (issuer, subject) = key(&self.principal)?;
        let (action, effect) =
            vocabulary.actions.iter().find(|(action, _)| action.as_str() == self.action).ok_or_else(
                || unknown("action", &self.action, vocabulary.actions.iter().map(|a| a.0.as_str())),
            )?;
        let crew =
            vocabulary.crews.iter().find(|crew| crew.name == self.crew).ok_or_else(|| {
                unknown("crew", &self.crew, vocabulary.crews.iter().map(|c| c.name.as_str()))
            })?;
        for role in &self.roles {
            if !vocabulary.roles.contains(role) {
                return Err(unknown("role", role.as_str(), vocabulary.roles.iter().map(RoleName::as_str)));
            }
        }
        for set in &self.approved {
            if !vocabulary.approvers.contains(set) {
                let known = vocabulary.approvers.iter().map(ApproverSet::as_str);
                return Err(unknown("approver set", set.as_str(), known));
            }
        }
        for name in self.input.keys() {
            if !crew.inputs.iter().any(|(declared, _)| declared == name) {
                return Err(unknown("input", name, crew.inputs.iter().map(|(name, _)| name.as_str())));
            }
        }
        let now = self.instant(policy)?;
        let issued = now.saturating_sub(std::time::Duration::from_secs(self.token_age));
        let principal = Principal {
            key: PrincipalKey::new(issuer, subject),
            kind: self.kind,
            groups: self.groups.iter().map(|group| key(group)).collect::<Result<_, _>>()?,
            client: None,
            token: TokenFacts {
                issued,
                expires: issued.saturating_add(std::time::Duration::from_secs(self.token_lifetime)),
                fingerprint: String::new(),
                mfa: self.mfa,
                sender_constrained: self.sender_constrained,
                authenticated: None,
                class: None,
                actors: Vec::new(),
                exchanged: None,
            },
            human: None,
        };
        let said = self
            .roles
            .iter()
            .map(|role| HeldRole::new(role.clone(), HeldBy::Subject(self.principal.clone())));
        let mut roles: Vec<HeldRole> = said.collect();
        let bound = lookup.map(|lookup| lookup(&principal, now)).unwrap_or_default();
        roles.extend(bound.into_iter().filter(|role| !self.roles.contains(&role.name)));
        let datasets = self.datasets.clone().unwrap_or_default();
        let owner = self.owner.as_deref().map(key).transpose()?;
        Ok(Asked {
            principal,
            roles,
            operation: Operation {
                action: Action::from(action.as_str().to_owned()),
                resource: Resource {
                    kind: "Crew".into(),
                    name: crew.name.clone(),
                    parents: self.fleets.clone().unwrap_or_else(|| crew.fleets.clone()),
                },
                effect: *effect,
                inputs: self.input.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
                datasets,
                prompts: self.prompts.clone(),
                has_undeclared_inputs: self.has_undeclared_inputs,
                body_bytes: self.body_bytes,
                webhook_hosts: self.webhook_hosts.clone(),
                ids: Vec::new(),
                owner: owner.map(|(issuer, subject)| PrincipalKey::new(issuer, subject)),
                run: None,
                message: Message {
                    method: if *effect == Effect::Read { http::Method::GET } else { http::Method::POST },
                    path: Vec::new(),
                    body: None,
                    free_text: Vec::new(),
                },
            },
            approvals: (!self.approved.is_empty())
                .then(|| Approvals { approval: ApprovalId::random(), sets: self.approved.clone() }),
            now,
        })
    }

    /// `at`, moved to the hour and weekday asked for, by the clock the rules read.
    fn instant(&self, policy: &CedarPolicy) -> Result<Timestamp, Unknown> {
        if self.hour.is_none() && self.weekday.is_none() {
            return Ok(self.at);
        }
        let hours =
            (0..24 * 15_u64).map(|h| self.at.saturating_add(std::time::Duration::from_secs(h * 3600)));
        hours
            .into_iter()
            .find(|at| {
                let (hour, weekday) = policy.clock(*at);
                self.hour.is_none_or(|wanted| wanted == hour)
                    && self.weekday.is_none_or(|wanted| wanted == weekday)
            })
            .ok_or_else(|| Unknown {
                word: self.hour.or(self.weekday).map(|n| n.to_string()).unwrap_or_default(),
                message: "no such hour or weekday".to_owned(),
                help: Some("hours are 0–23, weekdays 1 (Monday) – 7".to_owned()),
            })
    }

    /// The question in the syntax of cases; what is as usual is left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let usual = toml::Table::try_from(Self::default()).unwrap_or_default();
        let own = toml::Table::try_from(self).unwrap_or_default();
        // In the order people say it; the table itself is sorted by name.
        let order = ["principal", "kind", "roles", "groups", "action", "crew", "fleets", "input"];
        let mut keys: Vec<_> = own.keys().filter(|key| own.get(*key) != usual.get(*key)).collect();
        keys.sort_by_key(|key| order.iter().position(|first| first == key).unwrap_or(order.len()));
        keys.into_iter().filter_map(|key| Some(format!("{key} = {}\n", own.get(key)?))).collect()
    }
}

fn key(text: &str) -> Result<(&str, &str), Unknown> {
    text.split_once(':').ok_or_else(|| Unknown {
        word: text.to_owned(),
        message: format!("`{text}` names no issuer"),
        help: Some("principals and groups are written issuer:name, as in \"okta:alice\"".to_owned()),
    })
}

pub(crate) fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Unknown {
    let known: Vec<_> = known.into_iter().collect();
    let help = match closest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("no {what} is declared"),
        None => format!("declared: {}", known.join(", ")),
    };
    Unknown { word: name.to_owned(), message: format!("unknown {what} `{name}`"), help: Some(help) }
}

mod instant {
    use crewgate_core::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        let time = humantime::parse_rfc3339_weak(&text).map_err(|_| {
            D::Error::custom(format!("`{text}` is no instant: write \"2026-06-15T12:00:00Z\""))
        })?;
        Ok(Timestamp::from(time))
    }
}
