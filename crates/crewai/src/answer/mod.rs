use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use crewgate_core::{Refusal, RunId, TaskId, Value};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use uuid::Uuid;

use crate::{
    json,
    refuse::{short, upstream},
};

mod keys;
mod text;

use self::keys::Place;

/// Arrays and objects inside each other in an answer: results are the crew's own and may nest more than requests.
pub const MAX_ANSWER_DEPTH: usize = 256;

/// Different ids in one answer. A status with all its events names some hundreds; more is not an answer to pass on.
pub const MAX_MENTIONS: usize = 10_000;

/// What an id that CrewAI has just given out stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "nothing else can be used in a later call")]
pub enum Mint {
    /// A run that has just started.
    Run,
    /// The same run under another id, after a resume.
    Resumed,
    /// A task of the run.
    Task,
}

/// An id that CrewAI has just given out, at a place where only CrewAI writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an id and what it is for")]
pub struct Minted {
    /// What it stands for.
    pub mint: Mint,
    /// CrewAI's spelling.
    pub upstream: String,
}

/// An id, or something that looks like one, somewhere in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an id and whether a key says so")]
pub struct Mention {
    /// Its spelling there; with hyphens even where it stands without.
    pub upstream: String,
    /// Whether it stands under a key of CrewAI's for ids. Such a value must never be shown as it is; a UUID anywhere
    /// else may be the crew's own business.
    pub named: bool,
}

/// An answer of a CrewAI deployment, and where ids stand in it.
///
/// Ids are found as values of CrewAI's id keys at any depth, and as UUIDs (36 characters, or 32 hexadecimal digits)
/// or ids known for this run anywhere inside any string or member name: a result may be JSON in a string.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    tree: Value,
    minted: Vec<Minted>,
    /// Spelling, and whether a key names it anywhere in this answer.
    mentions: BTreeMap<String, bool>,
    needles: Vec<String>,
}

impl fmt::Debug for Answer {
    /// The tree is unmasked and holds upstream ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("mentions", &self.mentions.len()).finish_non_exhaustive()
    }
}

impl Answer {
    /// Reads the answer to `action`. `known` are upstream ids of the run that was asked about, in case they are no
    /// UUIDs.
    ///
    /// # Errors
    ///
    /// 502: `upstream_not_json` for anything but one JSON value; `upstream_unexpected` for a kickoff that was taken
    /// without an id; `upstream_id_unusable` for an id too short or too strange to be told from other text;
    /// `upstream_too_many_ids` beyond [`MAX_MENTIONS`].
    pub fn parse(
        action: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        known: &[&str],
    ) -> Result<Self, Refusal> {
        let not_json =
            |why: String| upstream("upstream_not_json", format!("CrewAI's answer is not JSON: {why}."));
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        match (types.next().map(|one| one.to_str()), types.next()) {
            (Some(Ok(one)), None) if is_json(one) => {}
            (Some(Ok(one)), None) => return Err(not_json(format!("it is {}", short(one)))),
            _ => return Err(not_json("it does not say what it is".to_owned())),
        }
        let tree = json::parse(body, MAX_ANSWER_DEPTH).map_err(|error| not_json(error.to_string()))?;
        let minted = if status.is_success() { minted(action, &tree)? } else { Vec::new() };
        let needles = minted
            .iter()
            .map(|minted| minted.upstream.as_str())
            .chain(known.iter().copied())
            .filter(|id| usable_id(id) && !text::is_uuid(id))
            .map(str::to_owned)
            .collect();
        let mut answer = Self { tree, minted, mentions: BTreeMap::new(), needles };
        answer.mentions = answer.find()?;
        Ok(answer)
    }

    /// Ids that CrewAI has just given out and that later calls may name.
    #[must_use]
    pub fn minted(&self) -> &[Minted] {
        &self.minted
    }

    /// Every id in the answer, each once, minted ones too.
    pub fn mentions(&self) -> impl Iterator<Item = Mention> {
        self.mentions.iter().map(|(upstream, named)| Mention { upstream: upstream.clone(), named: *named })
    }

    /// While the run waits for a person: shows what to name in a resume. Answers of runs that do not wait stay as
    /// they are.
    pub fn show_pending_task(&mut self, execution: RunId, task: TaskId) {
        if !waits(&self.tree) {
            return;
        }
        let Value::Object(members) = &mut self.tree else { return };
        for (name, id) in [("execution_id", execution.to_string()), ("task_id", task.to_string())] {
            match members.iter_mut().find(|(member, _)| member == name) {
                Some((_, value)) => *value = Value::String(id),
                None => members.push((name.to_owned(), Value::String(id))),
            }
        }
    }

    /// The answer as the caller sees it: each id `swap` gives a UUID for is written as that UUID, in the form in which
    /// it stands there; everything else is as it was.
    #[must_use]
    pub fn render(&self, swap: impl Fn(&Mention) -> Option<Uuid>) -> Bytes {
        let own = |hit: &text::Hit| {
            let (upstream, named) = self.mentions.get_key_value(&hit.id)?;
            swap(&Mention { upstream: upstream.clone(), named: *named })
        };
        let tree = self.rewrite(&self.tree, &own);
        // An answer is parsed from text: it refers to no slot.
        json::to_bytes(&tree).map(Bytes::from).unwrap_or_default()
    }

    fn find(&self) -> Result<BTreeMap<String, bool>, Refusal> {
        let mut mentions = BTreeMap::new();
        let mut add = |text: &str, place: Place| {
            for hit in text::hits(text, &self.needles) {
                let named = place.names_an_id() && hit.is_whole(text);
                *mentions.entry(hit.id).or_default() |= named;
            }
            mentions.len() <= MAX_MENTIONS
        };
        if walk(&self.tree, Place::Top, &mut add) {
            return Ok(mentions);
        }
        Err(upstream("upstream_too_many_ids", "CrewAI's answer names more ids than can be looked up."))
    }

    fn rewrite(&self, value: &Value, own: &impl Fn(&text::Hit) -> Option<Uuid>) -> Value {
        match value {
            Value::String(text) => Value::String(text::rewrite(text, &self.needles, own)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.rewrite(item, own)).collect()),
            Value::Object(members) => {
                let member = |(name, value): &(String, Value)| {
                    (text::rewrite(name, &self.needles, own), self.rewrite(value, own))
                };
                Value::Object(members.iter().map(member).collect())
            }
            other => other.clone(),
        }
    }
}

/// Shows every string and member name to `add` until it says stop.
fn walk(value: &Value, place: Place, add: &mut impl FnMut(&str, Place) -> bool) -> bool {
    match value {
        Value::String(text) => add(text, place),
        Value::Array(items) => items.iter().all(|item| walk(item, place, add)),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| add(name, place.of_name()) && walk(value, place.below(name), add)),
        _ => true,
    }
}

fn minted(action: &str, tree: &Value) -> Result<Vec<Minted>, Refusal> {
    let text = |name: &str| tree.member(name).and_then(Value::as_str);
    let found = match action {
        "kickoff" => match text("kickoff_id") {
            Some(id) => Some((Mint::Run, id)),
            None => {
                let detail =
                    "CrewAI took the kickoff and gave no id; whether a run has started is not known.";
                return Err(upstream("upstream_unexpected", detail));
            }
        },
        "resume" | "feedback" => text("kickoff_id").map(|id| (Mint::Resumed, id)),
        // Only at the top: what is deeper may be the words of a model, and must not turn into a right.
        "status" => {
            let id = text("task_id").or_else(|| text("taskId")).filter(|id| text::is_uuid(id));
            id.map(|id| (Mint::Task, id))
        }
        _ => None,
    };
    match found {
        Some((_, id)) if !usable_id(id) => {
            Err(upstream("upstream_id_unusable", "CrewAI's answer holds an id that cannot be used."))
        }
        found => Ok(found.map(|(mint, id)| Minted { mint, upstream: id.to_owned() }).into_iter().collect()),
    }
}

/// Whether this is the status of a run that waits for a person. Deployments say so in `state`, or say `NOT FOUND`
/// while they wait; in the documented shape, which has no word for it, such a run is still running.
fn waits(tree: &Value) -> bool {
    let text = |name: &str| tree.member(name).and_then(Value::as_str);
    match text("state") {
        Some(state) => matches!(state, "PAUSED" | "NOT FOUND"),
        None => matches!(text("status"), Some("running" | "paused")),
    }
}

/// Long enough not to be found in other text by chance, short enough to keep, and safe in a path.
pub(crate) fn usable_id(id: &str) -> bool {
    (16..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && id.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// `application/json` or a type that is written as JSON (RFC 6839 section 3.1).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
