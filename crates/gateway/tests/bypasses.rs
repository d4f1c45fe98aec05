//! The bypasses of reference proxies of 2025 and 2026, each by its name, tried by nobody and by somebody who may use one
//! crew and not the other. What is decided on is what is sent.
#![expect(clippy::panic, reason = "tests")]

mod house;

use house::{Answer, Ground, House, Plan, Wire, request, verifies};

/// Eve runs `support`; nobody runs `payroll`.
const RULES: &str = r#"@id("analysts-run-support")
permit (principal in Role::"analysts", action in [Action::"inputs", Action::"kickoff"], resource);

@id("payroll-is-closed")
forbid (principal, action, resource in Fleet::"hr");
"#;

struct Door {
    house: House,
    eve: String,
}

impl Door {
    async fn open() -> Self {
        let ground = Ground::lay(Plan::default()).await;
        ground.folder.write("policy/crews.cedar", RULES);
        let house = House::start(ground).await;
        let door =
            Self { eve: format!("authorization: Bearer {}", house.token("eve", &["analysts"])), house };
        // What is refused below is not refused because nothing works.
        assert_eq!(door.eve("GET", "/support/inputs", &[]).await.status, 200);
        assert_eq!(
            door.eve("GET", "/payroll/inputs", &[]).await.refusal(),
            (403, "policy_refused".to_owned())
        );
        door
    }

    async fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut wire = Wire::connect(self.house.data()).await;
        let headers = [headers, &["connection: close"]].concat();
        wire.send(&request(method, path, &headers, body)).await;
        wire.answer().await.unwrap_or_else(|| panic!("{method} {path} got no answer"))
    }

    async fn nobody(&self, path: &str, headers: &[&str]) -> Answer {
        self.send("GET", path, headers, b"").await
    }

    async fn eve(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        self.send(method, path, &[headers, &[self.eve.as_str()]].concat(), b"").await
    }

    /// Nothing has reached the closed crew, and the open one has seen this many calls.
    async fn closes(self, support: usize) {
        let calls = (self.house.payroll.received().len(), self.house.support.received().len());
        assert_eq!(calls, (0, support + 1));
        verifies(&self.house.stop().await.folder).await;
    }
}

/// A health check is known by its address on another listener, never by who says to ask.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_34457_health_checks_by_user_agent() {
    let door = Door::open().await;
    for agent in ["kube-probe/1.31", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Prometheus/3.0"] {
        let agent = format!("user-agent: {agent}");
        let answer = door.nobody("/support/inputs", &[&agent]).await;
        assert_eq!(answer.refusal(), (401, "token_missing".to_owned()), "{agent}");
        assert_eq!(door.eve("GET", "/payroll/inputs", &[&agent]).await.status, 403, "{agent}");
    }
    for path in ["/healthz", "/ping", "/ready", "/metrics", "/readyz"] {
        assert_ne!(door.nobody(path, &["user-agent: kube-probe/1.31"]).await.status, 200, "{path}");
    }
    door.closes(0).await;
}

/// A fragment ends no path: it is no part of a request at all.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_41059_fragments_in_the_path() {
    let door = Door::open().await;
    for path in [
        "/.well-known/oauth-protected-resource#/support/inputs",
        "/support/inputs#/.well-known/oauth-protected-resource",
        "/support/inputs%23/healthz",
    ] {
        let answer = door.nobody(path, &[]).await;
        assert!(matches!(answer.status, 400 | 401 | 404), "{path}: {}", answer.status);
    }
    for path in
        ["/payroll/inputs#/support/inputs", "/payroll/inputs%23/support/inputs", "/payroll%23/support/inputs"]
    {
        let answer = door.eve("GET", path, &[]).await;
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
    }
    door.closes(0).await;
}

/// What a client says of where it went, who it is and how it meant it is not so.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_40575_forwarded_headers_of_the_client() {
    let door = Door::open().await;
    let places = [
        "x-forwarded-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-prefix",
        "x-auth-request-redirect",
    ];
    for name in places {
        let open = format!("{name}: /.well-known/oauth-protected-resource");
        let answer = door.nobody("/support/inputs", &[&open]).await;
        assert_eq!(answer.refusal(), (401, "token_missing".to_owned()), "{name}");
        let elsewhere = format!("{name}: /support/inputs");
        let answer = door.eve("GET", "/payroll/inputs", &[&elsewhere]).await;
        assert_eq!(answer.refusal(), (403, "policy_refused".to_owned()), "{name}");
        // Decided on and sent: where the request goes.
        let closed = format!("{name}: /payroll/inputs");
        assert_eq!(door.eve("GET", "/support/inputs", &[&closed]).await.status, 200, "{name}");
    }
    for header in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-user: alice",
        "x-auth-request-email: a@acme.example",
        "x-auth-request-groups: data-owners",
        "x-real-ip: 127.0.0.1",
    ] {
        assert_eq!(door.nobody("/support/inputs", &[header]).await.status, 401, "{header}");
        assert_eq!(door.eve("GET", "/payroll/inputs", &[header]).await.status, 403, "{header}");
    }
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let header = format!("{name}: GET");
        let answer = door.eve("DELETE", "/support/inputs", &[&header]).await;
        assert!(matches!(answer.status, 404 | 405), "{name}: {}", answer.status);
    }
    door.closes(places.len()).await;
}

/// A query is matched by no route, and no rule reads it as a path.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_7rh7_c77v_6434_queries_that_look_like_paths() {
    let door = Door::open().await;
    for path in [
        "/support/inputs?/.well-known/oauth-protected-resource",
        "/support/inputs?x=/healthz",
        "/support/inputs?path=/oauth/jwks",
    ] {
        assert_eq!(door.nobody(path, &[]).await.status, 401, "{path}");
    }
    for path in [
        "/payroll/inputs?/support/inputs",
        "/payroll/inputs?crew=support",
        "/payroll/inputs?x=/../support/inputs",
    ] {
        let answer = door.eve("GET", path, &[]).await;
        assert!(matches!(answer.status, 400 | 403), "{path}: {}", answer.status);
    }
    door.closes(0).await;
}

/// An address of mail is nobody, so no suffix of it opens anything.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_c5c4_8r6x_56w3_addresses_with_several_signs() {
    let door = Door::open().await;
    for mail in ["eve@evil.example@acme.example", "eve@acme.example", "\"a@acme.example\"@evil.example"] {
        let token = door.house.idp.token().subject("eve").claim("email", mail).claim("email_verified", true);
        let answer = door.house.get("/support/inputs", &token.sign()).await;
        assert_eq!(answer.refusal(), (403, "policy_denied".to_owned()), "{mail}");
    }
    door.closes(0).await;
}

/// A path is one path, however it is written: no other reading of it, here or behind, leads to the closed crew.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_what_it_is_decided_as() {
    let door = Door::open().await;
    for path in [
        "//support/inputs",
        "/support//inputs",
        "/./support/inputs",
        "/.well-known/../support/inputs",
        "/.well-known/oauth-protected-resource/../../support/inputs",
        "/%2e%2e/support/inputs",
        "/.well-known/oauth-protected-resource;/support/inputs",
    ] {
        let answer = door.nobody(path, &[]).await;
        assert!(matches!(answer.status, 400 | 401 | 404), "{path}: {}", answer.status);
    }
    for path in [
        "/support/../payroll/inputs",
        "/support/%2e%2e/payroll/inputs",
        "/support/..%2fpayroll/inputs",
        "/support/inputs/../../payroll/inputs",
        "/support/..;/payroll/inputs",
        "/support\\..\\payroll/inputs",
        "//payroll/inputs",
        "/payroll//inputs",
        "/PAYROLL/inputs",
        "/payrol%6c/inputs",
        "/payroll%2finputs",
        "/payroll/inputs/",
        "/payroll/inputs%00",
        "http://gateway.test/payroll/inputs",
        "http://support/payroll/inputs",
    ] {
        let answer = door.eve("GET", path, &[]).await;
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
    }
    door.closes(0).await;
}

/// A body is one body: what is decided on has each name once, and is what is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_what_it_is_decided_as() {
    let door = Door::open().await;
    let json = "content-type: application/json";
    for body in [
        r#"{"inputs":{"topic":"a"},"inputs":{"topic":"b"}}"#,
        r#"{"inputs":{"topic":"a","topic":"b"}}"#,
        r#"{"inputs":{"topic":"a"}} {"inputs":{"topic":"b"}}"#,
        r#"{"inputs":{"topic":"a","employee_id":"E-1"}}"#,
        r#"{"inputs":{"topic":"a"},"crew":"payroll"}"#,
    ] {
        let answer = door.send("POST", "/support/kickoff", &[&door.eve, json], body.as_bytes()).await;
        assert!(matches!(answer.status, 400 | 403 | 422), "{body}: {} {}", answer.status, answer.text());
    }
    door.closes(0).await;
}
