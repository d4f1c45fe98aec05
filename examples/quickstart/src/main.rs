//! The whole of Crewgate on one machine, on loopback: a development identity provider, three scripted crews, and the
//! gateway on embedded SQLite.
//!
//! `cargo run -p quickstart` prints a ready `curl` for every step and serves until Ctrl-C.
//! `cargo run -p quickstart -- --tour` walks the steps itself and checks each answer.

mod call;
mod curls;
mod house;
mod tour;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => curls::serve().await,
        ["--tour"] => tour::walk().await,
        _ => {
            eprintln!("usage: quickstart [--tour]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}
