#![forbid(unsafe_code)]
//! The gateway: every Crewgate layer in its place, in front of CrewAI.
//!
//! [`config::Settings`] is read from one strict TOML file; [`Gateway::start`] turns it into listeners, a stack of layers
//! (`stack`), a store and the tasks beside them; [`Running`] ends them in order. The `crewgate` program
//! ([`cli`]) is a thin shell around it.
//!
//! Requests meet the rooms in this order: [`listen`] (TLS, connections), [`gate`] (strict HTTP, below hyper), `edge`
//! (address limit, request id, trace, well-known documents, the relay CrewAI calls back on), [`detach`] (a call that has
//! left ends), [`problem`] (refusals), then the layers, and [`upstream`] at the bottom.
//!
//! On the callers' side, [`tokens`] brings short tokens and keeps them fresh, and [`connect`] lends them to clients that
//! know one static bearer.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use crewgate_gateway::{Gateway, Signals, config::Settings};
//!
//! let signals = Signals::listen()?;
//! let settings = Settings::load("crewgate.toml".as_ref())?;
//! let running = Gateway::start(settings).await?;
//! println!("crews are at http://{}/<crew>/kickoff", running.data());
//! running.until_told(signals).await;
//! # Ok(()) }
//! ```

mod answers;
mod app;
mod auto_run;
mod cases;
mod checkup;
pub mod cli;
pub mod client;
mod client_certificate;
pub mod config;
pub mod connect;
mod console;
pub mod crews;
mod describe;
pub mod detach;
mod drill;
mod edge;
mod export;
pub mod gate;
mod idempotency;
mod identity;
mod issuers;
pub mod limit;
pub mod listen;
mod live;
mod login;
mod masks;
mod notify;
mod oauth;
pub mod ops;
mod people;
pub mod policies;
pub mod problem;
mod relay;
mod restore;
mod retention;
mod roles;
mod sessions;
mod sightings;
mod signals;
mod stack;
pub mod telemetry;
mod tickets;
mod timekeeping;
pub mod tokens;
pub mod upstream;
mod violations;
mod waits;
mod way_over;
mod well_known;
mod wire;
mod witness;

pub use self::{
    app::{Gateway, Running, StartError},
    signals::Signals,
    stack::{DataPlane, oneshot},
};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
