//! Masks values that are not text.

use crewgate_core::{Number, Value};

use super::Masker;
use crate::{
    Findings, Masked,
    profile::Numbers,
    stream::{MaskError, whole},
};

impl Masker {
    /// Masks every string of a value in place, member names included, and counts the hits.
    ///
    /// # Errors
    ///
    /// [`MaskError::Blocked`] when it holds what blocks it.
    pub fn mask_value(&self, value: &mut Value, findings: &mut Findings) -> Result<(), MaskError> {
        let masker = self.ready();
        // The name of the member it belongs to says what a value is: `password`.
        let mut masked = |text: &str, behind: &str| {
            let before = if behind.is_empty() { String::new() } else { format!("{behind}: ") };
            let masked = whole(text, &before, 1, &masker)?;
            findings.absorb(&masked.findings, "");
            Some(masked)
        };
        // An explicit stack: a stranger chooses how deep the value is.
        let mut waiting = vec![(value, String::new())];
        while let Some((value, behind)) = waiting.pop() {
            match value {
                Value::String(text) => {
                    if let Some(masked) = masked(text, &behind) {
                        *text = masked.text;
                    }
                }
                Value::Number(number) => {
                    if let Some(masked) = masked(number.as_str(), &behind) {
                        let text = masker.number(number.as_str(), &masked);
                        *value = match Number::parse(text.as_str()) {
                            Ok(number) => Value::Number(number),
                            Err(_) => Value::String(masked.text),
                        };
                    }
                }
                Value::Array(items) => waiting.extend(items.iter_mut().map(|item| (item, behind.clone()))),
                Value::Object(members) => {
                    for (name, value) in members {
                        let behind = name.clone();
                        if let Some(masked) = masked(name, "") {
                            *name = masked.text;
                        }
                        waiting.push((value, behind));
                    }
                }
                Value::Null | Value::Bool(_) | Value::Id(_) => {}
            }
        }
        if masker.blocked() { Err(MaskError::Blocked) } else { Ok(()) }
    }

    /// What is written for a JSON number that held a hit: a number again, unless a profile says otherwise.
    pub(crate) fn number(&self, number: &str, masked: &Masked) -> String {
        if crewgate_core::Number::parse(masked.text.as_str()).is_ok() {
            return masked.text.clone();
        }
        // The most careful of the profiles in force says how.
        let numbers = self.inner.in_force.iter().map(|rule| rule.written_numbers()).max().unwrap_or_default();
        match numbers {
            Numbers::Digits => {
                let digits = number.bytes().filter(u8::is_ascii_digit).count();
                format!("1{}", "0".repeat(digits.saturating_sub(1)))
            }
            Numbers::Zero => "0".to_owned(),
            Numbers::Text => {
                let mut text = String::from("\"");
                crate::stream::escape(&masked.text, &mut text);
                text.push('"');
                text
            }
        }
    }
}
