use std::{borrow::Cow, fmt, slice};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

pub(crate) use crate::object::Object;

/// Deeper than any token or key set in use (three), far from the stack's end.
const MAX_DEPTH: u8 = 32;

/// Members that most tokens have at most.
const ROOM: usize = 16;

/// How `serde_json` hands numbers over when any crate in the build turns on its `arbitrary_precision` feature.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// JSON as strictly as RFC 8725 asks: unique member names, no trailing bytes, finite numbers, bounded depth. Texts without
/// escapes are borrowed from it: most of a token is texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// One object and nothing after it; the error says what is wrong and where, never what is there.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Object<'_>, String> {
    // At once, not again for each text in it.
    let text =
        str::from_utf8(bytes).map_err(|error| format!("not UTF-8 after {} bytes", error.valid_up_to()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Depth(MAX_DEPTH).deserialize(&mut json).map_err(|e| place(&e))?;
    json.end().map_err(|e| place(&e))?;
    match value {
        Json::Object(object) => Ok(object),
        _ => Err("not a JSON object".to_owned()),
    }
}

/// `serde_json` may quote the input in a message; only its kind and place go on.
fn place(error: &serde_json::Error) -> String {
    let at = format!("line {} column {}", error.line(), error.column());
    if error.is_data() {
        format!("duplicate member, or a value out of bounds, at {at}")
    } else {
        format!("not JSON at {at}")
    }
}

impl Json<'_> {
    /// The same value for longer than the text it was read from.
    pub(crate) fn into_owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(flag),
            Self::Integer(number) => Json::Integer(number),
            Self::Float(number) => Json::Float(number),
            Self::String(text) => Json::String(Cow::Owned(text.into_owned())),
            Self::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Self::Object(members) => Json::Object(members.into_owned()),
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Strings of a string or of a list of strings; `None` for anything else.
    pub(crate) fn strings(&self) -> Option<impl Iterator<Item = &str>> {
        let items = match self {
            Self::Array(items) => items.as_slice(),
            one => slice::from_ref(one),
        };
        let all = items.iter().all(|item| matches!(item, Self::String(_)));
        all.then(|| items.iter().filter_map(Self::as_str))
    }

    /// Whether it is this string, or a list of strings with it.
    pub(crate) fn names(&self, wanted: &str) -> bool {
        self.strings().is_some_and(|mut strings| strings.any(|text| text == wanted))
    }

    /// The value as it would be written in configuration: one text, or those of a list; none for anything nested.
    pub(crate) fn as_texts(&self) -> Vec<String> {
        match self {
            Self::String(text) => vec![text.to_string()],
            Self::Integer(number) => vec![number.to_string()],
            Self::Bool(flag) => vec![flag.to_string()],
            Self::Array(items) => items.iter().filter_map(Self::as_str).map(str::to_owned).collect(),
            Self::Null | Self::Float(_) | Self::Object(_) => Vec::new(),
        }
    }

    /// The same value for `serde`.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::String(text) => text.as_ref().into(),
            Self::Array(items) => items.iter().map(Self::to_value).collect(),
            Self::Object(members) => Value::Object(
                members.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect(),
            ),
        }
    }

    /// What kind of value it is, for explanations.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Levels that may still be opened.
#[derive(Clone, Copy)]
struct Depth(u8);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Depth {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        // No claim or key parameter comes near 2^63; one that does is refused rather than rounded.
        i64::try_from(value).map(Json::Integer).map_err(|_| E::custom("integer out of range"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        if value.is_finite() { Ok(Json::Float(value)) } else { Err(E::custom("number out of range")) }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        // Not in every one of thousands of small ones.
        let mut members = Vec::with_capacity(if self.0 == MAX_DEPTH { ROOM } else { 0 });
        while let Some(Name(name)) = map.next_key()? {
            if members.is_empty() && name == NUMBER_TOKEN {
                return number(&map.next_value::<String>()?);
            }
            members.push((name, map.next_value_seed(inner)?));
        }
        Object::of(members).map(Json::Object).ok_or_else(|| A::Error::custom("duplicate member"))
    }
}

fn number<'a, E: Error>(text: &str) -> Result<Json<'a>, E> {
    if let Ok(integer) = text.parse() {
        return Ok(Json::Integer(integer));
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(Json::Float(float)),
        _ => Err(E::custom("number out of range")),
    }
}

/// A member's name. `Cow` by itself would never borrow.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_members_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"l":[{"x":1,"\u0078":2}]}"#] {
            assert!(parse_object(text.as_bytes()).unwrap_err().contains("duplicate"), "{text}");
        }
    }

    #[test]
    fn only_one_finite_shallow_object_is_accepted() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(40), "1".to_owned() + &"}".repeat(40));
        for text in
            ["", "[]", "1", "{} {}", "{}x", r#"{"a":1e400}"#, r#"{"a":NaN}"#, r#"{"a":"\ud800"}"#, &deep]
        {
            assert!(parse_object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
        assert!(parse_object(br#" {"a":[{"b":1.5}]} "#).is_ok());
    }

    #[test]
    fn errors_do_not_quote_the_input() {
        let error = parse_object(br#"{"sub": hunter2}"#).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
