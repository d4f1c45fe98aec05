//! Tests beside the rules: cases in TOML, put to them on demand and, when asked, whenever they are loaded.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crewgate_cedar::{
    CedarPolicy, LoadError, Vocabulary,
    tools::{Case, Failed, Question, check_cases, parse_cases},
};
use crewgate_core::InputValue;

use crate::{
    config::{ConfigError, Diagnostic, Settings},
    policies::diagnostic,
    roles::bindings,
};

/// A file of cases is text that people wrote.
const MAX_FILE: u64 = 4 << 20;

/// The cases in `tests/*.toml` below the folder of rules; none where there is no such folder.
///
/// # Errors
///
/// Everything that is wrong with them, each with its place.
pub(crate) fn beside(folder: &Path) -> Result<Vec<Case>, ConfigError> {
    let tests = folder.join("tests");
    if !tests.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = |error: std::io::Error| {
        ConfigError(vec![Diagnostic::whole(&tests, format!("cannot be read: {error}"))])
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&tests).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    read(&files)
}

/// The cases of these files.
///
/// # Errors
///
/// As [`beside`].
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Case>, ConfigError> {
    let (mut cases, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match text(file).map(|text| parse_cases(&file.display().to_string(), &text)) {
            Ok(Ok(read)) => cases.extend(read),
            Ok(Err(errors)) => wrong.extend(errors.into_iter().map(|error| diagnostic(file, error))),
            Err(error) => wrong.push(Diagnostic::whole(file, format!("cannot be read: {error}"))),
        }
    }
    if wrong.is_empty() { Ok(cases) } else { Err(ConfigError(wrong)) }
}

fn text(file: &Path) -> std::io::Result<String> {
    // A pipe would be waited for.
    if !fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    let mut text = String::new();
    fs::File::open(file)?.take(MAX_FILE).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) == MAX_FILE {
        return Err(std::io::Error::other("a file of cases has less than 4 MiB"));
    }
    Ok(text)
}

/// The question as the gateway would put it: the datasets are those that its inputs name.
pub(crate) fn with_datasets(question: Question, settings: &Settings) -> Question {
    if question.datasets.is_some() {
        return question;
    }
    let crew = settings.crews.iter().find(|crew| crew.name == question.crew);
    let custom =
        crew.and_then(|crew| crew.operations.iter().find(|custom| custom.action == question.action.as_str()));
    let names = |(name, value): (&String, &InputValue)| {
        let declared = match custom {
            Some(custom) => custom.inputs.get(name)?,
            None => crew?.inputs.iter().find_map(|(known, declared)| (known == name).then_some(declared))?,
        };
        declared.dataset.then(|| match value {
            InputValue::String(one) => vec![one.clone()],
            InputValue::Strings(all) => all.clone(),
            _ => Vec::new(),
        })
    };
    let datasets = question.input.iter().filter_map(names).flatten().collect();
    Question { datasets: Some(datasets), ..question }
}

/// Puts cases to rules as the gateway would, roles bound by the configuration included.
pub(crate) fn failing(
    cases: Vec<Case>,
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    settings: &Settings,
) -> Vec<Failed> {
    let roles = bindings(settings);
    let cases: Vec<Case> = cases
        .into_iter()
        .map(|case| Case { question: with_datasets(case.question, settings), ..case })
        .collect();
    check_cases(&cases, policy, vocabulary, Some(&|principal, now| roles.held(principal, now)))
}

/// Where tests are asked for on load, rules that fail one do not load.
///
/// # Errors
///
/// Every case that fails, each with its place.
pub(crate) fn on_load(
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    folder: &Path,
    settings: &Settings,
) -> Result<(), ConfigError> {
    if !settings.policy_tests {
        return Ok(());
    }
    let failed = failing(beside(folder)?, policy, vocabulary, settings);
    let told = |failed: Failed| {
        let decided =
            failed.decided.as_ref().map(|decided| format!("decided {decided}; ")).unwrap_or_default();
        Diagnostic {
            file: PathBuf::from(&failed.file),
            place: Some((failed.line, failed.column)),
            excerpt: None,
            message: format!("the test `{}` fails: expected {}", failed.name, failed.expected),
            help: Some(format!("{decided}{}", failed.because)),
        }
    };
    if failed.is_empty() { Ok(()) } else { Err(ConfigError(failed.into_iter().map(told).collect())) }
}

/// What loading says, as the configuration says it.
pub(crate) fn told(folder: &Path, errors: Vec<LoadError>) -> ConfigError {
    ConfigError(errors.into_iter().map(|error| diagnostic(folder, error)).collect())
}
