use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Groups, RoleName, Timestamp};

/// Who a caller is for ever: the token's issuer and its subject. Never an e-mail address, which can be reassigned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PrincipalKey {
    /// The configured *name* of the issuer, e.g. `okta`; one name stands for one issuer URL.
    pub issuer: String,
    /// The `sub` claim, exactly as issued.
    pub subject: String,
}

impl PrincipalKey {
    /// The key of `subject` at `issuer`.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), subject: subject.into() }
    }
}

/// `issuer:subject`, the spelling used in configuration, on the record and in Cedar.
impl fmt::Display for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.issuer, self.subject)
    }
}

/// A person, or a program with an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a caller is one or the other")]
pub enum PrincipalKind {
    /// A program: a CI job, a service account, a client of its own.
    Service,
    /// A person.
    User,
}

/// The name of one natural person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HumanId(pub String);

/// One natural person behind several principals (a second identity provider, a service account they own), as the
/// configuration links them today. Written down it is its name alone, and equal to any other of that name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "HumanId", into = "HumanId")]
pub struct Human {
    name: HumanId,
    identities: Arc<BTreeSet<PrincipalKey>>,
}

impl Human {
    /// The person of this name, with all their identities.
    pub fn new(name: HumanId, identities: impl IntoIterator<Item = PrincipalKey>) -> Self {
        Self { name, identities: Arc::new(identities.into_iter().collect()) }
    }

    /// What they are called.
    #[must_use]
    pub fn name(&self) -> &HumanId {
        &self.name
    }
}

impl PartialEq for Human {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Human {}

impl From<HumanId> for Human {
    fn from(name: HumanId) -> Self {
        Self::new(name, [])
    }
}

impl From<Human> for HumanId {
    fn from(human: Human) -> Self {
        human.name
    }
}

/// What policy and the record may know of the token; never the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// When it was issued (`iat`).
    pub issued: Timestamp,
    /// When it ends (`exp`).
    pub expires: Timestamp,
    /// First 16 hex digits of SHA-256 over the token: tells two tokens apart on the record, opens nothing.
    pub fingerprint: String,
    /// Whether the issuer says that more than one factor was used (`amr`/`acr`).
    pub mfa: bool,
    /// Whether the token is of use only to the holder of a key, who proved to be that (`cnf`, RFC 7800).
    #[serde(default)]
    pub sender_constrained: bool,
    /// When the person last proved who they are (`auth_time`); `None`: the issuer does not say. Never in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<Timestamp>,
    /// How they did, in the issuer's words (`acr`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Who acts for the principal with it, the one who holds it first (`act`, RFC 8693 section 4.1). Where there is one,
    /// nobody knows what the principal themselves would say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<PrincipalKey>,
    /// What an exchange left of it; `None` for a token of an issuer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<Exchanged>,
}

/// What is left of a token's rights after it was exchanged for one of ours (RFC 8693).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The only roles it counts for, with what they include.
    pub roles: BTreeSet<RoleName>,
}

/// Who calls, as proved by a token a verifier accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Issuer and subject: the identity.
    pub key: PrincipalKey,
    /// Person or program.
    pub kind: PrincipalKind,
    /// Groups the token carried.
    pub groups: Groups,
    /// The OAuth client the token was issued to (`client_id`, `azp`), when it says so.
    pub client: Option<String>,
    /// What is known of the token.
    pub token: TokenFacts,
    /// The natural person, when this identity is linked to one.
    pub human: Option<Human>,
}

impl Principal {
    /// Whether both are the same natural person: the same identity, or linked to the same human.
    #[must_use]
    pub fn same_person(&self, other: &Self) -> bool {
        self.is_called(&other.key)
            || other.is_called(&self.key)
            || matches!((&self.human, &other.human), (Some(a), Some(b)) if a == b)
    }

    /// Whether this is the natural person of `other`, or somebody who acts for them by the token they came with.
    #[must_use]
    pub fn is_behind(&self, other: &Self) -> bool {
        self.same_person(other) || other.token.actors.iter().any(|actor| self.is_called(actor))
    }

    /// Whether this is an identity of theirs.
    fn is_called(&self, key: &PrincipalKey) -> bool {
        self.key == *key || self.human.as_ref().is_some_and(|human| human.identities.contains(key))
    }
}
