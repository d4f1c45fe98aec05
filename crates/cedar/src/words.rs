use std::collections::{BTreeSet, HashSet};

use crewgate_core::RoleName;

use crate::{Vocabulary, error::closest, index::Names};

/// The words of a vocabulary, ready to be looked up.
pub(crate) struct Words<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) crews: HashSet<&'a str>,
    pub(crate) fleets: BTreeSet<&'a str>,
    pub(crate) roles: Names<RoleName>,
}

impl<'a> Words<'a> {
    pub(crate) fn of(vocabulary: &'a Vocabulary) -> Self {
        let mut roles = Names::default();
        for role in &vocabulary.roles {
            roles.intern(role.clone());
        }
        let crews = vocabulary.crews.iter().map(|crew| crew.name.as_str()).collect();
        Self { vocabulary, crews, fleets: vocabulary.fleets(), roles }
    }
}

/// Refuses a name that is not `known`, with what would be right.
pub(crate) fn declared<'a>(
    what: &str,
    name: &str,
    known: bool,
    all: impl IntoIterator<Item = &'a str>,
) -> Result<(), (String, String)> {
    if known {
        return Ok(());
    }
    let all: Vec<_> = all.into_iter().collect();
    let help = match closest(name, all.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if all.is_empty() => format!("no {what} is declared"),
        None => format!("declared: {}", all.join(", ")),
    };
    Err((format!("unknown {what} `{name}`"), help))
}
