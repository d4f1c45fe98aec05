use std::fmt;

use crewgate_core::{InputValue, Value};

use crate::{Bounds, Choices, Prompts, Span, refuse::short};

/// Bytes of one string that rules read: an id, a name, a choice. Prose belongs into [`InputKind::Text`].
pub const MAX_RULE_STRING: usize = 1024;

/// Elements of one list that rules read.
pub const MAX_RULE_STRINGS: usize = 256;

/// One declared input: its type, and what its values must be besides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputDeclaration {
    /// Its type.
    pub kind: InputKind,
    /// Whether its values name datasets.
    pub dataset: bool,
    /// Whether a kickoff without it is refused.
    pub required: bool,
    /// Whether its value must be one of the crew's [`Prompts`].
    pub prompt: bool,
    /// Bounds of its values.
    pub bounds: Bounds,
}

/// Types of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new type of input must be thought through everywhere")]
pub enum InputKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits, written as one.
    Integer,
    /// Any JSON; rules do not see it.
    Json,
    /// A string of at most [`MAX_RULE_STRING`] bytes, for rules.
    String,
    /// At most [`MAX_RULE_STRINGS`] such strings, for rules.
    Strings,
    /// Free text; rules do not see it, masks may change it.
    Text,
}

/// A declaration that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misdeclared {
    /// The key that is wrong, as configurations spell it: `enum`, `min`, `max`, `min_length`, …
    pub key: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Misdeclared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Misdeclared {}

/// What is wrong with a value: a stable code. What is allowed, [`InputDeclaration::allowed`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Bounds,
    Prompt,
    Type,
}

impl Wrong {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Bounds => "input_value",
            Self::Prompt => "input_prompt",
            Self::Type => "input_type",
        }
    }
}

impl InputDeclaration {
    /// An optional input of this type, without bounds.
    #[must_use]
    pub const fn of(kind: InputKind) -> Self {
        let bounds = Bounds {
            choices: None,
            value: Span { min: None, max: None },
            length: Span { min: None, max: None },
            items: Span { min: None, max: None },
            pattern: None,
        };
        Self { kind, dataset: false, required: false, prompt: false, bounds }
    }

    /// Its values name datasets. Only strings do.
    #[must_use]
    pub fn dataset(mut self) -> Self {
        self.dataset = true;
        self
    }

    /// A kickoff without it is refused.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Its value must be one of the crew's prompts.
    #[must_use]
    pub fn prompt(mut self) -> Self {
        self.prompt = true;
        self
    }

    /// Its values have these bounds.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Whether there is a value it would take, and every bound means something for its type.
    ///
    /// # Errors
    ///
    /// The first key that is wrong.
    pub fn check(&self) -> Result<(), Misdeclared> {
        let Self { kind, bounds, .. } = self;
        let wrong = |key, why: String| Err(Misdeclared { key, why });
        let single = matches!(kind, InputKind::String | InputKind::Text);
        let for_rules = matches!(kind, InputKind::String | InputKind::Strings);
        if self.dataset && !for_rules {
            return wrong("dataset", "only a `string` or `strings` input can name datasets".to_owned());
        }
        if self.prompt && !single {
            return wrong("prompt", "only a `string` or `text` input can be a prompt".to_owned());
        }
        for (key, given, fits, takers) in [
            ("min", bounds.value.min.is_some(), *kind == InputKind::Integer, "an `integer` input"),
            ("max", bounds.value.max.is_some(), *kind == InputKind::Integer, "an `integer` input"),
            ("min_length", bounds.length.min.is_some(), single || for_rules, "strings and text"),
            ("max_length", bounds.length.max.is_some(), single || for_rules, "strings and text"),
            ("min_items", bounds.items.min.is_some(), *kind == InputKind::Strings, "a `strings` input"),
            ("max_items", bounds.items.max.is_some(), *kind == InputKind::Strings, "a `strings` input"),
            ("pattern", bounds.pattern.is_some(), for_rules, "a `string` or `strings` input"),
        ] {
            if given && !fits {
                return wrong(key, format!("`{key}` is for {takers}"));
            }
        }
        for (key, empty) in [
            ("max", bounds.value.is_empty()),
            ("max_length", bounds.length.is_empty()),
            ("max_items", bounds.items.is_empty()),
        ] {
            if empty {
                return wrong(key, format!("`{key}` is below its `min`: nothing would be allowed"));
            }
        }
        for (key, length) in [("min_length", bounds.length.min), ("max_length", bounds.length.max)] {
            if for_rules && length.is_some_and(|length| length > MAX_RULE_STRING) {
                let why = format!("a string for rules has at most {MAX_RULE_STRING} bytes; prose is `text`");
                return wrong(key, why);
            }
        }
        for (key, items) in [("min_items", bounds.items.min), ("max_items", bounds.items.max)] {
            if items.is_some_and(|items| items > MAX_RULE_STRINGS) {
                return wrong(key, format!("a list for rules has at most {MAX_RULE_STRINGS} strings"));
            }
        }
        match &bounds.choices {
            None => Ok(()),
            Some(choices) if choices.is_empty() => wrong("enum", "an empty `enum` allows nothing".to_owned()),
            Some(Choices::Integers(all)) if *kind == InputKind::Integer => {
                match all.iter().find(|one| !bounds.value.holds(one)) {
                    Some(one) => wrong("enum", format!("`{one}` is outside `min` and `max`")),
                    None => Ok(()),
                }
            }
            Some(Choices::Strings(all)) if for_rules => {
                match all.iter().find(|one| !bounds.text(one) || one.len() > MAX_RULE_STRING) {
                    Some(one) => {
                        wrong("enum", format!("`{}` is refused by its own length or pattern", short(one)))
                    }
                    None => Ok(()),
                }
            }
            Some(_) => wrong(
                "enum",
                "`enum` is strings for a `string` or `strings` input, and whole numbers for an `integer` one"
                    .to_owned(),
            ),
        }
    }

    /// What rules see of this value; `Ok(None)` when they see nothing of this type.
    pub(crate) fn read(&self, value: &Value) -> Result<Option<InputValue>, Wrong> {
        let rule_string = |value: &Value| {
            value.as_str().filter(|text| text.len() <= MAX_RULE_STRING).map(str::to_owned).ok_or(Wrong::Type)
        };
        let held = |holds: bool| if holds { Ok(()) } else { Err(Wrong::Bounds) };
        match (self.kind, value) {
            (InputKind::Json, _) => Ok(None),
            (InputKind::Boolean, Value::Bool(value)) => Ok(Some(InputValue::Bool(*value))),
            (InputKind::Integer, Value::Number(number)) => {
                let value = number.as_i64().ok_or(Wrong::Type)?;
                held(self.bounds.number(value))?;
                Ok(Some(InputValue::Long(value)))
            }
            (InputKind::Text, Value::String(text)) => {
                held(self.bounds.text(text))?;
                Ok(None)
            }
            (InputKind::String, value) => {
                let text = rule_string(value)?;
                held(self.bounds.text(&text))?;
                Ok(Some(InputValue::String(text)))
            }
            (InputKind::Strings, Value::Array(items)) if items.len() <= MAX_RULE_STRINGS => {
                let texts = items.iter().map(rule_string).collect::<Result<Vec<_>, _>>()?;
                held(self.bounds.items.holds(&texts.len()))?;
                held(texts.iter().all(|text| self.bounds.text(text)))?;
                Ok(Some(InputValue::Strings(texts)))
            }
            (InputKind::Boolean | InputKind::Integer | InputKind::Strings | InputKind::Text, _) => {
                Err(Wrong::Type)
            }
        }
    }

    /// What is allowed, for the caller of a crew with these prompts.
    pub(crate) fn allowed(&self, prompts: &Prompts) -> String {
        let Self { kind, bounds, .. } = self;
        if self.prompt && !prompts.any {
            return format!("to the letter one of this crew's prompts: {}", listed(prompts.ids()));
        }
        match kind {
            InputKind::Boolean => "true or false".to_owned(),
            InputKind::Integer => match (&bounds.choices, bounds.value) {
                (Some(Choices::Integers(all)), _) => format!("one of {}", listed(all)),
                (_, Span { min: None, max: None }) => "a whole number of 64 bits".to_owned(),
                (_, span) => format!("a whole number, {span}"),
            },
            InputKind::Json => "any JSON".to_owned(),
            InputKind::String | InputKind::Text => self.one(),
            InputKind::Strings => {
                let items = Span { min: bounds.items.min, max: bounds.items.max.or(Some(MAX_RULE_STRINGS)) };
                format!("a list of {items} strings, each {}", self.one())
            }
        }
    }

    /// What one string must be.
    fn one(&self) -> String {
        let Bounds { choices, length, pattern, .. } = &self.bounds;
        if let Some(Choices::Strings(all)) = choices {
            return format!("one of {}", listed(all));
        }
        let mut text = "a string".to_owned();
        if *length != Span::default() {
            text = format!("{text} of {length} characters");
        }
        if self.kind != InputKind::Text && length.max.is_none() {
            text = format!("{text} of at most {MAX_RULE_STRING} bytes");
        }
        match pattern {
            Some(pattern) => format!("{text} that matches `{pattern}`"),
            None => text,
        }
    }
}

/// Choices told one by one; more are only counted.
const MAX_TOLD: usize = 32;

fn listed<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let mut all = all.into_iter();
    let told: Vec<_> =
        all.by_ref().take(MAX_TOLD).map(|one| format!("`{}`", short(&one.to_string()))).collect();
    match all.count() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}
