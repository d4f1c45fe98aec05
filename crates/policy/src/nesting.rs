use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    fmt,
};

use crewgate_core::{Principal, RoleName, Timestamp};

use crate::{HeldRole, roles::runs_at};

/// That whoever holds one role also holds another, for as long as this stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The role that includes.
    pub role: RoleName,
    /// The role that is held with it.
    pub includes: RoleName,
    /// When it begins; `None`: it has begun.
    pub from: Option<Timestamp>,
    /// When it ends; `None`: no end.
    pub until: Option<Timestamp>,
}

impl Inclusion {
    /// An inclusion without end.
    #[must_use]
    pub fn new(role: RoleName, includes: RoleName) -> Self {
        Self { role, includes, from: None, until: None }
    }
}

/// Roles that include each other in a circle: the roles on it, the first again at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleCycle(
    /// The circle; `a`, `b`, `a`.
    pub Vec<RoleName>,
);

impl fmt::Display for RoleCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("roles include each other in a circle: ")?;
        for (at, role) in self.0.iter().enumerate() {
            write!(f, "{}{role}", if at == 0 { "" } else { " → " })?;
        }
        Ok(())
    }
}

impl std::error::Error for RoleCycle {}

/// Which role includes which, without circles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nesting {
    of: BTreeMap<RoleName, Vec<Inclusion>>,
}

impl Nesting {
    /// The nesting of these inclusions.
    ///
    /// # Errors
    ///
    /// [`RoleCycle`], also for one whose inclusions never stand at the same time: dates move, circles stay.
    pub fn new(inclusions: impl IntoIterator<Item = Inclusion>) -> Result<Self, RoleCycle> {
        let mut nesting = Self::default();
        for inclusion in inclusions {
            nesting.of.entry(inclusion.role.clone()).or_default().push(inclusion);
        }
        match nesting.circle() {
            Some(circle) => Err(circle),
            None => Ok(nesting),
        }
    }

    /// Depth first, on a stack of its own: a chain may be as long as the configuration.
    fn circle(&self) -> Option<RoleCycle> {
        // Roles below which no circle lies.
        let mut free = BTreeSet::new();
        for start in self.of.keys() {
            let mut path = vec![(start, self.inclusions(start).iter())];
            let mut walked = BTreeSet::from([start]);
            while let Some((role, rest)) = path.last_mut() {
                let role = *role;
                let Some(Inclusion { includes, .. }) = rest.next() else {
                    free.insert(role);
                    walked.remove(role);
                    path.pop();
                    continue;
                };
                if walked.contains(includes) {
                    let circle = path.iter().map(|(role, _)| *role).skip_while(|role| *role != includes);
                    let circle = circle.chain([includes]);
                    return Some(RoleCycle(circle.cloned().collect()));
                }
                if !free.contains(includes) {
                    walked.insert(includes);
                    path.push((includes, self.inclusions(includes).iter()));
                }
            }
        }
        None
    }

    /// What this role includes by itself, whatever the time.
    #[must_use]
    pub fn inclusions(&self, role: &RoleName) -> &[Inclusion] {
        self.of.get(role).map_or(&[], Vec::as_slice)
    }

    /// Those of these roles that are held at `now`, with every role they include, each once and sorted by name.
    ///
    /// A role on several paths is held by the best: one that is not [narrowed](crate::HeldBy::Grant) before one that
    /// is, then the one that lasts longest, then a binding before a grant, then the shortest.
    #[must_use]
    pub fn expand(&self, held: impl IntoIterator<Item = HeldRole>, now: Timestamp) -> Vec<HeldRole> {
        let mut open: BinaryHeap<Path> = BinaryHeap::new();
        let mut best = BTreeMap::<RoleName, HeldRole>::new();
        open.extend(held.into_iter().map(Path));
        // Best first: what a role includes is never better held than the role, so the first path to a name is its best.
        while let Some(Path(role)) = open.pop() {
            if !role.holds_at(now) || best.contains_key(&role.name) {
                continue;
            }
            let standing = self.inclusions(&role.name).iter().filter(|i| runs_at(i.from, i.until, now));
            open.extend(standing.map(|inclusion| {
                let through = role.through.iter().chain([&role.name]).cloned().collect();
                Path(HeldRole {
                    name: inclusion.includes.clone(),
                    from: role.from.max(inclusion.from),
                    until: [role.until, inclusion.until].into_iter().flatten().min(),
                    by: role.by.clone(),
                    through,
                })
            }));
            best.insert(role.name.clone(), role);
        }
        best.into_values().collect()
    }

    /// As [`expand`](Self::expand), for this principal: of a token that was exchanged for some of its roles, only those
    /// count, and what they include.
    pub fn expand_for(
        &self,
        principal: &Principal,
        held: impl IntoIterator<Item = HeldRole>,
        now: Timestamp,
    ) -> Vec<HeldRole> {
        let all = self.expand(held, now);
        match &principal.token.exchanged {
            None => all,
            Some(left) => self.expand(all.into_iter().filter(|role| left.roles.contains(&role.name)), now),
        }
    }
}

/// A way to a role; the greatest is the best.
struct Path(HeldRole);

impl Path {
    fn rank(&self) -> impl Ord + '_ {
        use crate::HeldBy;
        let Self(role) = self;
        let narrowed = matches!(role.by, HeldBy::Grant { narrowed: true, .. });
        let end = role.until.unwrap_or(Timestamp::from_micros(i64::MAX));
        (!narrowed, end, role.by.grant().is_none(), Reverse(role.through.len()), Reverse(&role.by))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Path {}
