//! A masker by itself.

use crewgate_core::{Number, Value};

use crate::{Dialect, Entity, Findings, MaskStream, Masker, Span, profile::Profile};

fn all() -> Masker {
    Masker::of(Entity::ALL.iter().cloned())
}

#[test]
fn every_string_number_and_name_of_a_value_is_masked() {
    let mut value = Value::Object(vec![
        (
            "a@example.com".to_owned(),
            Value::Array(vec![Value::String("536-90-4399".to_owned()), Value::Null]),
        ),
        ("card".to_owned(), Value::Number(Number::parse("4111111111111111").unwrap())),
        ("n".to_owned(), Value::Number(Number::parse("1.10").unwrap())),
    ]);
    let mut findings = Findings::default();
    all().mask_value(&mut value, &mut findings).unwrap();
    let expected = Value::Object(vec![
        ("<EMAIL>".to_owned(), Value::Array(vec![Value::String("<US_SSN>".to_owned()), Value::Null])),
        ("card".to_owned(), Value::Number(Number::parse("1000000000000000").unwrap())),
        ("n".to_owned(), Value::Number(Number::parse("1.10").unwrap())),
    ]);
    assert_eq!(value, expected);
    assert_eq!(findings.total(), 3);
}

#[test]
fn a_member_of_a_value_is_known_by_its_name() {
    let secret = || Value::Array(vec![Value::String("hunter2-Tr0ub4dor".to_owned())]);
    let mut value = Value::Object(vec![("password".to_owned(), secret()), ("colour".to_owned(), secret())]);
    Masker::of([Entity::Password]).mask_value(&mut value, &mut Findings::default()).unwrap();
    let masked = Value::Array(vec![Value::String("<PASSWORD>".to_owned())]);
    assert_eq!(value, Value::Object(vec![("password".to_owned(), masked), ("colour".to_owned(), secret())]));
}

#[test]
fn a_known_secret_is_found_to_the_letter_however_the_text_is_cut() {
    let masker = all().also(["org-5b1c0d9e7f3a"]).unwrap();
    assert_eq!(masker.mask_text("my key is org-5b1c0d9e7f3a!").text, "my key is <KNOWN_SECRET>!");
    assert_eq!(masker.mask_text("xorg-5b1c0d9e7f3ax").text, "x<KNOWN_SECRET>x");
    let mut stream = MaskStream::new(masker, Dialect::Json);
    let pieces = br#"{"a":"see org-5b1c0d9e7f3a"}"#.chunks(1).map(|byte| stream.push(byte).unwrap().to_vec());
    let mut out: Vec<u8> = pieces.collect::<Vec<_>>().concat();
    out.extend_from_slice(&stream.finish().unwrap());
    assert_eq!(out, br#"{"a":"see <KNOWN_SECRET>"}"#);
    assert_eq!(all().also(["with space"]).err(), Some("with space"));
    assert!(all().also([""]).is_err() && all().also(["x".repeat(300).as_str()]).is_err());
}

#[test]
fn an_escape_in_json_inside_a_string_hides_nothing() {
    for (text, expected) in [
        (r#"{"k":"a\nsk-proj-abc123def456ghi789\n536-90-4399"}"#, r#"{"k":"a\n<API_KEY>\n<US_SSN>"}"#),
        (r"\teyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", r"\t<JWT>"),
        (r"\u003cAKIAIOSFODNN7EXAMPLE", r"\u003c<API_KEY>"),
        (r"%0A4111 1111 1111 1111", r"%0A<CREDIT_CARD>"),
    ] {
        assert_eq!(all().mask_text(text).text, expected);
    }
}

#[test]
fn the_allowed_beginning_of_a_longer_secret_is_not_allowed() {
    let head = "eyJhbGciOiJIUzI1NiJ9.";
    let profile = Profile::of([Entity::Jwt, Entity::Email]).allow(head);
    let masker = Masker::of_profile(profile);
    let token = format!("{head}eyJzdWIiOiJhIn0.c2lnbmF0dXJl");
    let masked = masker.mask_text(&format!("a@example.com {token} rest"));
    assert_eq!(masked.text, "<EMAIL> <JWT> rest");
    assert_eq!(masked.spans.iter().map(|span| span.len).collect::<Vec<_>>(), [13, token.len()]);
}

#[test]
fn spans_tell_where_and_how_long() {
    let masked = all().mask_text("id 7, maria.keller@example.com; +49 30 901820");
    assert_eq!(masked.text, "id 7, <EMAIL>; <PHONE>");
    assert_eq!(masked.spans[0], Span { entity: Entity::Email, at: 6, len: 24, shown: 7 });
    assert_eq!(masked.spans[1], Span { entity: Entity::Phone, at: 15, len: 13, shown: 7 });
}

#[test]
fn a_secret_longer_than_any_window_is_swallowed_whole() {
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}.sig", "a1".repeat(50_000));
    assert_eq!(all().mask_text(&format!("t={jwt} end")).text, "t=<JWT> end");
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}", "MIIE\n".repeat(10_000));
    assert_eq!(all().mask_text(&format!("k: {key}")).text, "k: <PRIVATE_KEY>");
}
