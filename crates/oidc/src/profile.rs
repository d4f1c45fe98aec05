//! What providers do differently, one profile each. A profile only ever narrows what the pipeline accepts, or says where
//! something stands that others put elsewhere.

use std::time::Duration;

use crewgate_core::PrincipalKind;

use crate::{
    Algorithm, Claims, InvalidConfig, IssuerConfig, Reason, Rejection, ci,
    json::{Json, Object},
};

/// The provider behind an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Auth0: an API's access token; permissions as groups, roles where a namespaced claim is configured.
    Auth0,
    /// Microsoft Entra ID, tokens of version 1.0 (`https://sts.windows.net/{tenant}/`).
    EntraV1,
    /// Microsoft Entra ID, tokens of version 2.0 (`https://login.microsoftonline.com/{tenant}/v2.0`).
    EntraV2,
    /// RFC 9068 access tokens, or what the other settings say.
    #[default]
    Generic,
    /// GitHub Actions jobs.
    GithubActions,
    /// GitLab CI jobs.
    Gitlab,
    /// Google ID tokens of one Workspace or Cloud Identity domain.
    Google,
    /// Keycloak access tokens.
    Keycloak,
    /// Kubernetes service account tokens, bound to a pod.
    Kubernetes,
    /// An Okta custom authorization server.
    Okta,
    /// SPIFFE JWT-SVIDs of one trust domain.
    Spiffe,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 11] = [
        Self::Auth0,
        Self::EntraV1,
        Self::EntraV2,
        Self::Generic,
        Self::GithubActions,
        Self::Gitlab,
        Self::Google,
        Self::Keycloak,
        Self::Kubernetes,
        Self::Okta,
        Self::Spiffe,
    ];

    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth0 => "auth0",
            Self::EntraV1 => "entra-v1",
            Self::EntraV2 => "entra-v2",
            Self::Generic => "generic",
            Self::GithubActions => "github-actions",
            Self::Gitlab => "gitlab",
            Self::Google => "google",
            Self::Keycloak => "keycloak",
            Self::Kubernetes => "kubernetes",
            Self::Okta => "okta",
            Self::Spiffe => "spiffe",
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Where this provider puts groups, as paths of claims; all that are there count.
    pub(crate) fn groups(self) -> Vec<Vec<String>> {
        let paths: &[&[&str]] = match self {
            Self::Auth0 => &[&["permissions"]],
            Self::EntraV1 | Self::EntraV2 => &[&["groups"], &["roles"]],
            Self::Generic | Self::Okta => &[&["groups"]],
            Self::Keycloak => &[&["groups"], &["realm_access", "roles"]],
            // Google tells no groups; those of jobs and workloads are made of their claims.
            Self::GithubActions | Self::Gitlab | Self::Google | Self::Kubernetes | Self::Spiffe => &[],
        };
        paths.iter().map(|path| path.iter().map(|name| (*name).to_owned()).collect()).collect()
    }

    /// Longest lifetime, where it is not the common one.
    pub(crate) fn max_lifetime(self) -> Option<Duration> {
        match self {
            // Offline checks cannot see that a pod was deleted: its token must not outlive it by much. Jobs get a
            // token per step, SVIDs are renewed every few minutes.
            Self::Kubernetes | Self::GithubActions | Self::Spiffe => Some(Duration::from_secs(600)),
            // A random 60 to 90 minutes, counted from five minutes before the token is made.
            Self::EntraV1 | Self::EntraV2 => Some(Duration::from_secs(95 * 60)),
            _ => None,
        }
    }

    /// What the provider may sign with, where it is not the common list.
    pub(crate) fn algorithms(self) -> Option<Vec<Algorithm>> {
        use Algorithm::{Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            // JWT-SVID section 2.1: these nine and no others.
            Self::Spiffe => Some(vec![Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512]),
            Self::EntraV1 | Self::EntraV2 | Self::GithubActions | Self::Gitlab | Self::Google => {
                Some(vec![Rs256])
            }
            _ => None,
        }
    }

    /// Whether its tokens are ID tokens by their nature.
    pub(crate) fn id_tokens(self) -> bool {
        self == Self::Google
    }

    /// The claim that is the subject for ever and everywhere, where `sub` is not: Okta's is the login, an e-mail address
    /// that can be given to somebody else; Entra's is another one in each application, so that a person who asks
    /// through one could agree through the other.
    pub(crate) fn subject(self) -> Option<&'static str> {
        match self {
            Self::Okta => Some("uid"),
            Self::EntraV1 | Self::EntraV2 => Some("oid"),
            _ => None,
        }
    }

    /// Hosts besides the issuer's own that publish its keys.
    pub(crate) fn key_hosts(self) -> &'static [&'static str] {
        match self {
            Self::Google => &["www.googleapis.com"],
            Self::EntraV1 => &["login.microsoftonline.com", "login.windows.net"],
            _ => &[],
        }
    }

    /// The `use` a published key may have besides `sig`: JWT-SVID bundles mark their keys with it.
    pub(crate) fn key_use(self) -> Option<&'static str> {
        (self == Self::Spiffe).then_some("jwt-svid")
    }

    /// What only makes sense for this provider's configuration.
    pub(crate) fn check(self, config: &IssuerConfig) -> Result<(), InvalidConfig> {
        let wrong =
            |what: &str| Err(InvalidConfig(format!("issuer {} ({}): {what}", config.name, self.name())));
        let pinned = |names: &[&str]| {
            config
                .require
                .keys()
                .any(|path| matches!(path.as_slice(), [one] if names.contains(&one.as_str())))
        };
        let tenant = self.tenant(config);
        match self {
            Self::EntraV1 | Self::EntraV2 if tenant.is_none() => {
                wrong("the URL must name one tenant, e.g. https://login.microsoftonline.com/<tenant id>/v2.0")
            }
            Self::Okta if !config.url.contains("/oauth2/") => wrong(
                "access tokens of the org authorization server are Okta's own: use a custom one, /oauth2/<id>",
            ),
            Self::Google if !pinned(&["hd"]) => {
                wrong("anybody can have a Google account: require.hd must name your domains")
            }
            Self::Keycloak if config.audience.contains("account") => wrong(
                "every client's tokens carry the audience `account`: add an audience mapper of your own",
            ),
            Self::Auth0 if !config.url.ends_with('/') => wrong("the URL ends with a slash in Auth0's tokens"),
            Self::GithubActions if !pinned(&["repository_owner_id", "repository_id", "enterprise_id"]) => {
                wrong(
                    "anybody can have a GitHub job: require.repository_owner_id (or repository_id) must name yours",
                )
            }
            Self::GithubActions
                if config.audience.iter().any(|aud| aud.starts_with("https://github.com/")) =>
            {
                wrong("the default audience is sent to everybody: ask for one of your own")
            }
            Self::Gitlab if !pinned(&["namespace_id", "project_id"]) => {
                wrong("anybody can have a GitLab job: require.namespace_id (or project_id) must name yours")
            }
            Self::Spiffe if config.trust_domain.is_none() => wrong("a trust_domain is mandatory"),
            Self::Spiffe => Ok(()),
            _ if config.trust_domain.is_some() => wrong("only spiffe has a trust_domain"),
            _ => Ok(()),
        }
    }

    /// What this provider's tokens must be besides what every token must be.
    pub(crate) fn check_token(self, config: &IssuerConfig, claims: &Claims<'_>) -> Result<(), Rejection> {
        let all = &claims.all;
        let must = |name: &str, wanted: &str| match all.get(name).and_then(Json::as_str) {
            Some(found) if found == wanted => Ok(()),
            found => Err(Rejection::new(Reason::Requirement)
                .expecting(format!("{name} {wanted}"))
                .finding(found.unwrap_or("nothing"))),
        };
        match self {
            Self::EntraV1 | Self::EntraV2 => {
                must("ver", if self == Self::EntraV1 { "1.0" } else { "2.0" })?;
                must("tid", self.tenant(config).unwrap_or_default())
            }
            // ID, refresh and offline tokens are signed by the same keys and say so here, not in the header.
            Self::Keycloak if config.id_tokens && must("typ", "ID").is_ok() => Ok(()),
            Self::Keycloak => must("typ", "Bearer"),
            Self::GithubActions => ci::check_github(config, all, &claims.subject),
            Self::Gitlab => ci::check_gitlab(config, all),
            Self::Kubernetes => ci::check_kubernetes(all, &claims.subject),
            Self::Spiffe => spiffe(config, &claims.subject),
            Self::Auth0 | Self::Generic | Self::Google | Self::Okta => Ok(()),
        }
    }

    /// Groups made of claims that say where a job or workload runs.
    pub(crate) fn derived_groups(self, claims: &Object<'_>) -> Vec<String> {
        match self {
            Self::GithubActions => ci::github_groups(claims),
            Self::Gitlab => ci::gitlab_groups(claims),
            Self::Kubernetes => ci::kubernetes_groups(claims),
            _ => Vec::new(),
        }
    }

    /// Whether a token is a program's, where this provider says so in its own way.
    pub(crate) fn kind(self, claims: &Claims<'_>) -> Option<PrincipalKind> {
        let text = |name: &str| claims.all.get(name).and_then(Json::as_str);
        let program = match self {
            Self::GithubActions | Self::Gitlab | Self::Kubernetes | Self::Spiffe => true,
            // A person's token has delegated scopes; an application's has none.
            Self::EntraV1 | Self::EntraV2 => text("idtyp") == Some("app") || text("scp").is_none(),
            Self::Auth0 => text("gty") == Some("client-credentials"),
            // The name of a service account is its client's; a person may choose one that only begins like it.
            Self::Keycloak => match (text("azp"), text("preferred_username")) {
                (Some(client), Some(name)) => name.strip_prefix("service-account-") == Some(client),
                _ => false,
            },
            Self::Okta => text("cid").is_some_and(|client| client == claims.subject),
            Self::Google => false,
            Self::Generic => return None,
        };
        Some(if program { PrincipalKind::Service } else { PrincipalKind::User })
    }

    /// The tenant an Entra URL names; `common` and its like name all of them.
    fn tenant(self, config: &IssuerConfig) -> Option<&str> {
        let tenant = match self {
            Self::EntraV1 => config.url.strip_prefix("https://sts.windows.net/")?.strip_suffix('/')?,
            Self::EntraV2 => {
                config.url.strip_prefix("https://login.microsoftonline.com/")?.strip_suffix("/v2.0")?
            }
            _ => return None,
        };
        (tenant.len() == 36 && tenant.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')).then_some(tenant)
    }
}

/// SPIFFE-ID section 2: the trust domain is the authority of the identifier, and ours alone is believed.
fn spiffe(config: &IssuerConfig, subject: &str) -> Result<(), Rejection> {
    let domain = config.trust_domain.as_deref().unwrap_or_default();
    let path = subject.strip_prefix("spiffe://").and_then(|id| id.strip_prefix(domain));
    match path {
        Some(path) if path.len() > 1 && path.starts_with('/') => Ok(()),
        _ => Err(Rejection::new(Reason::Requirement)
            .expecting(format!("a sub that begins with spiffe://{domain}/"))
            .finding(subject)),
    }
}
