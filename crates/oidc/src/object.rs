use std::{borrow::Cow, collections::HashSet};

use crate::json::Json;

/// So many names are compared with each other faster than they are hashed; claims of a token are fewer.
const FEW: usize = 24;

/// Members of a JSON object, each name once. A list, because most have a dozen, and what looks for one of them looks at
/// lengths.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// `None` where a name comes twice.
    pub(crate) fn of(members: Vec<(Cow<'a, str>, Json<'a>)>) -> Option<Self> {
        let mut names = members.iter().map(|(name, _)| name);
        let unique = if members.len() <= FEW {
            let before = |index| members.iter().take(index).map(|(name, _)| name);
            names.enumerate().all(|(index, name)| before(index).all(|other| other != name))
        } else {
            let mut seen = HashSet::new();
            names.all(|name| seen.insert(name))
        };
        unique.then_some(Self(members))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.iter().find_map(|(other, value)| (other == name).then_some(value))
    }

    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// In the place of the member of this name, if there is one.
    pub(crate) fn insert(&mut self, name: &'static str, value: Json<'a>) {
        self.remove(name);
        self.0.push((name.into(), value));
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Json<'a>> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(index).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// The same members for longer than the text they were read from.
    pub(crate) fn into_owned(self) -> Object<'static> {
        Object(
            self.0
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_seen_among_few_and_among_many() {
        for count in [2, FEW, FEW + 1, 500] {
            let mut members: Vec<_> = (0..count).map(|n| (format!("m{n}").into(), Json::Null)).collect();
            assert!(Object::of(members.clone()).is_some(), "{count}");
            members[0].0 = members[count - 1].0.clone();
            assert!(Object::of(members).is_none(), "{count}");
        }
    }
}
