//! `kill -9`: in the middle of everything, in every state of an approval, and at every write on the way to it. What
//! must hold after the restart.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod power;
mod promises;
#[path = "../real/mod.rs"]
mod real;
mod states;
mod steps;
mod strace;
mod world;
