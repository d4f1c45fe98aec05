//! What does not load, and what the author is told.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use std::{fs, path::PathBuf};

use crewgate_cedar::{CedarPolicy, InputType, LoadError, Vocabulary};
use crewgate_core::{Action, Effect};
use support::{load, vocabulary};

fn errors(text: &str) -> Vec<LoadError> {
    load(text).unwrap_err()
}

/// The only error of a rule, as `line:column message (help)`.
fn only(text: &str) -> String {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let error = &errors[0];
    let help = error.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}:{} {}{help}", error.line, error.column, error.message)
}

#[test]
fn unknown_names_are_refused_where_they_stand() {
    // Each rule, the word the error must point at, and what it says.
    let cases = [
        (
            r#"permit (principal in Role::"suport", action, resource);"#,
            "Role",
            "unknown role `suport` (did you mean `support`?)",
        ),
        (
            r#"forbid (principal, action, resource == Crew::"payrol");"#,
            "Crew",
            "unknown crew `payrol` (did you mean `payroll`?)",
        ),
        (
            r#"forbid (principal, action, resource in Fleet::"x");"#,
            "Fleet",
            "unknown fleet `x` (declared: customer, hr, prod)",
        ),
        (
            r#"forbid (principal, action, resource) unless { principal in Role::"opperators" };"#,
            "Role",
            "unknown role `opperators` (did you mean `operators`?)",
        ),
        (
            r#"permit (principal == User::"alice", action, resource);"#,
            "User",
            "`alice` names no issuer (principals are written issuer:subject, as in \"okta:alice\")",
        ),
        (
            r#"@approval("hr-owners") permit (principal, action, resource);"#,
            "@approval",
            "unknown approver set `hr-owners` (did you mean `hr-data-owners`?)",
        ),
        (
            r#"@mask("pii") forbid (principal, action, resource);"#,
            "@mask",
            "unknown mask profile `pii` (declared: pii-basic, secrets)",
        ),
        (
            r#"@mask("secrets") permit (principal, action, resource);"#,
            "@mask",
            "@mask on a permit (masks belong on guards: put it on a `forbid` for those it is meant for)",
        ),
        (
            r#"@rate("1/s") permit (principal, action, resource);"#,
            "@rate",
            "@rate on a permit (rates belong on guards: put it on a `forbid` for those it is meant for)",
        ),
        (
            r#"@rate("ten an hour") forbid (principal, action, resource);"#,
            "@rate",
            "`ten an hour` is no rate (a rate is calls per period: \"10/h\", with s, min, h or d)",
        ),
        (
            r#"@aproval("hr-data-owners") permit (principal, action, resource);"#,
            "@aproval",
            "unknown annotation @aproval (did you mean @approval?)",
        ),
    ];
    for (rule, word, says) in cases {
        let text = format!(r#"@id("x") {rule}"#);
        let column = text.find(word).unwrap() + 1;
        assert_eq!(only(&text), format!("1:{column} {says}"));
    }
}

#[test]
fn unknown_actions_and_impossible_conditions_are_refused() {
    let action = errors(r#"@id("x") forbid (principal, action == Action::"kickof", resource);"#);
    assert!(action.iter().any(|error| error.message.contains("kickof")), "{action:#?}");
    let impossible =
        only(r#"@id("x") permit (principal, action, resource) when { context.hour < 1 && false };"#);
    assert!(impossible.contains("impossible"), "{impossible}");
}

/// The mistakes that make other policy engines let requests pass: each in a guard, each refused where it stands.
#[test]
fn every_common_mistake_of_an_author_is_refused_with_file_line_column_and_a_hint() {
    let guard = |condition: &str| {
        format!("@id(\"g\")\nforbid (principal, action, resource)\nwhen {{ {condition} }};")
    };
    let cases = [
        ("an attribute that is none", guard("context.hours > 22"), (3, 8), "did you mean `hour`?"),
        ("a value of another type", guard("context.hour == \"late\""), (3, 8), "Long"),
        (
            "an action that is none",
            "@id(\"g\")\nforbid (principal, action == Action::\"kickof\", resource);".to_owned(),
            (2, 30),
            "kickoff",
        ),
        ("a role that is none", guard("principal in Role::\"suport\""), (3, 21), "support"),
        ("an optional input without has", guard("context.input.dataset == \"hr\""), (3, 8), "has"),
        ("a condition that cannot hold", guard("context.hour > 3 && false"), (1, 1), "never match"),
    ];
    for (what, text, place, hint) in cases {
        let files = vec![("guards.cedar".to_owned(), text)];
        let errors = CedarPolicy::load(files, &vocabulary()).unwrap_err();
        let [error] = errors.as_slice() else { panic!("{what}: {errors:#?}") };
        assert_eq!(error.file, "guards.cedar", "{what}");
        let told = format!("{} ({})", error.message, error.help.as_deref().unwrap_or_default());
        assert_eq!((error.line, error.column), place, "{what}: {told}");
        assert!(error.help.is_some() && told.contains(hint), "{what}: {told}");
    }
}

#[test]
fn a_rule_has_one_id_of_its_own_across_files() {
    assert!(only("permit (principal, action, resource);").starts_with("1:1 a rule without @id"));
    assert!(only(r#"@id("a b") permit (principal, action, resource);"#).contains("is no id"));
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = vec![
        file("a.cedar", "\n@id(\"x\") permit (principal, action, resource);"),
        file("b.cedar", "@id(\"x\") forbid (principal, action, resource);"),
    ];
    let errors = CedarPolicy::load(files, &vocabulary()).unwrap_err();
    assert_eq!(errors.len(), 1);
    let error = &errors[0];
    assert_eq!((error.file.as_str(), error.line, error.column), ("b.cedar", 1, 1));
    assert_eq!(error.help.as_deref(), Some("the first is at a.cedar:2:1"));
}

#[test]
fn authors_do_not_touch_what_the_gateway_fills_in() {
    let rule =
        |condition: &str| format!("@id(\"x\") permit (principal, action, resource) when {{ {condition} }};");
    assert!(only(&rule(r#"context.done.contains("mask:secrets")"#)).contains("filled in by the gateway"));
    let whole = errors(&rule(r"(if context.mfa then context else context).done.isEmpty()"));
    assert!(whole.iter().any(|error| error.message.contains("as a whole")), "{whole:#?}");
}

#[test]
fn templates_are_refused() {
    let message = only(r#"@id("x") permit (principal == ?principal, action, resource);"#);
    assert!(message.starts_with("1:31 a template"), "{message}");
}

#[test]
fn every_error_of_every_file_is_told_at_once_in_reading_order() {
    let text = "@id(\"a\")\npermit (principal in Role::\"nobody\", action, resource);\n\
                @id(\"b\") forbid (principal, action, resource) when { context.hour < ; };\n\
                permit (principal, action, resource)";
    let second = r#"@id("c") forbid (principal, action, resource) when { context.hour == "x" };"#;
    let files = [("z.cedar", text), ("a.cedar", second)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    let errors = CedarPolicy::load(files, &vocabulary()).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.file.as_str(), error.line)).collect();
    assert_eq!(places.first(), Some(&("z.cedar", 2)));
    assert!(places.contains(&("z.cedar", 3)) && places.contains(&("z.cedar", 4)), "{places:?}");
    assert_eq!(places.last(), Some(&("a.cedar", 1)));
    assert!(places.is_sorted_by_key(|(file, line)| (*file != "z.cedar", *line)));
}

#[test]
fn an_error_prints_with_its_line() {
    let error = &errors("// who\n@id(\"x\")\npermit (principal in Role::\"suport\", action, resource);")[0];
    let printed = error.to_string();
    assert!(printed.contains("--> policy/rules.cedar:3:22"), "{printed}");
    assert!(printed.contains("3 | permit (principal in Role::\"suport\""), "{printed}");
    assert!(printed.contains("= help: did you mean `support`?"), "{printed}");
}

#[test]
fn one_input_name_means_one_type() {
    let mut words = vocabulary();
    words.crews[3].inputs[0].1 = InputType::Long;
    let errors = CedarPolicy::load(Vec::new(), &words).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].message,
        "input `dataset` is String for crew `market-research` and Long for crew `payroll`"
    );
}

#[test]
fn an_action_is_not_named_like_a_group() {
    let mut words = Vocabulary::default();
    words.actions.push((Action::of("read"), Effect::Read));
    assert!(CedarPolicy::load(Vec::new(), &words).is_err());
}

#[test]
fn odd_names_are_names_all_the_same() {
    let mut words = vocabulary();
    words.crews[0].inputs.push(("data set \"x\"; //".to_owned(), InputType::Bool));
    words.actions.push((Action::of("chat.send"), Effect::Write));
    let text = r#"@id("x") permit (principal, action == Action::"chat.send", resource)
        when { context.input has "data set \"x\"; //" && context.input["data set \"x\"; //"] };"#;
    let policy = CedarPolicy::load(vec![("x.cedar".to_owned(), text.to_owned())], &words).unwrap();
    assert_eq!(policy.rules(), 1);
}

#[test]
fn the_hash_sees_meaning_and_not_layout() {
    let one = load(
        r#"@id("x") permit (principal, action, resource); @id("y") forbid (principal, action, resource) when { context.mfa };"#,
    );
    let two = load(
        "// a comment\n@id(\"y\")\nforbid (principal,action,resource) when{context.mfa};\n\n@id(\"x\") permit(principal, action, resource);",
    );
    let three = load(
        r#"@id("x") permit (principal, action, resource); @id("y") forbid (principal, action, resource) unless { context.mfa };"#,
    );
    let [one, two, three] = [one, two, three].map(|policy| policy.unwrap().hash().clone());
    assert_eq!(one, two);
    assert_ne!(one, three);
    let mut words = vocabulary();
    words.crews[0].inputs.push(("new".to_owned(), InputType::Bool));
    let text = r#"@id("x") permit (principal, action, resource);"#.to_owned();
    let more = CedarPolicy::load(vec![("x".to_owned(), text.clone())], &words).unwrap();
    assert_ne!(load(&text).unwrap().hash(), more.hash());
}

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self) -> Result<CedarPolicy, Vec<LoadError>> {
        CedarPolicy::load_dir(&self.0, &vocabulary())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_is_read_whole_or_not_at_all() {
    let folder = Folder::new("policy");
    assert!(folder.load().unwrap_err()[0].message.contains("no *.cedar file"));
    folder.file("a.cedar", r#"@id("a") permit (principal, action, resource);"#);
    folder.file("b.cedar", r#"@id("b") forbid (principal, action, resource) unless { context.mfa };"#);
    folder.file("README.md", "not policy; permit everything");
    folder.file(".hidden.cedar", "not policy either");
    folder.file("tests/cases.toml", "");
    assert_eq!(folder.load().unwrap().rules(), 2);

    folder.file("below/c.cedar", r#"@id("c") forbid (principal, action, resource);"#);
    let errors = folder.load().unwrap_err();
    assert!(errors[0].message.contains("folder below") && errors[0].file.ends_with("below"), "{errors:#?}");
    fs::remove_dir_all(folder.0.join("below")).unwrap();

    folder.file("own.cedarschema", "entity User;");
    let errors = folder.load().unwrap_err();
    assert!(errors[0].help.as_ref().unwrap().contains("derived"), "{errors:#?}");
    assert!(CedarPolicy::load_dir(folder.0.join("absent"), &vocabulary()).is_err());
}

#[test]
fn a_folder_with_what_is_no_policy_is_refused_with_its_name() {
    use std::os::unix::fs::symlink;

    let refused = |make: &dyn Fn(&Folder), name: &str, says: &str| {
        let folder = Folder::new(name);
        folder.file("good.cedar", r#"@id("a") permit (principal, action, resource);"#);
        assert_eq!(folder.load().unwrap().rules(), 1);
        make(&folder);
        let errors = folder.load().unwrap_err();
        let told = |error: &&LoadError| error.file.contains("bad.cedar") && error.message.contains(says);
        let found = errors.iter().find(told).unwrap_or_else(|| panic!("{says:?} not in {errors:#?}"));
        assert!(found.help.is_some(), "{found}");
    };
    // A hole of 100 MB: nothing of it is on the disk, and nothing of it may be in memory.
    let huge = |folder: &Folder| {
        let file = fs::File::create(folder.0.join("bad.cedar")).unwrap();
        file.set_len(100 << 20).unwrap();
    };
    refused(&huge, "huge", "104857600 bytes: a policy file has at most 16777216");
    refused(
        &|folder| fs::write(folder.0.join("bad.cedar"), b"// caf\n\xe9").unwrap(),
        "latin",
        "byte 7, on line 2",
    );
    let ring = |folder: &Folder| {
        symlink(folder.0.join("c.cedar"), folder.0.join("bad.cedar")).unwrap();
        symlink(folder.0.join("bad.cedar"), folder.0.join("c.cedar")).unwrap();
    };
    refused(&ring, "ring", "cannot be read");
    refused(&|folder| symlink("nowhere", folder.0.join("bad.cedar")).unwrap(), "dangling", "cannot be read");
    // Reading from it would never end, or never begin.
    refused(&|folder| symlink("/dev/zero", folder.0.join("bad.cedar")).unwrap(), "device", "not a file");
    let many = |folder: &Folder| {
        for name in ["1", "2", "3", "4", "bad"] {
            let file = fs::File::create(folder.0.join(format!("{name}.cedar"))).unwrap();
            file.set_len(15 << 20).unwrap();
        }
    };
    refused(&many, "many", "more than 67108864 bytes");
}
