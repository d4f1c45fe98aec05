//! Callers' side at the door: how they come to a token, and the way to a crew for clients that know one static bearer.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod commands;
mod connect;
mod desk;
#[path = "../house/mod.rs"]
mod house;
