//! The harness of the team's labelled texts: streams of four dialects, cut anywhere, told again as the masked text.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use crewgate_core::MaskProfile;
use crewgate_masking::{Dialect, MaskStream, Profiles};
use serde_json::{Value, json};

/// Texts of each set; all of them where the build is fast.
const TEXTS: &str = if cfg!(debug_assertions) { "6" } else { "500" };

/// The harness and its texts, or nothing where they are not.
fn harness() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pii");
    let python = Command::new("python3").arg("--version").output().is_ok();
    if python && folder.join("mkstream.py").exists() && folder.join("dev").exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(), "python3 or {} is missing", folder.display());
    eprintln!("SKIPPED: python3 or {} is missing", folder.display());
    None
}

#[test]
fn streams_of_labelled_texts_tell_the_masked_text() {
    let Some(folder) = harness() else { return };
    let masker = Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap();
    let work = std::env::temp_dir().join(format!("crewgate-mkstream-{}", std::process::id()));
    fs::create_dir_all(&work).unwrap();
    let file = |name: &str| work.join(name);
    let run = |args: &[&str], paths: &[(&str, PathBuf)]| {
        let mut command = Command::new("python3");
        command.arg(folder.join("mkstream.py")).args(args);
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        command.output().unwrap()
    };
    for set in ["presidio_research", "ambientmeta", "pl_pii_bench"] {
        let gold = folder.join("dev").join(set).with_extension("jsonl");
        let out = run(&["gen", "--n", TEXTS], &[("--gold", gold), ("--out", file("streams.jsonl"))]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let (mut masked, mut whole) = (String::new(), BTreeMap::new());
        for line in fs::read_to_string(file("streams.jsonl")).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let mut stream = MaskStream::new(masker.clone(), Dialect::Sse);
            let chunks = record["frames"].as_array().unwrap().iter();
            let bytes = chunks.map(|chunk| STANDARD.decode(chunk.as_str().unwrap()).unwrap());
            let mut frames: Vec<_> =
                bytes.map(|chunk| STANDARD.encode(stream.push(&chunk).unwrap())).collect();
            frames.push(STANDARD.encode(stream.finish().unwrap()));
            let record_out = json!({ "id": record["id"], "dialect": record["dialect"], "frames": frames });
            writeln!(masked, "{record_out}").unwrap();
            let text = masker.mask_text(record["text"].as_str().unwrap()).text;
            whole.insert(record["id"].to_string(), json!({ "id": record["id"], "text": text }).to_string());
        }
        fs::write(file("masked.jsonl"), masked).unwrap();
        fs::write(file("whole.jsonl"), whole.into_values().collect::<Vec<_>>().join("\n")).unwrap();
        let paths = ["streams", "masked", "whole"].map(|name| (name, file(name).with_extension("jsonl")));
        let paths = paths.map(|(name, path)| {
            (["--streams", "--masked", "--whole"].into_iter().find(|o| o.ends_with(name)).unwrap(), path)
        });
        let out = run(&["check"], &paths);
        let told = String::from_utf8_lossy(&out.stdout).into_owned();
        eprintln!("{set}: {told}");
        assert!(out.status.success(), "{set}: {told}{}", String::from_utf8_lossy(&out.stderr));
    }
    fs::remove_dir_all(work).unwrap();
}
