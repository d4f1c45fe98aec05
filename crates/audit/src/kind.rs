use std::borrow::Cow;

use crewgate_core::Fact;

use crate::{Entry, Phase};

/// What an administrator, the gateway itself or a reader can do, in the words of the record: a
/// [`Fact::Control`]'s text begins with one of them. The set is closed: an entry of these phases that says anything
/// else is refused. Approvals, delegations and grants move by the steps of their facts (`approval.voted`, `grant.given`).
pub const KINDS: &[&str] = &[
    "access.approval",
    "access.approvers",
    "access.delegations",
    "access.grants",
    "access.record",
    "access.restore",
    "access.restore_refused",
    "access.reveal",
    "access.revocations",
    "access.run",
    "access.runs",
    "access.tokens",
    "approval.break_refused",
    "approval.vote_refused",
    "config.clock",
    "config.load",
    "config.refused",
    "config.reload",
    "erasure.cut",
    "erasure.hold",
    "erasure.oldest",
    "erasure.person",
    "erasure.release",
    "key.add",
    "key.fresh",
    "key.stale",
    "policy.differed",
    "policy.load",
];

impl Entry {
    /// What happened, dotted below its phase: `intent`, `approval.voted`, `config.reload`. `None` when its facts do not
    /// say what this phase must say.
    #[must_use]
    pub fn kind(&self) -> Option<Cow<'static, str>> {
        let told = self.facts.iter().find_map(|fact| match fact {
            Fact::Control { what, .. } => what.split(' ').next(),
            Fact::Cut { .. } => Some("erasure.cut"),
            Fact::Erased { .. } => Some("erasure.person"),
            Fact::Pruned { .. } => Some("erasure.oldest"),
            Fact::Shadowed(_) => Some("policy.differed"),
            _ => None,
        });
        let told = told.and_then(|told| KINDS.iter().find(|kind| **kind == told).copied());
        let told = told.filter(|kind| kind.split('.').next() == Some(self.phase.as_str())).map(Cow::Borrowed);
        match self.phase {
            Phase::Access | Phase::Config | Phase::Erasure | Phase::Key | Phase::Policy => told,
            Phase::Approval | Phase::Delegation | Phase::Grant => {
                told.or_else(|| self.facts.iter().find_map(step))
            }
            Phase::Control | Phase::Intent | Phase::Outcome | Phase::Refused | Phase::Webhook => {
                Some(Cow::Borrowed(self.phase.as_str()))
            }
        }
    }
}

/// The step of an approval or a grant, as its fact is stored.
fn step(fact: &Fact) -> Option<Cow<'static, str>> {
    let (phase, stored) = match fact {
        Fact::Approval { step, .. } => (Phase::Approval, serde_json::to_value(step)),
        Fact::Delegation { step, .. } => (Phase::Delegation, serde_json::to_value(step)),
        Fact::Grant { step, .. } => (Phase::Grant, serde_json::to_value(step)),
        // Where no intent says so.
        Fact::Released { .. } => return Some(Cow::Borrowed("approval.sent")),
        _ => return None,
    };
    let stored = stored.ok()?;
    Some(Cow::Owned(format!("{}.{}", phase.as_str(), stored.get("step")?.as_str()?)))
}

#[cfg(test)]
mod tests {
    use crewgate_core::{ApprovalId, ApprovalStep, RequestId, Timestamp};

    use super::*;
    use crate::Prepared;

    fn entry(phase: Phase, what: &str) -> Entry {
        Entry { phase, ..Entry::told(what, None, RequestId::random(), Timestamp::from_secs(1)) }
    }

    #[test]
    fn every_word_belongs_to_one_phase_and_to_no_other() {
        let phases = [
            Phase::Access,
            Phase::Approval,
            Phase::Config,
            Phase::Control,
            Phase::Erasure,
            Phase::Key,
            Phase::Policy,
        ];
        for kind in KINDS {
            let told: Vec<_> = phases
                .into_iter()
                .filter(|phase| entry(*phase, kind).kind().as_deref() == Some(kind))
                .collect();
            assert_eq!(told.len(), 1, "{kind}: {told:?}");
            let entry = Entry::told(*kind, None, RequestId::random(), Timestamp::from_secs(1));
            assert_eq!(told, [entry.phase]);
        }
    }

    #[test]
    fn what_says_nothing_known_does_not_become_a_leaf() {
        for entry in [
            entry(Phase::Access, "access.everything"),
            entry(Phase::Config, "policy.load"),
            Entry::new(Phase::Policy, RequestId::random(), Timestamp::from_secs(1)),
            Entry::new(Phase::Approval, RequestId::random(), Timestamp::from_secs(1)),
        ] {
            assert!(Prepared::new(entry.clone()).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn approvals_are_told_by_their_step() {
        let fact = Fact::Approval { approval: ApprovalId::random(), step: ApprovalStep::Claimed };
        let entry = Entry::new(Phase::Approval, RequestId::random(), Timestamp::from_secs(1)).with_fact(fact);
        assert_eq!(entry.kind().as_deref(), Some("approval.claimed"));
        let record: serde_json::Value = serde_json::from_str(&Prepared::new(entry).unwrap().record).unwrap();
        assert_eq!(record["kind"], "approval.claimed");
    }
}
