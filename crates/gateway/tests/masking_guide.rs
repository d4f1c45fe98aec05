//! Every example of `docs/masking.md` does what the page says. Its Rust is run as documentation of `crewgate-masking`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{fs, path::Path};

use crewgate_core::Timestamp;
use crewgate_gateway::config::Settings;
use house::{Folder, crewgate, said};

const REST: &str = r#"
[gateway]
listen = "127.0.0.1:8080"
[[issuer]]
name = "okta"
url = "https://acme.okta.com"
audience = ["crewgate"]
[[role]]
name = "fraud-desk"
groups = ["okta:fraud"]
[policy]
path = "policy"
[store]
url = "sqlite:crewgate.db"
"#;

/// Kind and text of each fenced block.
fn blocks(guide: &str) -> Vec<(&str, &str)> {
    let mut parts = guide.split("\n```");
    parts.next();
    let mut found = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        found.push(block.split_once('\n').unwrap());
    }
    found
}

/// Runs `crewgate …`, with `< file` as its input.
fn run(folder: &Folder, command: &str) -> String {
    let (command, input) = command.split_once(" < ").unwrap_or((command, ""));
    let input =
        if input.is_empty() { String::new() } else { fs::read_to_string(folder.path().join(input)).unwrap() };
    let words: Vec<&str> = command.strip_prefix("crewgate ").unwrap().split(' ').collect();
    said(&crewgate(folder.path(), &words, &input))
}

#[test]
fn every_example_of_the_page_does_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/masking.md");
    let page = fs::read_to_string(page).unwrap();
    let folder = Folder::new();
    folder.write("policy/none.cedar", "");
    folder.write("mask.key", "n".repeat(44));
    folder.write("old-mask.key", "o".repeat(44));
    for (kind, text) in blocks(&page) {
        if let Some(file) = kind.strip_prefix("input ") {
            folder.write(file, text);
        }
    }
    let (mut commands, mut configurations) = (0, 0);
    for (kind, text) in blocks(&page) {
        match kind {
            "console" => {
                let (command, expected) = text.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
                assert_eq!(run(&folder, command).trim_end(), expected.trim_end(), "{command}");
                commands += 1;
            }
            "toml" => {
                let file = folder.path().join("crewgate.toml");
                let settings = Settings::parse(&file, &format!("{REST}{text}"), Timestamp::from_secs(0));
                let settings = settings.unwrap_or_else(|error| panic!("{error}"));
                assert!(settings.masks.profiles.names().any(|name| name.as_str() == "support"));
                configurations += 1;
            }
            // Run as documentation tests.
            "rust" => {}
            kind if kind.starts_with("input ") => {}
            other => panic!("nobody runs a block `{other}`"),
        }
    }
    assert!(commands >= 2 && configurations >= 1);
}
