use std::collections::BTreeMap;

use crewgate_core::{Effect, Refusal, Value};
use http::Method;

use crate::{
    InputDeclaration, Misdeclared, Prompts, Undeclared, describe::Parsed, given::Expected, route::ACTIONS,
};

/// First segments of CrewAI's own addresses, passed on or not: what a deployment adds must not stand for them.
const OWN_PLACES: [&str; 6] = ["chat", "inputs", "inspect", "kickoff", "resume", "resume_feedback"];

/// An operation that a deployment offers beside CrewAI's own: one method at one address.
///
/// Its body is a JSON object whose members are declared like inputs of a kickoff; its answer is JSON. It belongs to no
/// run: ids in it are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomOperation {
    /// What rules call it.
    pub action: String,
    /// Its method; `GET` and `DELETE` take no body.
    pub method: Method,
    /// Its raw path below the crew's prefix, as in `/reports/export`.
    pub path: String,
    /// Whether it changes something.
    pub effect: Effect,
    /// Members of its body.
    pub inputs: BTreeMap<String, InputDeclaration>,
    /// What becomes of members that are not declared.
    pub undeclared: Undeclared,
}

impl CustomOperation {
    /// An operation without inputs; a `GET` reads and anything else writes.
    ///
    /// # Errors
    ///
    /// Which of `action`, `method` and `path` cannot be declared, and why: names and addresses of CrewAI's own are
    /// taken, and a path is literal.
    pub fn new(
        action: impl Into<String>,
        method: Method,
        path: impl Into<String>,
    ) -> Result<Self, Misdeclared> {
        let (action, path) = (action.into(), path.into());
        let wrong = |key, why: String| Err(Misdeclared { key, why });
        let family = action.split('.').next().unwrap_or_default();
        let taken = ACTIONS.iter().any(|(own, _)| own.split('.').next() == Some(family));
        if taken || matches!(family, "read" | "write") {
            return wrong("action", format!("`{action}` is a name of CrewAI's own actions or their groups"));
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if !action.split('.').all(|part| !part.is_empty() && part.bytes().all(plain)) {
            return wrong(
                "action",
                format!("`{action}` is no name: lower case letters, digits, `-`, `_`, parts with `.`"),
            );
        }
        if !matches!(method, Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
            return wrong("method", format!("`{method}` is none of GET, POST, PUT, PATCH and DELETE"));
        }
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let segments: Option<Vec<&str>> = path.strip_prefix('/').map(|rest| rest.split('/').collect());
        match segments.as_deref() {
            Some([first, ..]) if OWN_PLACES.contains(first) => {
                wrong("path", format!("`/{first}` is an address of CrewAI's own"))
            }
            Some(["status", ..] | [_, "status"]) => {
                wrong("path", "the addresses of a run's status are CrewAI's own".to_owned())
            }
            Some(all)
                if all.iter().all(|one| !matches!(*one, "" | "." | "..") && one.bytes().all(unreserved)) =>
            {
                let effect = if method == Method::GET { Effect::Read } else { Effect::Write };
                let inputs = BTreeMap::new();
                Ok(Self { action, method, path, effect, inputs, undeclared: Undeclared::default() })
            }
            _ => wrong("path", format!("`{path}` is no literal path such as `/reports/export`")),
        }
    }

    /// Says whether it changes something, whatever its method.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Declares a member of its body.
    ///
    /// # Errors
    ///
    /// When its method takes no body.
    pub fn input(
        mut self,
        name: impl Into<String>,
        declaration: InputDeclaration,
    ) -> Result<Self, Misdeclared> {
        if !self.takes_a_body() {
            let why = format!("a {} takes no body, so it has no inputs", self.method);
            return Err(Misdeclared { key: "inputs", why });
        }
        self.inputs.insert(name.into(), declaration);
        Ok(self)
    }

    /// Says what becomes of members that are not declared.
    #[must_use]
    pub fn undeclared(mut self, undeclared: Undeclared) -> Self {
        self.undeclared = undeclared;
        self
    }

    /// Reads the members of its body.
    pub(crate) fn parse(&self, prompts: &Prompts, members: Vec<(String, Value)>) -> Result<Parsed, Refusal> {
        let mut parsed = Parsed::default();
        let (inputs, undeclared) = (&self.inputs, self.undeclared);
        let expected = Expected { inputs, undeclared, prompts, below: None, apart: |_, _| None };
        expected.read(&members, &mut parsed)?;
        parsed.body = Some(Value::Object(members));
        Ok(parsed)
    }

    pub(crate) fn takes_a_body(&self) -> bool {
        !matches!(self.method, Method::GET | Method::DELETE)
    }
}
