//! From settings to a running gateway, and to its end.

use std::{fmt, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::body::Body;
use crewgate_approval::{ApprovalStore, ReleasePath};
use crewgate_audit::AuditStore;
use crewgate_core::{Clock, SystemClock};
use crewgate_oidc::{Exchange, Revocations, Sightings};
use crewgate_runs::RunLedger;
use crewgate_store::{Location, Options, Store};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    auto_run::AutoRuns,
    checkup::Checkups,
    config::{ConfigError, ListenSettings, LoginSettings, Settings},
    console,
    crews::Crews,
    detach::RunToEndLayer,
    edge::Edge,
    export::{Export, Standing},
    identity::Gatekeeper,
    issuers::KeyWatch,
    limit::AddressLimit,
    listen::Listener,
    live::{self, Generation, Live, Makings, Reloader},
    login::LoginDesk,
    masks::{Maskers, Masks},
    notify::{Notifier, Sources},
    oauth::{self, Desks, TokenDesk},
    ops,
    relay::{RelayDesk, Relays},
    retention::Retention,
    sessions::{Kept, Sessions},
    sightings::Scribe,
    signals::Signals,
    stack::{self, DataPlane, Parts},
    telemetry::Instruments,
    tickets::ReleaseDesk,
    timekeeping,
    well_known::WellKnown,
    witness,
};

/// How often expired tokens of masks are taken out of the vault. They count as expired at once.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Connections the console and the ops listener each take.
const SIDE_CONNECTIONS: usize = 256;

/// Why the gateway did not start.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    fn of(what: &str, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// The gateway.
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Starts everything the settings ask for; when this returns, calls are answered.
    ///
    /// # Errors
    ///
    /// What could not be started: policy that does not load, a store that is locked or damaged, an address in use.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        Self::start_with(settings, prometheus::Registry::new(), Arc::new(SystemClock)).await
    }

    /// As [`Gateway::start`], with the registry behind `/metrics` and the clock by which everything begins and ends.
    ///
    /// # Errors
    ///
    /// As [`Gateway::start`].
    pub async fn start_with(
        settings: Settings,
        registry: prometheus::Registry,
        clock: Arc<dyn Clock>,
    ) -> Result<Running, StartError> {
        let settings = Arc::new(settings);
        if let Location::File(path) = &settings.store {
            private(path).map_err(|error| StartError::of("the store cannot be created", error))?;
        }
        let options = Options::default().clock(Arc::clone(&clock));
        let options = match &settings.record_keys {
            Some(keys) => options.keys(keys.clone()),
            None => options,
        };
        let store = settings
            .store
            .open(options)
            .await
            .map_err(|error| StartError::of("the store cannot be opened", error))?;
        let back = settings.gateway.turn_time_back;
        if let Err(error) = timekeeping::begin(&store, &*clock, back).await {
            store.close().await;
            return Err(StartError::of("time would go back", error));
        }
        let makings = Arc::new(Makings {
            served: settings.crews.iter().map(|crew| (crew.name.clone(), crew.floor.clone())).collect(),
            grants: Arc::new(store.clone()),
            clock: Arc::clone(&clock),
        });
        let maskers = Arc::new(Maskers::new(&settings));
        let first = Generation::read(Settings::clone(&settings), &makings, maskers);
        let live = Live::new(first.map_err(|error| StartError(error.to_string()))?);
        let crews = Arc::new(Crews::new(&settings.crews).map_err(StartError)?);
        let limits = &settings.gateway.limits;
        let bind = |what: &'static str, listen: ListenSettings, connections: usize| async move {
            let listener = Listener::bind(&listen, connections, limits.header_timeout).await;
            let listener =
                listener.map_err(|error| StartError::of(&format!("{what} ({})", listen.address), error))?;
            let address = listener.address().map_err(|error| StartError::of(what, error))?;
            Ok::<_, StartError>((listener, address))
        };
        let (data, data_address) =
            bind("gateway.listen", settings.gateway.listen.clone(), limits.max_connections).await?;
        let base = settings.gateway.public_address(data_address);
        let (revocations, gatekeeper, desks, sightings) =
            identity(&settings, &base, &store, &live, &clock).await?;
        let scribe = Scribe {
            sightings,
            inventory: Arc::new(store.clone()),
            roles: Arc::new(live.clone()),
            clock: Arc::clone(&clock),
        };
        let console_listener = match &settings.console {
            Some(listen) => Some(bind("console.listen", listen.clone(), SIDE_CONNECTIONS).await?),
            None => None,
        };
        let ops_listener = match settings.ops {
            Some(address) => {
                Some(bind("ops.listen", ListenSettings { address, tls: None }, SIDE_CONNECTIONS).await?)
            }
            None => None,
        };

        let standing = Standing::default();
        let export = |settings| {
            let (log, cursors) = (Arc::new(store.clone()), Arc::new(store.clone()));
            Export::new(settings, log, cursors, standing.clone())
        };
        let exports: Result<Vec<_>, _> = settings.exports.iter().map(export).collect();
        let exports = exports.map_err(|error| StartError::of("export", error))?;

        let masks = Masks::new(live.clone(), Arc::clone(&crews));
        let relays = Arc::new(Relays::new(&base, &settings.crews));
        let (audit, approvals, runs): (Arc<dyn AuditStore>, Arc<dyn ApprovalStore>, Arc<dyn RunLedger>) =
            (Arc::new(store.clone()), Arc::new(store.clone()), Arc::new(store.clone()));
        let instruments = Instruments::new();
        let shadow = live::watcher(Arc::clone(&audit), &instruments);
        let shadow = Arc::new(shadow.map_err(|error| StartError::of("the shadow policy's thread", error))?);
        let reloader = Arc::new(Reloader::new(
            live.clone(),
            makings,
            Arc::clone(&shadow),
            Arc::clone(&audit),
            instruments.clone(),
        ));
        let started = reloader.started().await;
        started.map_err(|error| StartError::of("what it starts with cannot be recorded", error))?;
        let kept = settings.masks.vault.clone().map(|keys| Kept {
            vault: Arc::new(store.clone()),
            keys,
            keep: settings.masks.keep,
        });
        let sessions = Arc::new(Sessions::new(kept, Arc::clone(&clock)));
        let parts = Parts {
            settings: Arc::clone(&settings),
            base: base.clone(),
            gatekeeper: gatekeeper.clone(),
            revocations: revocations.clone(),
            inventory: Arc::clone(&scribe.inventory),
            live: live.clone(),
            shadow,
            // Durable: a restart gives nobody their calls again.
            meter: Arc::new(store.clone()),
            crews: Arc::clone(&crews),
            masks: masks.clone(),
            sessions: Arc::clone(&sessions),
            relays: Arc::clone(&relays),
            audit: Arc::clone(&audit),
            erasure: Arc::new(store.clone()),
            approvals: Arc::clone(&approvals),
            keys: Arc::new(store.clone()),
            runs: Arc::clone(&runs),
            grants: Arc::new(store.clone()),
            delegations: Arc::new(store.clone()),
            calls: RunToEndLayer::new(limits.max_calls),
            releases: ReleaseDesk::default(),
            path: ReleasePath::closed(),
            clock: Arc::clone(&clock),
        };
        let plane = stack::build(&parts);
        let edge = Edge {
            limit: Arc::new(AddressLimit::new(limits.per_address.0, limits.per_address.1)),
            well_known: WellKnown::new(&settings, &base, desks.token.as_deref()),
            oauth: desks,
            relay: RelayDesk {
                relays,
                runs: Arc::clone(&runs),
                audit: Arc::clone(&audit),
                masks: masks.clone(),
                clock: Arc::clone(&clock),
                seats: Arc::new(Semaphore::new(crate::relay::SEATS)),
            },
            instruments,
            timeout: limits.request_timeout,
        };
        let plane = edge.around(plane);

        let sources = Sources {
            audit,
            cursors: Arc::new(store.clone()),
            approvals: Arc::clone(&approvals),
            grants: Arc::new(store.clone()),
            masks,
            clock: Arc::clone(&clock),
        };
        let notifiers = settings.notify.iter().map(|settings| Notifier::new(settings, sources.clone()));
        let notifiers: Result<Vec<_>, _> = notifiers.collect();
        let notifiers = notifiers.map_err(|error| StartError::of("notify", error))?;

        let (stop, stopped) = watch::channel(false);
        let drain = limits.drain_timeout;
        let mut listeners = JoinSet::new();
        listeners.spawn(data.serve(plane.clone(), stopped.clone(), drain));
        let console_address = console_listener.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = console_listener {
            let desk = |login: &LoginSettings| {
                let base = login.base(&settings, address);
                let (live, clock) = (live.clone(), Arc::clone(&clock));
                LoginDesk::new(login, base, &store, revocations.clone(), live, clock)
            };
            let desk = settings.login.as_ref().map(desk).transpose();
            let desk = desk.map_err(|error| StartError::of("console.login", error))?;
            let service = console::service(&parts, gatekeeper.clone(), desk);
            listeners.spawn(listener.serve(service, stopped.clone(), drain));
        }
        let ops_address = ops_listener.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = ops_listener {
            let checkup = Checkups {
                store: store.clone(),
                verifier: gatekeeper.verifier().clone(),
                revocations: revocations.clone(),
                exports: standing,
                settings: Arc::clone(&settings),
                live: live.clone(),
                reloader: Arc::clone(&reloader),
                clock: Arc::clone(&clock),
            };
            let service = ops::service(Arc::new(checkup), registry);
            listeners.spawn(listener.serve(service, stopped.clone(), drain));
        }
        let verifier = gatekeeper.verifier().clone();
        let keys = KeyWatch::new(verifier, Arc::new(store.clone()), Arc::clone(&clock));
        let mut background = vec![
            tokio::spawn(gatekeeper.verifier().keep_fresh()),
            tokio::spawn(keys.run()),
            tokio::spawn(timekeeping::watch(Arc::new(store.clone()))),
            tokio::spawn(revocations.keep_fresh()),
            tokio::spawn(scribe.clone().run()),
            tokio::spawn(Arc::clone(&reloader).watch_files()),
            tokio::spawn(forget(sessions)),
            tokio::spawn(AutoRuns::new(approvals, parts.releases.clone(), Arc::clone(&clock)).run()),
        ];
        let retention = Retention {
            kept: settings.retention.clone(),
            exports: settings.exports.iter().map(|export| export.name.clone()).collect(),
            erasure: Arc::clone(&parts.erasure),
            cursors: Arc::new(store.clone()),
            clock: Arc::clone(&clock),
        };
        background.push(tokio::spawn(retention.run()));
        background.extend(notifiers.into_iter().map(|notifier| tokio::spawn(notifier.run())));
        let witnesses = settings.witnesses.iter().cloned();
        background.extend(witnesses.map(|to| tokio::spawn(witness::keep_asking(store.clone(), to))));
        background.extend(exports.into_iter().map(|export| tokio::spawn(export.run())));
        Ok(Running {
            data: data_address,
            console: console_address,
            ops: ops_address,
            plane,
            settings,
            reloader,
            store,
            stop,
            listeners,
            background,
            calls: parts.calls,
            releases: parts.releases,
            scribe,
            path: parts.path,
        })
    }
}

/// Whose tokens count, what is revoked of them, and what is issued and heard besides.
async fn identity(
    settings: &Settings,
    base: &str,
    store: &Store,
    live: &Live,
    clock: &Arc<dyn Clock>,
) -> Result<(Revocations, Gatekeeper, Desks, Sightings), StartError> {
    let exchange = match &settings.exchange {
        Some(asked) => Some(oauth::exchange(asked, base).map_err(|error| StartError::of("exchange", error))?),
        None => None,
    };
    let own = exchange.as_ref().map(Exchange::issuer).transpose();
    let own = own.map_err(|error| StartError::of("exchange", error))?;
    let people = settings.login.as_ref().map(|login| login.issuer.name().to_owned());
    let issuers: Vec<_> = settings
        .issuers
        .iter()
        .map(|issuer| match people.as_deref() == Some(issuer.name.as_str()) {
            true => issuer.config.clone().with_sessions(),
            false => issuer.config.clone(),
        })
        .chain(own)
        .collect();
    let revocations = Revocations::new(Arc::new(store.clone()), Arc::clone(clock), &issuers);
    let read = revocations.refresh().await;
    read.map_err(|error| StartError::of("revocations cannot be read", error))?;
    let sightings = Sightings::default();
    let (revoked, seen) = (Some(revocations.clone()), sightings.clone());
    let gatekeeper = Gatekeeper::new(settings, Arc::clone(clock), revoked, exchange.as_ref(), seen)
        .map_err(StartError)?
        .with_persons(live.clone());
    let token = match (&settings.exchange, exchange) {
        (Some(asked), Some(exchange)) => Some(Arc::new(TokenDesk {
            exchange,
            issuers: asked.issuers.iter().cloned().collect(),
            once: asked.once.iter().cloned().collect(),
            rate: (NonZeroU32::new(asked.rate.0).unwrap_or(NonZeroU32::MIN), asked.rate.1),
            resource: base.to_owned(),
            verifier: gatekeeper.verifier().clone(),
            roles: Arc::new(live.clone()),
            meter: Arc::new(store.clone()),
            used: Arc::new(store.clone()),
            audit: Arc::new(store.clone()),
            clock: Arc::clone(clock),
        })),
        _ => None,
    };
    let used = Arc::new(store.clone());
    let events = oauth::events(&settings.events, revocations.clone(), used, Arc::clone(clock));
    let events = events.map_err(|error| StartError::of("events", error))?;
    Ok((revocations, gatekeeper, Desks { token, events }, sightings))
}

/// What is in the store is nobody else's on this machine: a new file is readable by us alone, and so is what SQLite
/// puts beside it.
fn private(store: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(store).map(|_| ())
}

/// Forgets what masks' tokens stand for when its time is over.
async fn forget(sessions: Arc<Sessions>) {
    loop {
        if let Err(error) = sessions.forget().await {
            tracing::warn!(%error, "expired tokens of masks cannot be forgotten");
        }
        tokio::time::sleep(FORGET_EVERY).await;
    }
}

/// A gateway that answers calls.
pub struct Running {
    data: SocketAddr,
    console: Option<SocketAddr>,
    ops: Option<SocketAddr>,
    plane: DataPlane,
    settings: Arc<Settings>,
    reloader: Arc<Reloader>,
    store: Store,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
    background: Vec<JoinHandle<()>>,
    calls: RunToEndLayer,
    releases: ReleaseDesk,
    scribe: Scribe,
    path: ReleasePath<Body>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("data", &self.data).finish_non_exhaustive()
    }
}

impl Running {
    /// Where crews are called.
    #[must_use]
    pub fn data(&self) -> SocketAddr {
        self.data
    }

    /// Where the control API is.
    #[must_use]
    pub fn console(&self) -> Option<SocketAddr> {
        self.console
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn ops(&self) -> Option<SocketAddr> {
        self.ops
    }

    /// The data plane as a service: the whole stack without a socket.
    #[must_use]
    pub fn plane(&self) -> DataPlane {
        self.plane.clone()
    }

    /// The store behind all ports.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads rules and configuration again, as SIGHUP does; what is wrong leaves all as it was.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its place.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        self.reloader.reload().await
    }

    /// Serves until the process is told to stop (SIGTERM, SIGINT) or the store can no longer be trusted; SIGHUP reads
    /// rules and configuration again. Then drains. `false`: it was the store.
    pub async fn until_told(self, mut signals: Signals) -> bool {
        let store = self.store.clone();
        let healthy = loop {
            tokio::select! {
                _ = signals.terminate.recv() => break true,
                _ = signals.interrupt.recv() => break true,
                _ = signals.hangup.recv() => {
                    // Beside the wait: a reload must not keep the process from being told to stop.
                    let reloader = Arc::clone(&self.reloader);
                    tokio::spawn(async move {
                        if let Err(error) = reloader.reload().await {
                            tracing::error!(%error, "what was read is refused, and what decided goes on deciding");
                        }
                    });
                }
                () = store.poisoned() => {
                    tracing::error!("the store can no longer be trusted: the gateway ends");
                    break false;
                }
            }
        };
        self.stop().await;
        healthy
    }

    /// Takes no more connections, lets calls in progress end, closes the store.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        // Whoever waits for people is let go: the request waits on, and its caller comes back to it.
        self.path.close();
        while self.listeners.join_next().await.is_some() {}
        for task in &self.background {
            task.abort();
        }
        // What has left ends, and is on the record, whoever still waits for it. CrewAI's own time-outs bound it.
        let longest = self.settings.crews.iter().map(|crew| crew.timeout).max().unwrap_or_default();
        let ended = async {
            self.calls.idle().await;
            self.releases.idle().await;
        };
        if tokio::time::timeout(longest + self.settings.gateway.limits.drain_timeout, ended).await.is_err() {
            tracing::warn!("calls were still under way when the time to drain had passed");
        }
        self.releases.close();
        self.scribe.write().await;
        self.store.close().await;
    }
}
