use std::collections::BTreeMap;

use crewgate_core::{InputValue, Value};

/// Bytes of one string that rules read: an id, a name, a choice. Prose belongs into [`InputKind::Text`].
pub const MAX_RULE_STRING: usize = 1024;

/// Elements of one list that rules read.
pub const MAX_RULE_STRINGS: usize = 256;

/// A CrewAI deployment as it is declared: its name and what a kickoff may bring along.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crew {
    /// Its name.
    pub name: String,
    /// Groups of crews it belongs to.
    pub fleets: Vec<String>,
    /// Whether its tasks ask people for input, so that the gateway asks to be called back.
    pub human_input: bool,
    /// What a kickoff may bring along.
    pub inputs: BTreeMap<String, InputDeclaration>,
    /// What becomes of inputs that are not declared.
    pub undeclared: Undeclared,
}

/// What becomes of inputs a crew does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "they pass or they do not")]
pub enum Undeclared {
    /// They are passed on; rules do not see them, only that there were some.
    Ignore,
    /// The kickoff is refused.
    #[default]
    Refuse,
}

/// One declared input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputDeclaration {
    /// Its type.
    pub kind: InputKind,
    /// Whether its values name datasets.
    pub dataset: bool,
    /// Whether a kickoff without it is refused.
    pub required: bool,
}

/// Types of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new type of input must be thought through everywhere")]
pub enum InputKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits, written as one.
    Integer,
    /// Any JSON; rules do not see it.
    Json,
    /// A string of at most [`MAX_RULE_STRING`] bytes, for rules.
    String,
    /// At most [`MAX_RULE_STRINGS`] such strings, for rules.
    Strings,
    /// Free text; rules do not see it, masks may change it.
    Text,
}

impl Crew {
    /// A crew without fleets, human input or declared inputs, that refuses undeclared ones.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fleets: Vec::new(),
            human_input: false,
            inputs: BTreeMap::new(),
            undeclared: Undeclared::default(),
        }
    }

    /// Puts it into a fleet.
    #[must_use]
    pub fn fleet(mut self, name: impl Into<String>) -> Self {
        self.fleets.push(name.into());
        self
    }

    /// Declares that its tasks ask people for input.
    #[must_use]
    pub fn human_input(mut self, asks: bool) -> Self {
        self.human_input = asks;
        self
    }

    /// Declares an input.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, declaration: InputDeclaration) -> Self {
        self.inputs.insert(name.into(), declaration);
        self
    }

    /// Says what becomes of inputs that are not declared.
    #[must_use]
    pub fn undeclared(mut self, undeclared: Undeclared) -> Self {
        self.undeclared = undeclared;
        self
    }
}

impl InputDeclaration {
    /// An optional input of this type.
    #[must_use]
    pub const fn of(kind: InputKind) -> Self {
        Self { kind, dataset: false, required: false }
    }

    /// Its values name datasets. Only strings do: on any other type this has no effect.
    #[must_use]
    pub const fn dataset(mut self) -> Self {
        self.dataset = true;
        self
    }

    /// A kickoff without it is refused.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl InputKind {
    /// What rules see of this value; `Ok(None)` when they see nothing of this type.
    ///
    /// # Errors
    ///
    /// What the type asks for, when the value is not of it.
    pub(crate) fn read(self, value: &Value) -> Result<Option<InputValue>, &'static str> {
        let rule_string =
            |value: &Value| value.as_str().filter(|t| t.len() <= MAX_RULE_STRING).map(str::to_owned);
        match (self, value) {
            (Self::Json, _) | (Self::Text, Value::String(_)) => Ok(None),
            (Self::Boolean, Value::Bool(value)) => Ok(Some(InputValue::Bool(*value))),
            (Self::Integer, Value::Number(number)) => match number.as_i64() {
                Some(value) => Ok(Some(InputValue::Long(value))),
                None => Err(self.wants()),
            },
            (Self::String, value) => {
                rule_string(value).map(|text| Some(InputValue::String(text))).ok_or(self.wants())
            }
            (Self::Strings, Value::Array(items)) if items.len() <= MAX_RULE_STRINGS => {
                let texts: Option<_> = items.iter().map(rule_string).collect();
                texts.map(|texts| Some(InputValue::Strings(texts))).ok_or(self.wants())
            }
            (Self::Boolean | Self::Integer | Self::Strings | Self::Text, _) => Err(self.wants()),
        }
    }

    const fn wants(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Integer => "a whole number of 64 bits",
            Self::Json => "any JSON",
            Self::String => "a string of at most 1024 bytes",
            Self::Strings => "a list of at most 256 strings of at most 1024 bytes",
            Self::Text => "a string",
        }
    }
}
