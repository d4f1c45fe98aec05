use crewgate_approval::NewApproval;
use serde::Serialize;

/// A body as an approver sees it: nothing in it is secret any more, and where something was it says what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "whoever masks makes it")]
pub struct Shown {
    /// The text, masked.
    pub body: String,
    /// What was masked, in order of place.
    pub masked: Vec<MaskedSpan>,
    /// Inputs that rules decide on and that are masked in it, by name: who says yes must have them revealed first.
    pub hidden_inputs: Vec<String>,
}

/// A masked place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "whoever masks makes it")]
pub struct MaskedSpan {
    /// Where what replaces it begins in the shown text, in bytes.
    pub at: usize,
    /// How many bytes of the shown text replace it.
    pub shown: usize,
    /// What it was: `EMAIL`, `IBAN`.
    pub entity: String,
    /// How many bytes it had.
    pub length: usize,
}

impl Shown {
    /// Shows that there is a body, and nothing of it: for services that have no masker.
    #[must_use]
    pub fn nothing_but_length(asked: &NewApproval) -> Option<Self> {
        let length = asked.outgoing.body.len();
        let hidden_inputs = asked.operation.inputs.iter().map(|(name, _)| name.clone()).collect();
        let body = format!("[{length} bytes]");
        let span = MaskedSpan { at: 0, shown: body.len(), entity: "BODY".to_owned(), length };
        Some(Self { body, masked: vec![span], hidden_inputs })
    }
}

/// Masks what approvers see. A closure from the request to what may be shown of it will do.
pub trait Show: Send + Sync + 'static {
    /// What may be shown of the bytes that will be sent; `None` when they cannot be masked, and then nobody can see
    /// or decide on them here.
    fn show(&self, asked: &NewApproval) -> Option<Shown>;
}

impl<F: Fn(&NewApproval) -> Option<Shown> + Send + Sync + 'static> Show for F {
    fn show(&self, asked: &NewApproval) -> Option<Shown> {
        self(asked)
    }
}
