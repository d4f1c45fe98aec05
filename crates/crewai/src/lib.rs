#![forbid(unsafe_code)]
//! The CrewAI wire, both ways.
//!
//! A caller's bytes become an [`Operation`](crewgate_core::Operation) in neutral words ([`Crew::describe`]), and the
//! bytes that are sent are rendered from it ([`render`]): what is decided on is what is sent, and nothing of the
//! caller's bytes is copied. The deployment's answer becomes an [`Answer`] that knows where CrewAI's ids stand in it,
//! and is rendered again with ids of our own in their places.
//!
//! | route | action | effect |
//! |---|---|---|
//! | `GET /inputs` | `inputs` | read |
//! | `POST /kickoff` | `kickoff` | write |
//! | `GET /status/{id}`, `GET /{id}/status` | `status` | read |
//! | `POST /resume` | `resume` | write |
//! | what the crew declares ([`CustomOperation`]) | as declared | as declared |
//!
//! Everything else is refused: unknown routes, unknown keys, inputs that are not as the crew declares them
//! ([`InputDeclaration`], [`Prompts`]), undeclared inputs (unless the crew says otherwise), webhooks of the caller's
//! choice, duplicate member names, text that is not UTF-8, bytes after the value.
//!
//! It does not know tower, async, policies, owners or databases: every function here is pure.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use crewgate_core::InputValue;
//! use crewgate_crewai::{Crew, InputDeclaration, InputKind, render};
//!
//! let crew = Crew::new("support").input("dataset", InputDeclaration::of(InputKind::String).dataset());
//! let request = http::Request::post("/kickoff").header("content-type", "application/json").body(()).unwrap();
//! let (head, ()) = request.into_parts();
//! let body = Bytes::from_static(b"{ \"inputs\": { \"dataset\": \"hr-2026\" } }");
//!
//! let operation = crew.describe("/kickoff", &head, &body, None).unwrap();
//! assert_eq!(operation.inputs, [("dataset".to_owned(), InputValue::String("hr-2026".to_owned()))]);
//! assert_eq!(operation.datasets, ["hr-2026"]);
//!
//! let outgoing = render(&operation).unwrap();
//! assert_eq!(outgoing.body, r#"{"inputs":{"dataset":"hr-2026"}}"#);
//! ```
//!
//! An answer, with CrewAI's id swapped for ours:
//!
//! ```
//! use crewgate_core::RunId;
//! use crewgate_crewai::{Answer, Mint};
//! use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
//!
//! let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
//! let body = br#"{"kickoff_id":"aea89840-a70b-4805-b6f3-d8af7b29d630"}"#;
//! let answer = Answer::parse("kickoff", StatusCode::OK, &headers, body, &[]).unwrap();
//! let theirs = answer.minted().first().unwrap();
//! assert_eq!((theirs.mint, theirs.upstream.as_str()), (Mint::Run, "aea89840-a70b-4805-b6f3-d8af7b29d630"));
//!
//! let ours = RunId::random();
//! let shown = answer.render(|mention| (mention.upstream == theirs.upstream).then(|| ours.as_uuid()));
//! assert_eq!(shown, format!(r#"{{"kickoff_id":"{ours}"}}"#));
//! ```

mod answer;
mod body;
mod bounds;
mod crew;
mod custom;
mod describe;
mod feedback;
mod given;
mod human_input;
mod input;
mod kickoff;
mod message;
mod pattern;
mod prompt;
mod refuse;
mod resume;
mod route;
mod status;

pub mod json;

pub use self::{
    answer::{Answer, MAX_ANSWER_DEPTH, MAX_MENTIONS, Mention, Mint, Minted},
    body::MAX_BODY_DEPTH,
    bounds::{Bounds, Choices, Span},
    crew::{Crew, Undeclared},
    custom::CustomOperation,
    given::MAX_FIELD_ERRORS,
    human_input::{HumanInput, Relay, parse_human_input},
    input::{InputDeclaration, InputKind, MAX_RULE_STRING, MAX_RULE_STRINGS, Misdeclared},
    message::render,
    pattern::{InvalidPattern, MAX_PATTERN, Pattern},
    prompt::Prompts,
    route::{ACTIONS, Route, route},
    status::{StatusShape, Ticket, kickoff_answer, ticket_status},
};
