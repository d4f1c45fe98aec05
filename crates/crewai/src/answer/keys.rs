/// Where in an answer a string stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At the top of CrewAI's own envelope, or deeper in it.
    Top,
    /// Inside what the crew has made: results, outputs, prompts.
    Content,
    /// The value of a key for ids.
    IdKey,
    /// Such a key's value, inside what the crew has made.
    ContentIdKey,
}

/// Keys under which what the crew has made stands. There `id` is the crew's own word.
const CONTENT: [&str; 11] = [
    "description",
    "expected_output",
    "inputs",
    "meta",
    "output",
    "output_json",
    "prompt",
    "result",
    "result_json",
    "task_output",
    "tool_input",
];

/// Ids of CrewAI's wherever they stand.
const ALWAYS: [&str; 10] = [
    "execution_id",
    "executionId",
    "flow_id",
    "flowId",
    "kickoff_id",
    "kickoffId",
    "session_id",
    "sessionId",
    "task_id",
    "taskId",
];

impl Place {
    /// The place of the value of this member.
    pub(super) fn below(self, name: &str) -> Self {
        let content = matches!(self, Self::Content | Self::ContentIdKey) || CONTENT.contains(&name);
        match content {
            true if ALWAYS.contains(&name) => Self::ContentIdKey,
            true => Self::Content,
            false if is_id_key(name) => Self::IdKey,
            false => Self::Top,
        }
    }

    /// The place of the name of a member: whose it is, and no key's value.
    pub(super) fn of_name(self) -> Self {
        match self {
            Self::Content | Self::ContentIdKey => Self::Content,
            Self::IdKey | Self::Top => Self::Top,
        }
    }

    pub(super) fn names_an_id(self) -> bool {
        matches!(self, Self::IdKey | Self::ContentIdKey)
    }
}

/// `id`, `agent_id`, `agentId`, `event_ids`, `uuid`, and the like.
fn is_id_key(name: &str) -> bool {
    let singular = name.strip_suffix('s').unwrap_or(name);
    let lower = singular.to_ascii_lowercase();
    lower == "id"
        || lower == "uuid"
        || lower.ends_with("_id")
        || lower.ends_with("-id")
        || lower.ends_with("uuid")
        || singular.ends_with("Id")
        || singular.ends_with("ID")
}
