//! Ten thousand tokens, three readers: this crate, npm `jose` and PyPI `joserfc`, all told to be strict.
//!
//! What we accept, both accept, and as the same subject. What both accept and we refuse, a rule below explains.
//! `CREWGATE_DIFFERENTIAL_SEED` and `CREWGATE_DIFFERENTIAL_TOKENS` ask for other and more tokens.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod draft;
mod issuer;
mod text;

use std::{
    collections::BTreeMap,
    env,
    io::{Write as _, stderr},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use crewgate_core::Clock as _;
use crewgate_oidc::{Algorithm, Bearer, FetchError, IssuerConfig, Reason, Verifier, VerifyToken};
use crewgate_testkit::ManualClock;
use issuer::{AUDIENCE, Case, ISSUER, Issuer, MAX_LIFETIME, SKEW};
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where `jose` and `joserfc` are: a folder with `node_modules` and `bin/python`.
const PARTS: &str = "CREWGATE_REAL_JOSE";

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::EdDsa,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::Ps256,
    Algorithm::Rs256,
];

/// Why we refuse what both others accept: the reason we give, what must have been changed, and the rule.
const RULES: &[(Reason, &[&str], &str)] = &[
    (
        Reason::HeaderRefused,
        &["header jku", "header x5u", "header x5c", "header jwk", "header zip", "header b64", "header crit"],
        "no key, place of a key, compression or extension that the sender chose (RFC 8725 sections 3.5, 3.10)",
    ),
    (
        Reason::Malformed,
        &["header twice", "claims twice"],
        "one name, one value (RFC 7519 section 4, RFC 8725 section 2.4)",
    ),
    (Reason::Malformed, &["claim x"], "numbers that are finite, integers below 2^63, and a depth below 32"),
    (Reason::Malformed, &["exp ", "iat ", "nbf "], "integers are below 2^63"),
    (Reason::Malformed, &["sub \"\\ud800"], "half a surrogate pair is no text (RFC 8259 section 8.2)"),
    (Reason::Lifetime, &["exp ", "iat ", "nbf "], "exp at most an hour after iat, and after it"),
    (Reason::Claims, &["exp ", "iat ", "nbf "], "a NumericDate lies between 1970 and 2^53"),
    (Reason::Claims, &["sub "], "a subject has 1 to 1024 bytes and no control characters"),
    (
        Reason::Claims,
        &["claim client_id", "claim azp", "claim groups"],
        "what is read of a token has its type",
    ),
    (Reason::Claims, &["claim act"], "who acts is named by an object with a sub (RFC 8693 section 4.1)"),
    (Reason::Type, &["claim nonce", "claim at_hash", "claim c_hash"], "an ID token is no access token"),
    (Reason::Bound, &["claim cnf"], "a bound token is no bearer token (RFC 7800, RFC 9449 section 7.1)"),
    (Reason::GroupsOverage, &["claim hasgroups"], "too many groups are not none"),
];

/// What we accept though both others refuse it: one algorithm under its two names. They compare the `alg` of a key with
/// that of a token by letters; RFC 9864 section 2.2 gives what was `EdDSA` with this curve the name `Ed25519`, and issuers
/// change the two in their own time.
const ONE_ALGORITHM: (&str, &str) = ("with alg", "alg Ed25519");

#[derive(Debug, Deserialize)]
struct Verdict {
    accepts: bool,
    subject: Option<Value>,
    why: Option<String>,
}

/// Sends the batch to a process; its verdicts.
fn ask(program: &Path, script: &str, folder: &str, batch: &str) -> Vec<Verdict> {
    let mut child = Command::new(program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential").join(script))
        .env(PARTS, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Both read everything before they write anything.
    child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} ended {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn verifier(set: &Value, clock: &ManualClock) -> Verifier {
    let document = Bytes::from(set.to_string());
    let fetch = move |_: http::Uri| {
        let document = document.clone();
        async move { Ok::<_, FetchError>(document) }
    };
    let config = IssuerConfig::new("dev", ISSUER, [AUDIENCE])
        .unwrap()
        .algorithms(ALGORITHMS)
        .token_type("at+jwt")
        .skew(Duration::from_secs(SKEW.unsigned_abs()))
        .max_lifetime(Duration::from_secs(MAX_LIFETIME.unsigned_abs()))
        .jwks_uri(format!("{ISSUER}/jwks"));
    Verifier::builder().clock(clock.clone()).fetch(fetch).issuer(config).build().unwrap()
}

/// A number from the environment.
fn wanted(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test]
async fn two_other_readers_accept_whatever_we_accept() {
    let Ok(folder) = env::var(PARTS) else {
        assert!(env::var("CREWGATE_REQUIRE_ALL").is_err(), "{PARTS} is not set");
        let _ = writeln!(
            stderr(),
            "!!! NOT TESTED: tokens were not held against jose and joserfc: {PARTS} is not set"
        );
        return;
    };
    let (seed, count) =
        (wanted("CREWGATE_DIFFERENTIAL_SEED", 1), wanted("CREWGATE_DIFFERENTIAL_TOKENS", 10_000));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let clock = ManualClock::new();
    let now = clock.now().as_secs();
    let issuer = Issuer::new();
    let cases: Vec<Case> = (0..count).map(|_| issuer.token(&mut rng, now)).collect();

    let batch = json!({
        "issuer": ISSUER, "audience": AUDIENCE, "typ": "at+jwt", "now": now, "skew": SKEW,
        "max_lifetime": MAX_LIFETIME, "sets": issuer.sets,
        "algorithms": ALGORITHMS.map(Algorithm::name).into_iter().chain(["Ed25519"]).collect::<Vec<_>>(),
        "tokens": cases.iter().map(|case| json!({ "set": case.set, "token": case.token })).collect::<Vec<_>>(),
    })
    .to_string();
    let jose = ask(Path::new("node"), "jose.mjs", &folder, &batch);
    let joserfc = ask(&Path::new(&folder).join("bin/python"), "joserfc.py", &folder, &batch);
    assert_eq!((jose.len(), joserfc.len()), (cases.len(), cases.len()));

    let verifiers: Vec<_> = issuer.sets.iter().map(|set| verifier(set, &clock)).collect();
    let (mut all_accept, mut all_refuse, mut two_names, mut explained) =
        (0_u64, 0_u64, 0_u64, BTreeMap::new());
    let mut failures = Vec::new();
    for ((case, jose), joserfc) in cases.iter().zip(&jose).zip(&joserfc) {
        let verify = || verifiers[case.set].verify(Bearer::new(case.token.as_str()));
        let ours = verify().await;
        // The second time out of the cache.
        assert_eq!(ours.is_ok(), verify().await.is_ok(), "{:?}", case.changes);
        match (&ours, jose.accepts && joserfc.accepts) {
            (Ok(principal), true) => {
                let subject = Some(Value::String(principal.key.subject.clone()));
                if (&jose.subject, &joserfc.subject) == (&subject, &subject) {
                    all_accept += 1;
                } else {
                    failures.push(format!("another subject: {:?} {jose:?} {joserfc:?}", case.changes));
                }
            }
            (Ok(_), false)
                if issuer.set_names[case.set] == ONE_ALGORITHM.0
                    && case.changes.iter().any(|change| change == ONE_ALGORITHM.1) =>
            {
                two_names += 1;
            }
            (Ok(_), false) => failures.push(format!(
                "accepted: {:?}\n  jose: {:?}\n  joserfc: {:?}\n  {}",
                case.changes, jose.why, joserfc.why, case.token
            )),
            (Err(rejection), true) => {
                let applies = |(reason, changes, _): &&(Reason, &[&str], &str)| {
                    let made = |change: &&str| case.changes.iter().any(|made| made.starts_with(change));
                    *reason == rejection.reason() && changes.iter().any(made)
                };
                match RULES.iter().find(applies) {
                    Some((reason, _, rule)) => *explained.entry((reason.code(), *rule)).or_insert(0) += 1,
                    None => failures.push(format!(
                        "refused without a rule: {:?}: {rejection}\n  {}",
                        case.changes, case.token
                    )),
                }
            }
            (Err(_), false) => all_refuse += 1,
        }
    }
    let _ = writeln!(
        stderr(),
        "{count} tokens, seed {seed}: {all_accept} accepted and {all_refuse} refused by all three"
    );
    let _ =
        writeln!(stderr(), "{two_names:6} accepted by us alone: Ed25519 is EdDSA on this curve (RFC 9864)");
    for ((code, rule), times) in &explained {
        let _ = writeln!(stderr(), "{times:6} refused by us alone, {code}: {rule}");
    }
    assert!(
        failures.is_empty(),
        "{} disagreements, seed {seed}:\n{}",
        failures.len(),
        failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(all_accept > count / 6 && all_refuse > count / 6, "the tokens are not mixed");
    assert!(count < 10_000 || explained.len() == RULES.len(), "a rule explains nothing: {explained:?}");
}
