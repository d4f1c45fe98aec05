//! One reading of JSON: header, claims and key set are held against JSONTestSuite, each where a token has it.

use std::{collections::BTreeSet, env, fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_oidc::{Jws, KeySet, Reason};

/// Where the standard leaves the reading open and we still take the text: numbers that a double cannot tell from zero
/// or can only round. No claim is read from them ([`Reason::Claims`] refuses each where a time is wanted).
const TAKEN: [&str; 5] = [
    "i_number_double_huge_neg_exp.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
];

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Reads = fn(&[u8]) -> bool;

/// Where a stranger's JSON comes in: each says whether it was read.
const PLACES: [(&str, Reads); 3] = [
    ("header", |text| {
        // Read, and without `alg` then refused for that.
        Jws::parse(&format!("{}.{}.AA", b64(text), b64(b"{}")))
            .map_or_else(|rejection| rejection.reason() == Reason::HeaderRefused, |_| true)
    }),
    ("claims", |text| {
        let token = format!("{}.{}.AA", b64(br#"{"alg":"ES256"}"#), b64(text));
        // What does not fit into a token is not asked.
        let claims = Jws::parse(&token).and_then(|jws| jws.claims().map(drop));
        claims.map_or_else(|rejection| rejection.reason() == Reason::Claims, |_| true)
    }),
    ("key set", |text| match KeySet::parse(text) {
        Ok(_) => true,
        // Read, and without keys then refused for that.
        Err(why) => why == "no list named keys",
    }),
];

#[test]
fn header_claims_and_key_set_agree_with_json_test_suite() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/json");
    let Ok(files) = fs::read_dir(&suite) else {
        assert!(env::var("CREWGATE_REQUIRE_ALL").is_err(), "JSONTestSuite is not at {}", suite.display());
        eprintln!("NOT TESTED: JSONTestSuite is not at {}", suite.display());
        return;
    };
    let (mut seen, mut taken) = ([0, 0, 0], BTreeSet::new());
    for file in files {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let text = fs::read(file.path()).unwrap();
        let within = [br#"{"x":"#.as_slice(), &text, b"}"].concat();
        let object = text.trim_ascii_start().starts_with(b"{");
        for (place, reads) in PLACES {
            let read = reads(&within);
            assert!(!object || reads(&text) == read, "{name} as the whole {place} is read otherwise");
            match name.get(..2) {
                Some("y_") => {
                    // RFC 7519 section 4 and RFC 8725 section 2.4: one name, one value.
                    let valid = !name.starts_with("y_object_duplicated_key");
                    assert_eq!(read, valid, "{name} in the {place}");
                    seen[0] += 1;
                }
                Some("n_") => {
                    assert!(!read, "{name} was read in the {place}");
                    seen[1] += 1;
                }
                Some("i_") => {
                    if read {
                        taken.insert(name.clone());
                    }
                    seen[2] += 1;
                }
                _ => panic!("{name} is of no kind"),
            }
        }
    }
    assert_eq!(seen.iter().sum::<i32>(), 3 * 318, "{seen:?}");
    assert_eq!(taken, TAKEN.map(str::to_owned).into());
}

#[test]
fn numbers_that_are_rounded_are_no_times() {
    for number in ["1e-400", "123e-10000000", "-1e30", "100000000000000000000", "9007199254740993", "-0.5"] {
        let claims = format!(r#"{{"iss":"i","sub":"s","aud":"a","iat":1,"exp":{number}}}"#);
        let token = format!("{}.{}.AA", b64(br#"{"alg":"ES256"}"#), b64(claims.as_bytes()));
        let jws = Jws::parse(&token).unwrap();
        let claims = jws.claims();
        // What is read as zero is a time, in 1970.
        assert!(number.contains("e-") || claims.is_err(), "{number}");
    }
}
