use std::collections::BTreeMap;

use crate::{CustomOperation, InputDeclaration, Prompts};

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
    /// What inputs that are prompts may be.
    pub prompts: Prompts,
    /// What it offers beside CrewAI's own operations.
    pub operations: Vec<CustomOperation>,
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

impl Crew {
    /// A crew without fleets, human input or declared inputs, that refuses undeclared ones.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fleets: Vec::new(),
            human_input: false,
            inputs: BTreeMap::new(),
            undeclared: Undeclared::default(),
            prompts: Prompts::default(),
            operations: Vec::new(),
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

    /// Lists the prompts it may be given.
    #[must_use]
    pub fn prompts(mut self, prompts: Prompts) -> Self {
        self.prompts = prompts;
        self
    }

    /// Declares an operation beside CrewAI's own.
    #[must_use]
    pub fn operation(mut self, operation: CustomOperation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Says what becomes of inputs that are not declared.
    #[must_use]
    pub fn undeclared(mut self, undeclared: Undeclared) -> Self {
        self.undeclared = undeclared;
        self
    }
}
