//! An address in base64 does not leave, wherever the run stands and however it is cut.
#![no_main]

use base64::{Engine, engine::general_purpose::STANDARD};
use crewgate_masking::{Dialect, Entity, MaskStream, Masker};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &str, &str)| {
    let (size, before, inside, behind) = input;
    let printable = |text: &str| text.chars().all(|c| !c.is_control());
    let hidden = format!("{inside} maria.keller@example.com ");
    let run = STANDARD.encode(&hidden);
    let text = format!("{before} {run} {behind}");
    let masker = Masker::of([Entity::Email]);
    let whole = masker.mask_text(&text).text;
    // A run that is part of another one need not begin where its letters do.
    if printable(inside) && !before.contains("base64,") && ![before, behind].iter().any(|text| text.contains(&run)) {
        assert!(!whole.contains(&run), "{whole}");
    }
    let mut stream = MaskStream::new(masker, Dialect::Text);
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(usize::from(size).max(1)) {
        out.extend_from_slice(&stream.push(piece).expect("text"));
    }
    out.extend_from_slice(&stream.finish().expect("text"));
    assert_eq!(String::from_utf8(out).expect("text"), whole);
});
