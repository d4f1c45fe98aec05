use std::collections::BTreeMap;

use crewgate_audit::{Entry, Held, Leaf, Phase};
use crewgate_core::{ApprovalStep, Effect, Ending, Fact, GrantStep, PrincipalKind, Timestamp};
use serde::Serialize;

/// What of a leaf is handed on: who did what, what was decided and how it ended. Never a body, an answer, or words that
/// somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) leaf: u64,
    pub(crate) hash: String,
    #[serde(serialize_with = "instant")]
    pub(crate) time: Timestamp,
    pub(crate) phase: &'static str,
    /// Whether its facts could be read: `open`, `erased`, `sealed`, `missing`, `broken`.
    pub(crate) content: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<String>,
    #[serde(flatten)]
    pub(crate) facts: Facts,
}

/// What the facts tell, where they can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<PrincipalKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<Effect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) grants: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// Values that were masked, by entity.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) masked: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ending>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

impl Event {
    pub(crate) fn of(leaf: &Leaf) -> Self {
        let content = match leaf.held {
            Held::Open(_) => "open",
            Held::Sealed => "sealed",
            Held::Erased { .. } => "erased",
            Held::Missing => "missing",
            Held::Broken => "broken",
        };
        let base = Self {
            leaf: leaf.index,
            hash: leaf.hash().to_string(),
            time: Timestamp::from_secs(0),
            phase: "unreadable",
            content,
            request: None,
            run: None,
            approval: None,
            facts: Facts::default(),
        };
        // A leaf that was tampered with is handed on as far as it can be read: it must not hold up those after it.
        let bare = || Leaf { held: Held::Missing, ..leaf.clone() }.entry();
        let Ok(entry) = leaf.entry().or_else(|_| bare()) else { return base };
        Self {
            time: entry.time,
            phase: entry.phase.as_str(),
            request: Some(entry.request.to_string()),
            run: entry.run.map(|run| run.to_string()),
            approval: entry.approval.map(|approval| approval.to_string()),
            facts: Facts::of(&entry),
            ..base
        }
    }

    /// Whether somebody was refused something.
    pub(crate) fn is_refusal(&self) -> bool {
        self.phase == Phase::Refused.as_str() || self.facts.refused.is_some()
    }

    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let facts = &self.facts;
        let what =
            facts.action.as_deref().or(facts.control.as_deref()).or(facts.step).or(facts.method.as_deref());
        let on = facts.resource.as_deref().or(facts.path.as_deref());
        let who = facts.principal.as_deref().map(|who| format!("by {who}"));
        let status = facts.status.map(|status| status.to_string());
        let parts = [Some(self.phase), what, on, who.as_deref(), facts.refused.as_deref(), status.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Facts {
    fn of(entry: &Entry) -> Self {
        let mut told = Self { principal: entry.principal().map(ToString::to_string), ..Self::default() };
        for fact in &entry.facts {
            told.note(fact);
        }
        told
    }

    fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::Answered { status } => self.upstream_status = Some(*status),
            Fact::Approval { step, .. } => self.step = Some(approval_step(step)),
            Fact::Authenticated { kind, client, .. } => {
                (self.kind, self.client) = (Some(*kind), client.clone());
            }
            Fact::Control { what, .. } => self.control = Some(what.clone()),
            Fact::Decided { outcome, basis, .. } => {
                self.decision = Some(outcome.clone());
                self.policy = basis.policy.as_ref().map(ToString::to_string);
                self.rules = texts(&basis.rules);
                self.roles = texts(&basis.roles);
                self.grants = texts(&basis.grants);
            }
            Fact::Described { action, resource, effect, .. } => {
                self.action = Some(action.to_string());
                self.resource = Some(resource.clone());
                self.effect = Some(*effect);
            }
            Fact::Ended { how, status, bytes, .. } => {
                (self.ended, self.status, self.bytes) = (Some(*how), Some(*status), Some(*bytes));
            }
            Fact::Grant { grant, step } => {
                self.step = Some(grant_step(step));
                self.grants = vec![grant.to_string()];
            }
            Fact::Masked { hits, .. } => {
                for (entity, places) in hits {
                    *self.masked.entry(entity.clone()).or_insert(0) += places.values().sum::<u64>();
                }
            }
            Fact::Received { method, path, remote, .. } => {
                (self.method, self.path, self.remote) =
                    (Some(method.clone()), Some(path.clone()), remote.clone());
            }
            Fact::Refused { code, .. } => self.refused = Some(code.clone()),
            Fact::Unanswered { code, .. } => self.refused = Some(code.clone()),
            _ => {}
        }
    }
}

fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

fn approval_step(step: &ApprovalStep) -> &'static str {
    match step {
        ApprovalStep::Cancelled { .. } => "cancelled",
        ApprovalStep::Claimed => "claimed",
        ApprovalStep::Executed => "executed",
        ApprovalStep::Failed { .. } => "failed",
        ApprovalStep::GlassBroken { .. } => "glass_broken",
        ApprovalStep::Indeterminate => "indeterminate",
        ApprovalStep::Invalidated { .. } => "invalidated",
        ApprovalStep::Requested { .. } => "requested",
        ApprovalStep::Returned => "returned",
        ApprovalStep::Reviewed { .. } => "reviewed",
        ApprovalStep::Voted { verdict: crewgate_core::Verdict::Approve, .. } => "approved",
        ApprovalStep::Voted { verdict: crewgate_core::Verdict::Deny, .. } => "denied",
        _ => "moved",
    }
}

fn grant_step(step: &GrantStep) -> &'static str {
    match step {
        GrantStep::Given { .. } => "given",
        GrantStep::Revoked { .. } => "revoked",
        GrantStep::Used { .. } => "used",
        _ => "moved",
    }
}

fn instant<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use crewgate_audit::{AuditStore, Frame, Lane, MemoryStore};
    use crewgate_core::{Action, PrincipalKey, RequestId, RunId};

    use super::*;

    /// An event that tells everything there is to tell.
    pub(in crate::export) fn everything() -> Event {
        let text = |text: &str| Some(text.to_owned());
        let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        Event {
            leaf: 7,
            hash: "00".to_owned(),
            time: Timestamp::from_secs(1_781_524_800),
            phase: "outcome",
            content: "open",
            request: text("request"),
            run: text("run"),
            approval: text("approval"),
            facts: Facts {
                principal: text("okta:anna"),
                kind: Some(PrincipalKind::User),
                client: text("cli"),
                remote: text("192.0.2.7"),
                method: text("POST"),
                path: text("/support/kickoff"),
                action: text("kickoff"),
                resource: text("Crew/support"),
                effect: Some(Effect::Write),
                decision: text("allow"),
                policy: text("digest"),
                rules: texts(["one", "two"]),
                roles: texts(["analysts", "owners"]),
                grants: texts(["first", "second"]),
                step: Some("voted"),
                control: text("config.load"),
                refused: text("policy_denied"),
                masked: [("EMAIL".to_owned(), 2)].into(),
                upstream_status: Some(200),
                status: Some(200),
                ended: Some(Ending::Complete),
                bytes: Some(10),
            },
        }
    }

    /// A call that was refused, with words in it that must not leave.
    pub(in crate::export) async fn leaf() -> Leaf {
        let store = MemoryStore::new();
        let mut entry = Entry::new(Phase::Refused, RequestId::random(), Timestamp::from_secs(1_781_524_800));
        entry.run = Some(RunId::random());
        entry.request_body = Some(Bytes::from_static(b"the body"));
        entry.frames = vec![Frame { offset_micros: 1, bytes: Bytes::from_static(b"the answer") }];
        for fact in [
            Fact::Received {
                method: "POST".to_owned(),
                path: "/support/kickoff".to_owned(),
                remote: Some("192.0.2.7".to_owned()),
                user_agent: Some("the agent".to_owned()),
            },
            Fact::Authenticated {
                principal: PrincipalKey::new("okta", "anna\"]\n"),
                kind: PrincipalKind::User,
                client: Some("cli".to_owned()),
                expires: Timestamp::from_secs(0),
                token: "the token".to_owned(),
            },
            Fact::Described {
                action: Action::of("kickoff"),
                resource: "Crew/support".to_owned(),
                effect: Effect::Write,
                datasets: vec![],
                inputs: vec![],
            },
            Fact::Refused {
                by: crewgate_core::Layer::Policy,
                status: 403,
                code: "policy_denied".to_owned(),
                rule: None,
                detail: "the detail".to_owned(),
            },
            Fact::Ended { how: Ending::Complete, status: 403, bytes: 10, sha256: String::new() },
        ] {
            entry = entry.with_fact(fact);
        }
        store.append(Lane::Outcome, entry).await.unwrap();
        store.all().remove(0)
    }

    #[tokio::test]
    async fn what_is_handed_on_says_who_and_what_and_holds_no_words_of_anybody() {
        let event = Event::of(&leaf().await);
        assert!(event.is_refusal());
        let text = serde_json::to_string(&event).unwrap();
        for told in ["okta:anna", "kickoff", "Crew/support", "policy_denied", "192.0.2.7", "\"status\":403"] {
            assert!(text.contains(told), "{told}: {text}");
        }
        for kept in ["the body", "the answer", "the agent", "the token", "the detail"] {
            assert!(!text.contains(kept), "{kept}: {text}");
        }
    }

    #[tokio::test]
    async fn a_leaf_that_was_erased_or_tampered_with_is_handed_on_as_far_as_it_can_be_read() {
        let leaf = leaf().await;
        let erased = Event::of(&Leaf { held: Held::Erased { subject: "0".to_owned() }, ..leaf.clone() });
        assert_eq!((erased.content, erased.phase, erased.facts), ("erased", "refused", Facts::default()));
        let broken = Event::of(&Leaf { held: Held::Broken, ..leaf.clone() });
        assert_eq!((broken.content, broken.phase), ("broken", "refused"));
        let cut = Event::of(&Leaf { record: leaf.record.chars().take(9).collect(), ..leaf });
        assert_eq!((cut.phase, cut.leaf), ("unreadable", 0));
    }
}
