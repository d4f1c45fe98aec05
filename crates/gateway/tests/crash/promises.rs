//! I1 to I7 of `docs/approval.md`, each by its name: checked when all is over, against what is stored, the record, and
//! what the crew received.

use std::collections::{BTreeMap, BTreeSet};

use crewgate_approval::{Approval, Phase, State, digest};
use crewgate_audit::Phase as Told;
use crewgate_core::{
    ApprovalId, ApprovalStep, Clock as _, Fact, PrincipalKey, SystemClock, Timestamp, Verdict,
};

use crate::world::{World, sealed, sha256, topic};

/// A step of an approval, as the record tells it.
enum Leaf {
    Step(ApprovalStep),
    /// The intent that carries it out, and the digest of the body it seals.
    Released(Option<String>),
}

/// All there is to know when the gateway has ended well.
pub(crate) struct Evidence {
    rows: BTreeMap<String, Approval>,
    leaves: BTreeMap<String, Vec<(Timestamp, Leaf)>>,
    pub(crate) received: Vec<Vec<u8>>,
    given: BTreeSet<ApprovalId>,
    now: Timestamp,
}

impl Evidence {
    /// Stops the gateway and looks at everything; the log must verify.
    pub(crate) async fn of(world: World) -> Self {
        world.stop();
        let rows = world.stored().await;
        let names: BTreeMap<_, _> = rows.iter().map(|(topic, row)| (row.id(), topic.clone())).collect();
        let mut leaves: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for entry in world.record().await {
            for fact in &entry.facts {
                // What a call tells of an approval besides is no step of it.
                let (id, leaf) = match (entry.phase, fact) {
                    (Told::Approval, Fact::Approval { approval, step }) => {
                        (approval, Leaf::Step(step.clone()))
                    }
                    (Told::Intent | Told::Approval, Fact::Released { approval, .. }) => {
                        (approval, Leaf::Released(sealed(&entry).map(str::to_owned)))
                    }
                    _ => continue,
                };
                let name =
                    names.get(id).unwrap_or_else(|| panic!("I6: a leaf of no stored approval: {entry:?}"));
                leaves.entry(name.clone()).or_default().push((entry.time, leaf));
            }
        }
        world.folder.ask(&["audit", "verify"]);
        Self { rows, leaves, received: world.received(), given: world.given().await, now: SystemClock.now() }
    }

    /// How often the crew received this.
    pub(crate) fn sent(&self, about: &str) -> usize {
        self.received.iter().filter(|body| topic(body) == about).count()
    }

    pub(crate) fn keeps_all_promises(&self) {
        self.i1_at_most_one_send();
        self.i2_the_bytes_are_the_approved_ones();
        self.i3_others_have_agreed_or_the_glass_is_broken();
        self.i4_nothing_is_sent_after_its_end();
        self.i5_what_has_ended_does_not_change();
        self.i6_every_step_has_its_leaf_and_the_leaf_comes_first();
        self.i7_silence_decides_nothing();
    }

    fn leaves(&self, about: &str) -> impl Iterator<Item = (Timestamp, &Leaf)> {
        self.leaves.get(about).into_iter().flatten().map(|(at, leaf)| (*at, leaf))
    }

    fn steps(&self, about: &str) -> impl Iterator<Item = &ApprovalStep> {
        self.leaves(about).filter_map(|(_, leaf)| match leaf {
            Leaf::Step(step) => Some(step),
            Leaf::Released(_) => None,
        })
    }

    fn released(&self, about: &str) -> Vec<Timestamp> {
        self.leaves(about).filter(|(_, leaf)| matches!(leaf, Leaf::Released(_))).map(|(at, _)| at).collect()
    }

    fn i1_at_most_one_send(&self) {
        for (about, row) in &self.rows {
            if row.asked.operation.resource.kind == "Role" {
                let given = self.given.contains(&row.id());
                assert_eq!(given, row.state.phase() == Phase::Executed, "I1: {about}: {row:?}");
                continue;
            }
            let (sent, released) = (self.sent(about), self.released(about).len());
            assert!(sent <= released && released <= 1, "I1: {about} was sent {sent} times: {row:?}");
            let found_out = self.steps(about).any(|step| matches!(step, ApprovalStep::Resolved { .. }));
            match row.state_at(self.now).phase() {
                // What CrewAI has answered, it has received.
                Phase::Executed if !found_out => assert_eq!(sent, 1, "I1: {about}: {row:?}"),
                Phase::Executing | Phase::Indeterminate | Phase::Executed => (),
                Phase::Failed if found_out => (),
                _ => assert_eq!(sent, 0, "I1: {about}: {row:?}"),
            }
        }
    }

    fn i2_the_bytes_are_the_approved_ones(&self) {
        for body in &self.received {
            let about = topic(body);
            let Some(asked) = self.rows.get(&about).map(|row| &row.asked) else {
                panic!("I2: {about} was sent and never asked for");
            };
            assert_eq!(body, &asked.outgoing.body, "I2: {about}");
            let approved = digest(&asked.outgoing, &asked.requester, &asked.operation, &asked.upstream);
            assert_eq!(approved, asked.digest, "I2: {about}");
            let of_record = self.steps(&about).find_map(|step| match step {
                ApprovalStep::Requested { digest, .. } => Some(digest.clone()),
                _ => None,
            });
            assert_eq!(of_record, Some(approved.to_string()), "I2: {about}");
        }
    }

    fn i3_others_have_agreed_or_the_glass_is_broken(&self) {
        for about in self.rows.keys().filter(|about| !self.released(about).is_empty()) {
            let Some(row) = self.rows.get(about) else { continue };
            let agreed: BTreeSet<&PrincipalKey> = self
                .steps(about)
                .filter_map(|step| match step {
                    ApprovalStep::Voted { by, verdict: Verdict::Approve, .. } => Some(by),
                    _ => None,
                })
                .collect();
            let broken = self.steps(about).any(|step| matches!(step, ApprovalStep::GlassBroken { .. }));
            let needed = row.asked.needs.iter().map(|need| need.count.get()).max().unwrap_or(u32::MAX);
            let enough = u32::try_from(agreed.len()).unwrap() >= needed;
            assert!((enough || broken) && !agreed.contains(&row.asked.requester.key), "I3: {about}: {row:?}");
            assert_eq!(broken, row.broken.is_some(), "I3: {about} does not say that its glass was broken");
        }
    }

    fn i4_nothing_is_sent_after_its_end(&self) {
        for (about, row) in &self.rows {
            let mut usable: Option<Timestamp> = None;
            for (at, leaf) in self.leaves(about) {
                match leaf {
                    Leaf::Step(
                        ApprovalStep::Voted { settles: true, verdict: Verdict::Approve, .. }
                        | ApprovalStep::GlassBroken { .. },
                    ) => usable = Some(at.saturating_add(row.asked.usable_for)),
                    Leaf::Step(step) if ends(step) => usable = None,
                    Leaf::Released(_) => {
                        assert!(usable.is_some_and(|until| at < until), "I4: {about}: {row:?}");
                    }
                    Leaf::Step(_) => (),
                }
            }
        }
    }

    fn i5_what_has_ended_does_not_change(&self) {
        for about in self.rows.keys() {
            let mut ended = false;
            for (_, leaf) in self.leaves(about) {
                let reviewed = matches!(leaf, Leaf::Step(ApprovalStep::Reviewed { .. }));
                assert!(!ended || reviewed, "I5: {about} went on after its end");
                ended |= matches!(leaf, Leaf::Step(step) if ends(step));
            }
        }
    }

    fn i6_every_step_has_its_leaf_and_the_leaf_comes_first(&self) {
        for (about, row) in &self.rows {
            let first = self.leaves(about).next();
            assert!(matches!(first, Some((_, Leaf::Step(ApprovalStep::Requested { .. })))), "I6: {about}");
            assert_eq!(
                self.told(about),
                row.state.phase(),
                "I6: {about}: the record ends otherwise: {row:?}"
            );
            let steps = u64::try_from(self.leaves(about).count()).unwrap();
            assert_eq!(steps, row.version, "I6: {about}: a leaf for each version of the row");
            let votes = self.steps(about).filter(|step| matches!(step, ApprovalStep::Voted { .. })).count();
            assert_eq!(votes, row.votes.len(), "I6: {about}");
        }
        for body in &self.received {
            let (about, digest) = (topic(body), sha256(body));
            let intended = self.leaves(&about).any(|(_, leaf)| match leaf {
                Leaf::Released(sealed) => sealed.as_ref() == Some(&digest),
                Leaf::Step(_) => false,
            });
            assert!(intended, "I6: {about} left before its intent was on the record");
        }
    }

    fn i7_silence_decides_nothing(&self) {
        for (about, row) in &self.rows {
            let spoken = self.steps(about).any(|step| match step {
                ApprovalStep::Voted { settles, .. } => *settles,
                ApprovalStep::GlassBroken { .. } | ApprovalStep::Cancelled { .. } => true,
                _ => false,
            });
            if !spoken {
                let state = row.state_at(self.now);
                assert!(matches!(state, State::Pending | State::Expired), "I7: {about}: {row:?}");
                assert_eq!(self.sent(about), 0, "I7: {about}");
            }
        }
    }

    /// Where an approval stands by its leaves alone.
    fn told(&self, about: &str) -> Phase {
        self.leaves(about).fold(Phase::Pending, |before, (_, leaf)| match leaf {
            Leaf::Released(_) | Leaf::Step(ApprovalStep::Claimed) => Phase::Executing,
            Leaf::Step(step) => match step {
                ApprovalStep::Voted { settles: true, verdict: Verdict::Approve, .. }
                | ApprovalStep::GlassBroken { .. }
                | ApprovalStep::Returned => Phase::Approved,
                ApprovalStep::Voted { settles: true, verdict: Verdict::Deny, .. } => Phase::Denied,
                ApprovalStep::Cancelled { .. } => Phase::Cancelled,
                ApprovalStep::Executed | ApprovalStep::Resolved { ran: true, .. } => Phase::Executed,
                ApprovalStep::Failed { .. } | ApprovalStep::Resolved { ran: false, .. } => Phase::Failed,
                ApprovalStep::Invalidated { .. } => Phase::Invalidated,
                ApprovalStep::Indeterminate => Phase::Indeterminate,
                _ => before,
            },
        })
    }
}

/// Whether nothing can come after this but a review.
fn ends(step: &ApprovalStep) -> bool {
    match step {
        ApprovalStep::Voted { settles, verdict, .. } => *settles && *verdict == Verdict::Deny,
        ApprovalStep::Cancelled { .. }
        | ApprovalStep::Executed
        | ApprovalStep::Failed { .. }
        | ApprovalStep::Invalidated { .. }
        | ApprovalStep::Resolved { .. } => true,
        _ => false,
    }
}
