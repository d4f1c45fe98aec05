use std::{collections::BTreeMap, path::Path};

use crewgate_crewai::{Bounds, Choices, InputDeclaration, InputKind, Pattern, Prompts, Span, Undeclared};
use toml::Spanned;

use super::{
    check::{Checker, name},
    raw,
};

/// The longest prompt that is listed by its text, in bytes.
const MAX_PROMPT: u64 = 1 << 20;

/// The inputs a crew declares for its kickoff.
pub(super) fn of_kickoff(check: &mut Checker<'_>, raw: &raw::Crew) -> Vec<(String, InputDeclaration)> {
    if let Some(input) = raw.inputs.get("id") {
        let text = "an input `id` would read and write another run's state; it cannot be declared";
        check.wrong(input.span(), text, None);
    }
    declared(check, &raw.inputs)
}

/// Declared inputs.
pub(super) fn declared(
    check: &mut Checker<'_>,
    raw: &BTreeMap<String, Spanned<raw::Input>>,
) -> Vec<(String, InputDeclaration)> {
    raw.iter().filter_map(|(key, input)| Some((key.clone(), declaration(check, input.get_ref())?))).collect()
}

/// What becomes of inputs that are not declared: refused when nothing is said.
pub(super) fn undeclared(check: &mut Checker<'_>, text: Option<&raw::Text>) -> Undeclared {
    check.parse_or(text, Undeclared::Refuse, |text| match text {
        "refuse" => Ok(Undeclared::Refuse),
        "ignore" => Ok(Undeclared::Ignore),
        _ => Err(format!("`{text}` is neither `refuse` nor `ignore`")),
    })
}

fn declaration(check: &mut Checker<'_>, input: &raw::Input) -> Option<InputDeclaration> {
    let kind = check.parse(&input.kind, kind)?;
    let pattern = match &input.pattern {
        Some(text) => Some(check.parse(text, |text| Pattern::new(text).map_err(|error| error.to_string()))?),
        None => None,
    };
    let choices = input.choices.as_ref().map(|choices| match choices.get_ref() {
        raw::Choices::Integers(all) => Choices::Integers(all.iter().copied().collect()),
        raw::Choices::Strings(all) => Choices::Strings(all.iter().cloned().collect()),
    });
    let bounds = Bounds {
        choices,
        value: span(input.min.as_ref(), input.max.as_ref()),
        length: span(input.min_length.as_ref(), input.max_length.as_ref()),
        items: span(input.min_items.as_ref(), input.max_items.as_ref()),
        pattern,
    };
    let is = |flag: &Option<toml::Spanned<bool>>| flag.as_ref().is_some_and(|flag| *flag.get_ref());
    let mut declaration = InputDeclaration::of(kind).bounds(bounds);
    declaration.required = input.required;
    declaration.dataset = is(&input.dataset);
    declaration.prompt = is(&input.prompt);
    if let Err(wrong) = declaration.check() {
        let place = place(input, wrong.key).unwrap_or_else(|| input.kind.span());
        check.wrong(place, wrong.why, None);
        return None;
    }
    Some(declaration)
}

fn span<T: Copy>(min: Option<&toml::Spanned<T>>, max: Option<&toml::Spanned<T>>) -> Span<T> {
    let value = |bound: Option<&toml::Spanned<T>>| bound.map(|bound| *bound.get_ref());
    Span { min: value(min), max: value(max) }
}

/// Where a key stands.
fn place(input: &raw::Input, key: &str) -> Option<std::ops::Range<usize>> {
    fn of<T>(value: &Option<toml::Spanned<T>>) -> Option<std::ops::Range<usize>> {
        value.as_ref().map(toml::Spanned::span)
    }
    match key {
        "dataset" => of(&input.dataset),
        "enum" => of(&input.choices),
        "max" => of(&input.max),
        "max_items" => of(&input.max_items),
        "max_length" => of(&input.max_length),
        "min" => of(&input.min),
        "min_items" => of(&input.min_items),
        "min_length" => of(&input.min_length),
        "pattern" => of(&input.pattern),
        "prompt" => of(&input.prompt),
        _ => None,
    }
}

fn kind(text: &str) -> Result<InputKind, String> {
    Ok(match text {
        "boolean" => InputKind::Boolean,
        "integer" => InputKind::Integer,
        "json" => InputKind::Json,
        "string" => InputKind::String,
        "strings" => InputKind::Strings,
        "text" => InputKind::Text,
        _ => {
            return Err(format!(
                "`{text}` is not a type of input: boolean, integer, json, string, strings or text"
            ));
        }
    })
}

/// The prompts a crew lists.
pub(super) fn prompts(check: &mut Checker<'_>, raw: &raw::Crew) -> Prompts {
    let beside = check.beside();
    check.unique("prompt", raw.prompt_list.iter().map(|prompt| &prompt.id));
    let mut prompts = Prompts::new();
    for prompt in &raw.prompt_list {
        let Some(id) = check.parse(&prompt.id, name) else { continue };
        let listed = match (&prompt.text, &prompt.file, &prompt.sha256) {
            (Some(text), None, None) => Some(prompts.text(id, text.get_ref())),
            (None, Some(path), None) => {
                let text = check.parse(path, |path| text_of(&beside.join(path)));
                text.map(|text| prompts.text(id, &text))
            }
            (None, None, Some(hex)) => check.parse(hex, digest).map(|digest| prompts.sha256(id, digest)),
            _ => {
                let help = "the prompt itself, a file that holds it, or the SHA-256 of its text";
                let text = "a prompt is given by exactly one of `text`, `file` and `sha256`";
                check.wrong(prompt.id.span(), text, Some(help));
                None
            }
        };
        if let Some(Err(first)) = listed {
            check.wrong(prompt.id.span(), format!("the same prompt as `{first}`"), None);
        }
    }
    let any = check.parse_or(raw.prompts.as_ref(), false, |text| match text {
        "listed" => Ok(false),
        "any" => Ok(true),
        _ => Err(format!("`{text}` is neither `listed` nor `any`")),
    });
    let inputs = raw.operations.iter().map(|operation| &operation.inputs).chain([&raw.inputs]);
    let asked = inputs.flat_map(BTreeMap::values).filter_map(|input| input.get_ref().prompt.as_ref());
    let asked: Vec<_> = asked.filter(|prompt| *prompt.get_ref()).map(toml::Spanned::span).collect();
    match asked.first() {
        Some(place) if raw.prompt_list.is_empty() && !any => {
            let help = "list prompts with [[crew.prompt]], or say `prompts = \"any\"`";
            check.wrong(place.clone(), "no prompt is listed: nothing would be allowed", Some(help));
        }
        None if !raw.prompt_list.is_empty() => {
            let place = raw.prompt_list.first().map(|prompt| prompt.id.span()).unwrap_or_default();
            check.wrong(place, "no input of this crew says `prompt = true`", None);
        }
        _ => {}
    }
    prompts.or_any(any)
}

/// A prompt from a file; its final line break, which editors add, does not belong to it.
fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let size = std::fs::metadata(path).map_err(unreadable)?;
    if !size.is_file() || size.len() > MAX_PROMPT {
        return Err(format!("`{}` is not a file of at most {MAX_PROMPT} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// 64 hexadecimal digits.
fn digest(hex: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("`{hex}` is not a SHA-256: 64 hexadecimal digits");
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(wrong());
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}
