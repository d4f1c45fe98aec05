//! What `crewgate mask spans` finds in labelled text its detectors were not written from, and in clean text: measured
//! by the scorer beside the data.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use house::{Folder, said};
use serde_json::{Value, json};

/// Text with its surroundings, and values that stand alone.
const TEXTS: [&str; 5] = ["presidio_research", "privy_json", "datafog", "ambientmeta", "pl_pii_bench"];
const VALUES: [&str; 3] = ["validatorjs", "libphonenumber", "presidio_unit"];

/// The labelled text and its scorer; `None`, said loudly, where they are not.
fn corpora() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pii");
    let python = Command::new("python3").arg("--version").output().is_ok();
    if python && path.join("score.py").exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(),
        "python3 or the labelled text at {} is missing",
        path.display()
    );
    eprintln!("SKIPPED: quality is not measured: python3 or {} is missing", path.display());
    None
}

/// What is found in a file, a line each.
fn spans(file: &Path) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_crewgate"));
    program.args(["mask", "spans", "--profile", "pii-strict"]).stdin(fs::File::open(file).unwrap());
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The scorer's figures over all labels of the pool, and how much was masked beside them.
fn score(sets: &[&str]) -> Option<(Value, f64)> {
    let path = corpora()?;
    let folder = Folder::new();
    let found: String = sets.iter().map(|set| spans(&path.join(format!("dev/{set}.jsonl")))).collect();
    let (found, told) = (folder.write("found.jsonl", found), folder.path().join("told.json"));
    let mut scorer = Command::new("python3");
    scorer.arg(path.join("score.py")).args(["--quiet", "--offsets", "byte", "--datasets", &sets.join(",")]);
    scorer.arg("--gold").arg(path.join("dev")).arg("--pred").arg(found).arg("--json").arg(&told);
    let output = scorer.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let told: Value = serde_json::from_str(&fs::read_to_string(told).unwrap()).unwrap();
    let figure =
        |set: &str, name: &str| told.pointer(&format!("/{set}/{name}")).and_then(Value::as_f64).unwrap();
    let over: f64 = sets.iter().map(|set| figure(set, "overmask") * figure(set, "chars")).sum();
    let over = over / sets.iter().map(|set| figure(set, "chars")).sum::<f64>();
    let core = told.pointer("/POOLED_CORE/micro_core_pii").unwrap().clone();
    eprintln!("{sets:?}: {core}, overmask {over:.4}");
    Some((core, over))
}

fn figure(core: &Value, name: &str) -> f64 {
    core.get(name).and_then(Value::as_f64).unwrap()
}

#[test]
fn labelled_text_is_masked_where_it_is_labelled() {
    let Some((core, over)) = score(&TEXTS) else { return };
    for name in ["P", "R", "F1"] {
        assert!(figure(&core, name) >= 0.95, "{name}: {core}");
    }
    assert!(figure(&core, "leak") <= 0.03 && over <= 0.003, "{core}, overmask {over}");
}

#[test]
fn values_that_stand_alone_are_known() {
    let Some((core, _)) = score(&VALUES) else { return };
    assert!(figure(&core, "F1") >= 0.93, "{core}");
}

#[test]
fn recorded_traffic_without_people_is_left_alone() {
    let Some(path) = corpora() else { return };
    for set in ["crewai_sse", "crewai_json", "crewai_prose"] {
        let file = path.join(format!("clean/{set}.jsonl"));
        let megabytes = f64::from(u32::try_from(fs::metadata(&file).unwrap().len()).unwrap()) / 1e6;
        let (found, url) = (spans(&file), json!("URL"));
        let lines = found.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let spans = lines.flat_map(|line| line.get("spans").and_then(Value::as_array).cloned().unwrap());
        let hits: Vec<Value> = spans.filter(|span| span.get("label") != Some(&url)).collect();
        let count = f64::from(u32::try_from(hits.len()).unwrap());
        eprintln!("{set}: {:.1} hits per MB", count / megabytes);
        assert!(count <= 5.0 * megabytes, "{set}: {hits:?}");
    }
}
