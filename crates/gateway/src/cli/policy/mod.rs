//! `crewgate policy …`: what a security team does with rules besides letting them decide.

mod ask;
mod check;
mod compare;
#[cfg(feature = "prove")]
mod prove;
mod shadow;
mod text;

use std::path::{Path, PathBuf};

use crewgate_cedar::{
    CedarPolicy, Vocabulary,
    tools::{Question, RoleLookup},
};
use crewgate_core::{Clock, InputValue, SystemClock};

use crewgate_policy::StaticRoles;

use super::{
    ConfigFile,
    control::Console,
    output::{Failure, Output},
    record::{Reads, note},
};
use crate::{
    cases,
    config::{ConfigError, Settings},
    policies,
    roles::bindings,
};

/// Arguments of `policy`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    console: Console,
    /// Rules to look at instead of those the configuration names: a folder.
    #[arg(long, global = true, value_name = "FOLDER")]
    policy: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what becomes of recorded calls, or of cases, under other rules.
    Diff(compare::Arguments),
    /// Explain one answer: which rules, which facts, and what would change it.
    Explain(ask::Explain),
    /// Print the rules as plain Cedar, which denies in any other tool where a duty is not done.
    Export {
        /// Print the schema instead, in Cedar's language.
        #[arg(long)]
        schema: bool,
    },
    /// Lay the rules out as Cedar's formatter does.
    Fmt {
        /// Change nothing; say which files would change, and exit with 1.
        #[arg(long)]
        check: bool,
    },
    /// Look for mistakes that load, and for those that do not.
    Lint,
    /// Prove that the rules keep their invariants, or show a request that breaks one; needs cvc5.
    #[cfg(feature = "prove")]
    Prove(prove::Arguments),
    /// Report what the rules of `policy.shadow` would have decided otherwise, from the record.
    Shadow(shadow::Arguments),
    /// Put the cases beside the rules to them.
    Test {
        /// Files of cases instead of `tests/*.toml` beside the rules.
        files: Vec<PathBuf>,
    },
    /// Say what somebody can do.
    WhatCan(ask::WhatCan),
    /// Say who can do something on a crew.
    WhoCan(ask::WhoCan),
}

impl Command {
    /// What it reads of the record.
    fn reads(&self) -> Option<Reads> {
        match self {
            Self::Diff(arguments) => arguments.reads(),
            Self::Explain(arguments) => arguments.reads(),
            Self::Shadow(_) => Some(Reads::Record),
            _ => None,
        }
    }
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    if let Some(reads) = arguments.command.reads() {
        note(&arguments.config, &arguments.console, reads).await?;
    }
    let mut settings = arguments.config.load_without_secrets()?;
    if let Some(folder) = arguments.policy {
        settings.policy = folder;
    }
    let room = Room::new(settings);
    match arguments.command {
        Command::Diff(arguments) => compare::run(&room, &arguments, output).await,
        Command::Explain(arguments) => ask::explain(&room, &arguments, output).await,
        Command::Export { schema } => text::export(&room, schema, output),
        Command::Fmt { check } => text::fmt(&room, check, output),
        Command::Lint => text::lint(&room, output),
        #[cfg(feature = "prove")]
        Command::Prove(arguments) => prove::run(&room, &arguments, output).await,
        Command::Shadow(arguments) => shadow::run(&room, &arguments, output).await,
        Command::Test { files } => check::run(&room, &files, output),
        Command::WhatCan(arguments) => ask::what_can(&room, &arguments, output),
        Command::WhoCan(arguments) => ask::who_can(&room, &arguments, output),
    }
}

/// What every command here works with.
pub(super) struct Room {
    settings: Settings,
    pub(super) vocabulary: Vocabulary,
    roles: StaticRoles,
}

impl Room {
    pub(super) fn new(settings: Settings) -> Self {
        let vocabulary = policies::vocabulary(&settings);
        let roles = bindings(&settings);
        Self { settings, vocabulary, roles }
    }

    /// The rules; a folder given by hand, or those of the configuration.
    pub(super) fn load(&self, folder: Option<&Path>) -> Result<CedarPolicy, Failure> {
        let folder = folder.unwrap_or(&self.settings.policy);
        CedarPolicy::load_dir(folder, &self.vocabulary).map_err(|errors| wrong(cases::told(folder, errors)))
    }

    /// Calls `with` with the roles the configuration binds.
    fn with_roles<T>(&self, with: impl FnOnce(RoleLookup<'_>) -> T) -> T {
        with(&|principal, now| self.roles.held(principal, now))
    }
}

/// Something in a file is wrong; the message says where.
fn wrong(error: ConfigError) -> Failure {
    Failure::usage(error.to_string())
}

/// Who asks what, on the command line.
#[derive(Debug, clap::Args)]
struct Asker {
    /// Person or program.
    #[arg(long, value_enum, default_value = "user")]
    kind: Kind,
    /// A role they hold besides those the configuration gives them; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A group of their token, `issuer:group`; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Service,
    User,
}

impl Asker {
    fn question(&self, principal: &str) -> Question {
        Question {
            principal: principal.to_owned(),
            kind: match self.kind {
                Kind::Service => crewgate_core::PrincipalKind::Service,
                Kind::User => crewgate_core::PrincipalKind::User,
            },
            roles: self.roles.iter().map(crewgate_core::RoleName::new).collect(),
            groups: self.groups.iter().cloned().collect(),
            at: SystemClock.now(),
            ..Question::default()
        }
    }
}

/// `key=value`, the value as TOML where it is TOML, and as text otherwise: `max_rows=10`, `urgent=true`,
/// `regions=["eu"]`, `dataset=crm`.
fn input(text: &str) -> Result<(String, InputValue), String> {
    let (name, value) = text.split_once('=').ok_or("an input is written name=value")?;
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
    let value = match parsed.map(toml::Value::try_into::<InputValue>) {
        Some(Ok(value)) => value,
        _ => InputValue::String(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}
