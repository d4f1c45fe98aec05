#![forbid(unsafe_code)]
//! The `crewgate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    crewgate_gateway::cli::run()
}
