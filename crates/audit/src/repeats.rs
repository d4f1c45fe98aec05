use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crewgate_core::{Action, Effect, Ending, Fact, PrincipalKey, RequestId, RunId, Timestamp};

use crate::Entry;

/// Questions whose last answer is remembered; above it all are forgotten, which costs one more copy each.
const MAX_QUESTIONS: usize = 4096;

/// How long an answer is referred to before it is kept anew: at most so much earlier than its own time a repeated
/// answer is given up with the one it points at.
const KEEP_ANEW: Duration = Duration::from_secs(3600);

/// Who asks what about which run. Not the run alone: what is held of one person must not be lost with another's.
type Question = (PrincipalKey, RunId, Action);

/// What callers who ask again and again were last told.
#[derive(Default)]
pub(crate) struct Repeats(Mutex<HashMap<Question, Told>>);

struct Told {
    request: RequestId,
    at: Timestamp,
    status: u16,
    sha256: String,
}

impl Repeats {
    /// The request whose record holds this very answer; `None` when it must be kept here.
    pub(crate) fn of(&self, entry: &Entry, ended: &Fact) -> Option<RequestId> {
        let Fact::Ended { how: Ending::Complete, status, sha256, .. } = ended else { return None };
        if entry.frames.is_empty() {
            return None;
        }
        let question = question(entry)?;
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = told.get(&question)
            && (last.status, &last.sha256) == (*status, sha256)
            && entry.time.since(last.at) < KEEP_ANEW
        {
            return Some(last.request);
        }
        if told.len() >= MAX_QUESTIONS {
            told.clear();
        }
        let now = Told { request: entry.request, at: entry.time, status: *status, sha256: sha256.clone() };
        told.insert(question, now);
        None
    }
}

fn question(entry: &Entry) -> Option<Question> {
    let action = entry.facts.iter().rev().find_map(|fact| match fact {
        Fact::Described { action, effect: Effect::Read, .. } => Some(action.clone()),
        _ => None,
    });
    Some((entry.principal()?.clone(), entry.run?, action?))
}
