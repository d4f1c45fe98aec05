//! Streams as models and crews send them: whatever the cuts, the text they tell is masked as one.
#![expect(clippy::unwrap_used, reason = "tests")]

use crewgate_masking::{Dialect, Entity, MaskError, MaskMessages, MaskStream, Masker};
use proptest::prelude::*;
use serde_json::{Value, json};

fn masker() -> Masker {
    Masker::of([Entity::Email, Entity::CreditCard, Entity::Iban, Entity::UsSsn, Entity::ApiKey, Entity::Jwt])
}

/// Masks a body cut into pieces of these sizes, over and over.
fn masked(dialect: Dialect, body: &str, cuts: &[usize]) -> Result<String, MaskError> {
    let mut stream = MaskStream::new(masker(), dialect);
    let (mut out, mut rest, mut sizes) = (Vec::new(), body.as_bytes(), cuts.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        let (piece, tail) = rest.split_at(size);
        out.extend_from_slice(&stream.push(piece)?);
        rest = tail;
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(String::from_utf8(out).unwrap())
}

fn whole(text: &str) -> String {
    masker().mask_text(text).text
}

/// The ways to tell a text in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Chat,
    Arguments,
    Responses,
    Messages,
    InputJson,
    Crew,
    CrewLines,
    Turns,
    Plain,
}

const TOLD: [Told; 9] = [
    Told::Chat,
    Told::Arguments,
    Told::Responses,
    Told::Messages,
    Told::InputJson,
    Told::Crew,
    Told::CrewLines,
    Told::Turns,
    Told::Plain,
];

impl Told {
    fn dialect(self) -> Dialect {
        if self == Self::CrewLines { Dialect::Lines } else { Dialect::Sse }
    }

    /// The text as it is told: some tell it inside of JSON.
    fn source(self, text: &str) -> String {
        match self {
            Self::Arguments | Self::InputJson => json!({ "note": text }).to_string(),
            _ => text.to_owned(),
        }
    }

    fn body(self, pieces: &[String]) -> String {
        let sse = |value: Value| format!("data: {value}\n\n");
        let named = |name: &str, value: Value| format!("event: {name}\r\ndata: {value}\r\n\r\n");
        let chat = |delta: Value, reason: Value| {
            sse(json!({"id": "c-1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason,
                "logprobs": {"content": [{"token": "secret"}]}}]}))
        };
        let call = |piece: &String| json!({"tool_calls": [{"index": 1, "function": {"arguments": piece}}]});
        let block = |kind: &str, name: &str, piece: &String| {
            sse(json!({"type": "content_block_delta", "index": 2, "delta": {"type": kind, name: piece}}))
        };
        let all = pieces.concat();
        let each = |tell: &dyn Fn(&String) -> String| pieces.iter().map(tell).collect::<String>();
        match self {
            Self::Chat => {
                each(&|p| chat(json!({"content": p}), Value::Null))
                    + &chat(json!({}), json!("stop"))
                    + "data: [DONE]\n\n"
            }
            Self::Arguments => {
                each(&|p| chat(call(p), Value::Null))
                    + &chat(json!({}), json!("tool_calls"))
                    + "data: [DONE]\n\n"
            }
            Self::Responses => {
                let delta = |p: &String| {
                    sse(json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0,
                        "content_index": 0, "delta": p}))
                };
                each(&delta)
                    + &sse(json!({"type": "response.output_text.done", "item_id": "m", "output_index": 0,
                        "content_index": 0, "text": all}))
                    + &sse(json!({"type": "response.completed",
                        "response": {"output": [{"content": [{"type": "output_text", "text": all}]}]}}))
            }
            Self::Messages => {
                sse(
                    json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}}),
                ) + &each(&|p| block("text_delta", "text", p))
                    + &sse(json!({"type": "content_block_stop", "index": 2}))
                    + &sse(json!({"type": "message_stop"}))
            }
            Self::InputJson => {
                each(&|p| block("input_json_delta", "partial_json", p))
                    + &sse(json!({"type": "content_block_stop", "index": 2}))
            }
            Self::Crew => {
                ": hello\n\n".to_owned()
                    + &each(&|p| named("chunk", json!({"content": p, "task_index": 0, "tool_call": null})))
                    + &named("result", json!({"raw": all}))
                    + "data: [DONE]\n\n"
            }
            Self::CrewLines => {
                each(&|p| format!("{}\n", json!({"event": "chunk", "content": p})))
                    + &format!("{}\n", json!({"event": "result", "raw": all}))
            }
            Self::Turns => {
                let both = |p: &String| {
                    format!("id: 1-0\n{}", sse(json!({"type": "token", "data": {"content": p}})))
                        + &sse(json!({"type": "llm_stream_chunk", "data": {"chunk": p}}))
                };
                each(&both) + &sse(json!({"type": "turn_completed", "data": {}}))
            }
            Self::Plain => each(&|p| {
                let lines: Vec<String> = p.split('\n').map(|line| format!("data: {line}\n")).collect();
                lines.concat() + "\n"
            }),
        }
    }

    /// The text the masked events tell, and what repeats it.
    fn read(self, out: &str) -> (String, Vec<String>) {
        let (mut told, mut again, mut repeated) = (String::new(), String::new(), Vec::new());
        let out = out.replace("\r\n", "\n");
        let events: Vec<String> = if self == Self::CrewLines {
            out.lines().map(str::to_owned).collect()
        } else {
            let data = |event: &str| {
                let lines: Vec<_> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                (!lines.is_empty()).then(|| lines.join("\n"))
            };
            out.split_terminator("\n\n").filter_map(data).collect()
        };
        for data in events.iter().filter(|data| *data != "[DONE]") {
            if self == Self::Plain {
                told.push_str(data);
                continue;
            }
            let value: Value = serde_json::from_str(data).unwrap();
            assert!(value.pointer("/choices/0/logprobs").is_none_or(Value::is_null), "{data}");
            let at = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
            let pieces = [
                "/choices/0/delta/content",
                "/choices/0/delta/tool_calls/0/function/arguments",
                "/delta",
                "/delta/text",
                "/delta/partial_json",
                "/content",
                "/data/content",
            ];
            pieces.iter().filter_map(|pointer| at(pointer)).for_each(|piece| told.push_str(piece));
            again.push_str(at("/data/chunk").unwrap_or_default());
            let echoes = ["/text", "/response/output/0/content/0/text", "/raw"];
            repeated.extend(echoes.iter().filter_map(|pointer| at(pointer)).map(str::to_owned));
        }
        if self == Self::Turns {
            repeated.push(again);
        }
        (told, repeated)
    }
}

fn rich() -> impl Strategy<Value = String> {
    let secret = proptest::sample::select(
        &[
            "maria.keller@example.com",
            "4111 1111 1111 1111",
            "DE89 3704 0044 0532 0130 00",
            "536-90-4399",
            "sk-proj-abc123def456ghi789",
            "\"password\": \"x\\u0040y\"",
            "maria%40example.com",
            "m\u{200b}aria＠example.com",
            "aSBhbSBtYXJpYS5rZWxsZXJAZXhhbXBsZS5jb20=",
        ][..],
    );
    let word =
        prop_oneof![2 => secret.prop_map(str::to_owned), 3 => "[a-zA-Z0-9é😀 .,@\\\\%&{}\\[\\]\"\n-]{0,10}"];
    proptest::collection::vec((word, proptest::sample::select(&["", " ", ", ", "\n"][..])), 0..8)
        .prop_map(|words| words.into_iter().map(|(word, gap)| format!("{word}{gap}")).collect())
}

/// Cuts a text into pieces of these many characters.
fn pieces(text: &str, sizes: &[usize]) -> Vec<String> {
    let (mut pieces, mut sizes) = (Vec::new(), sizes.iter().cycle());
    let mut characters = text.chars().peekable();
    while characters.peek().is_some() {
        pieces.push(characters.by_ref().take(*sizes.next().unwrap()).collect());
    }
    pieces
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), proptest::collection::vec(1_usize..12, 1..6)]
}

fn told_alike(text: &str, told: &[usize], cuts: &[usize]) -> Result<(), TestCaseError> {
    for way in TOLD {
        // A line of data cannot say where a carriage return stood.
        let source = way.source(text);
        let body = way.body(&pieces(&source, told));
        let out = masked(way.dialect(), &body, &[usize::MAX]).unwrap();
        prop_assert_eq!(&masked(way.dialect(), &body, cuts).unwrap(), &out, "{:?}", way);
        let (told, repeated) = way.read(&out);
        let expected = whole(&source);
        prop_assert_eq!(&told, &expected, "{:?}: {}", way, out);
        for repeated in repeated {
            prop_assert_eq!(&repeated, &expected, "{:?}", way);
        }
    }
    Ok(())
}

#[test]
fn what_follows_a_run_of_base64_is_a_text_of_its_own_in_every_dialect() {
    for behind in
        ["maria.keller@example.com", "=maria.keller@example.com", ".maria.keller@example.com", "aSBhbSBt"]
    {
        let text = format!("aSBhbSBtYXJpYS5rZWxsZXJAZXhhbXBsZS5jb20={behind}");
        for told in [1, 2, 7, 64] {
            told_alike(&text, &[told], &[1]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_told_in_pieces_is_masked_as_one_in_every_dialect(text in rich(), told in sizes(), cuts in sizes()) {
        told_alike(&text, &told, &cuts)?;
    }

    #[test]
    fn nothing_leaves_that_what_comes_could_make_part_of_a_hit(text in rich(), ends in proptest::collection::vec(rich(), 1..4)) {
        let mut stream = MaskStream::new(masker(), Dialect::Text);
        let left = String::from_utf8(stream.push(text.as_bytes()).unwrap().to_vec()).unwrap();
        for end in ends {
            let all = whole(&format!("{text}{end}"));
            prop_assert!(all.starts_with(&left), "{left:?} left, and then it is {all:?}");
        }
    }

    #[test]
    fn a_document_is_the_same_but_for_its_hits(text in rich(), number in any::<i32>()) {
        let body = format!(
            "{{ \"a\" : [ {} , {number}e0, true ] ,\n\t\"b\\u0020\\/\": {{\"c\":null}} }}\n",
            json!(text)
        );
        let out = masked(Dialect::Json, &body, &[usize::MAX]).unwrap();
        let hidden = body.replace(&json!(text).to_string(), &json!(whole(&text)).to_string());
        let (out, hidden): (Value, Value) = (serde_json::from_str(&out).unwrap(), serde_json::from_str(&hidden).unwrap());
        prop_assert_eq!(out, hidden);
        if whole(&text) == text {
            prop_assert_eq!(masked(Dialect::Json, &body, &[3]).unwrap(), body);
        }
    }
}

#[test]
fn json_in_a_string_is_read_and_stays_json() {
    let inner = r#"{"to":"maria.keller\u0040example.com","n":[1, 2.50],"deep":"{\"ssn\":\"536-90-4399\"}"}"#;
    let body = json!({ "result": inner }).to_string();
    for cuts in [&[usize::MAX][..], &[1], &[7, 2]] {
        let out = masked(Dialect::Json, &body, cuts).unwrap();
        let value: Value = serde_json::from_str(&out).unwrap();
        let text = value["result"].as_str().unwrap();
        assert_eq!(text, r#"{"to":"<EMAIL>","n":[1, 2.50],"deep":"{\"ssn\":\"<US_SSN>\"}"}"#);
    }
}

#[test]
fn what_only_looks_like_json_is_text() {
    for (text, expected) in [
        ("[4111 1111 1111 1111]", "[<CREDIT_CARD>]"),
        ("{maria@example.com}", "{<EMAIL>}"),
        ("[1, 2] maria@example.com", "[1, 2] <EMAIL>"),
        ("{'to': 'maria@example.com'}", "{'to': '<EMAIL>'}"),
        ("{\"a\": \"maria@example.com", "{\"a\": \"<EMAIL>"),
        ("{\"a\": \"C:\\maria@example.com\"}", "{\"a\": \"C:\\<EMAIL>\"}"),
        ("[536-90-4399]", "[<US_SSN>]"),
        ("[Note: see maria@example.com]", "[Note: see <EMAIL>]"),
        ("[\"x\" maria@example.com", "[\"x\" <EMAIL>"),
    ] {
        assert_eq!(whole(text), expected);
        for size in 1..4 {
            assert_eq!(masked(Dialect::Text, text, &[size]).unwrap(), expected);
        }
    }
}

#[test]
fn encodings_and_disguises_hide_nothing() {
    let base64 = "aSBhbSBtYXJpYS5rZWxsZXJAZXhhbXBsZS5jb20=";
    for (text, expected) in [
        ("maria%40example.com", "<EMAIL>".to_owned()),
        ("to=maria%2Ekeller%40example%2Ecom&x=1", "to=<EMAIL>&x=1".to_owned()),
        ("maria&#64;example&period;com", "<EMAIL>".to_owned()),
        ("maria&#x40;example.com;", "<EMAIL>;".to_owned()),
        (r"a\nmaria\u0040example.com\n", r"a\n<EMAIL>\n".to_owned()),
        (r"'it\'s maria\x40example.com'", r"'it\'s <EMAIL>'".to_owned()),
        ("ma\u{200b}ria@exam\u{ad}ple.com", "<EMAIL>".to_owned()),
        ("４１１１ １１１１ １１１１ １１１１", "<CREDIT_CARD>".to_owned()),
        ("536\u{2011}90\u{2011}4399", "<US_SSN>".to_owned()),
        ("4111\u{a0}1111\u{a0}1111\u{a0}1111", "<CREDIT_CARD>".to_owned()),
        (&format!("see {base64}, it is there"), "see <EMAIL>, it is there".to_owned()),
        ("50% of R&D at C:\\new\\users", "50% of R&D at C:\\new\\users".to_owned()),
    ] {
        assert_eq!(whole(text), expected);
        assert_eq!(masked(Dialect::Text, text, &[1]).unwrap(), expected);
        let body = json!({ "x": text }).to_string();
        assert_eq!(masked(Dialect::Json, &body, &[1]).unwrap(), json!({ "x": expected }).to_string());
    }
    let image = format!("data:image/svg+xml;base64,{base64}");
    assert_eq!(whole(&image), image);
}

#[test]
fn a_long_run_of_base64_is_masked_from_the_hit_on() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = "nothing to see here. ".repeat(300);
    let clean = STANDARD.encode(&text);
    let dirty = STANDARD.encode(format!("{text}maria@example.com {text}"));
    for (run, hit) in [(&clean, false), (&dirty, true)] {
        let out = whole(&format!("a {run} b"));
        for size in [7, 1000] {
            assert!(masked(Dialect::Text, &format!("a {run} b"), &[size]).unwrap() == out, "{size}");
        }
        assert_eq!(out.ends_with("<EMAIL> b"), hit);
        let kept = out.trim_start_matches("a ").trim_end_matches(" b").trim_end_matches("<EMAIL>");
        assert!(run.starts_with(kept) && kept.len() > 8_000, "{}", kept.len());
    }
}

#[test]
fn one_text_ends_and_the_others_go_on() {
    let delta = |index: usize, piece: &str| {
        format!(
            "data: {}\n\n",
            json!({"type": "content_block_delta", "index": index, "delta": {"text": piece}})
        )
    };
    let body = delta(0, "to maria@exa")
        + &delta(1, "x")
        + &format!("data: {}\n\n", json!({"type": "content_block_stop", "index": 1}))
        + &delta(0, "mple.com.");
    let out = masked(Dialect::Sse, &body, &[5]).unwrap();
    assert_eq!(Told::Messages.read(&out).0, "to x<EMAIL>.");
    let last = out.rfind("content_block_stop").unwrap();
    assert!(out.find("<EMAIL>").unwrap() > last && out.find("\"x\"").unwrap() < last, "{out}");
}

#[test]
fn whole_texts_that_stand_where_pieces_do_are_masked_each_by_itself_too() {
    let said = |role: &str, text: &str| {
        format!("data: {}\n\n", json!({"type": "message_added", "role": role, "content": text}))
    };
    let body = said("user", "It is 4111 1111 1111 1111")
        + &said("assistant", "2 times? 536-90-4399")
        + &said("user", "x");
    let out = masked(Dialect::Sse, &body, &[9]).unwrap();
    assert!(!out.contains("1111") && !out.contains("4399"), "{out}");
    // And one that is told in pieces after all is masked as one.
    let body = said("a", "to maria@exa") + &said("a", "mple.com, yes");
    assert_eq!(Told::Crew.read(&masked(Dialect::Sse, &body, &[9]).unwrap()).0, "to <EMAIL>, yes");
}

#[test]
fn messages_are_masked_across_each_other_and_nothing_comes_behind_the_end() {
    let mut messages = MaskMessages::new(masker());
    let token = |piece: &str| json!({"type": "token", "data": {"content": piece}}).to_string();
    assert_eq!(messages.push(&token("see maria@")).unwrap(), [token("see ")]);
    assert_eq!(messages.push(&token("example.com")).unwrap(), [token("")]);
    let end = json!({"type": "turn_completed", "data": {}}).to_string();
    assert_eq!(messages.push(&end).unwrap(), [token("<EMAIL>"), end]);
    let plain = messages.push("plain maria@example.com, yes").unwrap().concat();
    assert_eq!(plain + &messages.finish().unwrap().concat(), "plain <EMAIL>, yes");
    assert_eq!(messages.findings().count(&Entity::Email), 2);
}

#[test]
fn hits_are_counted_by_place_and_no_place_tells_a_value() {
    let body =
        json!({"result": {"to": ["a@example.com", "b@example.com"], "a@example.com": "c@example.com"}});
    let masked = masker().mask_json(body.to_string().as_bytes()).unwrap();
    let places: Vec<_> = masked.findings.iter().map(|(_, place, count)| (place.to_owned(), count)).collect();
    assert_eq!(places, [("result.*".to_owned(), 2), ("result.to[]".to_owned(), 2)]);
}

#[test]
fn the_beginning_of_a_word_leaves_after_a_while_and_a_number_never_does() {
    let mut stream = MaskStream::new(masker(), Dialect::Text);
    assert_eq!(stream.push(b"write to mar").unwrap(), "write to ");
    assert_eq!(stream.idle().unwrap(), "mar");
    let mut rest = Vec::new();
    for piece in ["ia@example.com, it has ", "4111 1111 ", "1111 11", "11, or so"] {
        rest.extend_from_slice(&stream.push(piece.as_bytes()).unwrap());
        rest.extend_from_slice(&stream.idle().unwrap());
    }
    rest.extend_from_slice(&stream.finish().unwrap());
    assert_eq!(String::from_utf8(rest).unwrap(), "<EMAIL>, it has <CREDIT_CARD>, or so");
    let mut sse = MaskStream::new(masker(), Dialect::Sse);
    let event = |piece: &str| format!("data: {}\n\n", json!({"type": "token", "data": {"content": piece}}));
    assert_eq!(sse.push(event("Hello wor").as_bytes()).unwrap(), event("Hello "));
    assert_eq!(sse.idle().unwrap(), event("wor"));
    assert_eq!(sse.idle().unwrap(), "");
    assert_eq!(sse.push(event("ld.").as_bytes()).unwrap(), event(""));
    assert_eq!(sse.finish().unwrap(), event("ld."));
}

#[test]
fn a_known_secret_is_not_let_go_by_time() {
    let masker = masker().also(["abcdefghijkl"]).unwrap();
    let mut stream = MaskStream::new(masker, Dialect::Text);
    assert_eq!(stream.push(b"it is abcdef").unwrap(), "it is ");
    assert_eq!(stream.idle().unwrap(), "");
    assert_eq!(stream.push(b"ghijkl, it is").unwrap(), "<KNOWN_SECRET>, it ");
}

#[test]
fn bad_bytes_end_in_an_error_or_in_masked_text() {
    for body in ["{\"a\":\"maria@exa", "[1,}", "{\"a\" 1}", "nul"] {
        assert_eq!(masked(Dialect::Json, body, &[2]), Err(MaskError::NotJson), "{body}");
    }
    assert_eq!(masked(Dialect::Lines, "{\"a\":1}\n<html>\n", &[5]), Err(MaskError::NotJson));
    assert_eq!(masked(Dialect::Json, &"[".repeat(1000), &[7]), Err(MaskError::TooDeep));
    let long = format!("data: {}", "x".repeat(2 << 20));
    assert_eq!(masked(Dialect::Sse, &long, &[4096]), Err(MaskError::EventTooLarge));
    // Deep JSON in a string is text.
    let deep = json!({ "a": format!("{}maria@example.com", "[".repeat(2000)) }).to_string();
    assert!(masked(Dialect::Json, &deep, &[64]).unwrap().contains("[<EMAIL>"));
    let invisible = format!("maria{}@example.com", "\u{200b}".repeat(100_000));
    assert_eq!(masked(Dialect::Text, &invisible, &[1000]).unwrap(), whole(&invisible));
}
