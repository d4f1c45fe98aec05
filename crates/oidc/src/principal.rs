use std::{collections::BTreeSet, fmt::Write};

use crewgate_core::{Group, Principal, PrincipalKey, PrincipalKind, TokenFacts};

use crate::{
    Claims, IssuerConfig, KindRule, Reason, Rejection,
    cache::Digest,
    json::{Json, Object},
};

/// `acr` values by which an issuer says that more than one factor was used.
const MFA_CLASSES: [&str; 3] = [
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
    "https://refeds.org/profile/mfa",
    "urn:okta:loa:2fa:any",
];

/// The principal these claims speak of. `human` is left to whoever knows who is who.
pub(crate) fn principal(
    config: &IssuerConfig,
    claims: &Claims,
    token: &Digest,
) -> Result<Principal, Rejection> {
    let groups = groups(config, &claims.all)?;
    Ok(Principal {
        key: PrincipalKey::new(&config.name, &claims.subject),
        kind: kind(config.kind, claims),
        groups,
        client: claims.client.clone(),
        token: TokenFacts {
            issued: claims.times.issued,
            expires: claims.times.expires,
            fingerprint: fingerprint(token),
            mfa: mfa(&claims.all),
        },
        human: None,
    })
}

fn groups(config: &IssuerConfig, claims: &Object) -> Result<BTreeSet<Group>, Rejection> {
    let mut path = config.groups.iter();
    let Some(first) = path.next() else { return Ok(BTreeSet::new()) };
    // Entra leaves groups out above 200 and says so in one of these two ways. "Too many" must not read as "none":
    // a rule that refuses members of a group would let them pass.
    let elsewhere =
        matches!(claims.get("_claim_names"), Some(Json::Object(names)) if names.contains_key(first));
    if elsewhere || claims.get("hasgroups") == Some(&Json::Bool(true)) {
        return Err(Reason::GroupsOverage.into());
    }
    let mut found = claims.get(first);
    for name in path {
        found = match found {
            Some(Json::Object(inner)) => inner.get(name),
            None => None,
            Some(other) => return Err(mistyped(config, "an object on the way", other)),
        };
    }
    let Some(value) = found else { return Ok(BTreeSet::new()) };
    match value.as_strings() {
        Some(names) => Ok(names.into_iter().map(|name| Group::new(&config.name, name)).collect()),
        None => Err(mistyped(config, "a string or a list of strings", value)),
    }
}

/// Keycloak's service accounts have a subject of their own and a name with this prefix.
fn keycloak_service(claims: &Claims) -> bool {
    let name = claims.all.get("preferred_username").and_then(Json::as_str);
    name.is_some_and(|name| name.starts_with("service-account-"))
}

fn mistyped(config: &IssuerConfig, expected: &str, found: &Json) -> Rejection {
    Rejection::new(Reason::Claims)
        .expecting(format!("{} as {expected}", config.groups.join(".")))
        .finding(found.kind())
}

fn kind(rule: KindRule, claims: &Claims) -> PrincipalKind {
    let is = |name: &str, value: &str| claims.all.get(name).and_then(Json::as_str) == Some(value);
    let program = match rule {
        KindRule::Service => true,
        KindRule::User => false,
        KindRule::Auto => {
            // Each of the two, not only the one that became `client`.
            is("client_id", &claims.subject)
                || is("azp", &claims.subject)
                || is("cid", &claims.subject)
                || keycloak_service(claims)
                || is("gty", "client-credentials")
                || is("idtyp", "app")
                || ["repo:", "project_path:", "system:serviceaccount:"]
                    .iter()
                    .any(|prefix| claims.subject.starts_with(prefix))
        }
    };
    if program { PrincipalKind::Service } else { PrincipalKind::User }
}

/// RFC 8176 `mfa` among the methods, or a class of authentication that means it. One strong factor is not two.
fn mfa(claims: &Object) -> bool {
    let methods = claims.get("amr").and_then(Json::as_strings).unwrap_or_default();
    let class = claims.get("acr").and_then(Json::as_str);
    methods.contains(&"mfa") || class.is_some_and(|class| MFA_CLASSES.contains(&class))
}

fn fingerprint(token: &Digest) -> String {
    token.iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
