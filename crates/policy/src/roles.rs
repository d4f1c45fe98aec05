use std::{collections::BTreeMap, fmt, pin::Pin};

use crewgate_core::{Principal, PrincipalKey, RoleName, Timestamp};

/// A boxed future that can move between threads; the type `futures_util::future::BoxFuture` names too.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A role a principal holds at the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRole {
    /// The role.
    pub name: RoleName,
    /// When it ends; `None` while no end is set.
    pub until: Option<Timestamp>,
    /// How the principal came by it, for people: `group okta:analysts`, `subject okta:alice`.
    pub via: String,
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

/// Knows which roles a principal holds at an instant.
pub trait RoleSource: Send + Sync + 'static {
    /// The roles held at `now`; a role whose end is `now` or earlier is not among them.
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

    fn runs_at(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// How this principal comes by the role, if at all.
    fn via(&self, principal: &Principal) -> Option<String> {
        if let Some(subject) = self.subjects.iter().find(|subject| names(subject, &principal.key)) {
            return Some(format!("subject {subject}"));
        }
        let held = self.groups.iter().find(|group| principal.groups.iter().any(|g| g.as_str() == *group))?;
        Some(format!("group {held}"))
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
/// use crewgate_policy::{RoleBinding, StaticRoles};
///
/// let roles = StaticRoles::new([RoleBinding {
///     groups: vec!["okta:analysts".to_owned()],
///     until: Some(Timestamp::from_secs(1_798_675_200)),
///     ..RoleBinding::new(RoleName::new("run-summary-jobs"))
/// }]);
/// assert_eq!(roles.bindings().len(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct StaticRoles {
    bindings: Vec<RoleBinding>,
}

impl StaticRoles {
    /// Roles held by these bindings.
    pub fn new(bindings: impl IntoIterator<Item = RoleBinding>) -> Self {
        Self { bindings: bindings.into_iter().collect() }
    }

    /// The bindings.
    #[must_use]
    pub fn bindings(&self) -> &[RoleBinding] {
        &self.bindings
    }

    /// The roles this principal holds at `now`, sorted by name. A role bound twice is held to its later end.
    #[must_use]
    pub fn held(&self, principal: &Principal, now: Timestamp) -> Vec<HeldRole> {
        let mut held = BTreeMap::<&RoleName, HeldRole>::new();
        for binding in self.bindings.iter().filter(|binding| binding.runs_at(now)) {
            let Some(via) = binding.via(principal) else { continue };
            let longer =
                held.get(&binding.role).is_none_or(|earlier| ends_later(binding.until, earlier.until));
            if longer {
                let role = HeldRole { name: binding.role.clone(), until: binding.until, via };
                held.insert(&binding.role, role);
            }
        }
        held.into_values().collect()
    }
}

fn ends_later(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}

impl RoleSource for StaticRoles {
    fn roles<'a>(
        &'a self,
        principal: &'a Principal,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<HeldRole>, RolesUnavailable>> {
        let held = self.held(principal, now);
        Box::pin(std::future::ready(Ok(held)))
    }
}
