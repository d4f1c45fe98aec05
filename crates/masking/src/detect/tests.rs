use std::collections::BTreeSet;

use super::{oracle::Oracle, *};

/// The text without its marks, and what stands between them; without marks all of it.
fn marked(example: &str) -> (String, &str) {
    match example.split_once('⟦').and_then(|(_, rest)| rest.split_once('⟧')) {
        Some((value, _)) => (example.replace(['⟦', '⟧'], ""), value),
        None => (example.to_owned(), example),
    }
}

#[test]
fn every_detector_finds_its_examples_whole_and_leaves_its_counter_examples() {
    let mut wrong = Vec::new();
    for detector in detectors() {
        let oracle = Oracle::new([Rule::Table(detector)]);
        let name = detector.name;
        assert!(!detector.examples.is_empty() && !detector.counter_examples.is_empty(), "{name}");
        let mut look = |text: &str, expected: &[&str]| {
            let hits = oracle.hits(text);
            let found: Vec<_> = hits.iter().filter_map(|hit| text.get(hit.start..hit.end)).collect();
            if found != expected {
                wrong.push(format!("{name}: {text:?} holds {found:?}, not {expected:?}"));
            }
        };
        for example in detector.examples {
            let (text, value) = marked(example);
            look(&text, &[value]);
        }
        for text in detector.counter_examples {
            look(text, &[]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = detectors().map(|detector| detector.name).collect();
    assert_eq!(names.len(), detectors().count());
    let entities: BTreeSet<_> = Entity::ALL.iter().map(Entity::name).collect();
    assert_eq!(entities.len(), Entity::ALL.len());
}

#[test]
fn every_example_meets_its_anchor() {
    for detector in detectors() {
        for example in detector.examples {
            let (text, value) = marked(example);
            let before = text.split(value).next().unwrap();
            assert!(meets(detector.anchor, before, value), "{}: {example}", detector.name);
        }
    }
}

fn meets(anchor: Anchor, before: &str, text: &str) -> bool {
    let digits = |least: u8| text.bytes().filter(u8::is_ascii_digit).count() >= usize::from(least);
    let first = text.chars().next().unwrap();
    let token = |c: char| c.is_ascii_alphanumeric() || "_-+/=.~".contains(c);
    match anchor {
        Anchor::Any => true,
        Anchor::At(reach) => text.chars().position(|c| c == '@').is_some_and(|at| at <= reach),
        Anchor::Alnum(least) => first.is_ascii_alphanumeric() && digits(least),
        Anchor::Digits(least) => (first.is_ascii_digit() || "+(".contains(first)) && digits(least),
        Anchor::Hex => {
            (first.is_ascii_hexdigit() || first == ':') && text.chars().take(5).any(|c| ":-. ".contains(c))
        }
        Anchor::Prefix(texts) => texts.iter().any(|prefix| text.starts_with(prefix)),
        Anchor::PrefixNoCase(texts) => {
            let text = text.to_ascii_lowercase();
            texts.iter().any(|prefix| text.starts_with(&prefix.to_ascii_lowercase()))
        }
        Anchor::Scheme => {
            first.is_ascii_alphabetic() && text.chars().take(24).collect::<String>().contains("://")
        }
        Anchor::Token(least) => text.chars().take_while(|c| token(*c)).count() >= usize::from(least),
        Anchor::Value => anchor.begins_behind(before),
    }
}

#[test]
fn the_page_names_every_entity() {
    let page = include_str!("../../../../docs/detectors.md");
    let missing: Vec<_> =
        Entity::ALL.iter().filter(|entity| !page.contains(&format!("| `{entity}` |"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
