use crewgate_approval::Approval;
use crewgate_audit::{Entry, Phase};
use crewgate_core::{ApprovalId, ApprovalStep, Fact, Timestamp, Verdict};
use crewgate_masking::Masker;

use crate::config::Occasion;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Asked,
    Broken { by: String, due: Timestamp },
    Decided { how: &'static str, by: String },
    Ending { role: String, until: Timestamp },
    Escalated { to: String },
    Expiring,
    Overdue { by: String },
    Reviewed { how: &'static str, by: String },
}

impl Told {
    pub(crate) fn occasion(&self) -> Occasion {
        match self {
            Self::Asked => Occasion::Asked,
            Self::Broken { .. } | Self::Overdue { .. } | Self::Reviewed { .. } => Occasion::Broken,
            Self::Decided { .. } => Occasion::Decided,
            Self::Ending { .. } => Occasion::Ending,
            Self::Escalated { .. } => Occasion::Escalated,
            Self::Expiring => Occasion::Expiring,
        }
    }
}

/// What an entry of the record tells, of which approval.
pub(crate) fn told_by(entry: &Entry) -> Option<(ApprovalId, Told)> {
    if entry.phase != Phase::Approval {
        return None;
    }
    entry.facts.iter().find_map(|fact| {
        let Fact::Approval { approval, step } = fact else { return None };
        let decided = |how, by: &crewgate_core::PrincipalKey| Told::Decided { how, by: by.to_string() };
        let told = match step {
            ApprovalStep::GlassBroken { by, due, .. } => Told::Broken { by: by.to_string(), due: *due },
            ApprovalStep::Requested { .. } => Told::Asked,
            ApprovalStep::Reviewed { by, verdict, .. } => {
                let how = match verdict {
                    Verdict::Approve => "found right",
                    Verdict::Deny => "found wrong",
                };
                Told::Reviewed { how, by: by.to_string() }
            }
            ApprovalStep::Voted { settles: true, verdict: Verdict::Approve, by, .. } => {
                decided("approved", by)
            }
            ApprovalStep::Voted { settles: true, verdict: Verdict::Deny, by, .. } => decided("denied", by),
            ApprovalStep::Cancelled { by } => decided("taken back", by),
            _ => return None,
        };
        Some((*approval, told))
    })
}

/// A message: what waits for whom and where to look. Never an input, a body or words that somebody wrote, and masked
/// all the same; never a way to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The same however often it is sent.
    pub(crate) id: String,
    /// `approval.asked`, `approval.broken`, `approval.decided`, `approval.escalated`, `approval.expiring`,
    /// `approval.overdue`, `approval.reviewed`, `grant.ending`.
    pub(crate) kind: &'static str,
    /// When it happened.
    pub(crate) at: Timestamp,
    pub(crate) approval: String,
    /// One line.
    pub(crate) title: String,
    /// Names and values, each one line.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Where a person reads the whole and decides.
    pub(crate) link: String,
}

impl Notice {
    pub(crate) fn of(
        id: &str,
        approval: &Approval,
        told: &Told,
        at: Timestamp,
        link: String,
        masker: Option<&Masker>,
    ) -> Self {
        let asked = &approval.asked;
        let what = format!("{} on {}", asked.operation.action, asked.operation.resource.name);
        let sets = approval.sets().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let instant = |at: Timestamp| humantime::format_rfc3339_seconds(at.into()).to_string();
        let ends = instant(asked.expires);
        let (kind, title) = match told {
            Told::Asked => ("approval.asked", format!("{what} waits for {sets}")),
            Told::Broken { by, .. } => {
                ("approval.broken", format!("BREAK-GLASS: {by} runs {what} without {sets}; review it"))
            }
            Told::Decided { how, .. } => ("approval.decided", format!("{what} was {how}")),
            Told::Ending { role, until } => {
                ("grant.ending", format!("the role {role}, given for a while, ends at {}", instant(*until)))
            }
            Told::Escalated { to } => {
                ("approval.escalated", format!("{what} still waits for {sets} and goes to {to} too"))
            }
            Told::Expiring => {
                ("approval.expiring", format!("{what} still waits for {sets} and ends at {ends}"))
            }
            Told::Overdue { by } => {
                let text = format!("nobody has reviewed in time that {by} broke the glass for {what}");
                ("approval.overdue", format!("{text}: they cannot do it again"))
            }
            Told::Reviewed { how, .. } => ("approval.reviewed", format!("break-glass for {what} was {how}")),
        };
        let mut facts = vec![("asked by", asked.requester.key.to_string()), ("approvers", sets)];
        match told {
            Told::Decided { how, by } | Told::Reviewed { how, by } => facts.push((how, format!("by {by}"))),
            Told::Broken { due, .. } => facts.push(("review until", instant(*due))),
            Told::Ending { until, .. } => facts.push(("until", instant(*until))),
            Told::Asked | Told::Escalated { .. } | Told::Expiring => facts.push(("until", ends)),
            Told::Overdue { .. } => {}
        }
        // What cannot be masked is not told: the link is.
        let (title, facts) = match masker {
            Some(masker) => {
                let masked = |text: &str| line(&masker.mask_text(text).text);
                (masked(&title), facts.iter().map(|(name, value)| (*name, masked(value))).collect())
            }
            None => ("a request was made, decided or is about to end".to_owned(), Vec::new()),
        };
        Self { id: id.to_owned(), kind, at, approval: approval.id().to_string(), title, facts, link }
    }

    /// The message in plain text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        for (name, value) in &self.facts {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push_str(&format!("approval: {}\n", self.approval));
        text.push_str(&format!("\n{}\n", self.link));
        text
    }
}

/// Without what would make two lines of one, in whatever reads it.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
