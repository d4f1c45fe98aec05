use std::io::{self, IsTerminal, Write};

use serde_json::json;

use super::{
    caller::{Caller, clock, warnings},
    output::{Failure, Output},
};
use crate::tokens::{self, Prompt};

/// Arguments of `login` and `logout`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    caller: Caller,
}

/// Signs a person in by device authorization. The code is told on standard error, the end on standard output.
pub(super) async fn login(arguments: Arguments, output: Output) -> Result<(), Failure> {
    warnings();
    let settings = arguments.caller.settings()?;
    let login = tokens::login(&settings, &clock())?;
    let token = login.make(|prompt| tell(prompt, output)).await?;
    let report = json!({
        "profile": settings.profile,
        "issuer": settings.issuer,
        "kept": login.place(),
        "expires": token.ends().to_string(),
    });
    output.print(&report, |_| {
        format!(
            "signed in ({}); kept in {}; this token ends {}",
            settings.profile,
            login.place(),
            token.ends()
        )
    })
}

/// Forgets the login, and tells the issuer.
pub(super) async fn logout(arguments: Arguments, output: Output) -> Result<(), Failure> {
    warnings();
    let settings = arguments.caller.settings()?;
    let ended = tokens::login(&settings, &clock())?.end().await?;
    let text = match ended {
        None => "nobody was signed in",
        Some(true) => "signed out, here and at the issuer",
        Some(false) => "signed out here; the issuer was not told: end the session there too if it matters",
    };
    let report = json!({ "profile": settings.profile, "was_signed_in": ended.is_some(), "issuer_told": ended == Some(true) });
    output.print(&report, |_| text.to_owned())
}

fn tell(prompt: &Prompt, output: Output) {
    let mut err = io::stderr();
    let text = if output.json {
        json!({
            "verification_uri": prompt.page,
            "verification_uri_complete": prompt.complete,
            "user_code": prompt.code,
            "expires_in": prompt.life.as_secs(),
        })
        .to_string()
    } else {
        let minutes = prompt.life.as_secs().div_ceil(60);
        let waiting = if err.is_terminal() { "\nWaiting for you there; Ctrl-C ends it." } else { "" };
        let complete =
            prompt.complete.as_ref().map(|page| format!("\nor open      {page}\n")).unwrap_or_default();
        format!(
            "To sign in, open {}\nand enter    {}\n{complete}within {minutes} min. The code must be the one shown here.{waiting}",
            prompt.page, prompt.code
        )
    };
    let _ = writeln!(err, "{text}");
}
