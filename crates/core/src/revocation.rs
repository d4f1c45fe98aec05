use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{PrincipalKey, Timestamp};

/// The tokens a revocation means. Issuers are named as in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevokedTokens {
    /// All that were issued to an OAuth client.
    Client {
        /// Whose.
        issuer: String,
        /// `client_id`, `azp`, `cid` or `appid` of the tokens.
        client: String,
    },
    /// All of an issuer: its epoch.
    Issuer {
        /// Whose.
        issuer: String,
    },
    /// All of a principal.
    Subject {
        /// Whose.
        #[serde(flatten)]
        principal: PrincipalKey,
    },
    /// One token.
    Token {
        /// Whose.
        issuer: String,
        /// Its `jti`.
        id: String,
    },
}

impl RevokedTokens {
    /// The name of the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match self {
            Self::Client { issuer, .. } | Self::Issuer { issuer } | Self::Token { issuer, .. } => issuer,
            Self::Subject { principal } => &principal.issuer,
        }
    }
}

/// `subject okta:alice`, `client okta:portal`, `issuer okta`, `token okta:AT.7f3a`.
impl fmt::Display for RevokedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { issuer, client } => write!(f, "client {issuer}:{client}"),
            Self::Issuer { issuer } => write!(f, "issuer {issuer}"),
            Self::Subject { principal } => write!(f, "subject {principal}"),
            Self::Token { issuer, id } => write!(f, "token {issuer}:{id}"),
        }
    }
}

/// A step in the life of a revocation. That it ended is no step: it ends when every token it could hit has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevocationStep {
    /// It was taken back.
    Lifted,
    /// It counts from here on.
    Revoked {
        /// Tokens issued until then are meant; of one token it means nothing.
        before: Timestamp,
        /// When it ends.
        until: Timestamp,
    },
}
