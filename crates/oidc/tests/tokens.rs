//! Every rule about one token: what is accepted, and for which stable reason everything else is not.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::time::Duration;

use crewgate_core::{Clock, Groups, Human, HumanId, Principal, PrincipalKey, PrincipalKind, Timestamp};
use crewgate_oidc::{Algorithm, Bearer, IssuerConfig, KindRule, Reason, Step, VerifyToken};
use crewgate_testkit::{DevIdp, KeyKind};
use proptest::prelude::*;
use serde_json::json;
use support::{Bench, URL, builder};

#[tokio::test(start_paused = true)]
async fn a_good_token_of_every_key_kind_names_its_principal() {
    let bench = Bench::new();
    for kind in [KeyKind::Es256, KeyKind::EdDsa, KeyKind::Rs256] {
        let kid = bench.idp.add_key(kind);
        // The key is new: the first token that names it makes the verifier look again.
        tokio::time::advance(Duration::from_secs(61)).await;
        let token = bench.idp.token().key(&kid).groups(["analysts", "on-call"]).client("cli").sign();
        let principal = bench.verify(&token).await.unwrap();
        assert_eq!(principal.key, PrincipalKey::new("dev", "alice"));
        assert_eq!(principal.kind, PrincipalKind::User);
        assert_eq!(principal.client.as_deref(), Some("cli"));
        assert_eq!(principal.groups, Groups::of("dev", ["analysts", "on-call"]));
        assert_eq!(principal.token.issued.as_secs(), bench.clock.now().as_secs());
        assert_eq!(principal.token.expires.as_secs(), bench.clock.now().as_secs() + 300);
        assert_eq!(principal.token.fingerprint.len(), 16);
        assert!(!principal.token.mfa);
        assert_eq!(principal.human, None);
    }
}

/// What `jsonwebtoken` 11.1 accepts with its default validation and a careful reader would not expect.
#[tokio::test]
async fn the_nine_probes_are_all_refused() {
    let bench = Bench::new();
    let idp = &bench.idp;
    let soon = bench.clock.now().as_secs() + 600;
    let cases = [
        (
            "unknown crit",
            idp.token().header("crit", json!(["x"])).header("x", 1).sign(),
            Reason::HeaderRefused,
        ),
        (
            "b64",
            idp.token().header("crit", json!(["b64"])).header("b64", false).sign(),
            Reason::HeaderRefused,
        ),
        ("typ dpop+jwt", idp.token().header("typ", "dpop+jwt").sign(), Reason::Type),
        ("future nbf", idp.token().claim("nbf", soon).sign(), Reason::NotYetValid),
        ("future iat", idp.token().claim("iat", soon).claim("exp", soon + 60).sign(), Reason::NotYetValid),
        ("no aud", idp.token().without("aud").sign(), Reason::Claims),
        ("no iss", idp.token().without("iss").sign(), Reason::IssuerUnknown),
        ("iss as a list", idp.token().claim("iss", json!([URL])).sign(), Reason::IssuerUnknown),
        (
            "expired 59 s ago",
            idp.token().issued_at(bench.clock.now().saturating_sub(Duration::from_secs(359))).sign(),
            Reason::Expired,
        ),
    ];
    for (name, token, reason) in cases {
        assert_eq!(bench.reason(&token).await, reason, "{name}");
    }
}

#[tokio::test]
async fn forged_signatures_and_borrowed_algorithms_are_refused() {
    let bench = Bench::new();
    let idp = &bench.idp;
    assert_eq!(bench.reason(&idp.token().sign_none()).await, Reason::AlgRefused);
    assert_eq!(bench.reason(&idp.token().sign_hs256_with_public_key()).await, Reason::AlgRefused);
    assert_eq!(bench.reason(&idp.token().header("alg", "nOnE").sign()).await, Reason::AlgRefused);
    // An algorithm on the list that is not this key's.
    assert_eq!(bench.reason(&idp.token().header("alg", "RS256").sign()).await, Reason::AlgRefused);
    assert_eq!(bench.reason(&idp.token().sign_with_unknown_kid()).await, Reason::KeyUnknown);
    let token = idp.token().sign();
    let (message, _) = token.rsplit_once('.').unwrap();
    assert_eq!(bench.reason(&format!("{message}.")).await, Reason::Signature);
    // The signature of another good token.
    let other = idp.token().subject("mallory").sign();
    let (_, foreign) = other.rsplit_once('.').unwrap();
    assert_eq!(bench.reason(&format!("{message}.{foreign}")).await, Reason::Signature);
    // A key of the same name, of a provider of the same name.
    let twin = DevIdp::offline(URL, std::sync::Arc::new(bench.clock.clone()));
    assert_eq!(bench.reason(&twin.token().sign()).await, Reason::Signature);
}

#[tokio::test]
async fn an_issuer_is_matched_to_the_letter() {
    let bench = Bench::new();
    for issuer in
        ["https://idp.test/", "https://IDP.test", "https://idp.test.evil", "https://idp.tes", "", "*"]
    {
        assert_eq!(
            bench.reason(&bench.idp.token().issuer(issuer).sign()).await,
            Reason::IssuerUnknown,
            "{issuer}"
        );
    }
    assert_eq!(bench.idp.fetches().discovery, 0, "nothing is fetched for a stranger's token");
}

#[tokio::test]
async fn an_audience_must_be_ours() {
    let bench = Bench::new();
    let idp = &bench.idp;
    for good in [json!("crewgate"), json!(["other", "crewgate"])] {
        assert!(bench.verify(&idp.token().claim("aud", good).sign()).await.is_ok());
    }
    for (aud, reason) in [
        (json!("other"), Reason::Audience),
        (json!([]), Reason::Audience),
        (json!("crewgate2"), Reason::Audience),
        (json!("Crewgate"), Reason::Audience),
        (json!(7), Reason::Claims),
        (json!(null), Reason::Claims),
        (json!(["crewgate", 7]), Reason::Claims),
        (json!({ "crewgate": true }), Reason::Claims),
    ] {
        assert_eq!(bench.reason(&idp.token().claim("aud", aud.clone()).sign()).await, reason, "{aud}");
    }
}

#[tokio::test]
async fn required_claims_have_their_types() {
    let bench = Bench::new();
    let idp = &bench.idp;
    for name in ["sub", "exp", "iat"] {
        assert_eq!(bench.reason(&idp.token().without(name).sign()).await, Reason::Claims, "{name}");
    }
    for (name, value) in [
        ("exp", json!("1781525100")),
        ("exp", json!(-1)),
        ("exp", json!(9_007_199_254_740_992_i64)),
        ("exp", json!(1e300)),
        ("exp", json!(true)),
        ("iat", json!(null)),
        ("nbf", json!("0")),
        ("nbf", json!([0])),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\u{0}b")),
        ("sub", json!("x".repeat(1025))),
        ("client_id", json!(1)),
        ("jti", json!(7)),
        ("jti", json!(null)),
        ("groups", json!(7)),
        ("groups", json!(["a", 7])),
    ] {
        let token = idp.token().claim(name, value.clone()).sign();
        assert_eq!(bench.reason(&token).await, Reason::Claims, "{name} {value}");
    }
    // Fractions are NumericDates too.
    let exact = bench.clock.now().as_secs();
    let token =
        idp.token().claim("iat", json!(exact as f64 + 0.5)).claim("exp", json!(exact as f64 + 60.25)).sign();
    let principal = bench.verify(&token).await.unwrap();
    assert_eq!(principal.token.expires, Timestamp::from_micros(exact * 1_000_000 + 60_250_000));
}

#[tokio::test]
async fn time_is_exact_to_the_forgiven_skew() {
    let bench = Bench::new();
    let issued = bench.clock.now();
    let token =
        bench.idp.token().lifetime(Duration::from_secs(60)).claim("nbf", issued.as_secs() + 10).sign();
    for (at, wanted) in [
        (-31, Err(Reason::NotYetValid)),
        (-21, Err(Reason::NotYetValid)),
        (-20, Ok(())),
        (89, Ok(())),
        (90, Err(Reason::Expired)),
        (3600, Err(Reason::Expired)),
    ] {
        bench.clock.set(Timestamp::from_secs(issued.as_secs() + at));
        let got = bench.verify(&token).await.map(|_| ()).map_err(|rejection| rejection.reason());
        assert_eq!(got, wanted, "at {at} s");
    }
}

#[tokio::test]
async fn a_token_may_not_live_longer_than_its_issuer_may_make_it() {
    let bench = Bench::with(|config| config.max_lifetime(Duration::from_secs(600)));
    let of = |secs| bench.idp.token().lifetime(Duration::from_secs(secs)).sign();
    assert!(bench.verify(&of(600)).await.is_ok());
    assert_eq!(bench.reason(&of(601)).await, Reason::Lifetime);
    assert_eq!(bench.reason(&of(0)).await, Reason::Lifetime);
    let now = bench.clock.now().as_secs();
    let backwards = bench.idp.token().claim("iat", now).claim("exp", now - 1).sign();
    assert_eq!(bench.reason(&backwards).await, Reason::Lifetime);
}

#[tokio::test]
async fn headers_that_bring_their_own_keys_or_extensions_are_refused() {
    let bench = Bench::new();
    for name in ["crit", "b64", "zip", "jku", "x5u", "jwk", "x5c"] {
        let token = bench.idp.token().header(name, "x").sign();
        assert_eq!(bench.reason(&token).await, Reason::HeaderRefused, "{name}");
    }
    for (name, value) in
        [("alg", json!(1)), ("kid", json!(1)), ("kid", json!("x".repeat(257))), ("typ", json!([]))]
    {
        let token = bench.idp.token().header(name, value.clone()).sign();
        assert_eq!(bench.reason(&token).await, Reason::HeaderRefused, "{name} {value}");
    }
    assert_eq!(
        bench.reason(&bench.idp.token().header("alg", json!(null)).sign()).await,
        Reason::HeaderRefused
    );
}

#[tokio::test]
async fn what_is_not_a_compact_jws_of_strict_json_is_malformed() {
    let bench = Bench::new();
    let good = bench.idp.token().sign();
    let (header, rest) = good.split_once('.').unwrap();
    let claims = format!(r#"{{"iss":"{URL}","sub":"a","sub":"b"}}"#);
    let head = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, bench.idp.kid());
    let twice = format!(r#"{{"alg":"ES256","kid":"{}","alg":"ES256"}}"#, bench.idp.kid());
    let cases = [
        String::new(),
        "opaque".to_owned(),
        "a.b".to_owned(),
        "..".to_owned(),
        format!("{good}.x"),
        format!("{good}.x.y"),
        format!("{good}="),
        format!("{header}=.{rest}"),
        format!("{header}\u{a0}.{rest}"),
        format!(" {good}"),
        format!("{{\"payload\":\"{good}\"}}"),
        format!("{good}{}", "A".repeat(20_000)),
        bench.idp.sign_text(&head, &claims),
        bench.idp.sign_text(&twice, &format!(r#"{{"iss":"{URL}"}}"#)),
        bench.idp.sign_text(&head, "[]"),
        bench.idp.sign_text(&head, "{} {}"),
        bench.idp.sign_text(&format!(r#"{{"alg":"ES256","x":"{}"}}"#, "y".repeat(2048)), "{}"),
    ];
    for token in cases {
        assert_eq!(
            bench.reason(&token).await,
            Reason::Malformed,
            "{}",
            token.chars().take(80).collect::<String>()
        );
    }
}

#[tokio::test]
async fn only_access_tokens_are_taken_unless_the_issuer_is_said_to_differ() {
    let bench = Bench::new();
    let with_typ = |bench: &Bench, typ: &str| bench.idp.token().header("typ", typ).sign();
    for good in ["JWT", "jwt", "JOSE", "at+jwt", "application/at+jwt"] {
        assert!(bench.verify(&with_typ(&bench, good)).await.is_ok(), "{good}");
    }
    assert!(bench.verify(&bench.idp.token().header("typ", json!(null)).sign()).await.is_ok());
    for bad in ["dpop+jwt", "secevent+jwt", "logout+jwt", "id_token", "application/logout+jwt", ""] {
        assert_eq!(bench.reason(&with_typ(&bench, bad)).await, Reason::Type, "{bad}");
    }
    for mark in ["nonce", "at_hash", "c_hash"] {
        assert_eq!(bench.reason(&bench.idp.token().claim(mark, "x").sign()).await, Reason::Type, "{mark}");
    }
    let strict = Bench::with(|config| config.token_type("at+jwt"));
    assert!(strict.verify(&with_typ(&strict, "application/AT+JWT")).await.is_ok());
    assert_eq!(strict.reason(&with_typ(&strict, "JWT")).await, Reason::Type);
    assert_eq!(strict.reason(&strict.idp.token().header("typ", json!(null)).sign()).await, Reason::Type);
    let lenient = Bench::with(|config| config.accept_id_tokens());
    assert!(lenient.verify(&lenient.idp.token().claim("nonce", "x").sign()).await.is_ok());
}

#[tokio::test]
async fn a_bound_token_is_not_a_bearer_token() {
    let bench = Bench::new();
    let token = bench.idp.token().claim("cnf", json!({ "jkt": "x" })).sign();
    assert_eq!(bench.reason(&token).await, Reason::Bound);
}

#[tokio::test]
async fn groups_come_from_the_configured_path_and_too_many_is_not_none() {
    let bench = Bench::with(|config| config.groups_claim(["realm_access", "roles"]));
    let groups = |principal: Principal| principal.groups.iter().map(str::to_owned).collect::<Vec<_>>();
    let token = |value| bench.idp.token().groups(["elsewhere"]).claim("realm_access", value).sign();
    let roles = token(json!({ "roles": ["b", "a"] }));
    assert_eq!(groups(bench.verify(&roles).await.unwrap()), ["dev:a", "dev:b"]);
    let one = token(json!({ "roles": "a, b" }));
    assert_eq!(groups(bench.verify(&one).await.unwrap()), ["dev:a, b"], "a string is one group, never split");
    assert!(groups(bench.verify(&bench.idp.token().sign()).await.unwrap()).is_empty());
    assert_eq!(bench.reason(&token(json!("roles"))).await, Reason::Claims);

    let bench = Bench::new();
    let entra = bench.idp.token().claim("_claim_names", json!({ "groups": "src1" })).sign();
    assert_eq!(bench.reason(&entra).await, Reason::GroupsOverage);
    let implicit = bench.idp.token().claim("hasgroups", true).sign();
    assert_eq!(bench.reason(&implicit).await, Reason::GroupsOverage);
}

#[tokio::test]
async fn programs_are_told_from_persons() {
    let bench = Bench::new();
    let idp = &bench.idp;
    for (token, kind) in [
        (idp.token().sign(), PrincipalKind::User),
        (idp.token().subject("ci").client("ci").sign(), PrincipalKind::Service),
        (idp.token().subject("ci").claim("azp", "ci").claim("client_id", "x").sign(), PrincipalKind::Service),
        (idp.token().claim("gty", "client-credentials").sign(), PrincipalKind::Service),
        (idp.token().claim("idtyp", "app").sign(), PrincipalKind::Service),
        (idp.token().claim("idtyp", "user").sign(), PrincipalKind::User),
        (idp.token().subject("repo:acme/site:ref:refs/heads/main").sign(), PrincipalKind::Service),
        (idp.token().subject("system:serviceaccount:jobs:runner").sign(), PrincipalKind::Service),
        (idp.token().subject("repository").sign(), PrincipalKind::User),
    ] {
        assert_eq!(bench.verify(&token).await.unwrap().kind, kind);
    }
    let services = Bench::with(|config| config.kind(KindRule::Service));
    assert_eq!(services.verify(&services.idp.token().sign()).await.unwrap().kind, PrincipalKind::Service);
}

#[tokio::test]
async fn more_than_one_factor_is_believed_only_when_the_issuer_says_so() {
    let bench = Bench::new();
    for (name, value, mfa) in [
        ("amr", json!(["pwd", "mfa"]), true),
        ("amr", json!(["pwd", "otp"]), false),
        ("amr", json!(["hwk"]), false),
        ("acr", json!("urn:okta:loa:2fa:any"), true),
        ("acr", json!("1"), false),
        ("amr", json!(7), false),
    ] {
        let token = bench.idp.token().claim(name, value.clone()).sign();
        assert_eq!(bench.verify(&token).await.unwrap().token.mfa, mfa, "{name} {value}");
    }
}

#[tokio::test]
async fn two_identities_of_one_person_are_one_person() {
    let bench = Bench::new();
    let keys = ["anna", "anna-admin"].map(|subject| PrincipalKey::new("dev", subject));
    let anna = Human::new(HumanId("anna".to_owned()), keys.clone());
    let persons = keys.map(|key| (key, anna.clone()));
    let verifier = builder(&bench.idp, &bench.clock)
        .issuer(IssuerConfig::new("dev", URL, ["crewgate"]).unwrap())
        .persons(persons)
        .build()
        .unwrap();
    let mut found = Vec::new();
    for subject in ["anna", "anna-admin", "bob"] {
        let token = bench.idp.token().subject(subject).sign();
        found.push(verifier.verify(Bearer::new(token)).await.unwrap());
    }
    assert!(found[0].same_person(&found[1]));
    assert!(!found[0].same_person(&found[2]));
}

#[tokio::test]
async fn two_issuers_share_neither_keys_nor_group_names() {
    let bench = Bench::new();
    let other = DevIdp::offline("https://other.test", std::sync::Arc::new(bench.clock.clone()));
    let (one, two) = (bench.idp.clone(), other.clone());
    let fetch = move |uri: http::Uri| {
        let url = uri.to_string();
        let answer = one.document(&url).or_else(|| two.document(&url));
        async move { answer.map(bytes::Bytes::from).ok_or_else(|| crewgate_oidc::FetchError::new("404")) }
    };
    let verifier = crewgate_oidc::Verifier::builder()
        .clock(bench.clock.clone())
        .fetch(fetch)
        .issuer(IssuerConfig::new("dev", URL, ["crewgate"]).unwrap())
        .issuer(IssuerConfig::new("other", "https://other.test", ["crewgate"]).unwrap())
        .build()
        .unwrap();
    let mut groups = Vec::new();
    for idp in [&bench.idp, &other] {
        let token = idp.token().groups(["admins"]).sign();
        groups.push(verifier.verify(Bearer::new(token)).await.unwrap().groups);
    }
    assert_ne!(groups[0], groups[1]);
    // The other issuer's key (both are called `dev-0`), speaking for this one.
    assert_eq!(bench.idp.kid(), other.kid());
    let crossed = other.token().issuer(URL).sign();
    let rejection = verifier.verify(Bearer::new(crossed)).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::Signature);
    let extra = other.add_key(KeyKind::Es256);
    let crossed = other.token().issuer(URL).key(&extra).sign();
    let rejection = verifier.verify(Bearer::new(crossed)).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::KeyUnknown);
}

#[tokio::test]
async fn an_issuers_list_of_algorithms_is_the_only_one() {
    let bench = Bench::with(|config| config.algorithms([Algorithm::EdDsa]));
    assert_eq!(bench.reason(&bench.idp.token().sign()).await, Reason::AlgRefused);
}

#[tokio::test]
async fn without_a_kid_there_must_be_one_key_that_fits() {
    let bench = Bench::new();
    assert!(bench.verify(&bench.idp.token().without_kid().sign()).await.is_ok());
    let two = Bench::new();
    let _ = two.idp.add_key(KeyKind::Es256);
    assert_eq!(two.reason(&two.idp.token().without_kid().sign()).await, Reason::KeyUnknown);
}

#[tokio::test]
async fn an_explanation_names_the_failed_step_and_no_secret() {
    let bench = Bench::new();
    let token = bench.idp.token().audience("billing").sign();
    let explanation = bench.verifier.explain(&Bearer::new(token.clone())).await;
    let failure = explanation.failed.clone().unwrap();
    assert_eq!((failure.step, failure.code), (Step::Audience, "token_audience"));
    assert_eq!((failure.expected.as_str(), failure.found.as_deref()), ("crewgate", Some("billing")));
    assert_eq!(explanation.passed.last(), Some(&Step::Claims));
    assert!(explanation.principal.is_none() && !explanation.is_accepted());
    let shown = format!("{explanation}{}", serde_json::to_string(&explanation).unwrap());
    let signature = token.rsplit_once('.').unwrap().1;
    assert!(
        !shown.contains(signature) && shown.contains("ok    signature") && shown.contains("fix:"),
        "{shown}"
    );

    let good = bench.verifier.explain(&Bearer::new(bench.idp.token().groups(["a"]).sign())).await;
    // This one knows of no revocations: nothing is said of them.
    assert!(good.is_accepted() && good.unchecked == [Step::Revocation]);
    assert_eq!(good.passed.len() + 1, Step::ALL.len());
    assert!(good.to_string().contains("?     revocation"), "{good}");
    assert!(good.to_string().contains("is    dev:alice (user)"), "{good}");
    assert_eq!(bench.verifier.cached_tokens(), 0, "explaining remembers nothing");
}

#[tokio::test]
async fn an_explanation_says_nothing_of_what_it_could_not_check() {
    let bench = Bench::new();
    let bound =
        bench.idp.token().claim("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }));
    let bound = bench.verifier.explain(&Bearer::new(bound.sign())).await;
    assert!(bound.is_accepted() && bound.unchecked == [Step::Binding, Step::Revocation], "{bound}");
    let elsewhere = json!({ "groups": "src1" });
    let overage = bench.idp.token().without("groups").claim("_claim_names", elsewhere).sign();
    let overage = bench.verifier.explain(&Bearer::new(overage)).await;
    assert_eq!(overage.failed.map(|failure| failure.code), Some("token_groups_overage"));
    assert_eq!(
        overage.passed.last(),
        Some(&Step::Requirements),
        "neither binding nor revocation was looked at"
    );
    assert_eq!(overage.unchecked, []);
}

#[tokio::test]
async fn what_the_caller_reads_says_what_to_do_and_repeats_nothing_of_the_token() {
    let bench = Bench::new();
    let token = bench.idp.token().audience("s3cret-audience").subject("s3cret-subject").sign();
    let refusal = bench.verify(&token).await.unwrap_err().into_refusal();
    assert_eq!((refusal.status.as_u16(), refusal.code), (401, "token_audience"));
    assert!(
        refusal.detail.contains("crewgate") && refusal.detail.contains("Ask the issuer"),
        "{}",
        refusal.detail
    );
    assert!(!refusal.detail.contains("s3cret"), "{}", refusal.detail);
    assert_eq!(refusal.challenge.unwrap().error, Some("invalid_token"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Strict decoding leaves no second spelling of a token: whatever is changed, it is another token.
    #[test]
    fn a_token_with_any_character_changed_is_refused(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.=-]") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let token = bench.idp.token().sign();
            prop_assert!(bench.verify(&token).await.is_ok());
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != token);
            prop_assert!(bench.verify(&changed).await.is_err());
            Ok(())
        })?;
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(jws) = crewgate_oidc::Jws::parse(&text) {
            let _ = jws.claims();
        }
        let _ = crewgate_oidc::KeySet::parse(&bytes);
    }
}
