//! Tokens of the gateway's own, and events about those of others, at the door.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crewgate_audit::{
    Entry, Phase, Query, SealKey,
    tlog::{KeyKind, Signer},
};
use crewgate_core::{Fact, SystemClock};
use crewgate_gateway::config::Settings;
use crewgate_testkit::DevIdp;
use house::{Answer, Ground, House, Plan, Wire, call, crewgate, refusals, request, said, until, verifies};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn pem() -> String {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.as_ref()))
}

/// With an exchange of `dev`'s tokens, each once, and the roles of two teams.
async fn house(more: &str) -> House {
    let tables = format!(
        "[exchange]\nkeys = [{{ file = \"exchange.pem\" }}, {{ file = \"next.pem\" }}]\nissuers = [\"dev\"]\nonce = [\"dev\"]\n{more}\n\
         [revocation]\nroles = [\"data-owners\"]\n"
    );
    let ground = Ground::lay(Plan { tables, ..Plan::default() }).await;
    ground.folder.write("exchange.pem", pem());
    ground.folder.write("next.pem", pem());
    House::start(ground).await
}

fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

async fn post(house: &House, path: &str, kind: &str, body: &str) -> Answer {
    let mut wire = Wire::connect(house.data()).await;
    let kind = format!("content-type: {kind}");
    wire.send(&request("POST", path, &[&kind, "connection: close"], body.as_bytes())).await;
    wire.answer().await.unwrap()
}

async fn exchange(house: &House, form: &[(&str, &str)]) -> Answer {
    post(house, "/oauth/token", "application/x-www-form-urlencoded", &encoded(form)).await
}

fn asked<'a>(token: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("grant_type", GRANT), ("subject_token", token), ("subject_token_type", JWT), ("scope", scope)]
}

/// Of both teams.
fn both(house: &House, id: &str) -> String {
    house.idp.token().subject("ci").groups(["analysts", "data-owners"]).claim("jti", id).sign()
}

fn error(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    (answer.status, answer.field("error"))
}

fn facts(entries: &[Entry]) -> Vec<&Fact> {
    entries.iter().flat_map(|entry| &entry.facts).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_token_is_exchanged_once_for_one_that_counts_for_the_roles_it_names() {
    let house = house("").await;
    let token = both(&house, "job-1");
    let answer = exchange(&house, &asked(&token, "analysts")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let given = answer.json();
    assert_eq!((&given["token_type"], &given["scope"]), (&json!("Bearer"), &json!("analysts")));
    assert!((1..=300).contains(&given["expires_in"].as_u64().unwrap()), "{given}");
    let own = given["access_token"].as_str().unwrap();

    // It runs what an analyst may run, as the subject it was, and is no data owner any more.
    let ran = house.post("/support/kickoff", own, json!({ "inputs": { "topic": "churn" } })).await;
    assert_eq!(ran.status, 200, "{}", ran.text());
    let record = house.record(&ran).await;
    assert!(facts(&record).iter().any(
        |fact| matches!(fact, Fact::Authenticated { principal, .. } if principal.to_string() == "dev:ci")
    ));
    let revoke = json!({ "tokens": { "kind": "issuer", "issuer": "dev" } });
    let refused = house.control("POST", "/api/revocations", own, Some(revoke.clone())).await;
    assert_eq!(refused.refusal(), (403, "not_revoker".to_owned()));
    let narrow = exchange(&house, &asked(&both(&house, "job-2"), "data-owners")).await.json();
    let narrow = narrow["access_token"].as_str().unwrap();
    let denied = house.post("/support/kickoff", narrow, json!({ "inputs": { "topic": "churn" } })).await;
    assert_eq!(denied.refusal(), (403, "policy_denied".to_owned()));

    // Each job's token once, also for a replica that starts later.
    let again = exchange(&house, &asked(&token, "analysts")).await;
    assert_eq!(error(&again), (400, "invalid_request".to_owned()));
    assert!(again.field("error_description").contains("exchanged before"));
    let told = house.entries(Query::default().phase(Phase::Control)).await;
    let told = facts(&told).iter().filter(|fact| matches!(fact, Fact::Exchanged { .. })).count();
    assert_eq!(told, 2);
    let refused = until("the refused exchange on the record", async || {
        let found = refusals(&house.entries(Query::default().phase(Phase::Refused)).await);
        found.contains(&(400, "token_used".to_owned())).then_some(())
    });
    refused.await;
    let house = House::start(house.stop().await).await;
    assert_eq!(error(&exchange(&house, &asked(&token, "analysts")).await).0, 400);
    // Ours end with the issuer they come from.
    let fresh = exchange(&house, &asked(&both(&house, "job-3"), "analysts")).await.field("access_token");
    assert_eq!(house.get("/support/inputs", &fresh).await.status, 200);
    house.control("POST", "/api/revocations", &house.dora(), Some(revoke)).await;
    assert_eq!(house.get("/support/inputs", &fresh).await.refusal(), (401, "issuer_revoked".to_owned()));
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_token_is_exchanged_once_and_a_pods_as_often_as_it_is_read_unless_told_otherwise() {
    let once = async |more: &str| {
        let mut tables = format!(
            "[exchange]\nkeys = [{{ file = \"exchange.pem\" }}]\nissuers = [\"github\", \"gitlab\", \"k8s\", \"spire\"]\n{more}\n"
        );
        for (name, profile, pinned) in [
            ("github", "github-actions", "require = { repository_owner_id = \"65\" }"),
            ("gitlab", "gitlab", "require = { namespace_id = \"72\" }"),
            ("k8s", "kubernetes", ""),
            ("spire", "spiffe", "trust_domain = \"acme.example\""),
        ] {
            tables += &format!(
                "[[issuer]]\nname = \"{name}\"\nprofile = \"{profile}\"\nurl = \"https://{name}.example\"\n\
                 audience = [\"https://gate.example\"]\n{pinned}\n"
            );
        }
        let ground = Ground::lay(Plan { tables, ..Plan::default() }).await;
        ground.folder.write("exchange.pem", pem());
        let settings = Settings::load(&ground.config).unwrap();
        settings.exchange.unwrap().once.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(once("").await, ["github", "gitlab"]);
    assert_eq!(once("once = [\"github\", \"k8s\"]").await, ["github", "k8s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exchanged_is_told_by_its_code() {
    let house = house("rate = \"20/min\"").await;
    let token = both(&house, "job-1");
    let good = asked(&token, "analysts");
    let with = |name: &'static str, value: &'static str| {
        let mut form = good.clone();
        form.retain(|(known, _)| *known != name);
        form.push((name, value));
        form
    };
    let expired = house.idp.token().expired().sign();
    let bound = house
        .idp
        .token()
        .claim("cnf", json!({ "jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" }))
        .sign();
    let nameless = house.idp.token().groups(["analysts"]).sign();
    let stranger = DevIdp::start().await.unwrap().token().sign();
    for (what, form, code) in [
        ("another grant", with("grant_type", "client_credentials"), "unsupported_grant_type"),
        ("no grant", with("grant_type", ""), "invalid_request"),
        ("twice", [good.clone(), vec![("scope", "analysts")]].concat(), "invalid_request"),
        (
            "another type",
            with("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
            "invalid_request",
        ),
        (
            "another wish",
            with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            "invalid_request",
        ),
        ("another resource", with("resource", "https://other.example"), "invalid_target"),
        ("another audience", with("audience", "crewai"), "invalid_target"),
        ("no role", with("scope", ""), "invalid_scope"),
        ("a role that is not held", with("scope", "analysts admin"), "invalid_scope"),
        ("nonsense", asked("nonsense", "analysts"), "invalid_request"),
        ("expired", asked(&expired, "analysts"), "invalid_request"),
        ("bound", asked(&bound, "analysts"), "invalid_request"),
        ("a stranger's", asked(&stranger, "analysts"), "invalid_request"),
        ("without an id", asked(&nameless, "analysts"), "invalid_request"),
    ] {
        assert_eq!(error(&exchange(&house, &form).await), (400, code.to_owned()), "{what}");
    }
    assert_eq!(post(&house, "/oauth/token", "application/json", "{}").await.status, 415);
    assert_eq!(call(house.data(), "GET", "/oauth/token", "", None).await.status, 405);
    let large = "x".repeat(100_000);
    assert_eq!(post(&house, "/oauth/token", "application/x-www-form-urlencoded", &large).await.status, 413);
    // None of that has used the token up.
    let own = exchange(&house, &good).await;
    assert_eq!(own.status, 200, "{}", own.text());
    let own = own.field("access_token");
    assert_eq!(error(&exchange(&house, &asked(&own, "analysts")).await).0, 400, "not exchanged again");
    verifies(&house.stop().await.folder).await;
    // Where none is asked for, there is none.
    let closed = House::open().await;
    for path in ["/oauth/token", "/oauth/events"] {
        assert_ne!(post(&closed, path, "application/x-www-form-urlencoded", "x=1").await.status, 200);
    }
    for path in ["/oauth/jwks", "/.well-known/oauth-authorization-server/oauth"] {
        assert_ne!(call(closed.data(), "GET", path, "", None).await.status, 200);
    }
    closed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_of_one_subject_are_bounded() {
    let house = house("rate = \"2/h\"").await;
    for (id, status) in [("1", 200), ("2", 200), ("3", 429)] {
        let answer = exchange(&house, &asked(&both(&house, id), "analysts")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_and_the_resource_describe_themselves_at_their_public_address() {
    let house = house("").await;
    let base = format!("http://{}", house.data());
    let get = async |path: &str| call(house.data(), "GET", path, "", None).await.json();
    let resource = get("/.well-known/oauth-protected-resource").await;
    assert_eq!(resource["resource"], json!(base));
    assert_eq!(resource["authorization_servers"], json!([house.idp.url(), format!("{base}/oauth")]));
    for path in ["/.well-known/oauth-authorization-server/oauth", "/oauth/.well-known/openid-configuration"] {
        let metadata = get(path).await;
        assert_eq!(metadata["issuer"], json!(format!("{base}/oauth")));
        assert_eq!(metadata["token_endpoint"], json!(format!("{base}/oauth/token")));
        assert_eq!(metadata["jwks_uri"], json!(format!("{base}/oauth/jwks")));
    }
    let keys = get("/oauth/jwks").await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "the next one is known before it signs");
    // A refused caller is told where that is, and is sent nowhere.
    for accept in ["accept: */*", "accept: text/html"] {
        let mut wire = Wire::connect(house.data()).await;
        wire.send(&request("GET", "/support/inputs", &[accept], b"")).await;
        let refused = wire.answer().await.unwrap();
        assert_eq!(refused.refusal(), (401, "token_missing".to_owned()));
        assert!(refused.header("location").is_none());
        let metadata = format!("resource_metadata=\"{base}/.well-known/oauth-protected-resource\"");
        assert!(refused.header("www-authenticate").unwrap().contains(&metadata));
    }
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_pushed_ends_the_tokens_it_is_about() {
    let signals = DevIdp::start().await.unwrap();
    let audience = "https://gate.test/oauth/events";
    let tables = format!(
        "[[events]]\nissuer = \"dev\"\ntransmitter = \"{}\"\naudience = [\"{audience}\"]\n",
        signals.url()
    );
    let house = House::with(Plan { tables, ..Plan::default() }).await;
    let alice = house.alice();
    assert_eq!(house.get("/support/inputs", &alice).await.status, 200);
    let event = |id: &str, iss: &str| {
        signals
            .token()
            .header("typ", "secevent+jwt")
            .audience(audience)
            .claim("jti", id)
            .claim("sub_id", json!({ "format": "iss_sub", "iss": iss, "sub": "alice" }))
            .claim(
                "events",
                json!({ "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} }),
            )
            .without("sub")
            .without("exp")
            .sign()
    };
    let push = async |body: &str| post(&house, "/oauth/events", "application/secevent+jwt", body).await;
    let wrong = push(&event("1", "https://other.test")).await;
    assert_eq!((wrong.status, wrong.field("err")), (400, "invalid_request".to_owned()));
    assert!(!wrong.field("description").is_empty());
    assert_eq!(house.get("/support/inputs", &alice).await.status, 200);
    let taken = push(&event("2", house.idp.url())).await;
    assert_eq!((taken.status, taken.body.len()), (202, 0), "{}", taken.text());
    assert_eq!(house.get("/support/inputs", &alice).await.refusal(), (401, "subject_revoked".to_owned()));
    let told = house.entries(Query::default().phase(Phase::Control)).await;
    assert!(facts(&told).iter().any(|fact| matches!(fact, Fact::Revocation { reason: Some(reason), .. } if reason.contains("told by dev (2)"))));
    assert_eq!(post(&house, "/oauth/events", "application/jwt", "x").await.status, 415);
    assert_eq!(push(&alice).await.field("err"), "invalid_request");
    verifies(&house.stop().await.folder).await;
}

/// Somebody with a key to prove.
struct Holder(DevIdp);

impl Holder {
    fn new() -> Self {
        Self(DevIdp::offline("https://holder.test", Arc::new(SystemClock)))
    }

    fn jwk(&self) -> Value {
        let set: Value = serde_json::from_str(&self.0.document("https://holder.test/jwks").unwrap()).unwrap();
        let mut jwk = set.pointer("/keys/0").unwrap().clone();
        jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
        jwk
    }

    /// RFC 7638: the members in the order of their names.
    fn thumbprint(&self) -> String {
        let members: BTreeMap<String, Value> = serde_json::from_value(self.jwk()).unwrap();
        hash(&json!(members).to_string())
    }

    /// Reads the inputs of `support` with this token and a proof of its own.
    async fn read(&self, house: &House, token: &str, nonce: Option<&str>) -> Answer {
        let target = format!("http://{}/support/inputs", house.data());
        let proof =
            ["iss", "sub", "aud", "exp"].iter().fold(self.0.token(), |proof, name| proof.without(name));
        // Signatures differ each time, so this identifier does.
        let proof = proof.claim("jti", hash(&self.0.token().sign())).claim("htm", "GET").claim("htu", target);
        let proof = proof.claim("ath", hash(token)).header("typ", "dpop+jwt").header("kid", Value::Null);
        let proof = nonce.into_iter().fold(proof, |proof, nonce| proof.claim("nonce", nonce));
        let proof = proof.header("jwk", self.jwk()).sign();
        let (token, proof) = (format!("authorization: DPoP {token}"), format!("dpop: {proof}"));
        let mut wire = Wire::connect(house.data()).await;
        wire.send(&request("GET", "/support/inputs", &[&token, &proof, "connection: close"], b"")).await;
        wire.answer().await.unwrap()
    }
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_can_demand_tokens_that_only_their_holder_can_use() {
    let ground = Ground::lay(Plan::default()).await;
    let demand = "@id(\"holders-only\")\nforbid (principal, action, resource) unless { context.sender_constrained };\n";
    ground.folder.write("policy/holders.cedar", demand);
    let house = House::start(ground).await;
    let plain = house.get("/support/inputs", &house.alice()).await;
    assert_eq!(plain.refusal(), (403, "policy_refused".to_owned()));
    assert!(house.support.received().is_empty());
    let alice = Holder::new();
    let bound = house.idp.token().subject("alice").groups(["analysts"]);
    let bound = bound.claim("cnf", json!({ "jkt": alice.thumbprint() })).sign();
    let answer = alice.read(&house, &bound, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let thief = Holder::new().read(&house, &bound, None).await;
    assert_eq!(thief.status, 401, "{}", thief.text());
    assert_eq!(house.get("/support/inputs", &bound).await.refusal(), (401, "token_bound".to_owned()));
    assert_eq!(house.support.received().len(), 1);
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_of_one_gateway_counts_with_the_next_that_has_the_same_seal_key() {
    let start = async |seal: &str| {
        let tables =
            "[record]\nsigning_keys = [{ file = \"signing.key\" }]\nseal_key = { file = \"seal.key\" }\n";
        let gateway = "demand_dpop_nonce = true";
        let ground = Ground::lay(Plan { gateway, tables: tables.to_owned(), ..Plan::default() }).await;
        let signer = Signer::generate("crewgate/test", KeyKind::Log).unwrap();
        ground.folder.write("signing.key", signer.expose().as_bytes());
        ground.folder.write("seal.key", seal);
        House::start(ground).await
    };
    let shared = SealKey::generate().unwrap().expose();
    let (one, two, other) =
        (start(&shared).await, start(&shared).await, start(&SealKey::generate().unwrap().expose()).await);
    let alice = Holder::new();
    let token = |house: &House| {
        let token = house.idp.token().subject("alice").groups(["analysts"]);
        token.claim("cnf", json!({ "jkt": alice.thumbprint() })).sign()
    };
    let asked = alice.read(&one, &token(&one), None).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let nonce = asked.header("dpop-nonce").unwrap();
    for (house, status) in [(&one, 200), (&two, 200), (&other, 401)] {
        let answer = alice.read(house, &token(house), Some(nonce)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_ours_is_explained_like_any_other() {
    let tables = "[exchange]\nkeys = [{ file = \"exchange.pem\" }]\nissuers = [\"dev\"]\n".to_owned();
    let public = "public_url = \"http://127.0.0.1:1\"";
    let ground = Ground::lay(Plan { gateway: public, tables, ..Plan::default() }).await;
    ground.folder.write("exchange.pem", pem());
    let house = House::start(ground).await;
    let own = exchange(&house, &asked(&house.alice(), "analysts")).await.field("access_token");
    assert_eq!(house.get("/support/inputs", &own).await.status, 200);
    let folder = house.folder.path().to_owned();
    let explained = tokio::task::spawn_blocking(move || {
        crewgate(&folder, &["token", "explain", "--config", "crewgate.toml"], &own)
    });
    let text = said(&explained.await.unwrap());
    assert!(text.contains("is    dev:alice") && !text.contains("FAIL"), "{text}");
    verifies(&house.stop().await.folder).await;
}
