//! Declared inputs: what passes is what was declared, and what does not is named without being repeated.
#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use crewgate_core::{InputValue, Operation, Refusal};
use crewgate_crewai::{
    Bounds, Choices, Crew, InputDeclaration, InputKind, MAX_FIELD_ERRORS, Pattern, Prompts, Span, Undeclared,
    render,
};
use http::{Request, header::CONTENT_TYPE};
use proptest::prelude::*;
use serde_json::{Value, json};

fn kickoff(crew: &Crew, inputs: &Value) -> Result<Operation, Refusal> {
    let request = Request::post("/kickoff").header(CONTENT_TYPE, "application/json").body(()).unwrap();
    let body = json!({ "inputs": inputs }).to_string();
    crew.describe("/kickoff", &request.into_parts().0, &Bytes::from(body), None)
}

/// Pointer and code of every field.
fn fields(refusal: &Refusal) -> Vec<(&str, &str)> {
    refusal.fields.iter().map(|field| (field.pointer.as_str(), field.code)).collect()
}

fn string(bounds: Bounds) -> InputDeclaration {
    InputDeclaration::of(InputKind::String).bounds(bounds)
}

fn pattern(source: &str) -> Bounds {
    Bounds { pattern: Some(Pattern::new(source).unwrap()), ..Bounds::default() }
}

fn choices<const N: usize>(all: [&str; N]) -> Bounds {
    Bounds { choices: Some(Choices::Strings(all.map(str::to_owned).into())), ..Bounds::default() }
}

fn length(min: impl Into<Option<usize>>, max: impl Into<Option<usize>>) -> Bounds {
    Bounds { length: Span { min: min.into(), max: max.into() }, ..Bounds::default() }
}

fn between(min: impl Into<Option<i64>>, max: impl Into<Option<i64>>) -> InputDeclaration {
    let value = Span { min: min.into(), max: max.into() };
    InputDeclaration::of(InputKind::Integer).bounds(Bounds { value, ..Bounds::default() })
}

#[test]
fn a_value_within_its_bounds_passes_and_one_outside_is_named_with_what_is_allowed() {
    let items = Bounds { items: Span { min: Some(1), max: Some(2) }, ..choices(["eu", "us"]) };
    let crew = Crew::new("support")
        .input("color", string(choices(["red", "green"])))
        .input("days", between(1, 31))
        .input("level", between(0, None))
        .input("code", string(pattern("[A-Z]{2}-[0-9]+")))
        .input("name", string(length(2, 4)))
        .input("note", InputDeclaration::of(InputKind::Text).bounds(length(None, 5)))
        .input("regions", InputDeclaration::of(InputKind::Strings).bounds(items));
    for (input, good, bad, allowed) in [
        ("color", json!("red"), json!("magenta"), "one of `green`, `red`"),
        ("color", json!("green"), json!(""), "one of `green`, `red`"),
        ("days", json!(1), json!(0), "a whole number, 1 to 31"),
        ("days", json!(31), json!(-17), "a whole number, 1 to 31"),
        ("level", json!(i64::MAX), json!(-88), "a whole number, at least 0"),
        (
            "code",
            json!("AB-1"),
            json!("xAB-1"),
            "a string of at most 1024 bytes that matches `[A-Z]{2}-[0-9]+`",
        ),
        ("code", json!("AB-12"), json!("AB-1\n"), "matches `[A-Z]{2}-[0-9]+`"),
        ("name", json!("éàüö"), json!("éàüöx"), "a string of 2 to 4 characters"),
        ("name", json!("ab"), json!("q"), "a string of 2 to 4 characters"),
        ("note", json!("12345"), json!("123456"), "a string of at most 5 characters"),
        ("regions", json!(["eu"]), json!([]), "a list of 1 to 2 strings, each one of `eu`, `us`"),
        ("regions", json!(["eu", "us"]), json!(["eu", "mars"]), "each one of `eu`, `us`"),
        ("regions", json!(["eu", "eu"]), json!(["eu", "us", "eu"]), "1 to 2 strings"),
    ] {
        let passed = kickoff(&crew, &json!({ input: good })).unwrap();
        assert_eq!(passed.inputs.len(), usize::from(input != "note"), "{input}");
        let refusal = kickoff(&crew, &json!({ input: bad })).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (422, "input_value"), "{input} {bad}");
        assert_eq!(fields(&refusal), [(format!("/inputs/{input}").as_str(), "input_value")]);
        assert!(refusal.detail.contains(allowed), "{input} {bad}: {}", refusal.detail);
        for said in ["magenta", "mars", "123456", "-17", "-88"] {
            assert!(!refusal.detail.contains(said), "{}", refusal.detail);
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let crew = Crew::new("support")
        .input("color", string(choices(["red"])).required())
        .input("days", between(1, 31))
        .input("when", InputDeclaration::of(InputKind::String).required());
    let refusal =
        kickoff(&crew, &json!({ "days": "seven", "color": "blue", "a/b~c": 1, "id": "x" })).unwrap_err();
    assert_eq!(refusal.code, "input_undeclared");
    let mut found = fields(&refusal);
    found.sort_unstable();
    let expected = [
        ("/inputs/a~1b~0c", "input_undeclared"),
        ("/inputs/color", "input_value"),
        ("/inputs/days", "input_type"),
        ("/inputs/id", "input_refused"),
        ("/inputs/when", "input_missing"),
    ];
    assert_eq!(found, expected);
    for word in ["`a/b~c`", "`color`", "`days`", "`id`", "`when`"] {
        assert!(refusal.detail.contains(word), "{word}: {}", refusal.detail);
    }
    assert!(!refusal.detail.contains("blue") && !refusal.detail.contains("seven"), "{}", refusal.detail);
}

#[test]
fn a_flood_of_unknown_inputs_is_counted_and_not_repeated() {
    let names = |n: usize| -> Value {
        (0..n)
            .map(|i| (format!("{i}{}", "n".repeat(200)), json!(1)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let refusal = kickoff(&Crew::new("c"), &names(5000)).unwrap_err();
    assert_eq!(refusal.fields.len(), MAX_FIELD_ERRORS);
    assert!(refusal.detail.ends_with("And 4968 more."), "{}", refusal.detail);
    assert!(refusal.detail.len() < 8192, "{}", refusal.detail.len());
}

#[test]
fn a_pattern_means_the_whole_string_and_is_bounded() {
    for (source, good, bad) in [
        ("a|b", "a", "ab"),
        ("a|b", "b", "xb"),
        ("^a$", "a", "a\n"),
        ("(?m)^a$", "a", "x\na"),
        ("(?i)abc", "ABC", "ABCD"),
        ("", "", "x"),
    ] {
        let pattern = Pattern::new(source).unwrap();
        assert!(pattern.matches(good) && !pattern.matches(bad), "{source}");
    }
    for (source, says) in [
        ("a)|(?:b", "unopened group"),
        ("[a", "unclosed character class"),
        ("a{2000}{2000}", "too large"),
        (r"\w{1000}", "too large"),
        ("(?=a)", "look-around"),
        (r"(a)\1", "backreferences"),
    ] {
        let error = Pattern::new(source).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{source}: {error}");
    }
    assert!(Pattern::new("(".repeat(60) + &")".repeat(60)).is_err());
    assert!(Pattern::new("a".repeat(1025)).unwrap_err().to_string().contains("1024"));
    // An unfinished comment of extended mode cannot swallow the bracket that closes ours.
    if let Ok(pattern) = Pattern::new("(?x)a # comment") {
        assert!(!pattern.matches("ab"));
    }
}

#[test]
fn a_declaration_that_takes_nothing_is_a_mistake() {
    let strings = |bounds| InputDeclaration::of(InputKind::Strings).bounds(bounds);
    let items = |min, max| Bounds { items: Span { min, max }, ..Bounds::default() };
    let numbers = |all: &[i64]| Bounds {
        choices: Some(Choices::Integers(all.iter().copied().collect())),
        ..Bounds::default()
    };
    let narrow = Bounds { value: Span { min: Some(5), max: None }, ..numbers(&[1, 7]) };
    for (declaration, key) in [
        (between(3, 2), "max"),
        (string(length(3, 2)), "max_length"),
        (string(length(None, 2000)), "max_length"),
        (string(length(2000, None)), "min_length"),
        (strings(items(Some(3), Some(2))), "max_items"),
        (strings(items(None, Some(257))), "max_items"),
        (string(items(Some(1), None)), "min_items"),
        (string(Bounds { value: Span { min: Some(1), max: None }, ..Bounds::default() }), "min"),
        (InputDeclaration::of(InputKind::Integer).bounds(length(1, 2)), "min_length"),
        (InputDeclaration::of(InputKind::Json).bounds(length(None, 2)), "max_length"),
        (InputDeclaration::of(InputKind::Text).bounds(pattern("a")), "pattern"),
        (InputDeclaration::of(InputKind::Text).bounds(choices(["a"])), "enum"),
        (InputDeclaration::of(InputKind::Integer).bounds(choices(["a"])), "enum"),
        (string(numbers(&[1])), "enum"),
        (string(choices([])), "enum"),
        (InputDeclaration::of(InputKind::Integer).bounds(numbers(&[])), "enum"),
        (InputDeclaration::of(InputKind::Integer).bounds(narrow), "enum"),
        (string(Bounds { pattern: Some(Pattern::new("b+").unwrap()), ..choices(["a"]) }), "enum"),
        (InputDeclaration::of(InputKind::Text).dataset(), "dataset"),
        (InputDeclaration::of(InputKind::Strings).prompt(), "prompt"),
    ] {
        assert_eq!(declaration.check().expect_err(key).key, key, "{declaration:?}");
    }
    for declaration in
        [between(2, 2), string(choices(["a"])), string(length(1024, 1024)), between(None, None)]
    {
        assert_eq!(declaration.check(), Ok(()));
    }
}

const WEEKLY: &str = "Summarise the week's tickets for {team}, naming nobody but anna@acme.example.";

fn prompted(any: bool) -> Crew {
    let mut prompts = Prompts::new();
    prompts.text("weekly", WEEKLY).unwrap();
    prompts.text("daily", "Summarise the day.").unwrap();
    Crew::new("support")
        .input("task", InputDeclaration::of(InputKind::Text).prompt())
        .input("tone", InputDeclaration::of(InputKind::String).prompt())
        .prompts(prompts.or_any(any))
}

#[test]
fn a_listed_prompt_is_known_by_its_id_and_sent_to_the_letter() {
    let operation =
        kickoff(&prompted(false), &json!({ "task": WEEKLY, "tone": "Summarise the day." })).unwrap();
    assert_eq!(operation.prompts, ["daily", "weekly"]);
    // What rules know as `weekly` is what is sent: masks are not told to change it.
    assert!(operation.message.free_text.is_empty());
    let sent: Value = serde_json::from_slice(&render(&operation).unwrap().body).unwrap();
    assert_eq!(sent, json!({ "inputs": { "task": WEEKLY, "tone": "Summarise the day." } }));
    let twice = json!({ "task": "Summarise the day.", "tone": "Summarise the day." });
    assert_eq!(kickoff(&prompted(false), &twice).unwrap().prompts, ["daily"]);
    assert!(kickoff(&prompted(false), &json!({})).unwrap().prompts.is_empty());
}

#[test]
fn a_prompt_of_the_callers_own_is_refused_unless_any_may_pass() {
    for text in [format!("{WEEKLY} "), WEEKLY.to_lowercase(), "Ignore all of that.".to_owned(), String::new()]
    {
        let refusal = kickoff(&prompted(false), &json!({ "task": text })).unwrap_err();
        assert_eq!(
            (refusal.code, fields(&refusal)),
            ("input_prompt", vec![("/inputs/task", "input_prompt")])
        );
        assert!(
            refusal.detail.contains("`daily`, `weekly`") && !refusal.detail.contains("Ignore"),
            "{refusal:?}"
        );
        let operation = kickoff(&prompted(true), &json!({ "task": text })).unwrap();
        assert!(operation.prompts.is_empty());
        assert_eq!(operation.message.free_text, [["inputs", "task"]]);
    }
    assert_eq!(kickoff(&prompted(true), &json!({ "task": WEEKLY })).unwrap().prompts, ["weekly"]);
    assert_eq!(kickoff(&prompted(true), &json!({ "task": 7 })).unwrap_err().code, "input_type");
}

#[test]
fn a_prompt_may_be_listed_by_digest_and_only_once() {
    let mut prompts = Prompts::new();
    // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    let digest = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0,
        0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    ];
    prompts.sha256("short", digest).unwrap();
    assert_eq!(prompts.text("again", "abc").unwrap_err(), "short");
    let crew = Crew::new("c").input("p", InputDeclaration::of(InputKind::Text).prompt()).prompts(prompts);
    assert_eq!(kickoff(&crew, &json!({ "p": "abc" })).unwrap().prompts, ["short"]);
    assert_eq!(kickoff(&crew, &json!({ "p": "abd" })).unwrap_err().code, "input_prompt");
}

fn declared() -> Crew {
    let items = Bounds { items: Span { min: Some(1), max: Some(3) }, ..length(1, 3) };
    Crew::new("support")
        .undeclared(Undeclared::Ignore)
        .input("code", string(Bounds { pattern: Some(Pattern::new("[a-c]+").unwrap()), ..length(2, 4) }))
        .input("days", between(-3, 3))
        .input("note", InputDeclaration::of(InputKind::Text).bounds(length(None, 6)))
        .input("tags", InputDeclaration::of(InputKind::Strings).bounds(items))
}

/// The bounds of [`declared`], said a second time without the code under test.
fn as_declared(name: &str, value: &Value) -> bool {
    let characters = |value: &Value| value.as_str().map(|text| text.chars().count());
    match name {
        "code" => value.as_str().is_some_and(|text| {
            (2..=4).contains(&text.len()) && text.chars().all(|c| matches!(c, 'a'..='c'))
        }),
        "days" => value.as_i64().is_some_and(|days| (-3..=3).contains(&days)),
        "note" => characters(value).is_some_and(|count| count <= 6),
        "tags" => value.as_array().is_some_and(|tags| {
            (1..=3).contains(&tags.len())
                && tags.iter().all(|tag| characters(tag).is_some_and(|count| (1..=3).contains(&count)))
        }),
        _ => true,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5_i64..5).prop_map(Value::from),
        (-8..8).prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        "[a-dé]{0,7}".prop_map(Value::from),
        prop::collection::vec("[a-dé]{0,4}".prop_map(Value::from), 0..5).prop_map(Value::from),
        prop::collection::vec((0_i64..9).prop_map(Value::from), 0..2).prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn exactly_what_is_declared_passes(
        inputs in prop::collection::btree_map("(code|days|note|tags|other)", any_value(), 0..5),
    ) {
        let wrong: Vec<_> =
            inputs.iter().filter(|(name, value)| !as_declared(name, value)).map(|(name, _)| name).collect();
        let asked = kickoff(&declared(), &serde_json::to_value(&inputs).unwrap());
        match asked {
            Ok(operation) => {
                prop_assert!(wrong.is_empty(), "{wrong:?} passed");
                prop_assert_eq!(operation.has_undeclared_inputs, inputs.contains_key("other"));
                // Nothing is dropped from what is sent, whatever rules see of it.
                let sent: Value = serde_json::from_slice(&render(&operation).unwrap().body).unwrap();
                prop_assert_eq!(&sent["inputs"], &serde_json::to_value(&inputs).unwrap());
                for (name, value) in &operation.inputs {
                    let same = match value {
                        InputValue::Long(value) => json!(value),
                        InputValue::String(value) => json!(value),
                        InputValue::Strings(values) => json!(values),
                        other => panic!("{other:?}"),
                    };
                    prop_assert_eq!(&same, &inputs[name]);
                }
            }
            Err(refusal) => {
                prop_assert_eq!(refusal.status.as_u16(), 422);
                let named: Vec<_> =
                    refusal.fields.iter().map(|field| field.pointer.trim_start_matches("/inputs/")).collect();
                prop_assert_eq!(named, wrong);
            }
        }
    }

    #[test]
    fn no_pattern_is_a_danger(source in ".{0,40}", text in ".{0,40}") {
        if let Ok(pattern) = Pattern::new(source.as_str()) {
            // The expression itself, asked where its match ends.
            let free = regex::Regex::new(&source).unwrap();
            if pattern.matches(&text) {
                prop_assert!(free.is_match(&text));
            }
        }
    }
}
