//! What the commands of callers share: their settings, and the token they have.

use std::{path::PathBuf, sync::Arc};

use crewgate_core::{Clock, SystemClock};

use super::output::Failure;
use crate::{
    config::{ClientSettings, DEFAULT_PROFILE},
    tokens::{self, SourceError},
};

/// Which settings of a caller.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Who {
    /// The caller's settings; by default `crewgate/client.toml` in `$XDG_CONFIG_HOME` or `~/.config`.
    #[arg(long, global = true, env = "CREWGATE_CLIENT_CONFIG", value_name = "FILE")]
    client_config: Option<PathBuf>,
    /// The profile in it.
    #[arg(long, global = true, env = "CREWGATE_PROFILE", value_name = "NAME")]
    profile: Option<String>,
}

impl Who {
    /// The settings in the file; none where no file was named and there is none.
    pub(super) fn settings(&self) -> Result<ClientSettings, Failure> {
        let named = self.client_config.is_some() || self.profile.is_some();
        let usual = || tokens::folder().map(|folder| folder.join("client.toml"));
        let file = self.client_config.clone().or_else(usual).filter(|file| named || file.exists());
        match file {
            Some(file) => ClientSettings::load(&file, self.profile.as_deref())
                .map_err(|error| Failure::usage(error.to_string())),
            None => Ok(ClientSettings { profile: DEFAULT_PROFILE.to_owned(), ..ClientSettings::default() }),
        }
    }
}

/// Which settings of a caller, with flags that stand above them.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Caller {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    flags: ClientSettings,
}

impl Caller {
    pub(super) fn settings(self) -> Result<ClientSettings, Failure> {
        Ok(self.flags.or(self.who.settings()?))
    }
}

/// The clock of these commands.
pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Warnings go to standard error: standard output is for what was asked for.
pub(super) fn warnings() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("crewgate_gateway=warn"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let text = error.to_string();
        match error {
            SourceError::Configuration(_) => Self::usage(text),
            SourceError::LoginNeeded(_) | SourceError::Refused(_) => Self::no(text),
            SourceError::Unavailable(_) => Self::unavailable(text),
        }
    }
}
