//! The worked example in a folder of its own, and the examples of a guide one by one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::house::Folder;

pub(crate) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Where cvc5 is. Without it, what needs it is not tried, and says so; where everything must be tried, that fails.
pub(crate) fn cvc5() -> Option<String> {
    let named = std::env::var("CREWGATE_REAL_CVC5").unwrap_or_else(|_| "cvc5".to_owned());
    let there = Command::new(&named).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(
            std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(),
            "cvc5 (`{named}`) is required and not there"
        );
        eprintln!("!!! NOT TRIED: proofs, for cvc5 (`{named}`) is not there");
    }
    there.then_some(named)
}

/// Runs the program in a folder: exit code, standard output, standard error.
pub(crate) fn crewgate(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_crewgate"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CREWGATE_CONFIG")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What it prints as JSON, when it ends with this code.
pub(crate) fn json(folder: &Path, arguments: &[&str], code: i32) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (ended, out, error) = crewgate(folder, &arguments);
    assert_eq!(ended, code, "{arguments:?}\n{out}\n{error}");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{arguments:?} prints no JSON: {out}\n{error}"))
}

/// A copy of `docs/policies`.
pub(crate) struct Example(Folder);

impl Example {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        copy(&docs().join("policies"), folder.path());
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        crewgate(self.path(), arguments)
    }

    pub(crate) fn json(&self, arguments: &[&str], code: i32) -> Value {
        json(self.path(), arguments, code)
    }

    /// `crewgate check`, with something for each key it reads.
    pub(crate) fn check(&self) -> (i32, String, String) {
        let text = fs::read_to_string(self.path().join("crewgate.toml")).unwrap();
        let key = |line: &str| Some(line.split_once("{ env = \"")?.1.split_once('"')?.0.to_owned());
        let keys = text.lines().filter_map(key);
        let output = Command::new(env!("CARGO_BIN_EXE_crewgate"))
            .arg("check")
            .current_dir(self.path())
            .env_remove("CREWGATE_CONFIG")
            .envs(keys.map(|key| (key, "org-1")))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Changes a text of the configuration.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let file = self.path().join("crewgate.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    /// A copy of the rules under another name.
    pub(crate) fn copy_policy(&self, name: &str) -> String {
        let to = self.path().join(name);
        copy(&self.path().join("policy"), &to);
        to.display().to_string()
    }

    /// Puts the mend beside the rules.
    pub(crate) fn mend(&self) {
        fs::copy(self.path().join("mend/interns.cedar"), self.path().join("policy/mend.cedar")).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How much of a guide was run.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) cedar: usize,
    pub(crate) cases: usize,
    pub(crate) configurations: usize,
    pub(crate) commands: usize,
}

/// Runs every fenced block: `cedar` loads beside the example's configuration, `cedar,wrong` does not, `cedar,invariant`
/// is read as invariants, `toml,case` passes, `toml,config` is a configuration that is accepted, and `console` prints
/// what stands there. A block of another kind fails.
pub(crate) fn run(guide: &str, example: &Example) -> Ran {
    let mut ran = Ran::default();
    for (line, kind, text) in blocks(guide) {
        let place = format!("policy.md:{line}");
        match kind {
            "cedar" => {
                let (code, _, error) = load(example, text);
                assert_eq!(code, 0, "{place}: {error}");
                ran.cedar += 1;
            }
            "cedar,wrong" => {
                let (code, _, error) = load(example, text);
                assert_eq!(code, 2, "{place} loads");
                let said = text.lines().find_map(|line| line.strip_prefix("// says: ")).unwrap();
                assert!(error.contains(said), "{place}: {error}");
                ran.cedar += 1;
            }
            "cedar,invariant" => {
                let file = example.path().join("guide-invariants.cedar");
                fs::write(&file, text).unwrap();
                let Some(cvc5) = cvc5() else { continue };
                let (code, out, error) =
                    example.run(&["policy", "prove", "--cvc5", &cvc5, "guide-invariants.cedar"]);
                assert_eq!(code, 0, "{place}: {out}{error}");
                ran.cedar += 1;
            }
            "toml,case" => {
                fs::write(example.path().join("guide-case.toml"), text).unwrap();
                let (code, out, error) = example.run(&["policy", "test", "guide-case.toml"]);
                assert_eq!(code, 0, "{place}: {out}{error}");
                ran.cases += 1;
            }
            "toml,config" => {
                configured(example, text, &place);
                ran.configurations += 1;
            }
            "console" => ran.commands += console(example, text, &place),
            other => panic!("{place}: nobody runs a block `{other}`"),
        }
    }
    ran
}

/// Number of the first line, kind and text of each fenced block.
fn blocks(guide: &str) -> Vec<(usize, &str, &str)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &str, usize)> = None;
    let mut at = 0;
    for (index, line) in guide.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        match (line.trim_end().strip_prefix("```"), open) {
            (Some(kind), None) => open = Some((index + 2, kind, end)),
            (Some(""), Some((first, kind, start))) => {
                found.push((first, kind, guide.get(start..at).unwrap()));
                open = None;
            }
            _ => {}
        }
        at = end;
    }
    assert!(open.is_none(), "a block without an end");
    found
}

/// Loads rules alone, in the words of the example.
fn load(example: &Example, text: &str) -> (i32, String, String) {
    let folder = example.path().join("guide-rules");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rules.cedar"), text).unwrap();
    example.run(&["policy", "export", "--policy", "guide-rules"])
}

/// Reads the example's configuration with these tables added.
fn configured(example: &Example, text: &str, place: &str) {
    let file = example.path().join("guide.toml");
    let whole = fs::read_to_string(example.path().join("crewgate.toml")).unwrap();
    // A table that is there already is replaced.
    let table =
        text.lines().find(|line| line.starts_with('[') && !line.starts_with("[[")).unwrap_or("[none]");
    let whole = match whole.split_once(&format!("\n{table}\n")) {
        Some((before, after)) => {
            let rest = after.find("\n[").map_or("", |at| after.get(at..).unwrap());
            format!("{before}\n{rest}")
        }
        None => whole,
    };
    fs::write(&file, format!("{whole}\n{text}")).unwrap();
    let (code, _, error) = example.run(&["policy", "export", "--config", "guide.toml"]);
    assert_eq!(code, 0, "{place}: {error}");
}

/// Runs each `$ crewgate …` and compares what it prints with what stands below it; `…` stands for any lines.
fn console(example: &Example, text: &str, place: &str) -> usize {
    let mut ran = 0;
    for part in text.split("$ ").filter(|part| !part.trim().is_empty()) {
        let (command, expected) = part.split_once('\n').unwrap();
        let words = split(command);
        let (program, arguments) = words.split_first().unwrap();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if *program == "cp" {
            let [from, to] = arguments.as_slice() else { panic!("{place}: {command}") };
            copy_path(&example.path().join(from), &example.path().join(to));
            continue;
        }
        assert_eq!(program, "crewgate", "{place}: {command}");
        let proof = arguments.contains(&"prove");
        let mut arguments = arguments;
        let named;
        if proof {
            let Some(cvc5) = cvc5() else { continue };
            named = cvc5;
            arguments.extend(["--cvc5", &named]);
        }
        let (_, out, error) = example.run(&arguments);
        let printed = format!("{out}{error}");
        assert!(alike(expected, &printed), "{place}: `{command}` prints\n{printed}\nand not\n{expected}");
        ran += 1;
    }
    ran
}

fn copy_path(from: &Path, to: &Path) {
    if from.is_dir() {
        copy(from, to);
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Whether the printed lines are the expected ones.
fn alike(expected: &str, printed: &str) -> bool {
    let expected = format!("\n{}", expected.trim());
    let pieces: Vec<Vec<&str>> =
        expected.split("\n…").map(|piece| piece.trim_matches('\n').lines().collect()).collect();
    let lines: Vec<&str> = printed.trim().lines().collect();
    let mut at = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let rest = lines.get(at..).unwrap_or_default();
        let last = index + 1 == pieces.len();
        let found = match index {
            _ if piece.is_empty() => Some(if last { rest.len() } else { 0 }),
            0 => rest.starts_with(piece).then_some(0),
            _ if last => rest.ends_with(piece).then(|| rest.len() - piece.len()),
            _ => rest.windows(piece.len()).position(|window| window == piece.as_slice()),
        };
        let Some(found) = found else { return false };
        at += found + piece.len();
    }
    at >= lines.len()
}

/// Words of a command line; quotes keep spaces.
fn split(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
