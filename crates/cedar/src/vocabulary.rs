use std::collections::{BTreeMap, BTreeSet};

use crewgate_core::{Action, ApproverSet, Effect, MaskProfile, RoleName};

use crate::{LoadError, Zone};

/// The words rules may use: what the configuration declares. A rule that says anything else does not load.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Roles.
    pub roles: BTreeSet<RoleName>,
    /// Sets of people who may approve.
    pub approvers: BTreeSet<ApproverSet>,
    /// Mask profiles.
    pub masks: BTreeSet<MaskProfile>,
    /// Crews with their fleets and inputs.
    pub crews: Vec<CrewDeclaration>,
    /// The time zone of `hour` and `weekday`.
    pub zone: Zone,
    /// Actions; what they do puts them in the group `read` or `write`.
    pub actions: Vec<(Action, Effect)>,
}

/// Knows the four actions every crew has (`inputs`, `status`, `kickoff`, `resume`) and no names.
impl Default for Vocabulary {
    fn default() -> Self {
        let actions = [
            ("inputs", Effect::Read),
            ("status", Effect::Read),
            ("kickoff", Effect::Write),
            ("resume", Effect::Write),
        ];
        Self {
            roles: BTreeSet::new(),
            approvers: BTreeSet::new(),
            masks: BTreeSet::new(),
            crews: Vec::new(),
            zone: Zone::default(),
            actions: actions.into_iter().map(|(name, effect)| (Action::of(name), effect)).collect(),
        }
    }
}

/// One crew, as far as rules can speak of it.
#[derive(Debug, Clone, Default)]
pub struct CrewDeclaration {
    /// Its name.
    pub name: String,
    /// The fleets it belongs to.
    pub fleets: Vec<String>,
    /// Its declared inputs.
    pub inputs: Vec<(String, InputType)>,
}

/// The type of a declared input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InputType {
    /// `true`, `false`
    Bool,
    /// A whole number.
    Long,
    /// A short string.
    String,
    /// A set of short strings.
    Strings,
}

impl InputType {
    /// The type's name in messages and in Cedar.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::Long => "Long",
            Self::String => "String",
            Self::Strings => "Set<String>",
        }
    }
}

/// Names of the two action groups.
pub(crate) const GROUPS: [&str; 2] = ["read", "write"];

pub(crate) fn group(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
    }
}

impl Vocabulary {
    /// All fleets some crew belongs to.
    pub(crate) fn fleets(&self) -> BTreeSet<&str> {
        self.crews.iter().flat_map(|crew| crew.fleets.iter().map(String::as_str)).collect()
    }

    /// The inputs of all crews together: one rule can speak of a fleet, so a name means one type everywhere.
    pub(crate) fn inputs(&self) -> Result<BTreeMap<&str, InputType>, Vec<LoadError>> {
        let mut known = BTreeMap::<&str, (InputType, &str)>::new();
        let mut errors = Vec::new();
        for crew in &self.crews {
            for (name, kind) in &crew.inputs {
                let (first, first_crew) = *known.entry(name).or_insert((*kind, &crew.name));
                if first != *kind {
                    errors.push(LoadError::of_declarations(
                        format!(
                            "input `{name}` is {} for crew `{first_crew}` and {} for crew `{}`",
                            first.as_str(),
                            kind.as_str(),
                            crew.name
                        ),
                        "rules speak of inputs across crews: give both the same type, or one another name",
                    ));
                }
            }
        }
        if errors.is_empty() {
            Ok(known.into_iter().map(|(name, (kind, _))| (name, kind)).collect())
        } else {
            Err(errors)
        }
    }
}
