//! `policy prove`.

use std::path::{Path, PathBuf};

use crewgate_cedar::{
    CedarPolicy,
    prove::{Broken, Defect, Invariant, Proof, ProveError, Prover, parse_invariants},
    sources,
};
use serde_json::{Value, json};

use super::{Failure, Output, Room, wrong};
use crate::cases;

/// Arguments of `policy prove`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files of invariants instead of `invariants/*.cedar` beside the rules.
    files: Vec<PathBuf>,
    /// Prove too that nothing passes that did not by these rules: a folder.
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// Only for this crew; may be repeated.
    #[arg(long = "crew", value_name = "CREW")]
    crews: Vec<String>,
    /// The cvc5 executable; otherwise `cvc5` from the search path.
    #[arg(long, env = "CVC5", value_name = "FILE")]
    cvc5: Option<PathBuf>,
}

/// One line of the report: its JSON, its text, and whether it is as it should be.
type Line = (Value, String, bool);

pub(super) async fn run(room: &Room, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let policy = room.load(None)?;
    let invariants = invariants(room, &arguments.files)?;
    if let Some(unknown) =
        arguments.crews.iter().find(|crew| !room.settings.crews.iter().any(|c| c.name == **crew))
    {
        return Err(Failure::usage(format!("no crew `{unknown}`")));
    }
    let mut prover = Prover::start(arguments.cvc5.clone()).map_err(failure)?;
    let mut lines = Vec::new();
    for invariant in &invariants {
        let proof = prover.holds(&policy, &room.vocabulary, invariant, &arguments.crews).await;
        lines.push(of_invariant(invariant, proof)?);
    }
    if let Some(folder) = &arguments.against {
        let old = room.load(Some(folder))?;
        lines.push(of_change(prover.narrows(&old, &policy, &room.vocabulary, &arguments.crews).await)?);
    }
    lines.extend(rules(&mut prover, &policy, room).await?);
    let kept = lines.iter().all(|line| line.2);
    let report = json!({
        "ok": kept,
        "asked": prover.asked(),
        "proofs": lines.iter().map(|line| &line.0).collect::<Vec<_>>(),
    });
    output.print(&report, |_| {
        let told = lines.iter().map(|line| line.1.clone());
        told.chain([format!("{} questions answered by cvc5", prover.asked())]).collect::<Vec<_>>().join("\n")
    })?;
    if kept { Ok(()) } else { Err(Failure::no("not everything that must be true is true")) }
}

fn invariants(room: &Room, files: &[PathBuf]) -> Result<Vec<Invariant>, Failure> {
    let folder = room.settings.policy.join("invariants");
    let texts = match files {
        [] if !folder.is_dir() => Vec::new(),
        [] => sources(&folder).map_err(|errors| wrong(cases::told(&folder, errors)))?,
        files => files.iter().map(|file| text(file)).collect::<Result<_, _>>()?,
    };
    let mut found = Vec::new();
    for (file, text) in texts {
        let read = parse_invariants(&file, &text, &room.vocabulary);
        found.extend(read.map_err(|errors| wrong(cases::told(Path::new(&file), errors)))?);
    }
    Ok(found)
}

fn text(file: &Path) -> Result<(String, String), Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    Ok((file.display().to_string(), text))
}

fn failure(error: ProveError) -> Failure {
    match error {
        ProveError::NoSolver { .. } => Failure::unavailable(error.to_string()),
        // Not proved is not proved.
        _ => Failure::no(error.to_string()),
    }
}

fn of_invariant(invariant: &Invariant, proof: Result<Proof, ProveError>) -> Result<Line, Failure> {
    let Invariant { id, file, line, column, .. } = invariant;
    let value = |proof: Value| json!({ "invariant": id, "file": file, "line": line, "column": column, "result": proof });
    match proof {
        Ok(Proof::Broken(broken)) => {
            let reason = invariant.reason.iter().map(|reason| format!("\n  {reason}")).collect::<String>();
            let text = format!("BROKEN {id}{reason}\n  --> {file}:{line}:{column}\n{}", example(&broken));
            Ok((value(json!(Proof::Broken(broken))), text, false))
        }
        Ok(proof) => Ok((value(json!(proof)), format!("holds  {id}"), true)),
        Err(error @ ProveError::NoSolver { .. }) => Err(failure(error)),
        Err(error) => {
            Ok((value(json!({ "proof": "unknown", "reason": error.to_string() })), error.to_string(), false))
        }
    }
}

fn of_change(proof: Result<Proof, ProveError>) -> Result<Line, Failure> {
    match proof.map_err(failure)? {
        Proof::Broken(broken) => {
            let before = broken.before.as_ref().map(ToString::to_string).unwrap_or_default();
            let text = format!(
                "WIDER  the change lets through what was not\n  before: {before}\n{}",
                example(&broken)
            );
            Ok((json!({ "change": "wider", "result": Proof::Broken(broken) }), text, false))
        }
        proof => Ok((
            json!({ "change": "not wider", "result": proof }),
            "holds  the change widens nothing".to_owned(),
            true,
        )),
    }
}

/// The request that breaks it, as a case to keep.
fn example(broken: &Broken) -> String {
    let rules: Vec<_> = broken.by.iter().map(ToString::to_string).collect();
    let request = broken.request.to_toml();
    let request: String = request.lines().map(|line| format!("      {line}\n")).collect();
    format!("  {} by {}:\n{}", broken.answer, rules.join(", "), request.trim_end())
}

async fn rules(prover: &mut Prover, policy: &CedarPolicy, room: &Room) -> Result<Vec<Line>, Failure> {
    let found = prover.rules(policy, &room.vocabulary).await.map_err(failure)?;
    let line = |(rule, defect)| match defect {
        Defect::NeverMatches => (
            json!({ "rule": rule, "defect": "never_matches" }),
            format!("NEVER  {rule} can match no request"),
            false,
        ),
        Defect::Errors(request) => {
            let example = request.as_ref().map(|request| request.to_toml()).unwrap_or_default();
            let text = format!("ERROR  {rule} cannot be evaluated for some request:\n{example}");
            (json!({ "rule": rule, "defect": "errors", "request": request }), text, false)
        }
        _ => (json!({ "rule": rule }), format!("{rule}: a defect"), false),
    };
    Ok(match found.is_empty() {
        true => {
            let text = "holds  every rule can match, and none can fail".to_owned();
            vec![(json!({ "rules": policy.rules(), "defects": 0 }), text, true)]
        }
        false => found.into_iter().map(line).collect(),
    })
}
