//! The record from outside: every command of its guide, and a witness.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(unused_imports, dead_code, reason = "each test crate uses its part of the support module")]

mod house;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crewgate_approval::ApprovalStore;
use crewgate_audit::{
    Entry, KINDS, Log, Phase, Query,
    tlog::{KeyKind, Receipt, Signer},
};
use crewgate_core::{Principal, PrincipalKey};
use crewgate_testkit::suites::approval::{asked, person};
use house::{Ground, House, Plan, until};
use serde_json::{Value, json};

fn guide(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// The commands of a guide's `console` blocks.
fn commands() -> Vec<String> {
    let guide = guide("record.md");
    let blocks = guide.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(|line| line.strip_prefix("$ ").unwrap().to_owned()).collect()
}

#[test]
fn the_guide_names_every_kind_there_is() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/record.md");
    let guide = fs::read_to_string(guide).unwrap();
    for kind in KINDS {
        assert!(guide.contains(&format!("`{kind}`")), "{kind}");
    }
}

/// Runs one as a shell does, with the program on its path.
fn sh(folder: &Path, command: &str, environment: &[(&str, &str)]) -> (i32, String, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_crewgate")).parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", format!("{program}:{path}"))
        .env_remove("CREWGATE_CONFIG")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn call(house: &House) -> (String, String) {
    let answer =
        house.post("/support/kickoff", &house.alice(), json!({ "inputs": { "topic": "tides" } })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let run = answer.json()["kickoff_id"].as_str().unwrap().to_owned();
    (run, answer.header("audit-leaf").unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_guide_does_what_it_says() {
    let house = House::open().await;
    let (run, leaf) = call(&house).await;
    assert_eq!(leaf, "1", "the first call's intent, after what it was started with");
    let (other, _) = call(&house).await;
    let key = house.running.store().keys()[0].to_string();
    let folder = house.folder.path();
    let (console, token) = (format!("http://{}", house.running.console().unwrap()), house.dora());
    let environment = [
        ("KEY", key.as_str()),
        ("RUN", run.as_str()),
        ("OTHER", other.as_str()),
        ("CREWGATE_CONSOLE", console.as_str()),
        ("CREWGATE_TOKEN", token.as_str()),
    ];
    let (mut said, mut last) = (Vec::new(), Vec::new());
    for command in commands() {
        // A witness runs on: the other test has one. What gives something up comes last, for the others show it.
        if command.starts_with("crewgate witness") {
            continue;
        }
        if ["erase", "hold", "prune"]
            .iter()
            .any(|word| command.starts_with(&format!("crewgate audit {word}")))
        {
            last.push(command);
            continue;
        }
        let (code, out, error) = sh(folder, &command, &environment);
        assert_eq!(code, 0, "{command}\n{out}{error}");
        said.push((command, out));
    }
    let out = |command: &str| &said.iter().find(|(ran, _)| ran.starts_with(command)).unwrap().1;
    assert_eq!(out("crewgate audit key").trim(), key);
    assert!(out("crewgate audit verify").starts_with("ok: "));
    assert!(out("crewgate audit verify-receipt").contains("\"phase\": \"intent\""));
    assert!(out("crewgate audit verify --folder signed-only").contains(" 0 whole"));
    for found in ["crewgate audit search --principal", "crewgate audit search --kind"] {
        let line = out(found).lines().find(|line| line.contains(" intent "));
        assert!(
            line.is_some_and(|line| line.contains("dev:alice") && line.contains("Crew/support")),
            "{found}"
        );
    }
    let looked = house.entries(Query::default().phase(Phase::Access)).await;
    let looked = |kind: &str| looked.iter().filter(|entry| entry.kind().as_deref() == Some(kind)).count();
    // Two searches and an export with content; a list; a replay, an export, both sides of a comparison, a decision.
    assert_eq!((looked("access.record"), looked("access.runs"), looked("access.run")), (3, 1, 5));
    assert!(out("crewgate runs replay").contains("kickoff"));
    assert!(out("crewgate runs verify").starts_with("ok: "));
    assert!(out("crewgate runs decide-again").contains("1 decided again, 0 differ"));

    // What was exported stays provable when the record is gone, and what is changed in it is named.
    let entries =
        fs::read_dir(folder.join("exported/tile/entries/000.p")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&entries).unwrap();
    bytes[40] ^= 1;
    fs::write(entries, bytes).unwrap();
    let (code, out, _) = sh(folder, "crewgate audit verify --folder exported --key \"$KEY\"", &environment);
    assert_eq!((code, out.trim()), (1, "TAMPERED: leaf 0 was edited"));
    let (code, ..) = sh(folder, "crewgate audit prove 100000", &environment);
    assert_eq!(code, 1);

    assert_eq!(last.len(), 5);
    let alice = Principal { key: PrincipalKey::new("dev", "alice"), ..person("alice") };
    let waits = asked(&alice, &[("data-owners", 1)]);
    ApprovalStore::open(house.running.store(), waits.clone()).await.unwrap();
    for command in last {
        let (code, out, error) = sh(folder, &command, &environment);
        assert_eq!(code, 0, "{command}\n{out}{error}");
    }
    let (code, _, error) = sh(folder, &format!("crewgate approvals show {}", waits.id), &environment);
    assert!(code == 1 && error.contains("410") && error.contains("was erased"), "{error}");
    let gave_up = house.entries(Query::default().phase(Phase::Erasure)).await;
    assert!(gave_up.iter().all(|entry| entry.principal().is_some_and(|by| by.to_string() == "dev:dora")));
    let alice = house.alice();
    let environment = [environment[3], ("CREWGATE_TOKEN", alice.as_str())];
    for command in ["runs list", "audit transition", "audit export again", "audit erase --subject dev:dora"] {
        let (code, _, error) = sh(folder, &format!("crewgate {command}"), &environment);
        assert!(code == 1 && error.contains("403"), "{command}: {error}");
    }

    let ground = house.stop().await;
    let folder = ground.folder.path();
    for command in
        ["audit hold --subject dev:dora", "runs list", "audit prune --class refusals --older-than 1d"]
    {
        let (code, _, error) = sh(folder, &format!("crewgate {command}"), &[]);
        assert_eq!(code, 0, "{command}: {error}");
    }
    let (code, out, error) = sh(folder, "crewgate audit verify --since kept.checkpoint", &[]);
    assert!(code == 0 && !out.contains(" 0 erased"), "{out}{error}");
    let environment = [("KEY", key.as_str()), ("RUN", run.as_str())];
    let (code, out, _) =
        sh(folder, "crewgate audit verify-receipt leaf.tlog-proof --key \"$KEY\"", &environment);
    assert_eq!(code, 0, "{out}");
    let (_, out, _) = sh(folder, "crewgate runs replay --speed 0 \"$RUN\"", &environment);
    assert!(out.contains("is erased"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_gives_evidence_for_a_control_gives_it() {
    let house = House::open().await;
    let (run, _) = call(&house).await;
    let key = house.running.store().keys()[0].to_string();
    let (console, token) = (format!("http://{}", house.running.console().unwrap()), house.dora());
    let page = guide("controls.md");
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut ran = 0;
    for row in rows {
        let commands: Vec<&str> = row.split('`').filter(|part| part.starts_with("crewgate ")).collect();
        assert!(!commands.is_empty(), "a control without a command: {row}");
        for command in commands {
            let environment = [
                ("KEY", key.as_str()),
                ("RUN", run.as_str()),
                ("CREWGATE_CONSOLE", console.as_str()),
                ("CREWGATE_TOKEN", token.as_str()),
            ];
            let (code, out, error) = sh(house.folder.path(), command, &environment);
            assert_eq!(code, 0, "{command}\n{out}{error}");
            assert!(command.contains(" > ") || !out.trim().is_empty(), "{command} prints nothing");
            ran += 1;
        }
    }
    assert!(ran >= 17, "{ran}");
    house.stop().await;
}

/// A witness that ends with the test.
struct Watching(Child, Value);

impl Watching {
    fn start(folder: &Path, log: &str) -> Self {
        let command =
            ["witness", "--listen", "127.0.0.1:0", "--key", "w.key", "--state", "w.json", "--log", log];
        let mut child = Command::new(env!("CARGO_BIN_EXE_crewgate"))
            .args(command)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = line.strip_prefix("crewgate ready ").unwrap_or_else(|| panic!("it said {line:?}"));
        Self(child, serde_json::from_str(ready).unwrap())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_cosigns_a_record_and_a_receipt_shows_it() {
    let ground = Ground::lay(Plan::default()).await;
    let signer = Signer::generate("gateway.example/record", KeyKind::Log).unwrap();
    let witness = Signer::generate("witness.example/w1", KeyKind::Witness).unwrap();
    let log = signer.verifier().to_string();
    ground.folder.write("record.key", signer.expose());
    ground.folder.write("seal.key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    ground.folder.write("w.key", witness.expose());
    let watching = Watching::start(ground.folder.path(), &log);
    let config = fs::read_to_string(&ground.config).unwrap();
    let keys = "[record]\nsigning_keys = [{ file = \"record.key\" }]\nseal_key = { file = \"seal.key\" }\n";
    let witness_table = format!(
        "[[record.witness]]\nurl = \"http://{}\"\nkey = \"{}\"\n",
        watching.1["witness"].as_str().unwrap(),
        watching.1["key"].as_str().unwrap(),
    );
    fs::write(&ground.config, format!("{}\n{witness_table}", config.replace("[record]\n", keys))).unwrap();

    let house = House::start(ground).await;
    assert!(!house.folder.path().join("crewgate.db.signing-key").exists(), "its key is named");
    call(&house).await;
    let store = house.running.store();
    until("a cosignature", async || store.cosigned().await.unwrap()).await;
    let folder = house.folder.path();
    let (code, text, error) = sh(folder, "crewgate audit prove --witnessed 0", &[]);
    assert_eq!(code, 0, "{error}");
    fs::write(folder.join("leaf.tlog-proof"), &text).unwrap();
    let receipt: Receipt = text.parse().unwrap();
    assert!(receipt.verify(&[signer.verifier().clone()], &[witness.verifier().clone()]).is_ok());
    let public = witness.verifier().to_string();
    let environment = [("KEY", log.as_str()), ("W", public.as_str())];
    let verify = "crewgate audit verify-receipt leaf.tlog-proof --key \"$KEY\" --witness \"$W\"";
    let (code, out, error) = sh(folder, verify, &environment);
    assert!(code == 0 && out.starts_with("ok: leaf 0"), "{out}{error}");

    // It remembers across a restart: what is shorter than what it has seen gets no signature.
    let remembered = fs::read_to_string(folder.join("w.json")).unwrap();
    assert!(remembered.contains("gateway.example/record"), "{remembered}");
    drop(watching);
    house.stop().await;
}
