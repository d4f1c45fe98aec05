use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crewgate_audit::{AuditError, AuditStore, Entry, Lane};
use crewgate_cedar::CedarPolicy;
use crewgate_core::{Fact, PolicyHash, RequestId};
use crewgate_policy::{Policy, Shadow};
use opentelemetry::KeyValue;
use sha2::{Digest, Sha256};

use super::{
    Generation, Live, Makings, restart,
    stamp::{Sources, Stamp},
};
use crate::{
    config::{ConfigError, Diagnostic, Settings},
    policies,
    telemetry::Instruments,
};

/// How often the files are looked at. A change counts once it has stood still from one look to the next: what is being
/// copied file by file is not read in the middle, where a permit may be there and its guard not yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a reload that was asked for starts anew because files change while it reads.
const ATTEMPTS: usize = 5;

/// Longest reason that is kept, in characters.
const LONGEST_REASON: usize = 400;

/// Reads rules and words again, and puts them in the place of the running ones when everything about them is right.
pub(crate) struct Reloader {
    live: Live,
    makings: Arc<Makings>,
    shadow: Arc<Shadow>,
    audit: Arc<dyn AuditStore>,
    instruments: Instruments,
    /// The configuration the process started with, for what needs a restart.
    started: String,
    standing: Mutex<Standing>,
    // Held for a whole reload: two never cross.
    turn: tokio::sync::Mutex<Turn>,
}

/// How the last reload went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Why what was read last does not count.
    pub(crate) refused: Option<String>,
    /// What was read and needs a restart.
    pub(crate) restart: BTreeSet<String>,
    /// The second rule set: not asked for, in place, or why not.
    pub(crate) shadow: Option<Result<PolicyHash, String>>,
}

struct Turn {
    sources: Sources,
    /// Files as they were when they were last read.
    read: Stamp,
    /// The generation before, so that no request has to take it apart: it is dropped by the next reload.
    previous: Option<Arc<Generation>>,
}

/// What one look at the files brought.
struct Reading {
    sources: Option<Sources>,
    read: Stamp,
    outcome: Result<Next, ConfigError>,
}

/// A generation, the second rule set beside it, and what was read and needs a restart.
struct Next {
    generation: Generation,
    second: Second,
    restart: BTreeSet<String>,
}

/// The second rule set.
type Second = Option<Result<CedarPolicy, ConfigError>>;

impl Reloader {
    /// For the generation that counts; puts its second rule set beside it.
    pub(crate) fn new(
        live: Live,
        makings: Arc<Makings>,
        shadow: Arc<Shadow>,
        audit: Arc<dyn AuditStore>,
        instruments: Instruments,
    ) -> Self {
        let settings = live.current().settings.clone();
        let sources = Sources::of(&settings);
        let turn = Turn { read: sources.stamp(), sources, previous: None };
        let second = second(&settings);
        let reloader = Self {
            live,
            makings,
            shadow,
            audit,
            instruments,
            started: settings.text,
            standing: Mutex::default(),
            turn: tokio::sync::Mutex::new(turn),
        };
        let shadow = reloader.watch(second);
        reloader.stands(Standing { shadow, ..Standing::default() });
        reloader
    }

    /// Puts on the record what counts from the start.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded: then nothing may start.
    pub(crate) async fn started(&self) -> Result<(), AuditError> {
        let fact = Fact::Loaded {
            config: Sha256::digest(&self.started).iter().map(|byte| format!("{byte:02x}")).collect(),
            policy: self.live.current().policy.hash().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.record("config.load", fact).await
    }

    /// How things stand.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stands(&self, standing: Standing) {
        self.instruments.policy_stale.record(u64::from(standing.refused.is_some()), &[]);
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Reads everything again now. Nothing is read in part: what is wrong leaves all as it was.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its place.
    pub(crate) async fn reload(&self) -> Result<(), ConfigError> {
        let mut turn = self.turn.lock().await;
        for _ in 1..ATTEMPTS {
            if let Some(reading) = self.read(&turn).await {
                return self.settle(&mut turn, reading).await;
            }
        }
        let text = "the files are being changed while they are read";
        Err(ConfigError(vec![Diagnostic::whole(&self.live.current().settings.file, text)]))
    }

    /// Looks at the files for ever, and reads them when they have changed and stand still.
    pub(crate) async fn watch_files(self: Arc<Self>) {
        let mut seen = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut turn = self.turn.lock().await;
            let sources = turn.sources.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || sources.stamp()).await else { continue };
            let settled = seen.as_ref() == Some(&now);
            if settled
                && now != turn.read
                && let Some(reading) = self.read(&turn).await
                && let Err(error) = self.settle(&mut turn, reading).await
            {
                tracing::error!(%error, "what was changed is refused, and what decided goes on deciding");
            }
            seen = Some(now);
        }
    }

    /// Reads and checks everything on a thread that may block; `None` when files changed meanwhile.
    async fn read(&self, turn: &Turn) -> Option<Reading> {
        let (running, makings, started) =
            (self.live.current(), Arc::clone(&self.makings), self.started.clone());
        let known = turn.sources.clone();
        let read = move || {
            let before = known.stamp();
            let settings = match Settings::load(&running.settings.file) {
                Ok(settings) => settings,
                Err(error) => {
                    return Some(Reading { sources: None, read: before, outcome: Err(error) });
                }
            };
            let restart = restart::needed(&started, &running, &settings);
            let (settings, maskers) = running.masks_after(settings);
            let sources = Sources::of(&settings);
            let read = sources.stamp();
            let second = second(&settings);
            let outcome = Generation::read(settings, &makings, maskers);
            let outcome = outcome.map(|generation| Next { generation, second, restart });
            (sources.stamp() == read && known.stamp() == before).then_some(Reading {
                sources: Some(sources),
                read,
                outcome,
            })
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    async fn settle(&self, turn: &mut Turn, reading: Reading) -> Result<(), ConfigError> {
        turn.read = reading.read;
        if let Some(sources) = reading.sources {
            turn.sources = sources;
        }
        let before = self.live.current().policy.hash().clone();
        let settled = match reading.outcome {
            Ok(next) => self.replace(turn, &before, next).await,
            Err(error) => Err(error),
        };
        let outcome = if settled.is_ok() { "loaded" } else { "refused" };
        self.instruments.policy_reloads.add(1, &[KeyValue::new("outcome", outcome)]);
        if let Err(error) = &settled {
            let reason = reason(error);
            self.stands(Standing { refused: Some(reason.clone()), ..self.standing() });
            let fact = Fact::PolicyRefused { running: before, reason };
            if let Err(error) = self.record("config.refused", fact).await {
                tracing::error!(%error, "a refused reload is not on the record");
            }
        }
        settled
    }

    /// On the record first: no rules decide of which it does not know.
    async fn replace(&self, turn: &mut Turn, before: &PolicyHash, next: Next) -> Result<(), ConfigError> {
        let Next { generation, second, restart } = next;
        let (now, file) = (generation.policy.hash().clone(), generation.settings.file.clone());
        let fact = Fact::PolicyLoaded { before: before.clone(), now: now.clone() };
        // The same rules with other words are another configuration only.
        let what = if *before == now { "config.reload" } else { "policy.load" };
        self.record(what, fact).await.map_err(|error| {
            let text = format!("the change cannot be recorded, so nothing is changed: {error}");
            ConfigError(vec![Diagnostic::whole(&file, text)])
        })?;
        turn.previous = Some(self.live.replace(Arc::new(generation)));
        let shadow = self.watch(second);
        if !restart.is_empty() {
            let what: Vec<_> = restart.iter().map(String::as_str).collect();
            tracing::warn!(
                what = what.join(", "),
                "part of the configuration takes effect only with a restart"
            );
        }
        self.stands(Standing { refused: None, restart, shadow });
        tracing::info!(%before, %now, "rules and configuration were read again");
        Ok(())
    }

    async fn record(&self, what: &str, fact: Fact) -> Result<(), AuditError> {
        let entry = Entry::told(what, None, RequestId::random(), self.makings.clock.now());
        self.audit.append(Lane::Outcome, entry.with_fact(fact)).await.map(|_| ())
    }

    /// Puts the second rule set in place. One that does not load keeps nothing from deciding.
    fn watch(&self, second: Second) -> Option<Result<PolicyHash, String>> {
        let (policy, standing) = match second {
            None => (None, None),
            Some(Ok(policy)) => {
                let hash = policy.hash().clone();
                (Some(Arc::new(policy) as Arc<dyn Policy>), Some(Ok(hash)))
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the shadow policy does not load; nothing is put to it");
                (None, Some(Err(reason(&error))))
            }
        };
        self.shadow.watch(policy);
        standing
    }
}

/// The second rule set of these settings.
fn second(settings: &Settings) -> Second {
    let folder = settings.shadow.as_ref()?;
    Some(policies::load_folder(folder, settings))
}

/// The first mistake in one line.
fn reason(error: &ConfigError) -> String {
    let Some(first) = error.0.first() else { return String::new() };
    let place = first.place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
    let more = match error.0.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let text = format!("{}{place}: {}{more}", first.file.display(), first.message);
    text.chars().take(LONGEST_REASON).collect()
}
