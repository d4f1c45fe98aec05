use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use bytes::Bytes;
use crewgate_core::{
    ApprovalStep, Ending, Fact, GrantStep, RequestId, RevocationStep, RoleName, RunId, Timestamp,
};

use crate::{AuditError, AuditStore, Entry, Held, Leaf, Phase, Query};

/// A run as it happened, put together from its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// What happened, in order of time.
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Time since the first step.
    pub at: Duration,
    /// When.
    pub time: Timestamp,
    /// The leaf that tells it.
    pub leaf: u64,
    /// The request it belongs to.
    pub request: RequestId,
    /// What.
    pub kind: StepKind,
}

/// What a [`Step`] shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepKind {
    /// Bytes of the answer, as the caller got them.
    Answer(Bytes),
    /// The request's body, masked.
    Body(Bytes),
    /// Something that was noted.
    Fact(Fact),
    /// From here on bytes could leave.
    Intent,
    /// What the leaf tells cannot be read any more, or not with the keys at hand.
    Unreadable,
}

/// What a [`Line`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineKind {
    /// Bytes of an answer.
    Answer,
    /// A request's body.
    Body,
    /// Requests that were told what their caller knew already.
    Folded,
    /// Something that was noted.
    Note,
}

/// One line for people: when, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Time since the first step: what a replay waits for.
    pub at: Duration,
    /// What it tells of.
    pub kind: LineKind,
    /// The leaf that tells it; of several, the first.
    pub leaf: u64,
    /// The text; control characters are escaped, so that a recorded answer cannot drive the reader's terminal.
    pub text: String,
}

impl Timeline {
    /// The story these leaves tell; in any order.
    ///
    /// # Errors
    ///
    /// [`AuditError::Corrupt`] for a leaf that cannot be read.
    pub fn of<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Result<Self, AuditError> {
        let mut entries = Vec::new();
        let mut steps = Vec::new();
        for leaf in leaves {
            let entry = leaf.entry()?;
            if !matches!(leaf.held, Held::Open(_)) {
                let (leaf, time, request) = (leaf.index, entry.time, entry.request);
                steps.push(Step { at: Duration::ZERO, time, leaf, request, kind: StepKind::Unreadable });
            }
            entries.push((leaf.index, entry));
        }
        entries.sort_by_key(|(index, _)| *index);
        // A move of an approval has a leaf of its own, and may have been noted by the request that caused it as well.
        let moves = entries.iter().filter(|(_, entry)| entry.phase == Phase::Approval);
        let moves: Vec<_> = moves.flat_map(|(_, entry)| &entry.facts).cloned().collect();
        let mut told = BTreeMap::new();
        for (leaf, entry) in &entries {
            tell(*leaf, entry, &mut told, &mut steps, &moves);
        }
        // Stable: what happened in the same microsecond stays in the order of the record.
        steps.sort_by_key(|step| step.time);
        let first = steps.first().map(|step| step.time);
        for step in &mut steps {
            step.at = step.time.since(first.unwrap_or(step.time));
        }
        Ok(Self { steps })
    }

    /// The whole story, line by line. Sleep until each line's time to see it as the caller did.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.steps.iter().map(Step::line).collect()
    }

    /// The story with each row of requests that were told nothing new in one line.
    #[must_use]
    pub fn folded(&self) -> Vec<Line> {
        let repeated = |step: &&Step| matches!(step.kind, StepKind::Fact(Fact::Repeated { .. }));
        let quiet: BTreeSet<RequestId> =
            self.steps.iter().filter(repeated).map(|step| step.request).collect();
        let mut lines = Vec::new();
        let mut row: Vec<&Step> = Vec::new();
        for step in &self.steps {
            if quiet.contains(&step.request) {
                row.push(step);
            } else {
                lines.extend(fold(&mut row));
                lines.push(step.line());
            }
        }
        lines.extend(fold(&mut row));
        lines
    }
}

/// One line for all of them.
fn fold(row: &mut Vec<&Step>) -> Option<Line> {
    let (first, last) = (*row.first()?, *row.last()?);
    let requests: BTreeSet<_> = row.iter().map(|step| step.request).collect();
    let text = format!(
        "asked {} more times until +{:.3}s, and told nothing new",
        requests.len(),
        last.at.as_secs_f64()
    );
    row.clear();
    Some(Line { at: first.at, kind: LineKind::Folded, leaf: first.leaf, text })
}

impl Step {
    fn line(&self) -> Line {
        let kind = match &self.kind {
            StepKind::Answer(_) => LineKind::Answer,
            StepKind::Body(_) => LineKind::Body,
            _ => LineKind::Note,
        };
        Line { at: self.at, kind, leaf: self.leaf, text: render(self) }
    }
}

/// All leaves of a run, and of every request that has one among them: also the request that asked for an approval
/// before there was a run. At most `limit` of the run and of each request.
///
/// # Errors
///
/// [`AuditError`] when the store cannot be read.
pub async fn run_leaves(store: &dyn AuditStore, run: RunId, limit: u32) -> Result<Vec<Leaf>, AuditError> {
    let leaves = store.leaves(Query::run(run).limit(limit)).await?;
    let requests =
        leaves.iter().map(|leaf| Ok(leaf.entry()?.request)).collect::<Result<BTreeSet<_>, AuditError>>()?;
    let mut all: BTreeMap<_, _> = leaves.into_iter().map(|leaf| (leaf.index, leaf)).collect();
    for request in requests {
        let leaves = store.leaves(Query::request(request).limit(limit)).await?;
        all.extend(leaves.into_iter().map(|leaf| (leaf.index, leaf)));
    }
    Ok(all.into_values().collect())
}

fn tell(
    leaf: u64,
    entry: &Entry,
    told: &mut BTreeMap<RequestId, usize>,
    steps: &mut Vec<Step>,
    moves: &[Fact],
) {
    let mut push = |time, kind| {
        steps.push(Step { at: Duration::ZERO, time, leaf, request: entry.request, kind });
    };
    // An outcome repeats the facts of its intent. Approval leaves tell the steps of another story and repeat nothing.
    let repeats = matches!(entry.phase, Phase::Intent | Phase::Outcome | Phase::Refused);
    let known = if repeats { told.get(&entry.request).copied().unwrap_or(0) } else { 0 };
    let new = entry.facts.iter().skip(known);
    let (end, new): (Vec<_>, Vec<_>) = new.cloned().partition(|fact| matches!(fact, Fact::Ended { .. }));
    // When the answer's first byte was handed over, everything but its end had been noted.
    let first_byte = entry.frames.first().map(|frame| at(entry, frame.offset_micros));
    for fact in new {
        if entry.phase != Phase::Approval && moves.contains(&fact) {
            continue;
        }
        let time = match fact {
            Fact::Received { .. } => entry.started,
            _ => first_byte.unwrap_or(entry.time).min(entry.time),
        };
        push(time, StepKind::Fact(fact));
    }
    if let Some(body) = &entry.request_body {
        push(entry.time, StepKind::Body(body.clone()));
    }
    if entry.phase == Phase::Intent {
        push(entry.time, StepKind::Intent);
    }
    let mut last = entry.time;
    for frame in &entry.frames {
        let time = at(entry, frame.offset_micros);
        last = last.max(time);
        push(time, StepKind::Answer(frame.bytes.clone()));
    }
    for fact in end {
        push(last, StepKind::Fact(fact));
    }
    if repeats {
        told.insert(entry.request, entry.facts.len());
    }
}

fn at(entry: &Entry, offset_micros: u64) -> Timestamp {
    entry.started.saturating_add(Duration::from_micros(offset_micros))
}

fn render(step: &Step) -> String {
    match &step.kind {
        StepKind::Answer(bytes) => format!("< {}", printable(bytes)),
        StepKind::Body(bytes) => format!("> {}", printable(bytes)),
        StepKind::Fact(fact) => escape(&words(fact)),
        StepKind::Intent => format!("on the record as leaf {}; the call leaves", step.leaf),
        StepKind::Unreadable => format!("what leaf {} tells is erased, or sealed", step.leaf),
    }
}

/// A fact in words; an unknown one in its stored form.
fn words(fact: &Fact) -> String {
    match fact {
        Fact::Answered { status } => format!("upstream answers {status}"),
        Fact::Approval { approval, step } => format!("approval {approval}: {}", approval_words(step)),
        Fact::Asked(asked) if asked.roles.is_empty() => "policy is asked; no role is held".to_owned(),
        Fact::Asked(asked) => format!("policy is asked; held are the roles {}", list(&asked.roles)),
        Fact::Authenticated { principal, client, .. } => {
            let client = client.as_ref().map(|client| format!(" through {client}")).unwrap_or_default();
            format!("caller is {principal}{client}")
        }
        Fact::Control { by, what } => match by {
            Some(by) => format!("{what} by {by}"),
            None => what.clone(),
        },
        Fact::Cut { below } => format!("the leaves below {below} were cut off"),
        Fact::Erased { subject } => format!("what is held of {subject} was erased"),
        Fact::Pruned { below, class } => {
            format!("what was held beside the {class} among the leaves below {below} was given up")
        }
        Fact::Decided { outcome, reason, basis, .. } => {
            let mut text = format!("policy: {outcome}");
            if let Some(reason) = reason {
                let _ = write!(text, " ({reason})");
            }
            if !basis.rules.is_empty() {
                let _ = write!(text, " by {}", list(&basis.rules));
            }
            if !basis.grants.is_empty() {
                let _ = write!(text, ", relying on grant {}", list(&basis.grants));
            }
            text
        }
        Fact::Described { action, resource, datasets, inputs, .. } => {
            let mut text = format!("asks for {action} on {resource}");
            if !datasets.is_empty() {
                let _ = write!(text, ", datasets {}", list(datasets));
            }
            if !inputs.is_empty() {
                let _ = write!(text, ", inputs {}", list(inputs));
            }
            text
        }
        Fact::Ended { how, status, bytes, .. } => {
            let how = match how {
                Ending::CallerGone => "the caller hung up",
                Ending::Complete => "complete",
                Ending::Cut => "broke off",
                Ending::Unheard => "complete, and nobody was there to hear it",
                _ => "ended",
            };
            format!("{how}: status {status}, {bytes} bytes")
        }
        Fact::Grant { grant, step } => format!("grant {grant}: {}", grant_words(step)),
        Fact::Masked { profiles, hits } => {
            let place = |(place, count): (&String, &u64)| {
                if place.is_empty() { count.to_string() } else { format!("{count} in {place}") }
            };
            let hits: Vec<_> = hits
                .iter()
                .map(|(entity, places)| {
                    format!("{entity} {}", list(places.iter().map(place).collect::<Vec<_>>()))
                })
                .collect();
            format!(
                "masked by {}: {}",
                list(profiles),
                if hits.is_empty() { "nothing".to_owned() } else { list(&hits) }
            )
        }
        Fact::Loaded { config, policy, version } => {
            format!("version {version} starts with policy {policy} and configuration sha-256 {config}")
        }
        Fact::Observed { reason, .. } => format!("observe mode: would have been refused ({reason})"),
        Fact::Exchanged { token, issued, roles, expires, .. } => {
            let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
            format!("token {token} exchanged for {issued}, good for {} until {expires}", roles.join(", "))
        }
        Fact::Revocation { tokens, step, reason } => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            match step {
                RevocationStep::Revoked { before, until } => {
                    format!("revoked: {tokens}, issued until {before}; ends {until}{reason}")
                }
                _ => format!("no longer revoked: {tokens}{reason}"),
            }
        }
        Fact::PartOf { request } => format!("belongs to request {request}"),
        Fact::PolicyLoaded { before, now } => format!("policy {now} decides, before it {before}"),
        Fact::PolicyRefused { running, reason } => {
            format!("policy {running} stays; what was read is refused: {reason}")
        }
        Fact::Received { method, path, remote, .. } => {
            let from = remote.as_ref().map(|remote| format!(" from {remote}")).unwrap_or_default();
            format!("{method} {path}{from}")
        }
        Fact::Refused { status, code, detail, .. } => format!("refused {status} {code}: {detail}"),
        Fact::Registered { run, .. } => format!("run {run}"),
        Fact::Released { approval, lease } => format!("carries out approval {approval}, attempt {lease}"),
        Fact::Repeated { request } => format!("the answer request {request} got as well"),
        Fact::Sealed { sha256, bytes } => format!("will send {bytes} bytes, sha-256 {sha256}"),
        Fact::Shadowed(shadowed) => {
            format!("shadow policy: {} instead of {}", shadowed.divergence.as_str(), shadowed.decided)
        }
        Fact::Unanswered { code, sent } => {
            format!(
                "upstream did not answer: {code}{}",
                if *sent { "; bytes may have reached it" } else { "" }
            )
        }
        Fact::Webhook { kind, crew } => format!("{crew} calls back: {kind}"),
        other => serde_json::to_string(other).unwrap_or_else(|_| "a fact of an unknown kind".to_owned()),
    }
}

fn approval_words(step: &ApprovalStep) -> String {
    match step {
        ApprovalStep::Cancelled { by } => format!("taken back by {by}"),
        ApprovalStep::Claimed => "being started".to_owned(),
        ApprovalStep::Executed => "carried out".to_owned(),
        ApprovalStep::Failed { reason } => format!("could not be sent: {reason}"),
        ApprovalStep::GlassBroken { by, instead_of, reason, reviewers, due } => {
            let (of, who) = (list(instead_of), list(reviewers));
            format!("{by} breaks the glass instead of {of}, to be reviewed by {who} until {due}: {reason}")
        }
        ApprovalStep::Indeterminate => "sent, and nobody knows what became of it".to_owned(),
        ApprovalStep::Invalidated { reason } => format!("no longer valid: {reason}"),
        ApprovalStep::Requested { sets, expires, .. } => format!("asks {} until {expires}", list(sets)),
        ApprovalStep::Resolved { by, ran, upstream, reason } => {
            let run = upstream.as_ref().map(|id| format!(", as {id}")).unwrap_or_default();
            let found = if *ran { format!("ran{run}") } else { "did not run".to_owned() };
            format!("{by} found that it {found}: {reason}")
        }
        ApprovalStep::Returned => "given back unsent".to_owned(),
        ApprovalStep::Reviewed { by, verdict, reason } => {
            let found = match verdict {
                crewgate_core::Verdict::Approve => "right",
                crewgate_core::Verdict::Deny => "wrong",
            };
            format!("{by} finds that breaking the glass was {found}: {reason}")
        }
        ApprovalStep::Voted { by, verdict, instead_of, reason, settles, .. } => {
            let verdict = match verdict {
                crewgate_core::Verdict::Approve => "approves",
                crewgate_core::Verdict::Deny => "denies",
            };
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let of = match instead_of.is_empty() {
                true => String::new(),
                false => format!(" instead of {}", list(instead_of)),
            };
            format!("{by} {verdict}{of}{}{reason}", if *settles { ", which settles it" } else { "" })
        }
        other => serde_json::to_string(other).unwrap_or_else(|_| "moved".to_owned()),
    }
}

fn grant_words(step: &GrantStep) -> String {
    match step {
        GrantStep::Given { principal, role, from, until, approval, reason } => {
            format!("{principal} is given {role} from {from} until {until} by approval {approval}: {reason}")
        }
        GrantStep::Revoked { by, reason } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("taken away by {by}{reason}")
        }
        GrantStep::Used { number, of } => format!("used for the {number}. of {of} times"),
        other => serde_json::to_string(other).unwrap_or_else(|_| "moved".to_owned()),
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn printable(bytes: &Bytes) -> String {
    escape(&String::from_utf8_lossy(bytes))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Escapes of the bidirectional kind reorder what is read; they are not `is_control`.
        let reorders =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_answer_cannot_drive_the_terminal() {
        assert_eq!(printable(&Bytes::from_static(b"ok\x1b[2J\n\xff")), "ok\\u{1b}[2J\\n\u{fffd}");
        assert_eq!(escape("a\u{202e}b"), "a\\u{202e}b");
    }
}
