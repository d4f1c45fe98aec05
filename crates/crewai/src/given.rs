use std::collections::BTreeMap;

use crewgate_core::{FieldError, InputValue, Refusal, Value};

use crate::{
    InputDeclaration, InputKind, Prompts, Undeclared,
    describe::Parsed,
    input::Wrong,
    refuse::{short, unprocessable},
};

/// What the inputs of one body may be.
pub(crate) struct Expected<'a> {
    pub(crate) inputs: &'a BTreeMap<String, InputDeclaration>,
    pub(crate) undeclared: Undeclared,
    pub(crate) prompts: &'a Prompts,
    /// The member of the body they stand in; `None` when they are its members.
    pub(crate) below: Option<&'static str>,
    /// Names that mean something else than an input, and whether they are declared.
    pub(crate) apart: fn(&str, bool) -> Option<Fault<'_>>,
}

/// What is wrong with one input: its name, a stable code, and what is allowed.
pub(crate) struct Fault<'a> {
    pub(crate) name: &'a str,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl<'a> Fault<'a> {
    pub(crate) fn undeclared(name: &'a str) -> Self {
        Self { name, code: "input_undeclared", detail: "is not declared for this crew".to_owned() }
    }
}

/// Fields one refusal names; it says how many more there are.
pub const MAX_FIELD_ERRORS: usize = 32;

impl Expected<'_> {
    /// Reads what was given into `parsed`.
    ///
    /// # Errors
    ///
    /// 422, with everything that is wrong at once.
    pub(crate) fn read(&self, given: &[(String, Value)], parsed: &mut Parsed) -> Result<(), Refusal> {
        let mut faults = Vec::new();
        for (name, _) in given {
            let declared = self.inputs.contains_key(name);
            if let Some(fault) = (self.apart)(name, declared) {
                faults.push(fault);
            } else if declared {
                continue;
            } else if self.undeclared == Undeclared::Refuse {
                faults.push(Fault::undeclared(name));
            } else {
                parsed.has_undeclared_inputs = true;
            }
        }
        // In the order of the declaration, so that equal requests read equal whatever the caller's order.
        for (name, declaration) in self.inputs {
            match given.iter().find(|(given, _)| given == name) {
                Some((_, value)) => {
                    if let Err(wrong) = self.one(name, declaration, value, parsed) {
                        let detail = format!("must be {}", declaration.allowed(self.prompts));
                        faults.push(Fault { name, code: wrong.code(), detail });
                    }
                }
                None if declaration.required => {
                    let detail = format!("is missing; it must be {}", declaration.allowed(self.prompts));
                    faults.push(Fault { name, code: "input_missing", detail });
                }
                None => {}
            }
        }
        parsed.prompts.sort_unstable();
        parsed.prompts.dedup();
        if faults.is_empty() { Ok(()) } else { Err(self.refused(&faults)) }
    }

    fn one(
        &self,
        name: &str,
        declaration: &InputDeclaration,
        value: &Value,
        parsed: &mut Parsed,
    ) -> Result<(), Wrong> {
        let read = declaration.read(value)?;
        let prompt = match value.as_str().filter(|_| declaration.prompt) {
            Some(text) => match self.prompts.id(text) {
                None if !self.prompts.any => return Err(Wrong::Prompt),
                id => id,
            },
            None => None,
        };
        match read {
            Some(value) => {
                if declaration.dataset {
                    match &value {
                        InputValue::String(one) => parsed.datasets.push(one.clone()),
                        InputValue::Strings(many) => parsed.datasets.extend(many.iter().cloned()),
                        _ => {}
                    }
                }
                parsed.inputs.push((name.to_owned(), value));
            }
            // A listed prompt holds nothing of the caller's: it is sent to the letter, as rules know it.
            None if declaration.kind == InputKind::Text && prompt.is_none() => {
                let place = self.below.into_iter().chain([name]).map(str::to_owned);
                parsed.free_text.push(place.collect());
            }
            None => {}
        }
        parsed.prompts.extend(prompt.map(str::to_owned));
        Ok(())
    }

    /// Says everything that is wrong at once; the code is that of the first.
    fn refused(&self, faults: &[Fault<'_>]) -> Refusal {
        let code = faults.first().map_or("input_refused", |fault| fault.code);
        let missing: Vec<_> = faults.iter().filter(|fault| fault.code == "input_missing").collect();
        let mut detail = if missing.len() == faults.len() {
            // As CrewAI says it.
            let names: Vec<_> =
                missing.iter().take(MAX_FIELD_ERRORS).map(|fault| short(fault.name)).collect();
            format!("Missing inputs: {}", names.join(", "))
        } else {
            let one = |fault: &Fault<'_>| format!("The input `{}` {}.", short(fault.name), fault.detail);
            faults.iter().take(MAX_FIELD_ERRORS).map(one).collect::<Vec<_>>().join(" ")
        };
        if let Some(more @ 1..) = faults.len().checked_sub(MAX_FIELD_ERRORS) {
            detail.push_str(&format!(" And {more} more."));
        }
        let below = self.below.map(|member| format!("/{member}")).unwrap_or_default();
        let field = |fault: &Fault<'_>| FieldError {
            // RFC 6901, section 3.
            pointer: format!("{below}/{}", short(fault.name).replace('~', "~0").replace('/', "~1")),
            code: fault.code,
            detail: fault.detail.clone(),
        };
        unprocessable(code, detail).with_fields(faults.iter().take(MAX_FIELD_ERRORS).map(field).collect())
    }
}
