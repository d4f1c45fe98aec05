use std::time::Duration;

use http::Method;
use serde_json::Value;

/// Calls the log keeps.
pub(super) const MAX_LOG: usize = 10_000;

/// What a scripted deployment does.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) key: String,
    pub(super) inputs: Vec<String>,
    pub(super) result: String,
    pub(super) takes: Takes,
    pub(super) human_input: Option<String>,
    pub(super) words: StatusWords,
    pub(super) more: Vec<(Method, String, Value)>,
}

/// How long a run takes, and how long it takes again after each resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "tests count, people wait")]
pub enum Takes {
    /// It is done at the first status after this many: no clock is involved.
    Polls(u32),
    /// It is done after this time.
    Time(Duration),
}

/// Which of CrewAI's two status vocabularies it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "CrewAI has these two")]
pub enum StatusWords {
    /// `state` in capitals, `status` a sentence, as deployments answer.
    #[default]
    Live,
    /// `status` is `running`, `completed` or `error`, as the OpenAPI document has it.
    Documented,
}

/// How a deployment misbehaves. See also [`go_down`](super::ScriptedCrew::go_down) and
/// [`set_delay`](super::ScriptedCrew::set_delay).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trouble {
    /// It acts, and breaks off in the middle of its answer.
    Cut,
    /// It does not act, and answers 500 in plain text.
    Error,
    /// It does not act, and answers 200 with a web page.
    Html,
    /// Not at all.
    #[default]
    None,
    /// It acts, and answers with a body that never ends.
    Endless,
}

impl Script {
    /// One input `topic`, a report full of made-up personal data after one status that says it is running.
    #[must_use]
    pub fn new() -> Self {
        Self {
            key: Self::KEY.to_owned(),
            inputs: vec!["topic".to_owned()],
            result: Self::RESULT.to_owned(),
            takes: Takes::Polls(1),
            human_input: None,
            words: StatusWords::Live,
            more: Vec::new(),
        }
    }

    /// The key by default: in the shape of CrewAI's keys, and no key of anybody's.
    pub const KEY: &str = "org-5b1c0d9e7f3a";

    /// The result by default. Nobody in it exists; the IBAN and the card pass their checksums.
    pub const RESULT: &str = "Report on {topic}.\n\nRecord found. name: Maria Keller, \
        email: maria.keller@example.com, phone: +49 30 901820, iban: DE89370400440532013000, \
        card: 4111 1111 1111 1111, ssn: 536-90-4399, segment: enterprise.\n\nNext step: call her.";

    /// Asks for this bearer token.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Asks for exactly these inputs; a kickoff without one of them is answered 422, others are ignored.
    #[must_use]
    pub fn inputs<I: Into<String>>(mut self, names: impl IntoIterator<Item = I>) -> Self {
        self.inputs = names.into_iter().map(Into::into).collect();
        self
    }

    /// Comes to this result. `{name}` stands for the input of that name and `{kickoff_id}` for the run's own id; a
    /// result that is JSON is answered as `result_json`, too.
    #[must_use]
    pub fn result(mut self, text: impl Into<String>) -> Self {
        self.result = text.into();
        self
    }

    /// Takes this long.
    #[must_use]
    pub fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// Pauses before the end, calls `humanInputWebhook` with this task output (same placeholders as the result), and
    /// goes on when it is resumed: to its end when approved, to another pause when not.
    #[must_use]
    pub fn human_input(mut self, task_output: impl Into<String>) -> Self {
        self.human_input = Some(task_output.into());
        self
    }

    /// Offers something beside CrewAI's own operations: `method` at `path` is answered 200 with this JSON.
    #[must_use]
    pub fn answers(mut self, method: Method, path: impl Into<String>, answer: Value) -> Self {
        self.more.push((method, path.into(), answer));
        self
    }

    /// Speaks these words.
    #[must_use]
    pub fn words(mut self, words: StatusWords) -> Self {
        self.words = words;
        self
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}
