//! The JSON parser takes what RFC 8259 has, in one reading, and nothing else.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{env, fs, path::Path};

use crewgate_core::Value;
use crewgate_crewai::json::{JsonErrorKind as Kind, MAX_DEPTH, parse, to_bytes};
use proptest::prelude::*;

const DEPTH: usize = 64;

fn kind(text: impl AsRef<[u8]>) -> Kind {
    parse(text.as_ref(), DEPTH).unwrap_err().kind
}

fn string(text: &str) -> Value {
    parse(text.as_bytes(), DEPTH).unwrap()
}

#[test]
fn the_public_test_suite_agrees() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/json");
    let Ok(files) = fs::read_dir(&suite) else {
        assert!(env::var("CREWGATE_REQUIRE_ALL").is_err(), "JSONTestSuite is not at {}", suite.display());
        eprintln!("SKIPPED: JSONTestSuite is not at {}; the parser was not held against it", suite.display());
        return;
    };
    let mut seen = [0, 0, 0];
    for file in files {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let text = fs::read(file.path()).unwrap();
        let read = parse(&text, MAX_DEPTH);
        match name.get(..2) {
            Some("y_") if name.starts_with("y_object_duplicated_key") => {
                assert!(matches!(read.unwrap_err().kind, Kind::DuplicateName(_)), "{name}");
                seen[0] += 1;
            }
            Some("y_") => {
                let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(parse(&to_bytes(&read).unwrap(), MAX_DEPTH).unwrap(), read, "{name}");
                seen[0] += 1;
            }
            Some("n_") => {
                assert!(read.is_err(), "{name} was taken");
                seen[1] += 1;
            }
            Some("i_") => seen[2] += 1,
            _ => {}
        }
    }
    assert!(seen[0] > 90 && seen[1] > 180 && seen[2] > 30, "the suite is not whole: {seen:?}");
}

#[test]
fn a_member_name_that_occurs_twice_is_refused_however_it_is_spelt() {
    assert_eq!(kind(r#"{"a":1,"a":1}"#), Kind::DuplicateName("a".into()));
    assert_eq!(kind(r#"{"a":1,"b":2,"\u0061":3}"#), Kind::DuplicateName("a".into()));
    assert_eq!(kind(r#"{"x":{"é":1,"\u00e9":2}}"#), Kind::DuplicateName("é".into()));
    assert_eq!(kind(r#"{"":1,"":2}"#), Kind::DuplicateName(String::new()));
    assert!(parse(br#"{"a":{"a":1},"A":2}"#, DEPTH).is_ok());
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for lone in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800x""#,
        r#""\ud800\n""#,
        r#""\ud800\ud800""#,
        r#""\udc00\ud800""#,
    ] {
        assert_eq!(kind(lone), Kind::LoneSurrogate, "{lone}");
    }
    assert_eq!(kind(r#""\ud800\u12""#), Kind::Syntax);
    assert_eq!(string(r#""\ud83d\ude00\u00e9""#), Value::String("😀é".into()));
    assert_eq!(string(r#""\udbff\udfff\ud800\udc00""#), Value::String("\u{10FFFF}\u{10000}".into()));
}

#[test]
fn what_is_not_utf_8_or_starts_with_a_mark_is_refused() {
    assert_eq!(kind(b"\"\xff\""), Kind::Utf8);
    assert_eq!(kind(b"\"\xed\xa0\x80\""), Kind::Utf8);
    assert_eq!(kind(b"\"\xc0\xaf\""), Kind::Utf8);
    assert_eq!(kind(b"\xef\xbb\xbf{}"), Kind::ByteOrderMark);
    assert_eq!(kind(b"\xff\xfe{\0}\0"), Kind::Utf8);
}

#[test]
fn nothing_may_follow_the_value() {
    for text in ["{}{}", "1 2", "null,", "[]\0", "\"a\"b", "{}\u{a0}"] {
        assert_eq!(kind(text), Kind::Trailing, "{text:?}");
    }
    assert!(parse(b" \t\r\n{} \t\r\n", DEPTH).is_ok());
}

#[test]
fn nesting_is_bounded_and_a_hundred_thousand_brackets_are_no_danger() {
    let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(parse(nest(DEPTH).as_bytes(), DEPTH).is_ok());
    assert_eq!(kind(nest(DEPTH + 1)), Kind::TooDeep);
    assert_eq!(kind("[".repeat(100_000)), Kind::TooDeep);
    assert_eq!(kind(r#"{"a":"#.repeat(100_000)), Kind::TooDeep);
    assert_eq!(parse(b"[]", 0).unwrap_err().kind, Kind::TooDeep);
    // Whatever a caller asks for; on the stack of a runtime's thread, without optimisation.
    let deepest = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(move || {
        assert_eq!(parse(nest(100_000).as_bytes(), usize::MAX).unwrap_err().kind, Kind::TooDeep);
        let text = r#"{"a":"#.repeat(MAX_DEPTH) + "0" + &"}".repeat(MAX_DEPTH);
        let value = parse(text.as_bytes(), usize::MAX).unwrap();
        assert_eq!(to_bytes(&value.clone()).unwrap(), text.as_bytes());
    });
    deepest.unwrap().join().unwrap();
}

#[test]
fn numbers_keep_their_source_text() {
    let text = br#"[1.10,-0,1E400,123456789012345678901234567890,0.1e-9]"#;
    assert_eq!(to_bytes(&parse(text, DEPTH).unwrap()).unwrap(), text);
    for bad in
        ["01", "+1", ".5", "1.", "1e", "0x1", "-", "1-2", "--1", "1.2.3", "NaN", "Infinity", "-Infinity"]
    {
        assert!(matches!(kind(bad), Kind::Syntax | Kind::Trailing), "{bad}");
    }
}

#[test]
fn control_characters_are_escaped_on_the_way_out_and_refused_on_the_way_in() {
    let all: String = (0u8..0x20).map(char::from).chain("\"\\/\u{7f}\u{2028}é😀".chars()).collect();
    let text = to_bytes(&Value::String(all.clone())).unwrap();
    let expected = concat!(
        r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
        r#"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"#,
        "\\\"\\\\/\u{7f}\u{2028}é😀\""
    );
    assert_eq!(String::from_utf8(text.clone()).unwrap(), expected);
    assert_eq!(parse(&text, DEPTH).unwrap(), Value::String(all));
    for byte in 0u8..0x20 {
        assert_eq!(kind([b'"', byte, b'"']), Kind::Syntax);
    }
}

#[test]
fn a_reference_to_an_id_is_not_written_without_its_spelling() {
    assert!(to_bytes(&Value::Array(vec![Value::Null, Value::Id(3)])).is_err());
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_another_writer_writes_is_read_and_written_the_same(tree in tree()) {
        for text in [serde_json::to_vec(&tree).unwrap(), serde_json::to_vec_pretty(&tree).unwrap()] {
            let ours = parse(&text, DEPTH).unwrap();
            let written = to_bytes(&ours).unwrap();
            let theirs = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(theirs(&written), theirs(&text));
            prop_assert_eq!(parse(&written, DEPTH).unwrap(), ours);
        }
    }

    #[test]
    fn nothing_is_read_that_another_reader_refuses(text in "[\\[\\]{}:,\"\\\\u0-9eE+.\\- truefalsn\u{0}-\u{20}é]{0,24}") {
        if let Ok(value) = parse(text.as_bytes(), DEPTH) {
            // Only numbers beyond the range of a float are ours alone.
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let huge = theirs.as_ref().is_err_and(|e| e.to_string().contains("number out of range"));
            prop_assert!(theirs.is_ok() || huge, "{:?}", theirs);
            prop_assert_eq!(parse(&to_bytes(&value).unwrap(), DEPTH).unwrap(), value);
        }
    }

    #[test]
    fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(error) = parse(&bytes, DEPTH) {
            prop_assert!(error.offset <= bytes.len());
        }
    }
}
