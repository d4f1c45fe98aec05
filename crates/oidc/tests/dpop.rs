//! Tokens that only their holder can use: DPoP proofs (RFC 9449) and client certificates (RFC 8705).
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::{Clock, Principal, Refusal};
use crewgate_oidc::{
    AuthenticateLayer, Bearer, ClientCertificate, IssuerConfig, PROOF_AGE, Reason, Rejection, Verifier,
    VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock};
use http::{Method, Request, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{URL, builder};
use tower::{Layer, ServiceExt, service_fn};

const PLACE: &str = "https://gate.example";
const TARGET: &str = "https://gate.example/support/kickoff";

/// An issuer, and a caller with a key pair.
struct House {
    idp: DevIdp,
    caller: DevIdp,
    clock: ManualClock,
    verifier: Verifier,
}

fn house(demand_nonce: bool) -> House {
    let clock = ManualClock::new();
    let idp = DevIdp::offline(URL, Arc::new(clock.clone()));
    let caller = DevIdp::offline("https://caller.test", Arc::new(clock.clone()));
    let config = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
    let verifier = builder(&idp, &clock).issuer(config);
    let verifier = if demand_nonce { verifier.demand_nonce() } else { verifier };
    House { idp, caller, clock, verifier: verifier.build().unwrap() }
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

impl House {
    /// The caller's public key, as it stands in a proof.
    fn jwk(&self) -> Value {
        let document = self.caller.document("https://caller.test/jwks").unwrap();
        let set: Value = serde_json::from_str(&document).unwrap();
        let mut jwk = set.get("keys").and_then(|keys| keys.get(0)).unwrap().clone();
        jwk.as_object_mut()
            .unwrap()
            .retain(|name, _| ["kty", "crv", "x", "y", "n", "e"].contains(&name.as_str()));
        jwk
    }

    /// RFC 7638: the required members in the order of their names.
    fn thumbprint(&self) -> String {
        let members: BTreeMap<String, Value> = serde_json::from_value(self.jwk()).unwrap();
        hash(json!(members).to_string().as_bytes())
    }

    fn token(&self) -> String {
        self.idp.token().claim("cnf", json!({ "jkt": self.thumbprint() })).sign()
    }

    fn proof(&self, token: &str, changes: Value) -> String {
        let now = self.clock.now().as_secs();
        let jti = format!("{}-{}", now, self.caller.token().sign().len());
        let mut claims =
            json!({ "jti": jti, "htm": "POST", "htu": TARGET, "iat": now, "ath": hash(token.as_bytes()) });
        let mut header = json!({ "typ": "dpop+jwt", "jwk": self.jwk(), "kid": null });
        for (name, value) in changes.as_object().unwrap() {
            let place = name.strip_prefix("header ").map_or(&mut claims, |_| &mut header);
            place
                .as_object_mut()
                .unwrap()
                .insert(name.trim_start_matches("header ").to_owned(), value.clone());
        }
        let mut proof = self.caller.token().without("iss").without("sub").without("aud").without("exp");
        for (name, value) in claims.as_object().unwrap() {
            proof = if value.is_null() { proof.without(name) } else { proof.claim(name, value.clone()) };
        }
        for (name, value) in header.as_object().unwrap() {
            proof = proof.header(name, value.clone());
        }
        proof.sign()
    }

    async fn with(&self, token: &str, proof: &str) -> Result<Principal, Rejection> {
        self.verifier.verify(Bearer::new(token).with_proof(proof, Method::POST, TARGET)).await
    }
}

#[tokio::test]
async fn a_bound_token_opens_with_its_keys_proof_and_with_nothing_else() {
    let house = house(false);
    let token = house.token();
    // Twice: the second token comes out of the cache, and needs a proof of its own.
    for jti in ["a", "b"] {
        house.with(&token, &house.proof(&token, json!({ "jti": jti }))).await.unwrap();
    }
    let plain = house.verifier.verify(Bearer::new(token.as_str())).await.unwrap_err();
    assert_eq!(plain.reason(), Reason::Bound, "a downgrade");
    let unbound = house.idp.token().sign();
    let proof = house.proof(&unbound, json!({}));
    assert_eq!(house.with(&unbound, &proof).await.unwrap_err().reason(), Reason::NotBound);
}

#[tokio::test]
async fn a_nonce_counts_with_every_gateway_that_shares_its_secret() {
    let house = house(true);
    let replica = |secret: u8| {
        let config = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
        builder(&house.idp, &house.clock)
            .issuer(config)
            .demand_nonce()
            .share_nonces([secret; 32])
            .build()
            .unwrap()
    };
    let token = house.token();
    let with = async |replica: &Verifier, changes: Value| {
        let bearer =
            Bearer::new(token.as_str()).with_proof(house.proof(&token, changes), Method::POST, TARGET);
        replica.verify(bearer).await
    };
    let asked = with(&replica(1), json!({})).await.unwrap_err().into_refusal();
    let nonce = asked.challenge.unwrap().nonce.unwrap();
    with(&replica(1), json!({ "nonce": nonce })).await.unwrap();
    let other = with(&replica(2), json!({ "nonce": nonce })).await.unwrap_err();
    assert_eq!(other.reason(), Reason::NonceWanted);
    let short = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
    assert!(
        builder(&house.idp, &house.clock)
            .issuer(short)
            .demand_nonce()
            .share_nonces(*b"short")
            .build()
            .is_err()
    );
}

#[tokio::test]
async fn every_part_of_a_proof_counts() {
    let house = house(false);
    let token = house.token();
    let now = house.clock.now().as_secs();
    let late = i64::try_from(PROOF_AGE.as_secs()).unwrap() + 1;
    let mut private = house.jwk();
    private.as_object_mut().unwrap().insert("d".to_owned(), json!("AAAA"));
    for (what, changes) in [
        ("an access token's typ", json!({ "header typ": "at+jwt" })),
        ("no typ", json!({ "header typ": null })),
        ("alg none", json!({ "header alg": "none" })),
        ("a shared secret", json!({ "header alg": "HS256" })),
        ("another algorithm than the key's", json!({ "header alg": "RS256" })),
        ("no key", json!({ "header jwk": null })),
        ("a private key", json!({ "header jwk": private })),
        ("a key by name", json!({ "header kid": "k1" })),
        ("an unknown extension", json!({ "header crit": ["x"], "header x": 1 })),
        ("no jti", json!({ "jti": null })),
        ("an empty jti", json!({ "jti": "" })),
        ("a long jti", json!({ "jti": "x".repeat(257) })),
        ("another method", json!({ "htm": "GET" })),
        ("the method in small letters", json!({ "htm": "post" })),
        ("another resource", json!({ "htu": "https://gate.example/payroll/kickoff" })),
        ("another host", json!({ "htu": "https://evil.example/support/kickoff" })),
        ("no time", json!({ "iat": null })),
        ("a time in words", json!({ "iat": now.to_string() })),
        ("an old proof", json!({ "iat": now - late })),
        ("a proof for later", json!({ "iat": now + late })),
        ("no token", json!({ "ath": null })),
        ("another token", json!({ "ath": hash(b"another") })),
    ] {
        let rejection = house.with(&token, &house.proof(&token, changes)).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::Proof, "{what}: {rejection:?}");
    }
    for proof in ["", "a.b.c", token.as_str()] {
        assert_eq!(house.with(&token, proof).await.unwrap_err().reason(), Reason::Proof, "{proof}");
    }
    let good = house.proof(&token, json!({}));
    let forged = format!("{}.AAAA", good.rsplit_once('.').unwrap().0);
    assert_eq!(house.with(&token, &forged).await.unwrap_err().reason(), Reason::Proof);
    // None of them spent the proof that is right.
    house.with(&token, &good).await.unwrap();
}

#[tokio::test]
async fn a_proof_counts_once_and_only_for_its_keys_token() {
    let house = house(false);
    let token = house.token();
    let proof = house.proof(&token, json!({}));
    house.with(&token, &proof).await.unwrap();
    let again = house.with(&token, &proof).await.unwrap_err();
    assert_eq!(again.reason(), Reason::Proof);
    assert!(again.expected().unwrap().contains("not used before"), "{again:?}");
    let others = house.idp.token().claim("cnf", json!({ "jkt": hash(b"another key") })).sign();
    let proof = house.proof(&others, json!({ "jti": "x" }));
    assert_eq!(house.with(&others, &proof).await.unwrap_err().reason(), Reason::Proof);
}

#[tokio::test]
async fn a_demanded_nonce_is_given_out_and_ends() {
    let house = house(true);
    let token = house.token();
    let refusal = house.with(&token, &house.proof(&token, json!({}))).await.unwrap_err().into_refusal();
    let challenge = refusal.challenge.unwrap();
    assert_eq!(challenge.error, Some("use_dpop_nonce"));
    assert!(challenge.proof.unwrap().contains("ES256"));
    let nonce = challenge.nonce.unwrap();
    house.with(&token, &house.proof(&token, json!({ "nonce": nonce }))).await.unwrap();
    for wrong in [json!("made-up"), json!(1), Value::Null] {
        let proof = house.proof(&token, json!({ "nonce": wrong, "jti": "y" }));
        assert_eq!(house.with(&token, &proof).await.unwrap_err().reason(), Reason::NonceWanted);
    }
    house.clock.advance(Duration::from_secs(300));
    let (token, proof) =
        (house.token(), |token: &str| house.proof(token, json!({ "nonce": nonce, "jti": "z" })));
    assert_eq!(house.with(&token, &proof(&token)).await.unwrap_err().reason(), Reason::NonceWanted);
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_needs_that_connection() {
    let house = house(false);
    let (ours, theirs) = ([7; 32], [8; 32]);
    let token = house.idp.token().claim("cnf", json!({ "x5t#S256": URL_SAFE_NO_PAD.encode(ours) })).sign();
    let verify = |bearer: Bearer| house.verifier.verify(bearer);
    for _ in 0..2 {
        verify(Bearer::new(token.as_str()).with_certificate(ours)).await.unwrap();
        let other = verify(Bearer::new(token.as_str()).with_certificate(theirs)).await.unwrap_err();
        assert_eq!(other.reason(), Reason::CertificateOther);
        let none = verify(Bearer::new(token.as_str())).await.unwrap_err();
        assert_eq!(none.reason(), Reason::Bound);
    }
    // A plain token does not mind the certificate of its connection.
    verify(Bearer::new(house.idp.token().sign()).with_certificate(ours)).await.unwrap();
}

#[tokio::test]
async fn what_binds_in_a_way_that_cannot_be_checked_is_refused() {
    let house = house(false);
    for cnf in [
        json!({}),
        json!("jkt"),
        json!({ "jku": "https://keys.test" }),
        json!({ "jkt": "short" }),
        json!({ "jkt": house.thumbprint(), "x5t#S256": house.thumbprint() }),
        json!({ "jwk": house.jwk() }),
    ] {
        let token = house.idp.token().claim("cnf", cnf.clone()).sign();
        let proof = house.proof(&token, json!({}));
        assert_eq!(house.with(&token, &proof).await.unwrap_err().reason(), Reason::Bound, "{cnf}");
    }
}

#[tokio::test]
async fn the_layer_reads_proofs_for_its_own_public_address_alone() {
    let house = house(false);
    let token = house.token();
    let answer = |layer: AuthenticateLayer<Verifier>, request: Request<()>| async move {
        let service = layer.layer(service_fn(|request: Request<()>| async move {
            assert!(request.headers().get("dpop").is_none(), "a proof goes no further");
            assert!(request.extensions().get::<Principal>().is_some());
            Ok::<_, Infallible>(Response::new(()))
        }));
        let response = service.oneshot(request).await.unwrap();
        response.extensions().get::<Refusal>().map(|refusal| refusal.code)
    };
    let request = |proofs: &[&str]| {
        let request = Request::post("/support/kickoff?x=1").header("host", "evil.example");
        let request = request.header("authorization", format!("DPoP {token}"));
        proofs.iter().fold(request, |request, proof| request.header("dpop", *proof)).body(()).unwrap()
    };
    let plain = || AuthenticateLayer::new(house.verifier.clone());
    let proving = || plain().with_proofs_for(PLACE);
    let proof = |jti: &str| house.proof(&token, json!({ "jti": jti }));
    assert_eq!(answer(proving(), request(&[&proof("1")])).await, None);
    assert_eq!(answer(proving(), request(&[])).await, Some("proof_missing"));
    assert_eq!(answer(proving(), request(&[&proof("2"), &proof("3")])).await, Some("proof_missing"));
    assert_eq!(answer(plain(), request(&[&proof("4")])).await, Some("token_scheme"));
    let elsewhere = plain().with_proofs_for("https://evil.example");
    assert_eq!(answer(elsewhere, request(&[&proof("5")])).await, Some("proof_refused"));

    let bound = house.idp.token().claim("cnf", json!({ "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) })).sign();
    let request = |certificate: Option<[u8; 32]>| {
        let mut request =
            Request::get("/").header("authorization", format!("Bearer {bound}")).body(()).unwrap();
        if let Some(thumbprint) = certificate {
            request.extensions_mut().insert(ClientCertificate(thumbprint));
        }
        request
    };
    assert_eq!(answer(plain(), request(Some([7; 32]))).await, None);
    assert_eq!(answer(plain(), request(None)).await, Some("token_bound"));
}
