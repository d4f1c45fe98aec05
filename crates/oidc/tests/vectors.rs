//! Signature and key set against the reference vectors of Wycheproof and the RFC 7520 cookbook.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use crewgate_oidc::{Algorithm, Jws, KeySet, Reason};
use serde_json::{Value, json};
use support::vectors;

const ALL: [Algorithm; 10] = [
    Algorithm::EdDsa,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
];

/// The key without its private part, as an issuer would publish it.
fn public(key: &Value) -> Value {
    let mut key = key.clone();
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        key.as_object_mut().unwrap().remove(name);
    }
    key
}

fn accepts(keys: &[Value], token: &str) -> bool {
    let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    Jws::parse(token).is_ok_and(|jws| set.verify(&jws, &ALL).is_ok())
}

/// Vectors that are "valid" and that we refuse, each for a reason.
fn refused_on_purpose(id: u64, token: &str, key: &Value) -> Option<&'static str> {
    // Issuers publish their keys: a published MAC key would be everybody's.
    if key["kty"] == "oct" {
        return Some("a symmetric key");
    }
    match id {
        // RFC 7520 figure 20 with a key that says PS256 and a token that says PS384: an `alg` on the key binds.
        346 | 350 if key["alg"] == "PS256" && token.starts_with("eyJhbGciOiJQUzM4NCI") => {
            Some("alg of the key")
        }
        _ if key["alg"] == "ES521" => Some("ES521 is a misspelling of ES512"),
        _ => None,
    }
}

#[test]
fn wycheproof_signatures_agree_but_for_named_exclusions() {
    let Some(file) = vectors("jose/json_web_signature_test.json") else { return };
    let (mut accepted, mut refused, mut excluded) = (0, 0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let key = public(group.get("public").or_else(|| group.get("private")).unwrap());
        for test in group["tests"].as_array().unwrap() {
            let (id, valid) = (test["tcId"].as_u64().unwrap(), test["result"] == "valid");
            // JSON serialisation is an object in the file; it is handed over as its text.
            let jws = &test["jws"];
            let token = jws.as_str().map_or_else(|| jws.to_string(), str::to_owned);
            let got = accepts(std::slice::from_ref(&key), &token);
            match refused_on_purpose(id, &token, &key) {
                Some(why) if valid => {
                    assert!(!got, "{id} is refused: {why}");
                    excluded.push(id);
                }
                _ => {
                    assert_eq!(got, valid, "{id} {}", test["comment"]);
                    if valid { accepted += 1 } else { refused += 1 }
                }
            }
        }
    }
    assert_eq!(accepted + refused + excluded.len(), 401);
    assert!(accepted >= 30, "{accepted} accepted, {refused} refused, excluded {excluded:?}");
    assert_eq!(excluded.len(), 14, "10 MACs, 2 misspelt, 2 with the key's alg against them: {excluded:?}");
}

/// Of the vectors with a MAC the shape is ours to judge, whatever the key: here they are, by number. Those whose fault is
/// the MAC itself are parsed, and refused for their algorithm with all others: a modified or missing part (2, 3, 5, 6, 8), no
/// algorithm (16), and two that the file calls invalid and that are byte for byte the valid 357 (367, 370).
#[test]
fn what_is_wrong_with_the_shape_of_a_mac_is_refused_before_any_key_is_looked_for() {
    const SHAPE: [u64; 22] =
        [4, 7, 9, 10, 11, 12, 13, 14, 15, 17, 360, 361, 362, 363, 364, 365, 366, 368, 369, 371, 374, 375];
    // `?` inside of base64url, which the file calls valid (RFC 7515 section 2 does not know it).
    const OURS: [u64; 2] = [372, 373];
    const MAC: [u64; 8] = [2, 3, 5, 6, 8, 16, 367, 370];
    let Some(file) = vectors("jose/json_web_signature_test.json") else { return };
    let (mut parsed, mut refused) = (Vec::new(), Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").or_else(|| group.get("private")).unwrap();
        for test in group["tests"].as_array().unwrap().iter().filter(|_| key["kty"] == "oct") {
            let jws = &test["jws"];
            let token = jws.as_str().map_or_else(|| jws.to_string(), str::to_owned);
            let id = test["tcId"].as_u64().unwrap();
            if Jws::parse(&token).is_err() {
                refused.push(id);
            } else if test["result"] != "valid" {
                parsed.push(id);
            }
        }
    }
    let mut shape = [SHAPE.as_slice(), &OURS].concat();
    shape.sort_unstable();
    assert_eq!((refused, parsed), (shape, MAC.to_vec()));
}

#[test]
fn wycheproof_key_sets_agree_but_for_symmetric_keys() {
    let Some(file) = vectors("jose/json_web_key_test.json") else { return };
    let mut seen = 0;
    for group in file["testGroups"].as_array().unwrap() {
        let set = group.get("public").or_else(|| group.get("private")).unwrap();
        let keys: Vec<_> = set["keys"].as_array().unwrap().iter().map(public).collect();
        let symmetric = keys.iter().any(|key| key["kty"] == "oct");
        for test in group["tests"].as_array().unwrap() {
            let valid = test["result"] == "valid" && !symmetric;
            assert_eq!(
                accepts(&keys, test["jws"].as_str().unwrap()),
                valid,
                "{} {}",
                test["tcId"],
                test["comment"]
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 26);
}

/// The signatures of the third file, which sorts by what an implementation must refuse. Its encryptions are not ours.
#[test]
fn wycheproof_crypto_agrees_but_for_symmetric_keys() {
    let Some(file) = vectors("jose/json_web_crypto_test.json") else { return };
    let (mut accepted, mut refused, mut symmetric) = (0, 0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let set = group.get("public").or_else(|| group.get("private")).unwrap();
        let keys: Vec<_> =
            set["keys"].as_array().cloned().unwrap_or_else(|| vec![set.clone()]).iter().map(public).collect();
        for test in group["tests"].as_array().unwrap() {
            let Some(token) = test["jws"].as_str() else { continue };
            let (got, valid) = (accepts(&keys, token), test["result"] == "valid");
            if valid && keys.iter().any(|key| key["kty"] == "oct") {
                assert!(!got, "{}: a symmetric key", test["tcId"]);
                symmetric += 1;
            } else {
                assert_eq!(got, valid, "{} {}", test["tcId"], test["comment"]);
                if valid { accepted += 1 } else { refused += 1 }
            }
        }
    }
    assert_eq!((accepted, refused, symmetric), (2, 44, 2));
}

#[test]
fn the_cookbook_is_verified_where_it_is_compact_and_asymmetric() {
    for (file, works) in [
        ("jws/4_1.rsa_v15_signature.json", true),
        ("jws/4_2.rsa-pss_signature.json", true),
        ("jws/4_3.ecdsa_signature.json", true),
        ("curve25519/jws.json", true),
        ("jws/4_4.hmac-sha2_integrity_protection.json", false),
    ] {
        let Some(example) = vectors(&format!("jose-cookbook/{file}")) else { return };
        let token = example["output"]["compact"].as_str().unwrap();
        let key = public(&example["input"]["key"]);
        assert_eq!(accepts(std::slice::from_ref(&key), token), works, "{file}");
        if works {
            let (message, signature) = token.rsplit_once('.').unwrap();
            let other = if signature.starts_with('A') { 'B' } else { 'A' };
            let bad = format!("{message}.{other}{}", signature.chars().skip(1).collect::<String>());
            assert!(!accepts(&[key], &bad), "{file} with a changed signature");
        }
    }
}

#[test]
fn the_cookbooks_other_serialisations_are_no_tokens() {
    let mut seen = 0;
    for file in [
        "4_1.rsa_v15_signature",
        "4_2.rsa-pss_signature",
        "4_3.ecdsa_signature",
        "4_4.hmac-sha2_integrity_protection",
        "4_5.signature_with_detached_content",
        "4_6.protecting_specific_header_fields",
        "4_7.protecting_content_only",
        "4_8.multiple_signatures",
    ] {
        let Some(example) = vectors(&format!("jose-cookbook/jws/{file}.json")) else { return };
        for (form, output) in example["output"].as_object().unwrap() {
            if form != "compact" {
                let rejection = Jws::parse(&output.to_string()).unwrap_err();
                assert_eq!(rejection.reason(), Reason::Malformed, "{file} {form}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 15);
}

#[test]
fn the_cookbooks_public_keys_are_read_and_its_others_are_not() {
    for (file, why) in [
        ("3_1.ec_public_key", None),
        ("3_2.ec_private_key", Some("the private part is published with it: anybody can sign")),
        ("3_3.rsa_public_key", None),
        ("3_4.rsa_private_key", Some("the private part is published with it: anybody can sign")),
        ("3_5.symmetric_key_mac_computation", Some("alg is not an accepted one")),
        ("3_6.symmetric_key_encryption", Some("use is not sig")),
    ] {
        let Some(key) = vectors(&format!("jose-cookbook/jwk/{file}.json")) else { return };
        let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        assert_eq!(set.refused().first().map(|refused| refused.why), why, "{file}");
        assert_eq!(set.len(), usize::from(why.is_none()), "{file}");
    }
}

#[test]
fn unencoded_payloads_are_refused_by_their_header() {
    for file in ["4.2.hmac-sha2_b64_false.json", "hmac-sha2_b64_false.json"] {
        let Some(example) = vectors(&format!("jose-cookbook/rfc7797/{file}")) else { return };
        // Out of the result: `signing.protected_b64u` of the second file is not even JSON.
        let flat = &example["output"]["json_flat"];
        let (header, signature) = (flat["protected"].as_str().unwrap(), flat["signature"].as_str().unwrap());
        let rejection = Jws::parse(&format!("{header}.JC4wMg.{signature}")).unwrap_err();
        assert_eq!(rejection.reason(), Reason::HeaderRefused, "{file}");
        // And as it stands there, with the payload in the clear.
        let payload = example["input"]["payload"].as_str().unwrap();
        assert!(Jws::parse(&format!("{header}.{payload}.{signature}")).is_err(), "{file}");
    }
}

#[test]
fn one_bad_key_does_not_spoil_the_set() {
    let Some(file) = vectors("jose/json_web_signature_test.json") else { return };
    let group =
        file["testGroups"].as_array().unwrap().iter().find(|group| group["comment"] == "es256").unwrap();
    let good = group["public"].clone();
    let token = group["tests"][0]["jws"].as_str().unwrap();
    let bad = [
        json!({ "kty": "oct", "k": "AAAA", "kid": "mac" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "short" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "coin" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny" }),
        json!({ "kid": 7 }),
        json!({}),
    ];
    let set = [bad.to_vec(), vec![good.clone()]].concat();
    assert!(accepts(&set, token));
    let parsed = KeySet::parse(json!({ "keys": set }).to_string().as_bytes()).unwrap();
    assert_eq!((parsed.len(), parsed.refused().len()), (1, bad.len()));
    // The private part makes everybody a signer.
    let mut leaked = good.clone();
    leaked["d"] = group["private"]["d"].clone();
    assert!(!accepts(&[leaked], token));
    // A name that is used twice is nobody's, even when the other key is of no use.
    let mut double = json!({ "kty": "oct", "k": "AAAA" });
    double["kid"] = good["kid"].clone();
    assert!(!accepts(&[good, double], token));
}

#[test]
fn a_key_set_has_bounds() {
    let of = |n: usize| json!({ "keys": vec![json!({ "kty": "oct" }); n] }).to_string();
    assert!(KeySet::parse(of(100).as_bytes()).is_ok_and(|set| set.is_empty()));
    assert!(KeySet::parse(of(101).as_bytes()).is_err());
    assert!(KeySet::parse(format!("{}{}", of(1), " ".repeat(1 << 20)).as_bytes()).is_err());
    for text in ["[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
}
