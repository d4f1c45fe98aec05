//! Every kind of token of a real OpenID provider at the program's door, and the provider's own troubles: rotation, death
//! and return, and strangers who would have it asked for keys.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use crewgate_core::SystemClock;
use crewgate_testkit::{DevIdp, Script, ScriptedCrew};
use http::Request;
use http_body_util::{Empty, Full};
use hyper_util::rt::TokioIo;
use real::{Answer, CREW_KEY, Folder, Gateway, Http, IDP, Idp, parts, text, until};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where callers believe the gateway to be: what their proofs must be about.
const PUBLIC: &str = "https://gate.example";
const NAME: &str = "gateway.test";

const POLICY: &str = r#"
@id("jobs-read-inputs")
permit(principal in Role::"ci", action == Action::"inputs", resource);
"#;

/// The provider and one scripted crew; gateways before them.
struct House {
    idp: Idp,
    crew: ScriptedCrew,
}

impl House {
    /// `None` without the real provider.
    async fn open() -> Option<Self> {
        let [node] = parts([IDP])?;
        let crew = ScriptedCrew::start_with(Script::new().key(CREW_KEY).inputs(["topic"])).await.unwrap();
        Some(Self { idp: Idp::start(&node), crew })
    }

    /// What a gateway needs, with these lines more for it and for the issuer.
    fn folder(&self, gateway: &str, issuer: &str) -> Folder {
        let (url, crew) = (&self.idp.issuer, self.crew.url());
        let configuration = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC}\"\n{gateway}\n\
             [console]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
             [policy]\npath = \"policy/\"\n[store]\nurl = \"sqlite:crewgate.db\"\n\
             [[issuer]]\nname = \"idp\"\nurl = \"{url}\"\naudience = [\"crewgate\"]\ngroups = \"groups\"\n{issuer}\n\
             [[crew]]\nname = \"support\"\nurl = \"{crew}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             inputs.topic = {{ type = \"text\" }}\n\
             [[role]]\nname = \"ci\"\ngroups = [\"idp:ci\"]\n"
        );
        Folder::new(&configuration, POLICY)
    }
}

async fn inputs(gateway: &Gateway, token: &str) -> Answer {
    Http::with(token).get(&format!("{}/support/inputs", gateway.data)).await
}

/// The code of a refusal with this status.
fn refused(answer: Answer, status: u16) -> String {
    text(&answer.expect(status).json(), "code").to_owned()
}

/// Somebody with a key to prove.
struct Holder(DevIdp);

impl Holder {
    fn new() -> Self {
        Self(DevIdp::offline("https://holder.test", Arc::new(SystemClock)))
    }

    /// A proof (RFC 9449 section 4.2) for this resource, with these claims more.
    fn proof(&self, method: &str, target: &str, more: &[(&str, &str)]) -> String {
        let document = self.0.document("https://holder.test/jwks").unwrap();
        let set: Value = serde_json::from_str(&document).unwrap();
        let mut jwk = set.pointer("/keys/0").unwrap().clone();
        jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
        // Signatures differ each time, so this identifier does.
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.token().sign()));
        let mut proof =
            ["iss", "sub", "aud", "exp"].into_iter().fold(self.0.token(), |proof, name| proof.without(name));
        for (name, value) in [("jti", id.as_str()), ("htm", method), ("htu", target)].iter().chain(more) {
            proof = proof.claim(name, *value);
        }
        proof.header("typ", "dpop+jwt").header("kid", Value::Null).header("jwk", jwk).sign()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dpop_token_opens_with_fresh_proofs_of_its_key_that_bear_our_nonce() {
    let Some(house) = House::open().await else { return };
    let folder = house.folder("demand_dpop_nonce = true", "");
    let gateway = Gateway::start(&folder);
    let (holder, thief) = (Holder::new(), Holder::new());
    let proof = holder.proof("POST", &format!("{}/token", house.idp.issuer), &[]);
    let token = house.idp.job_with("bound-job", &[("dpop", &proof)]).await;
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&token));
    let target = format!("{PUBLIC}/support/inputs");
    let show = async |proof: &str| {
        let request = Request::get(format!("{}/support/inputs", gateway.data))
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof);
        Http::new().send(request.body(Full::default()).unwrap()).await.unwrap()
    };
    let prove =
        |holder: &Holder, nonce: &str| holder.proof("GET", &target, &[("ath", &hash), ("nonce", nonce)]);

    let asked = show(&holder.proof("GET", &target, &[("ath", &hash)])).await;
    let (nonce, challenge) = (asked.header("dpop-nonce"), asked.header("www-authenticate"));
    assert!(challenge.contains("error=\"use_dpop_nonce\""), "{challenge}");
    assert_eq!(refused(asked, 401), "proof_nonce");
    let good = prove(&holder, &nonce);
    show(&good).await.expect(200);
    // Out of the cache too, and each time with a proof of its own.
    show(&prove(&holder, &nonce)).await.expect(200);
    assert_eq!(refused(show(&good).await, 401), "proof_refused", "a proof counts once");
    assert_eq!(refused(show(&prove(&thief, &nonce)).await, 401), "proof_refused", "another's key");
    assert_eq!(refused(show(&prove(&holder, "AAAA")).await, 401), "proof_nonce", "a nonce of nobody");
    let elsewhere = holder.proof("POST", &target, &[("ath", &hash), ("nonce", &nonce)]);
    assert_eq!(refused(show(&elsewhere).await, 401), "proof_refused", "another request");
    assert_eq!(refused(inputs(&gateway, &token).await, 401), "token_bound", "a downgrade to Bearer");
    assert_eq!(house.crew.calls().total(), 2);
    assert!(gateway.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_bound_to_a_certificate_opens_over_its_holders_connections_alone() {
    let Some(house) = House::open().await else { return };
    let tls = "tls = { certificate = \"tls.pem\", key = \"tls.key\", client_certificates = true }";
    let folder = house.folder(tls, "");
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (server, ours, theirs) = (made(NAME), made("sealed-job"), made("sealed-job"));
    fs::write(folder.file("tls.pem"), server.cert.pem()).unwrap();
    fs::write(folder.file("tls.key"), server.signing_key.serialize_pem()).unwrap();
    let gateway = Gateway::start(&folder);
    let certificate = STANDARD.encode(ours.cert.der());
    let token = house.idp.job_with("sealed-job", &[("x-client-certificate", &certificate)]).await;
    // The provider gives none to whoever shows no certificate.
    let fields = "grant_type=client_credentials&client_id=sealed-job&client_secret=sealed-job-secret-of-a-test&scope=crews";
    house.idp.post("/token", &[], fields).await.expect(400);
    let address = gateway.data.rsplit('/').next().unwrap().to_owned();
    for (own, status) in [(Some(&ours), 200), (Some(&theirs), 401), (None, 401), (Some(&ours), 200)] {
        assert_eq!(over_tls(&address, server.cert.der(), own, &token).await, status);
    }
    assert_eq!(house.crew.calls().total(), 2);
    assert!(gateway.stop().success());
}

/// The status of a call with this token over a TLS connection, perhaps with a client certificate.
async fn over_tls(
    address: &str,
    root: &CertificateDer<'static>,
    own: Option<&rcgen::CertifiedKey<rcgen::KeyPair>>,
    token: &str,
) -> u16 {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![own.cert.der().clone()], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/support/inputs")
        .header("host", NAME)
        .header("authorization", format!("Bearer {token}"));
    send.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_token_counts_while_the_provider_says_so_in_plain_and_signed_words() {
    let Some(house) = House::open().await else { return };
    let asks = |signed: bool| {
        format!(
            "introspection = {{ url = \"{}/token/introspection\", client_id = \"gate\", \
             client_secret = {{ file = \"gate.secret\" }}, signed = {signed} }}",
            house.idp.issuer
        )
    };
    for signed in [false, true] {
        let token = house.idp.job("opaque-job").await;
        assert!(!token.contains('.'), "not a JWT: {token}");
        let folders = [(); 2].map(|()| house.folder("", &asks(signed)));
        for folder in &folders {
            fs::write(folder.file("gate.secret"), "gate-secret-of-a-test\n").unwrap();
        }
        let gateway = Gateway::start(&folders[0]);
        let before = house.idp.asked("/token/introspection").await;
        for _ in 0..5 {
            inputs(&gateway, &token).await.expect(200);
        }
        assert_eq!(
            house.idp.asked("/token/introspection").await - before,
            1,
            "an answer counts for a minute"
        );
        assert_eq!(refused(inputs(&gateway, "nobody-issued-this").await, 401), "token_inactive");
        // Withdrawn: who has not asked yet learns it; the gateway above would within its minute.
        let withdraw =
            format!("token={token}&client_id=opaque-job&client_secret=opaque-job-secret-of-a-test");
        house.idp.post("/token/revocation", &[], &withdraw).await.expect(200);
        let other = Gateway::start(&folders[1]);
        assert_eq!(refused(inputs(&other, &token).await, 401), "token_inactive");
        // JWTs are checked here all the same, and nobody is asked.
        let asked = house.idp.asked("/token/introspection").await;
        inputs(&gateway, &house.idp.job("ci-job").await).await.expect(200);
        assert_eq!(house.idp.asked("/token/introspection").await, asked);
        assert!(gateway.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotated_under_load_refuse_nobody() {
    let Some(house) = House::open().await else { return };
    let folder = house.folder("", "");
    let gateway = Arc::new(Gateway::start(&folder));
    let (house, over) = (Arc::new(house), Arc::new(AtomicBool::new(false)));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..6_usize {
        let (house, gateway, over) = (Arc::clone(&house), Arc::clone(&gateway), Arc::clone(&over));
        callers.spawn(async move {
            let (mut token, mut calls) = (house.idp.job("ci-job").await, 0_usize);
            while !over.load(Ordering::SeqCst) {
                // Old tokens and new ones, at all times.
                if (calls + n) % 4 == 0 {
                    token = house.idp.job("ci-job").await;
                }
                inputs(&gateway, &token).await.expect(200);
                calls += 1;
            }
            calls
        });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        house.idp.rotate(true).await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    over.store(true, Ordering::SeqCst);
    // A refusal has ended its caller by a panic, which this passes on.
    let calls: usize = callers.join_all().await.into_iter().sum();
    assert!(calls >= 30, "{calls} calls are no load");
    eprintln!("{calls} calls during two rotations, none refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_dies_leaves_its_keys_and_is_found_again_when_it_is_back() {
    let Some(house) = House::open().await else { return };
    let [node] = parts([IDP]).unwrap();
    let port = house.idp.issuer.rsplit(':').next().unwrap().parse().unwrap();
    let folder = house.folder("", "");
    let gateway = Gateway::start(&folder);
    let (seen, unseen) = (house.idp.job("ci-job").await, house.idp.job("ci-job").await);
    inputs(&gateway, &seen).await.expect(200);
    let late = house.folder("", "");
    let House { idp, crew: _crew } = house;
    drop(idp);
    // Killed: its last good keys go on serving, for tokens that were never shown too.
    inputs(&gateway, &seen).await.expect(200);
    inputs(&gateway, &unseen).await.expect(200);
    // A gateway that starts now has none; it says so, and does not stop.
    let late = (Gateway::start(&late), late);
    let answer = inputs(&late.0, &seen).await;
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    assert_eq!(refused(answer, 503), "issuer_not_ready");
    let ready = Http::new().get(&format!("{}/readyz", late.0.ops)).await;
    assert_ne!(ready.json().pointer("/parts/issuer idp/state"), Some(&json!("green")), "{ready:?}");

    // Back, with other keys of the same names.
    let idp = Idp::start_at(&node, port);
    let fresh = idp.job("ci-job").await;
    for gateway in [&gateway, &late.0] {
        until("the provider to be found again", Duration::from_secs(60), async || {
            (inputs(gateway, &fresh).await.status == 200).then_some(())
        })
        .await;
        let ready = Http::new().get(&format!("{}/readyz", gateway.ops)).await;
        assert_eq!(ready.json().pointer("/parts/issuer idp/state"), Some(&json!("green")), "{ready:?}");
        for withdrawn in [&seen, &unseen] {
            assert_eq!(refused(inputs(gateway, withdrawn).await, 401), "token_signature");
        }
    }
    assert!(gateway.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_key_ids_costs_two_fetches_and_nobody_their_access() {
    let Some(house) = House::open().await else { return };
    let folder = house.folder("", "");
    let gateway = Gateway::start(&folder);
    let token = house.idp.job("ci-job").await;
    inputs(&gateway, &token).await.expect(200);
    let before = house.idp.asked("/jwks").await;
    let (_, rest) = token.split_once('.').unwrap();
    for n in 0..200 {
        let header = json!({ "alg": "RS256", "typ": "at+jwt", "kid": format!("stranger-{n}") }).to_string();
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(refused(inputs(&gateway, &forged).await, 401), "token_key_unknown");
        if n % 50 == 0 {
            inputs(&gateway, &token).await.expect(200);
        }
    }
    let fetches = house.idp.asked("/jwks").await - before;
    assert!((1..=2).contains(&fetches), "{fetches} fetches; then one a minute");
    assert!(gateway.stop().success());
}
