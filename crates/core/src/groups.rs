use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Groups as their issuers name them, each prefixed by its issuer's name: `okta:analysts`, because two issuers' `admins`
/// differ. Each once and in order. Cheap to clone, since every request has a principal of its own, and one text, since a
/// caller may be in hundreds.
///
/// ```
/// use crewgate_core::Groups;
///
/// let groups = Groups::of("okta", ["on-call", "analysts", "on-call"]);
/// assert!(groups.contains("okta:analysts") && !groups.contains("analysts"));
/// assert!(groups.iter().eq(["okta:analysts", "okta:on-call"]));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Groups(Arc<Sorted>);

/// One after the other, and where each ends.
#[derive(PartialEq, Eq, Default)]
struct Sorted {
    text: String,
    ends: Vec<usize>,
}

impl Groups {
    /// The groups `names` of one issuer.
    #[must_use]
    pub fn of<'a>(issuer: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let length = names.iter().map(|name| issuer.len() + 1 + name.len()).sum();
        let mut sorted =
            Sorted { text: String::with_capacity(length), ends: Vec::with_capacity(names.len()) };
        for name in names {
            sorted.push(&[issuer, ":", name]);
        }
        Self(Arc::new(sorted))
    }

    /// Whether `group`, prefix and all, is one of them.
    #[must_use]
    pub fn contains(&self, group: &str) -> bool {
        self.iter().any(|mine| mine == group)
    }

    /// Each with its prefix, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.0.ends.iter().map_while(move |end| {
            let group = self.0.text.get(start..*end);
            start = *end;
            group
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spelled as they shall be, in any order.
    fn spelled(mut groups: Vec<String>) -> Self {
        groups.sort_unstable();
        groups.dedup();
        let mut sorted = Sorted::default();
        for group in &groups {
            sorted.push(&[group]);
        }
        Self(Arc::new(sorted))
    }
}

impl Sorted {
    fn push(&mut self, parts: &[&str]) {
        self.text.extend(parts.iter().copied());
        self.ends.push(self.text.len());
    }
}

/// Of pairs of an issuer's name and what it calls the group.
impl<A: AsRef<str>, B: AsRef<str>> FromIterator<(A, B)> for Groups {
    fn from_iter<T: IntoIterator<Item = (A, B)>>(groups: T) -> Self {
        let spelled = groups.into_iter().map(|(issuer, name)| [issuer.as_ref(), ":", name.as_ref()].concat());
        Self::spelled(spelled.collect())
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::spelled)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn groups_are_the_set_of_their_names_however_they_come() {
        let all = ["a", "", "a:b", "é", "aa", "a"];
        for shape in 0..1_usize << all.len() {
            let chosen = all.iter().enumerate().filter(|(place, _)| shape >> place & 1 == 1);
            let names: Vec<&str> = chosen.map(|(_, name)| *name).collect();
            let set: BTreeSet<String> = names.iter().map(|name| format!("okta:{name}")).collect();
            let groups = Groups::of("okta", names.iter().copied());
            assert!(groups.iter().eq(&set), "{names:?}");
            assert_eq!((groups.len(), groups.is_empty()), (set.len(), set.is_empty()));
            assert!(all.iter().all(|name| groups.contains(&format!("okta:{name}")) == names.contains(name)));
            assert_eq!(names.iter().map(|name| ("okta", name)).collect::<Groups>(), groups);
        }
    }
}
