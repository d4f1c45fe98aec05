use bytes::Bytes;
use crewgate_core::{
    Action, FreeText, IdKind, IdSlot, InputValue, Message, Operation, Refusal, Resource, Segment, Value,
};
use http::request::Parts;
use uuid::Uuid;

use crate::{Crew, Relay, Route, body, kickoff, refuse::bad, resume, route};

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
        let route = route(&head.method, path)?;
        if head.uri.query().is_some() {
            return Err(bad("query_refused", "This route takes no query string."));
        }
        let (segments, parsed) = match route {
            Route::Inputs => {
                body::none(body)?;
                (literal("inputs"), Parsed::default())
            }
            Route::Status(run) => {
                body::none(body)?;
                let mut parsed = Parsed::default();
                let slot = parsed.slot(IdKind::Run, run.as_uuid());
                // One form on the way out, whichever came in.
                (vec![Segment::Literal("status".into()), Segment::Id(slot)], parsed)
            }
            Route::Kickoff => {
                (literal("kickoff"), kickoff::parse(self, body::object(&head.headers, body)?, relay)?)
            }
            Route::Resume => {
                (literal("resume"), resume::parse(self, body::object(&head.headers, body)?, relay)?)
            }
        };
        let Parsed { inputs, datasets, prompts, has_undeclared_inputs, ids, body: rendered, free_text } =
            parsed;
        Ok(Operation {
            action: Action::of(route.action()),
            resource: Resource { kind: "Crew".into(), name: self.name.clone(), parents: self.fleets.clone() },
            effect: route.effect(),
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

fn literal(name: &'static str) -> Vec<Segment> {
    vec![Segment::Literal(name.into())]
}
