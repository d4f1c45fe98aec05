//! Runs the gateway as a library in front of a real CrewAI server, from the configuration file named on the command
//! line. The program `crewgate serve` does the same; a service of your own would add what it needs around it.

use std::{path::Path, process::ExitCode};

use crewgate_gateway::{Gateway, Signals, config::Settings};

#[tokio::main]
async fn main() -> ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "examples/crewai/crewgate.toml".to_owned());
    let settings = match Settings::load(Path::new(&file)) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    let running = match Gateway::start(settings).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    eprintln!("crews are at http://{}/<crew>/kickoff", running.data());
    running.until_told(signals).await;
    ExitCode::SUCCESS
}
