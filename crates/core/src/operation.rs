use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{HeaderValue, Method, uri::PathAndQuery};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{PrincipalKey, RunId, Value};

/// The verb of an operation in the policy's words: `kickoff`, `status`, `resume`, …
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Action(Cow<'static, str>);

impl Action {
    /// An action known at compile time.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Action {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is acted on, in neutral words: a kind, a name, and the groups it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is, e.g. `Crew`.
    pub kind: Cow<'static, str>,
    /// Its name within the kind.
    pub name: String,
    /// Groups of the same family it belongs to (a crew's fleets).
    pub parents: Vec<String>,
}

/// A declared input as policy sees it. Free text and nested JSON are not for rules and never appear here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum InputValue {
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A short string: an id, a name, a choice.
    String(String),
    /// A set of short strings.
    Strings(Vec<String>),
}

/// Whether a call changes something upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a call changes something or it does not")]
pub enum Effect {
    /// Only reads: cancelled when the caller hangs up.
    Read,
    /// Changes something: once it has left, it runs to its end, caller or no caller.
    Write,
}

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IdKind {
    /// A run: kickoff id, execution id.
    Run,
    /// A task of a run that waits for a person.
    Task,
}

/// An id the caller sent (always Crewgate's own) and, once looked up, the upstream's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdSlot {
    /// What it stands for.
    pub kind: IdKind,
    /// The id the caller sent.
    pub own: Uuid,
    /// The upstream's spelling; `None` until looked up, and for a run that has not started yet.
    pub upstream: Option<String>,
}

/// One segment of the outgoing path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "a segment is written by us or is an id")]
pub enum Segment {
    /// The upstream id of the slot with this index.
    Id(usize),
    /// Text chosen by the gateway's own route table, never by the caller.
    Literal(Cow<'static, str>),
}

/// The names that lead to a declared free-text string inside the body, e.g. `["inputs", "question"]`.
pub type FreeText = Vec<String>;

/// The outgoing message before it is rendered: rebuilt from what was parsed, never copied from the caller's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Method, in upper case.
    #[serde(with = "method")]
    pub method: Method,
    /// Path below the upstream's base address.
    pub path: Vec<Segment>,
    /// JSON body, if the call has one.
    pub body: Option<Value>,
    /// Where declared free text stands: the only strings an input mask may change.
    pub free_text: Vec<FreeText>,
}

/// What is asked, parsed once from the caller's bytes. Policy decides on it, and the bytes that are sent are
/// rendered from it: what is decided on is what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The verb.
    pub action: Action,
    /// What it acts on.
    pub resource: Resource,
    /// Whether it changes something upstream.
    pub effect: Effect,
    /// Declared inputs, typed, in the order of their declaration.
    pub inputs: Vec<(String, InputValue)>,
    /// Values of the inputs that name datasets.
    pub datasets: Vec<String>,
    /// Ids of the allow-listed prompts among its inputs, sorted, each once.
    #[serde(default)]
    pub prompts: Vec<String>,
    /// Whether the body carried inputs the resource does not declare (where undeclared ones are let through).
    pub has_undeclared_inputs: bool,
    /// Length of the caller's body in bytes.
    pub body_bytes: u64,
    /// Hosts that would be called back.
    pub webhook_hosts: Vec<String>,
    /// Ids the caller sent.
    pub ids: Vec<IdSlot>,
    /// Who started the run these ids belong to; `None` when the operation is about no run.
    pub owner: Option<PrincipalKey>,
    /// The run this operation belongs to, in Crewgate's own id.
    pub run: Option<RunId>,
    /// What will be sent.
    pub message: Message,
}

impl Operation {
    /// What rules may read of it, without the body that would be sent: small, however large that is.
    #[must_use]
    pub fn without_message(&self) -> Self {
        let message = Message {
            method: self.message.method.clone(),
            path: Vec::new(),
            body: None,
            free_text: Vec::new(),
        };
        Self {
            action: self.action.clone(),
            resource: self.resource.clone(),
            effect: self.effect,
            inputs: self.inputs.clone(),
            datasets: self.datasets.clone(),
            prompts: self.prompts.clone(),
            has_undeclared_inputs: self.has_undeclared_inputs,
            body_bytes: self.body_bytes,
            webhook_hosts: self.webhook_hosts.clone(),
            ids: self.ids.clone(),
            owner: self.owner.clone(),
            run: self.run,
            message,
        }
    }
}

/// The bytes that will be sent, rendered exactly once. What was digested, shown and approved is this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Method.
    pub method: Method,
    /// Path below the upstream's base address, as it goes on the wire.
    pub path: PathAndQuery,
    /// `content-type` of the body, when there is one.
    pub content_type: Option<HeaderValue>,
    /// The body; empty when there is none.
    pub body: Bytes,
}

mod method {
    use http::Method;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(method: &Method, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(method.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
        let name = String::deserialize(from)?;
        Method::from_bytes(name.as_bytes()).map_err(D::Error::custom)
    }
}
