use std::{fmt, pin::Pin};

use crewgate_core::{GrantId, Operation, Principal, PrincipalKey, RoleName, Timestamp};

use crate::Nesting;

/// A boxed future that can move between threads; the type `futures_util::future::BoxFuture` names too.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A role of a principal, with its time and how they come by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRole {
    /// The role.
    pub name: RoleName,
    /// When it begins; `None`: it has begun. Of a nested role the latest begin on its path.
    pub from: Option<Timestamp>,
    /// When it ends; `None` while no end is set. Of a nested role the earliest end on its path.
    pub until: Option<Timestamp>,
    /// How the principal comes by it.
    pub by: HeldBy,
    /// The roles that lead to it, from the one that [`by`](Self::by) gives; empty when it gives this one.
    pub through: Vec<RoleName>,
}

impl HeldRole {
    /// A role that is held for good, directly.
    #[must_use]
    pub fn new(name: RoleName, by: HeldBy) -> Self {
        Self { name, from: None, until: None, by, through: Vec::new() }
    }

    /// Whether it is held at this instant: from its begin, and at its end no longer.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        runs_at(self.from, self.until, now)
    }
}

/// `summaries by group okta:leads, through lead`.
impl fmt::Display for HeldRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.name, self.by)?;
        for (at, role) in self.through.iter().enumerate() {
            write!(f, "{}{role}", if at == 0 { ", through " } else { " → " })?;
        }
        Ok(())
    }
}

/// Whether a span with these ends contains this instant.
pub(crate) fn runs_at(from: Option<Timestamp>, until: Option<Timestamp>, now: Timestamp) -> bool {
    from.is_none_or(|from| from <= now) && until.is_none_or(|until| now < until)
}

/// What gives a principal a role. Ordered as they print.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HeldBy {
    /// A temporary grant.
    Grant {
        /// Which.
        id: GrantId,
        /// Whether it counts for some operations only, or only so many times. Where a role is held in another way
        /// too, the other way is relied on.
        narrowed: bool,
    },
    /// A binding of a group, prefixed by its issuer: `okta:analysts`.
    Group(String),
    /// A binding of the principal itself, as `issuer:subject`.
    Subject(String),
}

impl HeldBy {
    /// The grant, if it is one.
    #[must_use]
    pub fn grant(&self) -> Option<GrantId> {
        match self {
            Self::Grant { id, .. } => Some(*id),
            Self::Group(_) | Self::Subject(_) => None,
        }
    }
}

/// `group okta:analysts`, `subject okta:alice`, `grant 7b0c…`.
impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant { id, .. } => write!(f, "grant {id}"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Subject(subject) => write!(f, "subject {subject}"),
        }
    }
}

/// The roles could not be looked up. The request is refused (503): nobody is decided on half their roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolesUnavailable {
    /// What failed, for the operator's log; the caller is not told.
    pub reason: String,
}

impl fmt::Display for RolesUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roles are not available: {}", self.reason)
    }
}

impl std::error::Error for RolesUnavailable {}

/// Knows which roles a principal holds at an instant. Asked anew for every decision and never remembered: a role that
/// has ended or was taken away is gone with the next question.
pub trait RoleSource: Send + Sync + 'static {
    /// The roles that count for this operation at `now`, each once, with every role they include. A role whose end is
    /// `now` or earlier is not among them; neither is one that is held for other operations only. `None` asks for no
    /// operation in particular: what is held for some operations only does not count.
    ///
    /// # Errors
    ///
    /// [`RolesUnavailable`] when the roles cannot be known; never a part of them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    fn roles<'a>(
        &'a self,
        principal: &'a Principal,
        operation: Option<&'a Operation>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<HeldRole>, RolesUnavailable>>;
}

/// Who holds a role, by configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBinding {
    /// The role.
    pub role: RoleName,
    /// Groups whose members hold it, prefixed by the issuer's name: `okta:analysts`.
    pub groups: Vec<String>,
    /// Principals that hold it, as `issuer:subject`.
    pub subjects: Vec<String>,
    /// When it begins; `None`: it has begun.
    pub from: Option<Timestamp>,
    /// When it ends. At exactly this instant it has ended; `None`: no end.
    pub until: Option<Timestamp>,
}

impl RoleBinding {
    /// A binding that holds for nobody yet.
    #[must_use]
    pub fn new(role: RoleName) -> Self {
        Self { role, groups: Vec::new(), subjects: Vec::new(), from: None, until: None }
    }

    /// The role as this principal comes by it, whatever the time; `None` when the binding does not mean them.
    #[must_use]
    pub fn claim(&self, principal: &Principal) -> Option<HeldRole> {
        let subject = self.subjects.iter().find(|subject| names(subject, &principal.key));
        let by = match subject {
            Some(subject) => HeldBy::Subject(subject.clone()),
            None => {
                let mine = |group: &&String| principal.groups.contains(group);
                HeldBy::Group(self.groups.iter().find(mine)?.clone())
            }
        };
        Some(HeldRole { from: self.from, until: self.until, ..HeldRole::new(self.role.clone(), by) })
    }
}

/// Compared part by part: `a:b` + `c` and `a` + `b:c` print alike and are two different callers.
fn names(text: &str, key: &PrincipalKey) -> bool {
    text.split_once(':') == Some((key.issuer.as_str(), key.subject.as_str()))
}

/// Roles from configuration, evaluated at use: no sweeper has to run for a role to end.
///
/// ```
/// use crewgate_core::{RoleName, Timestamp};
/// use crewgate_policy::{Inclusion, Nesting, RoleBinding, StaticRoles};
///
/// let (lead, summaries) = (RoleName::new("lead"), RoleName::new("run-summary-jobs"));
/// let nesting = Nesting::new([Inclusion::new(lead.clone(), summaries)])?;
/// let roles = StaticRoles::new([RoleBinding {
///     groups: vec!["okta:leads".to_owned()],
///     until: Some(Timestamp::from_secs(1_798_675_200)),
///     ..RoleBinding::new(lead)
/// }])
/// .nested(nesting);
/// assert_eq!(roles.bindings().len(), 1);
/// # Ok::<_, crewgate_policy::RoleCycle>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StaticRoles {
    bindings: Vec<RoleBinding>,
    nesting: Nesting,
}

impl StaticRoles {
    /// Roles held by these bindings; none includes another.
    pub fn new(bindings: impl IntoIterator<Item = RoleBinding>) -> Self {
        Self { bindings: bindings.into_iter().collect(), nesting: Nesting::default() }
    }

    /// Whoever holds a role also holds those it includes.
    #[must_use]
    pub fn nested(mut self, nesting: Nesting) -> Self {
        self.nesting = nesting;
        self
    }

    /// The bindings.
    #[must_use]
    pub fn bindings(&self) -> &[RoleBinding] {
        &self.bindings
    }

    /// Which role includes which.
    #[must_use]
    pub fn nesting(&self) -> &Nesting {
        &self.nesting
    }

    /// What the bindings give this principal, whatever the time and without what it includes. A source that joins
    /// these with others of its own [expands](Nesting::expand) all of them together.
    pub fn claims<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = HeldRole> + 'a {
        self.bindings.iter().filter_map(|binding| binding.claim(principal))
    }

    /// The roles this principal holds at `now`, sorted by name. A role held in several ways is held to the latest end.
    #[must_use]
    pub fn held(&self, principal: &Principal, now: Timestamp) -> Vec<HeldRole> {
        self.nesting.expand_for(principal, self.claims(principal), now)
    }
}

impl RoleSource for StaticRoles {
    fn roles<'a>(
        &'a self,
        principal: &'a Principal,
        _: Option<&'a Operation>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<HeldRole>, RolesUnavailable>> {
        let held = self.held(principal, now);
        Box::pin(std::future::ready(Ok(held)))
    }
}
