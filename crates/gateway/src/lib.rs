#![forbid(unsafe_code)]
//! The gateway.
pub mod client;
pub mod config;
pub mod crews;
pub mod detach;
pub mod gate;
pub mod limit;
pub mod listen;
pub mod problem;
pub mod telemetry;
mod well_known;
