use super::{
    MaskError,
    lexer::{Lexer, Token},
};

/// Member names under which models and crews tell a text piece by piece.
const PIECES: [&str; 15] = [
    "arguments",
    "chunk",
    "content",
    "delta",
    "input_json",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "reasoning_text",
    "refusal",
    "response",
    "text",
    "thinking",
    "token",
    "transcript",
];

/// What the names of events have in them that tell texts in pieces.
const PIECEMEAL: [&str; 6] = ["_ARGS", "_CONTENT", "chunk", "content_block", "delta", "token"];

/// Containers whose texts are whole, not pieces.
const WHOLE: [&str; 14] = [
    "history", "input", "inputs", "item", "items", "messages", "output", "outputs", "part", "response",
    "result", "results", "state", "tools",
];

/// Members that say which of several texts a piece belongs to.
const GROUPS: [&str; 8] = [
    "content_index",
    "index",
    "item_id",
    "messageId",
    "message_id",
    "output_index",
    "summary_index",
    "toolCallId",
];

/// Members that say, when they are not null, that a text has ended.
const REASONS: [&str; 4] = ["done_reason", "finishReason", "finish_reason", "stop_reason"];

/// Event names and types behind which no text goes on.
const LAST: [&str; 17] = [
    "RUN_ERROR",
    "RUN_FINISHED",
    "done",
    "end",
    "error",
    "flow_failed",
    "flow_finished",
    "message_stop",
    "response.cancelled",
    "response.completed",
    "response.failed",
    "response.incomplete",
    "result",
    "session.ended",
    "turn_completed",
    "turn_failed",
    "[DONE]",
];

/// Types behind which the text they name does not go on, by how they end.
const ENDINGS: [&str; 5] = [".done", "_stop", "_END", "_end", ".completed"];

/// What says which text it is: names and values, such as `choices` and `0`.
pub(super) type Group = Vec<(String, String)>;

/// What an event's JSON says of texts that are told in pieces.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) pieces: Vec<Piece>,
    /// The texts that have ended: all that agree with one of these. The empty one agrees with all.
    pub(super) ended: Vec<Group>,
}

#[derive(Debug)]
pub(super) struct Piece {
    /// Where it stands in this event, as a JSON pointer.
    pub(super) pointer: String,
    /// What it belongs to; the same in every event of its text.
    pub(super) key: String,
    pub(super) group: Group,
    /// Whether it is one for sure: its event is of a kind that tells texts in pieces. Others may be whole texts that only
    /// stand where pieces do.
    pub(super) sure: bool,
    /// Its source in the event, without quotes.
    pub(super) from: usize,
    pub(super) to: usize,
}

/// A member that matters here.
struct Member {
    /// The container's pointer.
    inside: String,
    name: String,
    value: String,
}

impl Survey {
    /// Reads an event of this name.
    ///
    /// # Errors
    ///
    /// When it is not JSON.
    pub(super) fn of(event: &str, data: &str) -> Result<Self, MaskError> {
        let (mut lexer, mut at) = (Lexer::default(), 0);
        let (mut members, mut found) = (Vec::new(), Vec::new());
        loop {
            let (from, to, string) = match lexer.next(data, &mut at)? {
                Token::End => break,
                Token::String { name: true, from, to, .. } => {
                    lexer.path.name_more(data.get(from..to).unwrap_or_default(), usize::MAX);
                    continue;
                }
                Token::String { name: false, from, to, .. } => (from, to, true),
                Token::Scalar { from, to } => (from, to, false),
                Token::ScalarOpen { from } => {
                    at = data.len();
                    lexer.value_ended();
                    (from, at, false)
                }
                Token::Enter { .. } | Token::Leave { .. } => continue,
                Token::StringOpen { .. } => return Err(MaskError::NotJson),
            };
            if lexer.path.in_object() != Some(true) {
                continue;
            }
            let Some(name) = lexer.path.name() else { continue };
            let value = || data.get(from..to).unwrap_or_default().to_owned();
            let matters = GROUPS.contains(&name) || matches!(name, "type" | "event" | "done");
            let piece = string && PIECES.contains(&name);
            if matters || piece || REASONS.contains(&name) {
                let pointer = lexer.path.pointer();
                let inside = pointer.rsplit_once('/').map_or("", |(inside, _)| inside).to_owned();
                if piece {
                    found.push((pointer, name.to_owned(), from, to));
                } else if matters || (string && from < to) {
                    members.push(Member { inside, name: name.to_owned(), value: value() });
                }
            }
        }
        if !lexer.is_whole() {
            return Err(MaskError::NotJson);
        }
        Ok(Self::told(event, &members, found))
    }

    fn told(event: &str, members: &[Member], found: Vec<(String, String, usize, usize)>) -> Self {
        let top = |name: &str| {
            let member = members.iter().find(|member| member.inside.is_empty() && member.name == name);
            member.map_or("", |member| member.value.as_str())
        };
        let kind = if top("type").is_empty() { top("event") } else { top("type") };
        let last = [event, kind].iter().any(|name| LAST.contains(name)) || top("done") == "true";
        let ending = [event, kind].iter().any(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)));
        let mut ended = Vec::new();
        if last {
            ended.push(Group::new());
        } else if ending {
            ended.push(group("", members));
        }
        for member in members.iter().filter(|member| REASONS.contains(&member.name.as_str())) {
            ended.push(if member.inside.contains("/delta") {
                Group::new()
            } else {
                group(&member.inside, members)
            });
        }
        let sure = |pointer: &str| {
            let kind = if kind.is_empty() { event } else { kind };
            PIECEMEAL.iter().any(|named| kind.contains(named))
                || (pointer.starts_with("/choices/")
                    && (pointer.contains("/delta/") || pointer.ends_with("/text")))
        };
        let sure: Vec<bool> = found.iter().map(|(pointer, ..)| sure(pointer)).collect();
        let whole = |pointer: &str| {
            last || ending
                || pointer.split('/').rev().skip(1).any(|step| WHOLE.contains(&step))
                || (pointer.starts_with("/choices/") && pointer.contains("/message/"))
        };
        // The start of a block may hold the first piece of what its deltas go on with.
        let kind = kind.strip_suffix("_start").or_else(|| kind.strip_suffix("_delta")).unwrap_or(kind);
        let piece = |((pointer, name, from, to), sure): ((String, String, usize, usize), bool)| {
            let group = group(&pointer, members);
            let key = format!("{event}\n{kind}\n{name}\n{group:?}");
            Piece { pointer, key, group, sure, from, to }
        };
        let found = found.into_iter().zip(sure).filter(|((pointer, ..), _)| !whole(pointer));
        let pieces = found.map(piece).collect();
        Self { pieces, ended }
    }
}

/// Which text a value at this pointer belongs to: what the objects around it say, and where they stand in arrays.
fn group(pointer: &str, members: &[Member]) -> Group {
    let mut group = Group::new();
    let (mut inside, mut array) = (String::new(), "");
    for step in std::iter::once("").chain(pointer.split('/').skip(1)) {
        if !step.is_empty() {
            inside.push('/');
            inside.push_str(step);
        }
        let item = !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit());
        let own =
            members.iter().filter(|member| member.inside == inside && GROUPS.contains(&member.name.as_str()));
        let before = group.len();
        group.extend(own.map(|member| {
            let name = if item && member.name == "index" { array } else { &member.name };
            (name.to_owned(), member.value.clone())
        }));
        if item && group.len() == before {
            group.push((array.to_owned(), step.to_owned()));
        }
        array = step;
    }
    group
}

/// Whether a text of this group is among those an ending names: they agree where both speak.
pub(super) fn agree(text: &Group, ended: &Group) -> bool {
    ended.iter().all(|(name, value)| text.iter().all(|(own, of)| own != name || of == value))
}
