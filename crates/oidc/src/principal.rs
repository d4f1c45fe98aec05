use crewgate_core::{Groups, Principal, PrincipalKey, PrincipalKind, TokenFacts};

use crate::{
    Claims, IssuerConfig, KindRule, Profile, Reason, Rejection,
    cache::Digest,
    claims::instant,
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
    claims: &Claims<'_>,
    token: &Digest,
) -> Result<Principal, Rejection> {
    let groups = groups(config, &claims.all)?;
    Ok(Principal {
        key: PrincipalKey::new(&config.name, subject(config, claims)?),
        kind: kind(config, claims),
        groups,
        client: claims.client.as_deref().map(str::to_owned),
        token: TokenFacts {
            issued: claims.times.issued,
            expires: claims.times.expires,
            fingerprint: fingerprint(token),
            mfa: mfa(&claims.all),
            // A binding that is not proved or not understood is refused before anybody is let in.
            sender_constrained: claims.all.contains_key("cnf"),
            // A clock that is ahead makes nobody fresher.
            authenticated: instant(&claims.all, "auth_time")?.map(|at| at.min(claims.times.issued)),
            class: claims.all.get("acr").and_then(Json::as_str).map(str::to_owned),
            actors: Vec::new(),
            exchanged: None,
        },
        human: None,
    })
}

/// What the subject is called for ever.
fn subject<'a>(config: &IssuerConfig, claims: &'a Claims<'a>) -> Result<&'a str, Rejection> {
    let Some(claim) = config.profile.subject() else { return Ok(&claims.subject) };
    match claims.all.get(claim) {
        Some(Json::String(id)) if !id.is_empty() => Ok(id),
        // A program of Okta's has no user id, its `sub` is its client id; in Okta's ID tokens, which have no `cid`, `sub`
        // is the user's id.
        None if config.profile == Profile::Okta
            && (kind(config, claims) == PrincipalKind::Service
                || config.id_tokens && !claims.all.contains_key("cid")) =>
        {
            Ok(&claims.subject)
        }
        other => Err(Rejection::new(Reason::Claims)
            .expecting(format!("{claim} as a string"))
            .finding(other.map_or("nothing", Json::kind))),
    }
}

fn groups(config: &IssuerConfig, claims: &Object<'_>) -> Result<Groups, Rejection> {
    let mut groups = Vec::new();
    for path in &config.groups {
        let first = path.first().map(String::as_str).unwrap_or_default();
        // Entra leaves groups out above 200 and says so in one of these two ways. "Too many" must not read as "none":
        // a rule that refuses members of a group would let them pass.
        let elsewhere =
            matches!(claims.get("_claim_names"), Some(Json::Object(names)) if names.contains_key(first));
        let too_many = first == "groups" && claims.get("hasgroups") == Some(&Json::Bool(true));
        if elsewhere || too_many {
            return Err(Reason::GroupsOverage.into());
        }
        let mistyped = |expected: &str, found: &Json<'_>| {
            Rejection::new(Reason::Claims)
                .expecting(format!("{} as {expected}", path.join(".")))
                .finding(found.kind())
        };
        let Some(value) = at(claims, path).map_err(|found| mistyped("an object on the way", found))? else {
            continue;
        };
        let names = value.strings().ok_or_else(|| mistyped("a string or a list of strings", value))?;
        groups.extend(names);
    }
    let derived = config.profile.derived_groups(claims);
    groups.extend(derived.iter().map(String::as_str));
    Ok(Groups::of(&config.name, groups))
}

/// The value at a path of claims; the error is what stood in the way.
pub(crate) fn at<'a>(claims: &'a Object<'a>, path: &[String]) -> Result<Option<&'a Json<'a>>, &'a Json<'a>> {
    let mut names = path.iter();
    let mut found = names.next().and_then(|first| claims.get(first.as_str()));
    for name in names {
        found = match found {
            Some(Json::Object(inner)) => inner.get(name.as_str()),
            None => None,
            Some(other) => return Err(other),
        };
    }
    Ok(found)
}

fn kind(config: &IssuerConfig, claims: &Claims<'_>) -> PrincipalKind {
    let is = |name: &str, value: &str| claims.all.get(name).and_then(Json::as_str) == Some(value);
    if let (KindRule::Auto, Some(kind)) = (config.kind, config.profile.kind(claims)) {
        return kind;
    }
    let program = match config.kind {
        KindRule::Service => true,
        KindRule::User => false,
        KindRule::Auto => {
            // Each of the two, not only the one that became `client`.
            is("client_id", &claims.subject)
                || is("azp", &claims.subject)
                || is("cid", &claims.subject)
                || Profile::Keycloak.kind(claims) == Some(PrincipalKind::Service)
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
fn mfa(claims: &Object<'_>) -> bool {
    let class = claims.get("acr").and_then(Json::as_str);
    claims.get("amr").is_some_and(|methods| methods.names("mfa"))
        || class.is_some_and(|class| MFA_CLASSES.contains(&class))
}

pub(crate) fn fingerprint(token: &Digest) -> String {
    format!("{:016x}", token.first_chunk().copied().map_or(0, u64::from_be_bytes))
}
