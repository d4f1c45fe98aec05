use bytes::Bytes;
use crewgate_core::{
    Action, FreeText, IdKind, IdSlot, InputValue, Message, Operation, Refusal, Resource, Segment, Value,
};
use http::{Method, request::Parts};
use uuid::Uuid;

use crate::{
    Crew, CustomOperation, Relay, Route, body, feedback, kickoff,
    refuse::bad,
    resume,
    route::{route, takes_only},
};

/// What the parser of one body hands over.
#[derive(Default)]
pub(crate) struct Parsed {
    pub(crate) inputs: Vec<(String, InputValue)>,
    pub(crate) datasets: Vec<String>,
    pub(crate) has_undeclared_inputs: bool,
    pub(crate) prompts: Vec<String>,
    pub(crate) ids: Vec<IdSlot>,
    pub(crate) body: Option<Value>,
    pub(crate) free_text: Vec<FreeText>,
}

impl Parsed {
    /// Adds a slot and says which.
    pub(crate) fn slot(&mut self, kind: IdKind, own: Uuid) -> usize {
        self.ids.push(IdSlot { kind, own, upstream: None });
        self.ids.len() - 1
    }
}

impl Crew {
    /// What a request to this crew asks. `path` is the raw path below the crew's prefix (`/kickoff`); `relay` is where
    /// the gateway wants to be called back, and is needed for a crew with human input.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] to answer with: 400 for what is not said properly, 404 and 405 for routes that are not passed
    /// on, 415 for bodies that are not plain JSON, 422 for bodies that say what is not allowed.
    pub fn describe(
        &self,
        path: &str,
        head: &Parts,
        body: &Bytes,
        relay: Option<&Relay>,
    ) -> Result<Operation, Refusal> {
        let asked = match self.custom(&head.method, path)? {
            Some(custom) => Asked::Custom(custom),
            None => Asked::Own(route(&head.method, path)?),
        };
        if head.uri.query().is_some() {
            return Err(bad("query_refused", "This route takes no query string."));
        }
        let object = || body::object(&head.headers, body);
        let (segments, parsed) = match asked {
            Asked::Own(Route::Inputs) => {
                body::none(body)?;
                (literals("/inputs"), Parsed::default())
            }
            Asked::Own(Route::Status(run)) => {
                body::none(body)?;
                let mut parsed = Parsed::default();
                let slot = parsed.slot(IdKind::Run, run.as_uuid());
                // One form on the way out, whichever came in.
                (vec![Segment::Literal("status".into()), Segment::Id(slot)], parsed)
            }
            Asked::Own(Route::Kickoff) => (literals("/kickoff"), kickoff::parse(self, object()?, relay)?),
            Asked::Own(Route::Resume) => (literals("/resume"), resume::parse(self, object()?, relay)?),
            Asked::Own(Route::Feedback) => (literals("/resume_feedback"), feedback::parse(object()?)?),
            Asked::Custom(custom) if custom.takes_a_body() => {
                (literals(&custom.path), custom.parse(&self.prompts, object()?)?)
            }
            Asked::Custom(custom) => {
                body::none(body)?;
                (literals(&custom.path), Parsed::default())
            }
        };
        let (action, effect) = match asked {
            Asked::Own(route) => (Action::of(route.action()), route.effect()),
            Asked::Custom(custom) => (Action::from(custom.action.clone()), custom.effect),
        };
        let Parsed { inputs, datasets, prompts, has_undeclared_inputs, ids, body: rendered, free_text } =
            parsed;
        Ok(Operation {
            action,
            resource: Resource { kind: "Crew".into(), name: self.name.clone(), parents: self.fleets.clone() },
            effect,
            inputs,
            datasets,
            prompts,
            has_undeclared_inputs,
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            webhook_hosts: Vec::new(),
            ids,
            owner: None,
            run: None,
            message: Message { method: head.method.clone(), path: segments, body: rendered, free_text },
        })
    }
}

/// Where a request leads.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Own(Route),
    Custom(&'a CustomOperation),
}

impl Crew {
    /// The declared operation at this address. No declared address is one of CrewAI's own.
    fn custom(&self, method: &Method, path: &str) -> Result<Option<&CustomOperation>, Refusal> {
        let mut here = self.operations.iter().filter(|operation| operation.path == path).peekable();
        let Some(first) = here.peek().copied() else { return Ok(None) };
        let found = here.find(|operation| operation.method == *method);
        found.map(Some).ok_or_else(|| takes_only(&first.action, &first.method))
    }
}

fn literals(path: &str) -> Vec<Segment> {
    path.split('/').skip(1).map(|segment| Segment::Literal(segment.to_owned().into())).collect()
}
