use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::Entity;

fn masker() -> Masker {
    static ALL: LazyLock<Masker> = LazyLock::new(|| Masker::of(Entity::ALL.iter().cloned()));
    ALL.clone()
}

/// Masks with the body cut into pieces of these sizes, over and over.
fn masked(dialect: Dialect, body: &[u8], cuts: &[usize]) -> Result<String, MaskError> {
    let mut stream = MaskStream::new(masker(), dialect);
    let (mut out, mut rest, mut sizes) = (Vec::new(), body, cuts.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        let (piece, tail) = rest.split_at(size);
        out.extend_from_slice(&stream.push(piece)?);
        rest = tail;
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(String::from_utf8(out).unwrap())
}

const SECRETS: &[&str] = &[
    "maria.keller@example.com",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "536-90-4399",
    "+49 30 901820",
    "203.0.113.7",
    "2001:db8::7",
    "Bearer abcdef012345",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "sk-proj-abc123def456ghi789",
    "(212) 555-0199",
    "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----",
];

/// Text that is rich in hits, near hits and characters that end them.
fn rich() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        3 => proptest::sample::select(SECRETS).prop_map(str::to_owned),
        2 => proptest::sample::select(&["Bearer", "basic", "GB82 WEST", "4111", "1111 1111", "@", "eyJ", "+49", "-----BEGIN ", "a.b@c", "x", "DE89"][..]).prop_map(str::to_owned),
        3 => "[a-zA-Z0-9é€😀 .,:;@+()/_'\n-]{0,12}",
    ];
    (proptest::collection::vec(
        (word, proptest::sample::select(&["", " ", "  ", ", ", "\n", "\"", "-", "."][..])),
        0..12,
    ))
    .prop_map(|words| words.into_iter().map(|(word, gap)| format!("{word}{gap}")).collect())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), proptest::collection::vec(1_usize..40, 1..8)]
}

/// A JSON string literal with some characters written as escapes.
fn literal(text: &str, every: usize) -> String {
    let mut out = String::from("\"");
    for (index, c) in text.chars().enumerate() {
        let mut units = [0; 2];
        if index % every.max(1) == 0 || c < ' ' || c == '"' || c == '\\' {
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")));
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn text_is_masked_alike_however_it_is_cut(text in rich(), cuts in cuts()) {
        let whole = masked(Dialect::Text, text.as_bytes(), &[usize::MAX]).unwrap();
        prop_assert_eq!(&masked(Dialect::Text, text.as_bytes(), &cuts).unwrap(), &whole);
        prop_assert_eq!(&masker().mask_text(&text).text, &whole);
    }

    #[test]
    fn json_is_masked_alike_however_it_is_cut_and_stays_json(
        texts in proptest::collection::vec(rich(), 1..4), every in 1_usize..9, cuts in cuts(),
    ) {
        let items: Vec<_> = texts.iter().map(|text| literal(text, every)).collect();
        // A name that is no context.
        let body = format!("{{\"content\": [{}], {}: 1.10, \"b\": null}}", items.join(", "), literal(&texts[0], every));
        let whole = masked(Dialect::Json, body.as_bytes(), &[usize::MAX]).unwrap();
        prop_assert_eq!(&masked(Dialect::Json, body.as_bytes(), &cuts).unwrap(), &whole);
        let value: serde_json::Value = serde_json::from_str(&whole).unwrap();
        for (text, item) in texts.iter().zip(value["content"].as_array().unwrap()) {
            // What is scanned is the decoded text: escapes hide nothing.
            prop_assert_eq!(&masker().mask_text(text).text, item.as_str().unwrap());
        }
    }

    #[test]
    fn events_are_masked_alike_however_they_are_cut(texts in proptest::collection::vec(rich(), 1..6), cuts in cuts()) {
        let mut body = String::from(": hello\r\n\r\n");
        for (index, text) in texts.iter().enumerate() {
            body.push_str(&format!("event: chunk\nid: {index}\ndata: {{\"content\": {}}}\n\n", literal(text, 7)));
        }
        body.push_str("event: result\ndata: {\"raw\": \"a@example.com\"}\n\ndata: [DONE]\n\n");
        let whole = masked(Dialect::Sse, body.as_bytes(), &[usize::MAX]).unwrap();
        prop_assert_eq!(&masked(Dialect::Sse, body.as_bytes(), &cuts).unwrap(), &whole);
        // Told in pieces, the text is masked as one.
        let mut told = String::new();
        for line in whole.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| *line != "[DONE]") {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            told.push_str(value["content"].as_str().unwrap_or_default());
        }
        prop_assert_eq!(told, masker().mask_text(&texts.concat()).text);
        prop_assert!(whole.ends_with("data: [DONE]\n\n") && whole.contains("\"raw\": \"<EMAIL>\""));
    }

    #[test]
    fn any_bytes_end_in_an_answer_or_an_error_never_in_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200), cuts in cuts()) {
        for dialect in [Dialect::Json, Dialect::Sse, Dialect::Text] {
            // Which of two mistakes is met first may differ; that it is refused may not.
            let whole = masked(dialect, &body, &[usize::MAX]).ok();
            prop_assert_eq!(masked(dialect, &body, &cuts).ok(), whole);
        }
    }
}

#[test]
fn hits_that_overlap_in_a_chain_wait_for_the_last_of_them() {
    let text = "a.b@c.DE89 3704 0044 0532 0130 00-maria.keller@example.com  ";
    assert_eq!(masked(Dialect::Text, text.as_bytes(), &[1]).unwrap(), "<EMAIL><IBAN><EMAIL>  ");
}

#[test]
fn a_model_stream_that_tells_an_address_piece_by_piece_is_masked_as_one_text() {
    let mut body = String::new();
    for piece in [
        " maria", ".", "kelle", "r", "@", "examp", "le", ".", "com", ",", " phone", ":", " ", "+", "49", " ",
        "30", " ", "901", "820",
    ] {
        body.push_str(&format!("event: chunk\ndata: {{\"content\": \"{piece}\", \"task_index\": 0}}\n\n"));
    }
    body.push_str("data: [DONE]\n\n");
    let out = masked(Dialect::Sse, body.as_bytes(), &[13]).unwrap();
    let told: String = out
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(&format!("{{{line}")).unwrap()["content"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(told, " <EMAIL>, phone: <PHONE>");
    assert!(out.ends_with("data: [DONE]\n\n"), "{out}");
}

#[test]
fn nothing_is_held_once_it_cannot_become_a_hit() {
    let mut stream = MaskStream::new(masker(), Dialect::Text);
    assert_eq!(stream.push(b"Hello wor").unwrap(), "Hello ");
    assert_eq!(stream.push(b"ld, and ").unwrap(), "world, and ");
    assert_eq!(stream.push(b"x").unwrap(), "");
}

#[test]
fn what_is_no_json_is_not_passed() {
    for body in
        ["<html>a@example.com</html>", "{a@example.com}", "[1,}", "\"a", "[tru]", "{\"a\":1", "nul", "[01]"]
    {
        assert_eq!(masked(Dialect::Json, body.as_bytes(), &[3]), Err(MaskError::NotJson), "{body}");
    }
    assert_eq!(masked(Dialect::Json, "[".repeat(1000).as_bytes(), &[7]), Err(MaskError::TooDeep));
    assert_eq!(masked(Dialect::Text, &[0xff, 0xfe], &[1]), Err(MaskError::NotUtf8));
    assert_eq!(masked(Dialect::Text, "é".as_bytes().get(..1).unwrap(), &[1]), Err(MaskError::NotUtf8));
}

#[test]
fn an_unterminated_event_is_masked_like_any_other() {
    let out = masked(Dialect::Sse, b"data: {\"x\":\"a@example.com\"}", &[4]).unwrap();
    assert_eq!(out, "data: {\"x\":\"<EMAIL>\"}\n\n");
}

#[test]
fn the_dialect_follows_the_content_type() {
    assert_eq!(Dialect::of(Some("application/json; charset=utf-8")), Dialect::Json);
    assert_eq!(Dialect::of(Some("application/problem+json")), Dialect::Json);
    assert_eq!(Dialect::of(Some("Text/Event-Stream")), Dialect::Sse);
    assert_eq!(Dialect::of(Some("text/html")), Dialect::Text);
    assert_eq!(Dialect::of(None), Dialect::Text);
}
