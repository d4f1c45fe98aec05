//! One golden token per provider, in the shape its documentation gives, and what is refused of each.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crewgate_core::{Clock, Principal, PrincipalKind};
use crewgate_oidc::{Bearer, IssuerConfig, Profile, Reason, Rejection, Verifier, VerifyToken};
use crewgate_testkit::{DevIdp, ManualClock};
use serde_json::{Map, Value, json};
use support::builder;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// A provider at its real URL, without a socket.
struct House {
    idp: DevIdp,
    clock: ManualClock,
    verifier: Verifier,
    golden: Map<String, Value>,
}

impl House {
    fn new(url: &str, change: impl FnOnce(IssuerConfig) -> IssuerConfig, golden: Value) -> Self {
        let clock = ManualClock::new();
        let idp = DevIdp::offline(url, Arc::new(clock.clone()));
        let config = change(IssuerConfig::new("idp", url, ["crewgate"]).unwrap());
        let verifier = builder(&idp, &clock).issuer(config).build().unwrap();
        // Providers of one algorithm sign with RSA.
        let _ = idp.add_key(crewgate_testkit::KeyKind::Rs256);
        Self { idp, clock, verifier, golden: golden.as_object().unwrap().clone() }
    }

    /// The golden token with these claims changed; null leaves one out.
    async fn with(&self, changes: Value) -> Result<Principal, Rejection> {
        let mut claims = self.golden.clone();
        claims.extend(changes.as_object().unwrap().clone());
        let mut token = self.idp.token().header("typ", "JWT");
        for (name, value) in claims {
            token = if value.is_null() { token.without(&name) } else { token.claim(&name, value) };
        }
        self.verifier.verify(Bearer::new(token.sign())).await
    }

    async fn golden(&self) -> Principal {
        self.with(json!({})).await.unwrap()
    }

    async fn reason(&self, changes: Value) -> Reason {
        self.with(changes).await.unwrap_err().reason()
    }
}

fn groups(principal: &Principal) -> BTreeSet<&str> {
    principal.groups.iter().collect()
}

#[tokio::test]
async fn okta_tokens_name_the_user_by_the_id_that_is_never_given_to_another() {
    let house = House::new(
        "https://acme.okta.com/oauth2/default",
        |config| config.profile(Profile::Okta),
        json!({ "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "cid": "0oabucvyc38HLL1ef0h7",
            "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid"], "auth_time": 1_700_000_000,
            "sub": "maria.keller@acme.example", "groups": ["Everyone", "analysts"] }),
    );
    let maria = house.golden().await;
    assert_eq!((maria.kind, maria.key.subject.as_str()), (PrincipalKind::User, "00ujmkLgagxeRrAg20g3"));
    assert_eq!(groups(&maria), ["idp:Everyone", "idp:analysts"].into());
    assert_eq!(maria.client.as_deref(), Some("0oabucvyc38HLL1ef0h7"));
    // A program has no user id, and its `sub` is its client.
    let program =
        house.with(json!({ "uid": null, "sub": "0oabucvyc38HLL1ef0h7", "groups": null })).await.unwrap();
    assert_eq!(
        (program.kind, program.key.subject.as_str()),
        (PrincipalKind::Service, "0oabucvyc38HLL1ef0h7")
    );
    assert_eq!(house.reason(json!({ "uid": null })).await, Reason::Claims, "no login as an identity");
}

fn entra(profile: Profile) -> House {
    let (url, version) = match profile {
        Profile::EntraV1 => (format!("https://sts.windows.net/{TENANT}/"), "1.0"),
        _ => (format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "2.0"),
    };
    let client = if profile == Profile::EntraV1 { "appid" } else { "azp" };
    let golden = json!({ client: "6731de76-14a6-49ae-97bc-6eba6914391e", "ver": version, "tid": TENANT, "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "scp": "crews.run",
        "groups": ["2d2d4bb9-3c6c-45f5-98c9-a1bbbe3d0aa1"], "roles": ["Crews.Approve"], "uti": "x", "aio": "y" });
    House::new(&url, |config| config.profile(profile), golden)
}

#[tokio::test]
async fn entra_tokens_of_both_versions_give_groups_and_application_roles() {
    for profile in [Profile::EntraV1, Profile::EntraV2] {
        let house = entra(profile);
        let maria = house.golden().await;
        assert_eq!(maria.kind, PrincipalKind::User);
        // `sub` is another one in each application.
        assert_eq!(maria.key.subject, "690222be-ff1a-4d56-abd1-7e4f7d38e474");
        assert_eq!(house.reason(json!({ "oid": null })).await, Reason::Claims);
        assert_eq!(groups(&maria), ["idp:2d2d4bb9-3c6c-45f5-98c9-a1bbbe3d0aa1", "idp:Crews.Approve"].into());
        assert_eq!(maria.client.as_deref(), Some("6731de76-14a6-49ae-97bc-6eba6914391e"));
        let job = house.with(json!({ "scp": null, "idtyp": "app", "groups": null })).await.unwrap();
        assert_eq!(job.kind, PrincipalKind::Service);
        let other = "99999999-2222-3333-4444-555555555555";
        assert_eq!(house.reason(json!({ "tid": other })).await, Reason::Requirement);
        let version = if profile == Profile::EntraV1 { "2.0" } else { "1.0" };
        assert_eq!(house.reason(json!({ "ver": version })).await, Reason::Requirement);
    }
}

/// Microsoft: a random 60 to 90 minutes, and `iat` and `nbf` lie five minutes back.
#[tokio::test]
async fn entra_tokens_live_as_long_as_entra_makes_them_and_no_longer() {
    let house = entra(Profile::EntraV2);
    let iat = house.clock.now().as_secs();
    for (minutes, wanted) in
        [(60, None), (90, None), (91, Some(Reason::Lifetime)), (24 * 60, Some(Reason::Lifetime))]
    {
        let times = json!({ "iat": iat - 300, "nbf": iat - 300, "exp": iat + minutes * 60 });
        assert_eq!(
            house.with(times).await.err().map(|refused| refused.reason()),
            wanted,
            "{minutes} minutes"
        );
    }
}

#[tokio::test]
async fn too_many_entra_groups_are_never_no_groups() {
    let house = entra(Profile::EntraV2);
    let elsewhere = json!({ "groups": null, "_claim_names": { "groups": "src1" },
        "_claim_sources": { "src1": { "endpoint": "https://graph.windows.net/x/getMemberObjects" } } });
    assert_eq!(house.reason(elsewhere.clone()).await, Reason::GroupsOverage);
    assert_eq!(house.reason(json!({ "groups": null, "hasgroups": true })).await, Reason::GroupsOverage);
    // Who uses application roles alone does not need the groups.
    let url = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let roles = House::new(
        &url,
        |config| config.profile(Profile::EntraV2).groups_claim(["roles"]),
        Value::Object(house.golden.clone()),
    );
    assert_eq!(groups(&roles.with(elsewhere).await.unwrap()), ["idp:Crews.Approve"].into());
}

#[tokio::test]
async fn google_tokens_are_pinned_to_a_domain_by_claim_and_not_by_address() {
    let house = House::new(
        "https://accounts.google.com",
        |config| config.profile(Profile::Google).require(["hd"], ["acme.example"]),
        json!({ "azp": "407408718192.apps.googleusercontent.com", "sub": "10769150350006150715113082367",
            "hd": "acme.example", "email": "maria@acme.example", "email_verified": true, "at_hash": "x",
            "nonce": "0394852-3190485-2490358" }),
    );
    assert_eq!(house.golden().await.kind, PrincipalKind::User);
    assert_eq!(house.reason(json!({ "hd": null })).await, Reason::Requirement);
    let stranger = json!({ "hd": "evil.example", "email": "x@evil.example@acme.example" });
    assert_eq!(house.reason(stranger).await, Reason::Requirement);
}

#[tokio::test]
async fn keycloak_tokens_give_realm_roles_and_group_paths() {
    let house = House::new(
        "https://sso.acme.example/realms/main",
        |config| config.profile(Profile::Keycloak),
        json!({ "typ": "Bearer", "azp": "cli", "sid": "1", "scope": "openid", "preferred_username": "maria",
            "realm_access": { "roles": ["offline_access", "analyst"] }, "groups": ["/data/analysts"],
            "resource_access": { "account": { "roles": ["view-profile"] } } }),
    );
    let maria = house.golden().await;
    assert_eq!(groups(&maria), ["idp:/data/analysts", "idp:analyst", "idp:offline_access"].into());
    assert_eq!(maria.kind, PrincipalKind::User);
    let job = house.with(json!({ "preferred_username": "service-account-cli" })).await.unwrap();
    assert_eq!(job.kind, PrincipalKind::Service);
    let person = house.with(json!({ "preferred_username": "service-account-payroll" })).await.unwrap();
    assert_eq!(person.kind, PrincipalKind::User, "a name that only begins like another client's");
    for kind in ["ID", "Refresh", "Offline"] {
        assert_eq!(house.reason(json!({ "typ": kind })).await, Reason::Requirement, "{kind}");
    }
}

#[tokio::test]
async fn auth0_tokens_give_permissions_and_a_namespaced_claim() {
    let house = House::new(
        "https://acme.eu.auth0.com/",
        |config| config.profile(Profile::Auth0).and_groups_claim(["https://acme.example/groups"]),
        json!({ "sub": "auth0|62f1c3", "azp": "my_client_id", "permissions": ["run:crews"],
            "https://acme.example/groups": ["analysts"], "scope": "openid" }),
    );
    let maria = house.golden().await;
    assert_eq!((maria.kind, groups(&maria)), (PrincipalKind::User, ["idp:run:crews", "idp:analysts"].into()));
    let job = json!({ "sub": "my_client_id@clients", "gty": "client-credentials" });
    assert_eq!(house.with(job).await.unwrap().kind, PrincipalKind::Service);
}

fn github() -> House {
    House::new(
        "https://token.actions.githubusercontent.com",
        |config| config.profile(Profile::GithubActions).require(["repository_owner_id"], ["65"]),
        json!({ "jti": "example-id", "sub": "repo:octo-org/octo-repo:environment:prod", "environment": "prod",
            "ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org", "actor_id": "12", "repository_visibility": "private",
            "repository_id": "74", "repository_owner_id": "65", "run_id": "example-run-id",
            "runner_environment": "github-hosted", "event_name": "workflow_dispatch", "ref_type": "branch",
            "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main" }),
    )
}

#[tokio::test]
async fn github_jobs_are_known_by_numbers_in_both_formats_of_sub() {
    let house = github();
    let job = house.golden().await;
    assert_eq!(job.kind, PrincipalKind::Service);
    assert_eq!(
        groups(&job),
        [
            "idp:owner:65",
            "idp:repository:74",
            "idp:repository:74:environment:prod",
            "idp:repository:74:ref:refs/heads/main",
            "idp:repository:74:runner:github-hosted",
            "idp:repository:74:workflow:octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        ]
        .into()
    );
    let newer = json!({ "sub": "repo:octo-org@65/octo-repo@74:environment:prod" });
    assert_eq!(groups(&house.with(newer).await.unwrap()), groups(&job));
    for sub in ["repo:octo-org@66/octo-repo@74:x", "repo:octo-org@65/octo-repo@75:x", "octo-org/octo-repo"] {
        assert_eq!(house.reason(json!({ "sub": sub })).await, Reason::Requirement, "{sub}");
    }
}

#[tokio::test]
async fn github_jobs_of_strangers_and_forks_are_refused() {
    let house = github();
    assert_eq!(
        house.reason(json!({ "repository_owner_id": "66" })).await,
        Reason::Requirement,
        "a same-named owner"
    );
    for (name, value) in [
        ("event_name", json!("pull_request")),
        ("event_name", json!("pull_request_target")),
        ("event_name", json!("pull_request_review")),
        ("event_name", json!("pull_request_review_comment")),
        ("event_name", json!("workflow_run")),
        ("ref", json!("refs/pull/7/merge")),
        ("event_name", Value::Null),
        ("repository_id", Value::Null),
        ("repository_id", json!(74)),
        ("repository_id", json!("74;x")),
    ] {
        assert_eq!(house.reason(json!({ name: value })).await, Reason::Requirement, "{name}");
    }
}

#[tokio::test]
async fn gitlab_jobs_are_pinned_to_a_project_and_say_protected_in_words() {
    let house = House::new(
        "https://gitlab.acme.example",
        |config| config.profile(Profile::Gitlab).require(["project_id"], ["22"]),
        json!({ "sub": "project_path:mygroup/myproject:ref_type:branch:ref:main", "namespace_id": "72",
            "namespace_path": "mygroup", "project_id": "22", "project_path": "mygroup/myproject", "user_id": "42",
            "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
            "ref_protected": "true", "environment": "production", "environment_protected": "false" }),
    );
    let job = house.golden().await;
    assert_eq!(job.kind, PrincipalKind::Service);
    assert_eq!(
        groups(&job),
        [
            "idp:namespace:72",
            "idp:project:22",
            "idp:project:22:protected",
            "idp:project:22:branch:main",
            "idp:project:22:environment:production",
        ]
        .into()
    );
    let open = house.with(json!({ "ref_protected": "false" })).await.unwrap();
    assert!(!groups(&open).contains("idp:project:22:protected"));
    for changes in [
        json!({ "ref_protected": true }),
        json!({ "ref_protected": null }),
        json!({ "pipeline_source": "merge_request_event" }),
        json!({ "project_id": "23" }),
    ] {
        assert_eq!(house.reason(changes.clone()).await, Reason::Requirement, "{changes}");
    }
}

#[tokio::test]
async fn kubernetes_tokens_are_bound_to_a_pod_and_short() {
    let house = House::new(
        "https://kubernetes.default.svc.cluster.local",
        |config| config.profile(Profile::Kubernetes),
        json!({ "sub": "system:serviceaccount:jobs:reporter", "jti": "ed64", "nbf": 1_700_000_000,
            "kubernetes.io": { "namespace": "jobs", "node": { "name": "n1", "uid": "4af0" },
                "pod": { "name": "reporter-1", "uid": "778a" },
                "serviceaccount": { "name": "reporter", "uid": "a087" } } }),
    );
    let job = house.golden().await;
    assert_eq!((job.kind, groups(&job)), (PrincipalKind::Service, ["idp:namespace:jobs"].into()));
    let loose = json!({ "kubernetes.io": { "namespace": "jobs", "serviceaccount": { "name": "reporter", "uid": "a" } } });
    assert_eq!(house.reason(loose).await, Reason::Requirement);
    assert_eq!(
        house.reason(json!({ "sub": "system:serviceaccount:other:reporter" })).await,
        Reason::Requirement
    );
    let long =
        house.idp.token().lifetime(Duration::from_secs(3600)).subject("system:serviceaccount:jobs:reporter");
    let long = house.verifier.verify(Bearer::new(long.sign())).await.unwrap_err();
    assert_eq!(long.reason(), Reason::Lifetime);
}

#[tokio::test]
async fn svids_of_another_trust_domain_are_refused() {
    let house = House::new(
        "https://spire.acme.example",
        |config| config.profile(Profile::Spiffe).trust_domain("acme.example"),
        json!({ "sub": "spiffe://acme.example/jobs/reporter" }),
    );
    assert_eq!(house.golden().await.kind, PrincipalKind::Service);
    for sub in
        ["spiffe://evil.example/jobs", "spiffe://acme.example.evil/jobs", "spiffe://acme.example", "jobs"]
    {
        assert_eq!(house.reason(json!({ "sub": sub })).await, Reason::Requirement, "{sub}");
    }
}

#[tokio::test]
async fn svids_say_their_type_or_none_and_are_signed_as_their_standard_lists() {
    let house = House::new(
        "https://spire.acme.example",
        |config| config.profile(Profile::Spiffe).trust_domain("acme.example"),
        json!({}),
    );
    let svid = || house.idp.token().subject("spiffe://acme.example/jobs/reporter");
    let reason =
        async |token: String| house.verifier.verify(Bearer::new(token)).await.map_err(|no| no.reason());
    for typ in ["JWT", "JOSE"] {
        assert!(reason(svid().header("typ", typ).sign()).await.is_ok(), "{typ}");
    }
    assert!(reason(svid().header("typ", Value::Null).sign()).await.is_ok());
    for typ in ["at+jwt", "dpop+jwt", "SVID"] {
        assert_eq!(reason(svid().header("typ", typ).sign()).await.unwrap_err(), Reason::Type, "{typ}");
    }
    // As SPIRE marks the keys of its bundle; to any other issuer such a key means nothing.
    let marked = |profile: Profile| {
        let (url, idp) = (house.idp.url().to_owned(), &house.idp);
        let keys = idp.document(&format!("{url}/jwks")).unwrap();
        let mut keys: Value = serde_json::from_str(&keys).unwrap();
        for key in keys["keys"].as_array_mut().unwrap() {
            key["use"] = json!("jwt-svid");
        }
        let keys = bytes::Bytes::from(keys.to_string());
        let config = IssuerConfig::new("idp", &url, ["crewgate"]).unwrap().profile(profile);
        let config = config.jwks_uri(format!("{url}/jwks"));
        let spiffe = profile == Profile::Spiffe;
        let config = if spiffe { config.trust_domain("acme.example") } else { config };
        let fetch = move |_: http::Uri| std::future::ready(Ok::<_, crewgate_oidc::FetchError>(keys.clone()));
        Verifier::builder().clock(house.clock.clone()).fetch(fetch).issuer(config).build().unwrap()
    };
    let token = || svid().header("typ", "JWT").sign();
    marked(Profile::Spiffe).verify(Bearer::new(token())).await.unwrap();
    let other = marked(Profile::Generic).verify(Bearer::new(token())).await.unwrap_err();
    assert_eq!(other.reason(), Reason::IssuerNotReady, "no usable key");
    let ed = house.idp.add_key(crewgate_testkit::KeyKind::EdDsa);
    assert_eq!(reason(svid().header("typ", "JWT").key(&ed).sign()).await.unwrap_err(), Reason::AlgRefused);
}

#[tokio::test]
async fn what_is_demanded_of_tokens_is_not_told_to_callers() {
    let house = github();
    let stranger = house.with(json!({ "repository_owner_id": "66" })).await.unwrap_err();
    assert_eq!(stranger.expected(), Some("repository_owner_id 65"), "for the operator's explanation");
    assert!(!stranger.to_string().contains("65"), "{stranger}");
}

#[tokio::test]
async fn only_listed_clients_and_demanded_claims_pass() {
    let house = House::new(
        "https://idp.example",
        |config| config.clients(["cli"]).require(["org", "id"], ["7"]),
        json!({ "azp": "cli", "org": { "id": 7 } }),
    );
    house.golden().await;
    assert_eq!(house.reason(json!({ "azp": "other" })).await, Reason::ClientRefused);
    assert_eq!(house.reason(json!({ "azp": null })).await, Reason::ClientRefused);
    for org in [json!({ "id": 8 }), json!({ "id": { "id": 7 } }), json!("7"), Value::Null] {
        assert_eq!(house.reason(json!({ "org": org })).await, Reason::Requirement);
    }
}

#[test]
fn settings_that_would_let_strangers_in_do_not_build() {
    let build = |url: &str, audience: &str, profile: Profile| {
        let clock = ManualClock::new();
        let idp = DevIdp::offline(url, Arc::new(clock.clone()));
        let config = IssuerConfig::new("idp", url, [audience]).unwrap().profile(profile);
        builder(&idp, &clock).issuer(config).build().map(|_| ()).unwrap_err().to_string()
    };
    for (url, audience, profile, says) in [
        ("https://login.microsoftonline.com/common/v2.0", "a", Profile::EntraV2, "one tenant"),
        ("https://login.microsoftonline.com/organizations/v2.0", "a", Profile::EntraV2, "one tenant"),
        ("https://acme.okta.com", "a", Profile::Okta, "custom one"),
        ("https://accounts.google.com", "a", Profile::Google, "require.hd"),
        ("https://sso.example/realms/a", "account", Profile::Keycloak, "audience mapper"),
        ("https://acme.auth0.com", "a", Profile::Auth0, "slash"),
        ("https://token.actions.githubusercontent.com", "a", Profile::GithubActions, "repository_owner_id"),
        ("https://gitlab.com", "a", Profile::Gitlab, "project_id"),
        ("https://spire.example", "a", Profile::Spiffe, "trust_domain"),
    ] {
        let error = build(url, audience, profile);
        assert!(error.contains(says), "{profile:?}: {error}");
    }
}

#[test]
fn every_profile_is_found_by_its_name() {
    for profile in Profile::ALL {
        assert_eq!(Profile::named(profile.name()), Some(profile));
    }
    assert_eq!(Profile::named("entra"), None);
}
