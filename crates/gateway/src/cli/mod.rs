//! The command line.
//!
//! Exit codes: 0 done · 1 the answer is no (tampering found, refused, not found) · 2 usage or configuration is wrong ·
//! 3 something needed is not there (the database, the console, the network).

mod approvals;
mod approvers;
mod audit;
mod caller;
mod connect;
mod control;
mod delegations;
mod doctor;
mod grants;
mod init;
mod login;
mod mask;
mod output;
mod policy;
mod record;
mod revoke;
mod roles;
mod runs;
mod serve;
mod token;
mod witness;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use self::output::Output;
pub use self::{audit::transition, output::Failure};
use crate::config::Settings;

/// An identity-aware, least-privilege gateway for CrewAI.
#[derive(Debug, Parser)]
#[command(name = "crewgate", version, about, arg_required_else_help = true)]
pub struct Arguments {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List, read and decide what waits for approval, with your own token.
    Approvals(approvals::Arguments),
    /// See which approvers could be reached, with your own token.
    Approvers(approvers::Arguments),
    /// Verify, prove and export the record, and report on the way over.
    Audit(audit::Arguments),
    /// Check configuration and policy, and say what is wrong where.
    Check(ConfigFile),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Open a way to a crew for clients that know one static bearer: a loopback proxy with fresh tokens.
    Connect(Box<connect::Arguments>),
    /// Let somebody speak in your place as an approver for a while, with your own token.
    Delegations(delegations::Arguments),
    /// Check step by step whether this machine can call the gateway, and say what is wrong.
    Doctor(Box<doctor::Arguments>),
    /// List temporary grants and take them away, with your own token.
    Grants(grants::Arguments),
    /// Write a first configuration and policy into a folder.
    Init(init::Arguments),
    /// Sign in, with a code in a browser anywhere.
    Login(Box<login::Arguments>),
    /// Forget the login, and tell the issuer.
    Logout(Box<login::Arguments>),
    /// Show what masks do to a file, mark what they find in labelled data, and turn masks back.
    Mask(mask::Arguments),
    /// Test, explain, compare, check and prove rules.
    Policy(policy::Arguments),
    /// Refuse tokens before they expire, with your own token.
    Revoke(revoke::Arguments),
    /// Explain who holds which role.
    Roles(roles::Arguments),
    /// List, show and replay recorded runs.
    Runs(runs::Arguments),
    /// Run the gateway.
    Serve(ConfigFile),
    /// Explain a token, print your own, or list whose are in use.
    Token(token::Arguments),
    /// Watch records of gateways: cosign what they sign, as long as they only grow.
    Witness(witness::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, global = true, env = "CREWGATE_CONFIG", default_value = "crewgate.toml")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Settings, Failure> {
        Settings::load(&self.config).map_err(|error| Failure::usage(error.to_string()))
    }

    fn load_without_secrets(&self) -> Result<Settings, Failure> {
        Settings::load_without_secrets(&self.config).map_err(|error| Failure::usage(error.to_string()))
    }
}

/// Runs the program and says how it ended.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output { json: arguments.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::unavailable(format!("the runtime cannot start: {error}")).report(output);
        }
    };
    match runtime.block_on(command(arguments.command, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(output),
    }
}

async fn command(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Approvals(arguments) => approvals::run(arguments, output).await,
        Command::Approvers(arguments) => approvers::run(arguments, output).await,
        Command::Audit(arguments) => audit::run(arguments, output).await,
        Command::Check(config) => serve::check(&config, output).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "crewgate", &mut std::io::stdout());
            Ok(())
        }
        Command::Connect(arguments) => connect::run(*arguments).await,
        Command::Delegations(arguments) => delegations::run(arguments, output).await,
        Command::Doctor(arguments) => doctor::run(*arguments, output).await,
        Command::Grants(arguments) => grants::run(arguments, output).await,
        Command::Init(arguments) => init::run(&arguments, output),
        Command::Login(arguments) => login::login(*arguments, output).await,
        Command::Logout(arguments) => login::logout(*arguments, output).await,
        Command::Mask(arguments) => mask::run(&arguments, output).await,
        Command::Policy(arguments) => policy::run(arguments, output).await,
        Command::Revoke(arguments) => revoke::run(arguments, output).await,
        Command::Roles(arguments) => roles::run(arguments, output).await,
        Command::Runs(arguments) => runs::run(arguments, output).await,
        Command::Serve(config) => serve::run(&config).await,
        Command::Token(arguments) => token::run(arguments, output).await,
        Command::Witness(arguments) => witness::run(arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    /// Quotes, variables and continued lines of a shell, as far as the guides use them.
    fn words(line: &str) -> Vec<String> {
        let command = line.split(" | ").next().unwrap().split(" > ").next().unwrap();
        let command = command.split(" #").next().unwrap().trim_end_matches([')', '&', ' ', '"']);
        command.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
    }

    #[test]
    fn every_command_of_callers_in_the_guide_is_one() {
        let page = include_str!("../../../../docs/identity.md").replace("\\\n", " ");
        let mut seen = Vec::new();
        for line in page.split("\n## Getting a token").nth(1).unwrap().lines() {
            let Some(at) = line.find("crewgate ") else { continue };
            let (before, command) = line.split_at(at);
            // In blocks alone: what stands in a sentence need not be whole.
            if !before.chars().all(|c| c.is_whitespace())
                && !before.ends_with("$(")
                && !before.ends_with("- ")
            {
                continue;
            }
            let words = words(command);
            Arguments::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}\n{error}"));
            seen.push(words[1].clone());
        }
        for command in ["login", "token", "connect", "doctor", "logout"] {
            assert!(seen.iter().any(|word| word == command), "the guide shows no `{command}`: {seen:?}");
        }
    }
}
