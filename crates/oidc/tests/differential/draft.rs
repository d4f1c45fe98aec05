//! A token before it is signed, and what may be changed in it.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use proptest::{prelude::RngExt, test_runner::TestRng};

use crate::issuer::{ISSUER, Issuer, Key, b64};

/// Members with their values as JSON text, so that a name can stand twice and a number in any spelling.
pub(crate) struct Draft {
    header: Vec<(String, String)>,
    claims: Vec<(String, String)>,
    /// How it is signed: by the key, not at all, or with its public part as the secret of an HMAC.
    alg: String,
    secret: Option<String>,
}

fn set(members: &mut Vec<(String, String)>, name: &str, value: impl Into<String>) {
    let value = value.into();
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => members.push((name.to_owned(), value)),
    }
}

fn pick<'a, T: ?Sized>(rng: &mut TestRng, of: &[&'a T]) -> &'a T {
    of[rng.random_range(0..of.len())]
}

fn object(rng: &mut TestRng, members: &[(String, String)]) -> String {
    let (colon, comma) = if rng.random_bool(0.1) { (" : ", "\n , ") } else { (":", ",") };
    let mut text = String::from("{");
    for (at, (name, value)) in members.iter().enumerate() {
        let _ = write!(text, "{}\"{name}\"{colon}{value}", if at == 0 { "" } else { comma });
    }
    text + "}"
}

impl Draft {
    pub(crate) fn good(rng: &mut TestRng, key: &Key, now: i64) -> Self {
        let typ = pick(rng, &["at+jwt", "at+jwt", "application/at+jwt", "AT+JWT"]);
        let mut header = vec![("alg".to_owned(), format!("\"{}\"", key.alg))];
        set(&mut header, "typ", format!("\"{typ}\""));
        set(&mut header, "kid", format!("\"{}\"", key.kid));
        let issued = now - rng.random_range(0..600);
        let mut claims = Vec::new();
        set(&mut claims, "iss", format!("\"{ISSUER}\""));
        set(&mut claims, "sub", format!("\"user-{}\"", rng.random_range(0..1000)));
        set(&mut claims, "aud", pick(rng, &["\"crewgate\"", "[\"crewgate\"]", "[\"other\",\"crewgate\"]"]));
        set(&mut claims, "iat", issued.to_string());
        set(&mut claims, "exp", (now + rng.random_range(1..2900)).to_string());
        for (name, value) in [
            ("nbf", issued.to_string()),
            ("jti", format!("\"{}\"", rng.random_range(0..u64::MAX))),
            ("client_id", "\"cli\"".to_owned()),
            ("groups", r#"["analysts","büro","\u0061\ud83d\ude00"]"#.to_owned()),
            ("scope", "\"run status\"".to_owned()),
            ("auth_time", "1781520000.25".to_owned()),
        ] {
            if rng.random_bool(0.4) {
                set(&mut claims, name, value);
            }
        }
        Self { header, claims, alg: key.alg.to_owned(), secret: None }
    }

    pub(crate) fn change_header(&mut self, rng: &mut TestRng, issuer: &Issuer, key: &Key) -> String {
        let header = &mut self.header;
        match rng.random_range(0..12) {
            0 | 1 => {
                let others = [
                    "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "es256", "ES256K", "EdDSA",
                    "Ed25519", "RS256", "RS384", "PS256", "ES256", "ES384", "ES512", "RSA-OAEP", "dir",
                ];
                let alg = pick(rng, &others);
                if alg.starts_with("HS") {
                    self.secret = Some(pick(rng, &[key.pem().as_str(), "", "secret"]).to_owned());
                }
                alg.clone_into(&mut self.alg);
                set(header, "alg", format!("\"{alg}\""));
                format!("alg {alg}")
            }
            2 => {
                let value =
                    pick(rng, &["null", "7", "[\"ES256\"]", "{}", "true", r#""\u0045S256""#, "\" ES256\""]);
                set(header, "alg", value);
                format!("alg as {value}")
            }
            3 | 4 => {
                let other = issuer.keys[rng.random_range(0..issuer.keys.len())].kid;
                let long = format!("\"{}\"", "k".repeat(257));
                let quoted = format!("\"{other}\"");
                let value = pick(
                    rng,
                    &[
                        quoted.as_str(),
                        "\"nobody\"",
                        "\"\"",
                        "7",
                        "null",
                        "[\"p256\"]",
                        "\"P256\"",
                        "\"p256 \"",
                        "\"../../p256\"",
                        r#""\u0070256""#,
                        long.as_str(),
                    ],
                );
                set(header, "kid", value);
                format!("kid {}", value.chars().take(16).collect::<String>())
            }
            5 => {
                header.retain(|(name, _)| name != "kid");
                "kid removed".to_owned()
            }
            6 => {
                let value = pick(
                    rng,
                    &[
                        "\"JWT\"",
                        "\"jwt\"",
                        "\"JOSE\"",
                        "\"dpop+jwt\"",
                        "\"secevent+jwt\"",
                        "\"logout+jwt\"",
                        "\"id_token\"",
                        "\"\"",
                        "null",
                        "7",
                        "\"application/application/at+jwt\"",
                        "\"at+jwt \"",
                        "\"text/at+jwt\"",
                    ],
                );
                set(header, "typ", value);
                format!("typ {value}")
            }
            7 => {
                let (name, value) = *pick(
                    rng,
                    &[
                        &("crit", "[\"exp\"]"),
                        &("crit", "[]"),
                        &("crit", "[\"b64\"]"),
                        &("crit", "[\"alg\"]"),
                        &("crit", "\"exp\""),
                        &("crit", "null"),
                        &("crit", "[\"x\",\"x\"]"),
                        &("b64", "false"),
                        &("b64", "true"),
                        &("zip", "\"DEF\""),
                        &("jku", "\"https://evil.test/jwks\""),
                        &("x5u", "\"https://evil.test/x5u\""),
                        &("x5c", "[\"AAAA\"]"),
                        &("cty", "\"JWT\""),
                        &("cty", "7"),
                        &("x", "1"),
                        &("x5t", "\"AAAA\""),
                        &("exp", "0"),
                        &("__proto__", "{}"),
                        &("enc", "\"A256GCM\""),
                        &("epk", "{}"),
                        &("p2c", "100000000"),
                    ],
                );
                set(header, name, value);
                format!("header {name} {value}")
            }
            8 => {
                let own = issuer.keys[rng.random_range(0..issuer.keys.len())].jwk().to_string();
                set(header, "jwk", own);
                "header jwk".to_owned()
            }
            9 => {
                let (name, value) = header[rng.random_range(0..header.len())].clone();
                let other = pick(rng, &[value.as_str(), "\"x\"", "null"]).to_owned();
                header.push((name.clone(), other));
                format!("header twice {name}")
            }
            10 => {
                set(header, "b64", pick(rng, &["true", "false"]));
                set(header, "crit", "[\"b64\"]");
                "header crit b64".to_owned()
            }
            _ => {
                header.retain(|(name, _)| name != "alg");
                "alg removed".to_owned()
            }
        }
    }

    pub(crate) fn change_claims(&mut self, rng: &mut TestRng, now: i64) -> String {
        let claims = &mut self.claims;
        match rng.random_range(0..12) {
            0..5 => {
                let name = pick(rng, &["exp", "exp", "iat", "nbf"]);
                let offsets = [
                    -7200, -3661, -3631, -3630, -3600, -31, -30, -29, -1, 0, 1, 29, 30, 31, 60, 3599, 3600,
                    3601, 7200,
                ];
                let offset = offsets[rng.random_range(0..offsets.len())];
                let time = now + offset;
                let written = match rng.random_range(0..8) {
                    0 => format!("{time}.0"),
                    1 => format!("{time}.5"),
                    2 => format!("{}e-3", time * 1000),
                    3 => format!("\"{time}\""),
                    4 => pick(
                        rng,
                        &[
                            "null",
                            "true",
                            "[]",
                            "{}",
                            "0",
                            "-1",
                            "-0",
                            "1e300",
                            "1e400",
                            "9007199254740991",
                            "9007199254740992",
                            "18446744073709551615",
                            "18446744073709551616",
                            "1e-400",
                            "\"\"",
                            "NaN",
                        ],
                    )
                    .to_owned(),
                    _ => time.to_string(),
                };
                set(claims, name, written.as_str());
                format!("{name} {offset} as {written}")
            }
            5 => {
                let name = pick(rng, &["iss", "sub", "aud", "iat", "exp", "nbf"]);
                claims.retain(|(known, _)| known != name);
                format!("{name} removed")
            }
            6 => {
                let value = pick(
                    rng,
                    &[
                        "\"https://idp.test/\"",
                        "\"https://IDP.test\"",
                        "[\"https://idp.test\"]",
                        "null",
                        "7",
                        "\"\"",
                        "\"https://other.test\"",
                        r#""https:\/\/idp.test""#,
                        "\"https://idp.test\\u0000\"",
                    ],
                );
                set(claims, "iss", value);
                format!("iss {value}")
            }
            7 => {
                let value = pick(
                    rng,
                    &[
                        "\"other\"",
                        "[]",
                        "\"\"",
                        "null",
                        "7",
                        "[\"crewgate\",7]",
                        "{\"crewgate\":true}",
                        "\"Crewgate\"",
                        "[[\"crewgate\"]]",
                        "\"crewgate crewgate\"",
                        "[\"crewgate\",\"crewgate\"]",
                        "[null,\"crewgate\"]",
                    ],
                );
                set(claims, "aud", value);
                format!("aud {value}")
            }
            8 => {
                let long = format!("\"{}\"", "s".repeat(1025));
                let value = pick(
                    rng,
                    &[
                        "\"\"",
                        "null",
                        "7",
                        "[\"a\"]",
                        "{}",
                        r#""a\u0000b""#,
                        "\" \"",
                        "\"мария\"",
                        r#""\ud800""#,
                        long.as_str(),
                    ],
                );
                set(claims, "sub", value);
                format!("sub {}", value.chars().take(16).collect::<String>())
            }
            9 => {
                let (name, value) = *pick(
                    rng,
                    &[
                        &("jti", "7"),
                        &("jti", "null"),
                        &("nonce", "\"n\""),
                        &("at_hash", "\"x\""),
                        &("c_hash", "\"x\""),
                        &("cnf", r#"{"jkt":"x"}"#),
                        &("cnf", "null"),
                        &("client_id", "7"),
                        &("azp", "[]"),
                        &("groups", "7"),
                        &("groups", "{}"),
                        &("act", "{}"),
                        &("x", "[[[[[[[[1]]]]]]]]"),
                        &("x", "18446744073709551616"),
                        &("x", "1e400"),
                        &("__proto__", "{\"sub\":\"admin\"}"),
                        &("scope", "7"),
                        &("hasgroups", "true"),
                    ],
                );
                set(claims, name, value);
                format!("claim {name} {value}")
            }
            10 => {
                let (name, value) = claims[rng.random_range(0..claims.len())].clone();
                let other = pick(rng, &[value.as_str(), "\"x\"", "null"]).to_owned();
                let name = if rng.random_bool(0.3) { name.replacen('s', "\\u0073", 1) } else { name };
                claims.push((name.clone(), other));
                format!("claims twice {name}")
            }
            _ => {
                let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
                set(
                    claims,
                    "x",
                    pick(rng, &[deep.as_str(), "01", "+1", "'a'", "\"\t\"", "{,}", "1 2", "undefined"]),
                );
                "claim x of odd JSON".to_owned()
            }
        }
    }

    pub(crate) fn sign(&self, rng: &mut TestRng, key: &Key) -> String {
        let (header, claims) = (object(rng, &self.header), object(rng, &self.claims));
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = match &self.secret {
            Some(secret) => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
            }
            None if self.alg.eq_ignore_ascii_case("none") => Vec::new(),
            None => key.sign(&self.alg, message.as_bytes()),
        };
        format!("{message}.{}", b64(signature))
    }
}
