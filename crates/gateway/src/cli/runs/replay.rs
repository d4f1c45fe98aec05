use std::{
    io::{self, BufRead as _, Write as _},
    time::Duration,
};

use crewgate_audit::{Line, StepKind, Timeline};
use serde_json::{Value, json};

use super::{Failure, Output, stamp};

/// The longest pause a replay keeps: nobody watches a night go by.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How to play.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// How many times faster; 0 prints everything at once.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Wait for the Enter key before each line; `q` ends.
    #[arg(long, conflicts_with = "speed")]
    step: bool,
    /// Show each request that was told nothing new, instead of one line for all in a row.
    #[arg(long)]
    unfolded: bool,
}

pub(super) async fn replay(timeline: &Timeline, how: &How, output: Output) -> Result<(), Failure> {
    if !(how.speed >= 0.0 && how.speed.is_finite()) {
        return Err(Failure::usage("`--speed` is a number from 0 on"));
    }
    if output.json {
        return print(timeline, output);
    }
    let lines = if how.unfolded { timeline.lines() } else { timeline.folded() };
    let mut shown = Duration::ZERO;
    for line in lines {
        if how.step {
            if !asked_for_more() {
                return Ok(());
            }
        } else if how.speed > 0.0 {
            let pause = line.at.saturating_sub(shown).div_f64(how.speed);
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
        shown = line.at;
        if !show(&line) {
            return Ok(());
        }
    }
    Ok(())
}

/// `false`: nobody reads any more.
fn show(line: &Line) -> bool {
    let mut out = io::stdout();
    writeln!(out, "{}", stamp(line.at, &line.text)).and_then(|()| out.flush()).is_ok()
}

/// Waits for the Enter key. Nobody else works in this process meanwhile.
fn asked_for_more() -> bool {
    let mut key = String::new();
    matches!(io::stdin().lock().read_line(&mut key), Ok(n) if n > 0) && key.trim() != "q"
}

/// All steps at once, each with its own; a reader folds as it likes.
fn print(timeline: &Timeline, output: Output) -> Result<(), Failure> {
    let steps = timeline.steps.iter().zip(timeline.lines());
    let steps: Vec<Value> = steps
        .map(|(step, line)| {
            let answer = match &step.kind {
                StepKind::Answer(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            };
            json!({ "at_micros": step.at.as_micros().to_string(), "time": step.time.to_string(),
                    "leaf": step.leaf, "request": step.request, "text": line.text, "answer": answer })
        })
        .collect();
    output.print(&json!({ "steps": steps }), |_| String::new())
}
