use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Generation;
use crate::config::Settings;

/// Tables that are read again while calls are served.
const LIVE: [&str; 7] = ["approvers", "break_glass", "mask", "person", "policy", "revocation", "role"];

/// Keys of a crew that are.
const LIVE_IN_CREW: [&str; 6] = ["fleet", "inputs", "operation", "prompt", "prompts", "undeclared_inputs"];

/// Keys of `[record]` that are.
const LIVE_IN_RECORD: [&str; 2] = ["erasers", "readers"];

/// What differs from the configuration the process started with, or from what is in use, and takes effect only with a
/// restart, in words: sorted, each once.
pub(super) fn needed(started: &str, running: &Generation, read: &Settings) -> BTreeSet<String> {
    let mut needed = differing(started, &read.text);
    if !read.masks.kept_alike(&running.settings.masks) {
        needed.insert("[masking]".to_owned());
        if !same(running.maskers.text(), &read.text, "mask") {
            needed.insert("[mask.*], which may use its keys".to_owned());
        }
    }
    needed
}

/// Whether two configurations say the same in this table.
pub(super) fn same(one: &str, other: &str, name: &str) -> bool {
    table(one).get(name) == table(other).get(name)
}

fn differing(running: &str, read: &str) -> BTreeSet<String> {
    let (running, read) = (table(running), table(read));
    let mut needed = BTreeSet::new();
    for key in running.keys().chain(read.keys()).filter(|key| !LIVE.contains(&key.as_str())) {
        if key == "record" {
            let fixed = |whole: &Table| {
                let mut fixed = whole.get(key).and_then(Value::as_table).cloned().unwrap_or_default();
                fixed.retain(|key, _| !LIVE_IN_RECORD.contains(&key));
                fixed
            };
            if fixed(&running) != fixed(&read) {
                needed.insert("[record]".to_owned());
            }
        } else if key == "crew" {
            crews(running.get(key), read.get(key), &mut needed);
        } else if running.get(key) != read.get(key) {
            needed.insert(format!("[{key}]"));
        }
    }
    needed
}

fn table(text: &str) -> Table {
    // Both were read before; what is no TOML differs from everything.
    text.parse().unwrap_or_default()
}

fn crews(running: Option<&Value>, read: Option<&Value>, needed: &mut BTreeSet<String>) {
    let of = |list: Option<&Value>| -> Vec<(String, Table)> {
        let crews = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table);
        let named = crews.filter_map(|crew| {
            let mut fixed = crew.clone();
            fixed.retain(|key, _| !LIVE_IN_CREW.contains(&key));
            Some((crew.get("name")?.as_str()?.to_owned(), fixed))
        });
        named.collect()
    };
    let (running, read) = (of(running), of(read));
    let fixed = |crews: &[(String, Table)], name: &str| {
        crews.iter().find(|(known, _)| known == name).map(|(_, fixed)| fixed.clone())
    };
    for (name, _) in running.iter().chain(&read) {
        match (fixed(&running, name), fixed(&read, name)) {
            (None, _) => needed.insert(format!("the new crew `{name}`")),
            // It is refused at once; what is left of it goes with a restart.
            (Some(_), None) => needed.insert(format!("the end of crew `{name}`")),
            (before, now) if before != now => needed.insert(format!("crew `{name}`")),
            _ => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = r#"
        [gateway]
        listen = "127.0.0.1:0"
        [[crew]]
        name = "support"
        url = "https://a.example"
        inputs.topic = { type = "string" }
        [[role]]
        name = "analysts"
        groups = ["okta:analysts"]
        [policy]
        path = "policy"
    "#;

    fn told(from: &str, to: &str) -> Vec<String> {
        assert!(RUNNING.contains(from), "{from}");
        differing(RUNNING, &RUNNING.replace(from, to)).into_iter().collect()
    }

    #[test]
    fn what_is_read_again_needs_no_restart_and_the_rest_is_named() {
        assert_eq!(told("okta:analysts", "okta:others"), [""; 0]);
        assert_eq!(told("path = \"policy\"", "path = \"next\"\nshadow = \"x\""), [""; 0]);
        assert_eq!(told("{ type = \"string\" }", "{ type = \"text\", max_length = 5 }"), [""; 0]);
        assert_eq!(told("[[role]]", "prompts = \"any\"\nundeclared_inputs = \"ignore\"\n[[role]]"), [""; 0]);
        assert_eq!(told("127.0.0.1:0", "127.0.0.1:1"), ["[gateway]"]);
        assert_eq!(told("https://a.example", "https://b.example"), ["crew `support`"]);
        assert_eq!(told("[policy]", "[store]\nurl = \"sqlite:x\"\n[policy]"), ["[store]"]);
        assert_eq!(told("[policy]", "[record]\nreaders = [\"analysts\"]\n[policy]"), [""; 0]);
        assert_eq!(told("[policy]", "[record]\nseal_key = { env = \"X\" }\n[policy]"), ["[record]"]);
        let renamed = ["the end of crew `support`", "the new crew `sales`"];
        assert_eq!(told("name = \"support\"", "name = \"sales\""), renamed);
    }
}
