#![forbid(unsafe_code)]
//! What the layers are tested against, and what the examples and benches stand on.
//!
//! A development identity provider that signs real tokens, a clock that moves only when told, an inner service that
//! insists on the tower contract, a scripted CrewAI deployment, and one conformance suite per port that every
//! implementation of the port must pass. Nothing here belongs in a production binary.

mod clock;
mod idp;
pub mod postgres;
mod probe;
mod scripted_crew;
pub mod suites;

pub use self::{
    clock::ManualClock,
    idp::{DevIdp, Fetches, KeyKind, TokenBuilder},
    probe::{Answer, ReadyProbe},
    scripted_crew::{Calls, Received, Script, ScriptedCrew, StatusWords, Takes, Trouble},
};
