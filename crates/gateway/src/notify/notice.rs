use crewgate_approval::Approval;
use crewgate_audit::{Entry, Phase};
use crewgate_core::{ApprovalId, ApprovalStep, Fact, Timestamp, Verdict};
use crewgate_masking::Masker;

use crate::config::Occasion;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Asked,
    Decided { how: &'static str, by: String },
    Expiring,
}

impl Told {
    pub(crate) fn occasion(&self) -> Occasion {
        match self {
            Self::Asked => Occasion::Asked,
            Self::Decided { .. } => Occasion::Decided,
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
            ApprovalStep::Requested { .. } => Told::Asked,
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
    /// `approval.asked`, `approval.decided`, `approval.expiring`.
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
        let ends = humantime::format_rfc3339_seconds(asked.expires.into()).to_string();
        let (kind, title) = match told {
            Told::Asked => ("approval.asked", format!("{what} waits for {sets}")),
            Told::Decided { how, .. } => ("approval.decided", format!("{what} was {how}")),
            Told::Expiring => {
                ("approval.expiring", format!("{what} still waits for {sets} and ends at {ends}"))
            }
        };
        let mut facts = vec![("asked by", asked.requester.key.to_string()), ("approvers", sets)];
        match told {
            Told::Decided { how, by } => facts.push((how, format!("by {by}"))),
            Told::Asked | Told::Expiring => facts.push(("until", ends)),
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
