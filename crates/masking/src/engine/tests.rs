//! The engine against the definition.
#![expect(clippy::string_slice, reason = "tests")]

use std::{fs, path::Path, sync::LazyLock};

use proptest::prelude::*;

use super::Engine;
use crate::{
    CustomDetector,
    detect::{Hit, Oracle, Piece, Rule, detectors, sets},
};

/// Everything there is, a custom detector and a known secret.
fn rules() -> Vec<Rule> {
    let custom = CustomDetector::regex("ORDER_ID", "ORD-[0-9]{3,8}|[a-c]{6}").unwrap();
    let more = [Rule::Custom(custom.into()), Rule::Known("s3cr3t".into()), Rule::Known("x".into())];
    detectors().map(Rule::Table).chain(more).collect()
}

static BOTH: LazyLock<(Engine, Oracle)> = LazyLock::new(|| (Engine::new(rules()), Oracle::new(rules())));

/// The hits of a text that comes in pieces, cut where `cut` says.
fn streamed(text: &str, mut cut: impl FnMut() -> usize) -> Vec<Hit> {
    let (mut hits, mut from, mut end, mut swallow) =
        (Vec::<Hit>::new(), 0, 0, None::<crate::detect::Swallow>);
    loop {
        end = text.ceil_char_boundary((end + cut()).min(text.len()));
        let ended = end == text.len();
        let come = &text[..end];
        loop {
            if let Some(tail) = &mut swallow {
                let taken = tail.take(&come[from..]);
                from += taken;
                hits.last_mut().unwrap().end += taken;
                if from == come.len() && !ended {
                    break;
                }
                swallow = None;
            }
            let piece = Piece { text: come, from, at_start: from == 0, ended };
            let (some, certain) = BOTH.0.scan(piece);
            assert!(some.iter().all(|hit| from <= hit.start && hit.start < certain));
            for mut hit in some {
                from = hit.end;
                swallow = hit.tail.swallow();
                hit.tail = crate::detect::Tail::None;
                hits.push(hit);
            }
            if swallow.is_none() {
                from = from.max(certain);
                break;
            }
        }
        if ended {
            return hits;
        }
    }
}

fn agree(text: &str) {
    let expected = BOTH.1.hits(text);
    assert_eq!(BOTH.0.hits(text), expected, "{text:?}");
    assert_eq!(streamed(text, || 1), expected, "byte by byte: {text:?}");
}

/// Texts with much in them: pieces of examples, counter-examples, anchors and noise.
fn dense() -> impl Strategy<Value = String> {
    let marks = |text: &str| text.replace(['⟦', '⟧'], "");
    let examples: Vec<String> = detectors()
        .flat_map(|d| d.examples.iter().chain(d.counter_examples))
        .map(|text| marks(text))
        .collect();
    let piece = prop_oneof![
        4 => proptest::sample::select(examples.clone()),
        2 => (proptest::sample::select(examples), any::<proptest::sample::Index>())
            .prop_map(|(text, at)| text[..text.floor_char_boundary(at.index(text.len() + 1))].to_owned()),
        2 => proptest::sample::select(vec![
            " ", "\\n", "%0A", "\\u0040", ":", "=", "@", "://", "-", ".", "\"", "'", "é", "日", "\n", "x", "s3cr3t",
            "password=", "token: ", "-----", "1", "2024", "0000", "ORD-123", "abcabc", "_", "+", "(",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
        1 => "[0-9 .-]{0,24}",
        1 => "\\PC{0,4}",
        1 => ("[a-zA-Z0-9@.:/=-]", 1_usize..450).prop_map(|(c, n)| c.repeat(n)),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_engine_finds_what_the_definition_says_whole_and_in_pieces(text in dense(), cuts in proptest::collection::vec(1_usize..40, 1..20)) {
        agree(&text);
        let mut cuts = cuts.into_iter().cycle();
        prop_assert_eq!(streamed(&text, || cuts.next().unwrap_or(1)), BOTH.1.hits(&text), "{:?}", text);
    }
}

/// What `pii-basic` looks for.
static BASIC: LazyLock<(Engine, Oracle)> = LazyLock::new(|| {
    let (_, sets) = sets::BUILT_IN.iter().find(|(name, _)| *name == "pii-basic").unwrap();
    let rules = || detectors().filter(|d| sets.concat().contains(&d.entity)).map(Rule::Table);
    (Engine::new(rules()), Oracle::new(rules()))
});

proptest! {
    #[test]
    fn nothing_is_in_what_is_told_to_be_quiet_at_a_glance(
        text in "[a-zA-Z0-9 ._-]{0,16}|[0-9 .-]{0,16}|[a-z]{0,15}",
        before in proptest::sample::select(vec!["", "password: ", "api_key: ", "phone: ", "type: "]),
    ) {
        let all = format!("{before}{text}");
        let piece = Piece { text: &all, from: before.len(), at_start: true, ended: true };
        prop_assert!(!BASIC.0.is_quiet(&text, before) || BASIC.1.scan(piece).0.is_empty(), "{}", all);
    }
}

#[test]
fn words_and_small_numbers_are_quiet_and_others_are_not() {
    for (text, before) in [("assistant", ""), ("assistant", "role: "), ("131", "input_tokens: "), ("", "")] {
        assert!(BASIC.0.is_quiet(text, before), "{before}{text}");
    }
    for (text, before) in
        [("hunter", "password: "), ("4673395", ""), ("a@b.co", ""), ("1.2.3.4", ""), ("::1", "")]
    {
        assert!(!BASIC.0.is_quiet(text, before), "{before}{text}");
    }
}

#[test]
fn the_engine_finds_what_the_definition_says_in_every_example() {
    for detector in detectors() {
        for text in detector.examples.iter().chain(detector.counter_examples) {
            let text = text.replace(['⟦', '⟧'], "");
            agree(&text);
            agree(&format!("a: {text} b"));
        }
    }
}

/// Texts beside the project, cut into records of a few thousand bytes.
#[test]
fn the_engine_finds_what_the_definition_says_in_real_texts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pii");
    if !folder.exists() {
        assert!(std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(), "../shared/pii is absent");
        eprintln!("SKIPPED: ../shared/pii is absent");
        return;
    }
    for part in ["clean", "dev"] {
        for entry in fs::read_dir(folder.join(part)).unwrap() {
            let text = String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned();
            // A part of each, evenly spread: the definition is slow.
            for record in text.lines().step_by(text.len() / 40_000 + 1) {
                let record = &record[..record.floor_char_boundary(3000)];
                assert_eq!(BOTH.0.hits(record), BOTH.1.hits(record), "{record}");
            }
        }
    }
}
