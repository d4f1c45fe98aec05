use std::num::NonZeroUsize;

use crewgate_approval::{Grant, GrantFilter, GrantStore};
use crewgate_core::{Clock, Principal, PrincipalKey, PrincipalKind, SystemClock, Timestamp, TokenFacts};
use crewgate_oidc::Bearer;
use crewgate_store::Location;

use super::{
    ConfigFile,
    output::{Failure, Output},
    record::open,
    token::TokenSource,
};
use crate::{
    config::Settings,
    identity::{Gatekeeper, LEGACY},
    roles::{bindings, explain},
};

/// Arguments of `roles`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say which roles somebody holds, by what and until when, and why not the others.
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// Whom, as `issuer:subject`; or give a token.
    #[arg(conflicts_with_all = ["token_env", "token_file"])]
    principal: Option<String>,
    /// A group of theirs as the configuration names it, `okta:analysts`; repeat it for more.
    #[arg(long = "group", requires = "principal")]
    groups: Vec<String>,
    #[command(flatten)]
    token: TokenSource,
    /// At this instant instead of now, like `2026-12-31T18:00:00Z`.
    #[arg(long, value_parser = instant)]
    at: Option<Timestamp>,
}

/// Grants of one principal that are looked at, the ended ones too.
const MAX_GRANTS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Command::Explain(asked) = arguments.command;
    let settings = asked.config.load_without_secrets()?;
    let now = asked.at.unwrap_or_else(|| SystemClock.now());
    let principal = match &asked.principal {
        Some(named) => named_principal(&settings, named, &asked.groups)?,
        None if asked.token.is_given() => proved_principal(&settings, &asked.token).await?,
        None => return Err(Failure::usage("whom? Give `issuer:subject`, `--token-env` or `--token-file`")),
    };
    let grants = grants(&settings, &principal, now).await?;
    output.print(&explain(&bindings(&settings), &grants, &principal, now), ToString::to_string)
}

fn instant(text: &str) -> Result<Timestamp, String> {
    humantime::parse_rfc3339(text).map(Timestamp::from).map_err(|error| error.to_string())
}

fn named_principal(settings: &Settings, named: &str, groups: &[String]) -> Result<Principal, Failure> {
    let known = |text: &str| match text.split_once(':') {
        Some((issuer, rest)) if !rest.is_empty() => {
            let known = issuer == LEGACY || settings.issuers.iter().any(|other| other.name == issuer);
            known.then(|| (issuer.to_owned(), rest.to_owned())).ok_or(format!("no issuer `{issuer}`"))
        }
        _ => Err(format!("`{text}` does not begin with the name of an issuer and a colon")),
    };
    let (issuer, subject) = known(named).map_err(Failure::usage)?;
    let never = Timestamp::from_secs(0);
    Ok(Principal {
        key: PrincipalKey::new(issuer, subject),
        // Roles ask who and in which groups, and nothing else.
        kind: PrincipalKind::User,
        groups: groups.iter().map(|group| known(group)).collect::<Result<_, _>>().map_err(Failure::usage)?,
        client: None,
        token: TokenFacts {
            issued: never,
            expires: never,
            fingerprint: String::new(),
            mfa: false,
            sender_constrained: false,
            authenticated: None,
            class: None,
            actors: Vec::new(),
            exchanged: None,
        },
        human: None,
    })
}

async fn proved_principal(settings: &Settings, token: &TokenSource) -> Result<Principal, Failure> {
    let gatekeeper = Gatekeeper::offline(settings).map_err(Failure::usage)?;
    let explanation = gatekeeper.verifier().explain(&Bearer::new(token.read()?)).await;
    let refused = || Failure::no(format!("the token is not accepted\n{explanation}"));
    explanation.principal.clone().ok_or_else(refused)
}

/// All of theirs. Before the gateway first ran there is no store, and nobody has been given anything.
async fn grants(settings: &Settings, principal: &Principal, now: Timestamp) -> Result<Vec<Grant>, Failure> {
    if matches!(&settings.store, Location::File(path) if !path.exists()) {
        return Ok(Vec::new());
    }
    let filter = GrantFilter { over: true, limit: MAX_GRANTS, ..GrantFilter::at(now).of(&principal.key) };
    let store = open(settings).await?;
    let found = GrantStore::list(&store, filter).await;
    found.map_err(|error| Failure::unavailable(error.to_string()))
}
