use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    Fetch, FetchError, Fetched, IssuerConfig, KeySet, Reason, Rejection,
    config::{DEFAULT_REFRESH, REFRESH_BOUNDS},
    introspect::Desk,
    json::{self, Json, Object},
    keyset::MAX_DOCUMENT,
};

/// For one document. A request may wait for two of them (discovery and keys), inside CrewAI's client time-out of 30 s.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Between two fetches that an unknown `kid` or a wrong signature caused, on average: anybody can send such a token.
pub const EXTRA_FETCH_PAUSE: Duration = Duration::from_secs(60);

/// Such fetches that may come at once after a quiet time. Two, so that a stranger who spends one does not delay the
/// rotation that comes right after.
pub const EXTRA_FETCH_BURST: u32 = 2;

/// Unknown key ids remembered per issuer, so that one wrong token sent again and again does not spend the fetches that a
/// rotation needs.
const MAX_UNKNOWN: usize = 64;

/// The longest pause between attempts while an issuer cannot be reached; it starts at one second and doubles.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// What is known of one issuer's keys, for readiness and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuerState {
    /// The configured name.
    pub name: String,
    /// The issuer URL.
    pub url: String,
    /// Whether tokens of this issuer can be checked now.
    pub ready: bool,
    /// Keys that can be used.
    pub keys: usize,
    /// Published keys that are not used, with the reason.
    pub refused_keys: Vec<crate::RefusedKey>,
    /// Time since the last good fetch.
    pub age: Option<Duration>,
    /// Why the last attempt failed; `None` when it did not. Ready with an error means: serving the last good keys.
    pub last_error: Option<String>,
}

/// An issuer and its keys.
pub(crate) struct Issuer {
    pub(crate) config: IssuerConfig,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) desk: Option<Desk>,
    // A std mutex: held to look and to store, never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    good: Option<Good>,
    failures: u32,
    last_error: Option<String>,
    last_started: Option<Instant>,
    // When the extra fetches made so far are paid for, at one per pause.
    extra_paid: Option<Instant>,
    // Key ids that were asked for in vain, with the end of the time for which that is remembered.
    unknown: VecDeque<(String, Instant)>,
    // Open while a fetch runs: closed by the end of its task, by a panic in it too.
    running: Option<watch::Receiver<()>>,
}

struct Good {
    set: Arc<KeySet>,
    at: Instant,
    /// Where it came from and under which tag, to ask for it only when it has changed.
    source: Source,
    /// How long the issuer says it stays good.
    max_age: Option<Duration>,
}

/// A document's place and version.
#[derive(Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    tag: Option<String>,
}

/// What a fetch of the keys came to.
struct Keys {
    /// `None`: those at hand still stand.
    set: Option<KeySet>,
    source: Source,
    max_age: Option<Duration>,
}

impl Issuer {
    pub(crate) fn new(config: IssuerConfig, fetch: Arc<dyn Fetch>) -> Self {
        let desk = config.introspection.clone().map(Desk::new);
        Self { config, fetch, desk, state: Mutex::default() }
    }

    /// The keys, unless there are none or they are too old.
    pub(crate) fn current(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        let good = state.good.as_ref()?;
        (good.at.elapsed() < self.config.keep_keys).then(|| Arc::clone(&good.set))
    }

    /// The keys; fetches them when there are none and it is time for another attempt.
    pub(crate) async fn ready(self: &Arc<Self>) -> Result<Arc<KeySet>, Rejection> {
        if let Some(set) = self.current() {
            return Ok(set);
        }
        let flight = {
            let mut state = self.state();
            match state.in_flight() {
                Some(flight) => Some(flight),
                None if state.last_started.is_none_or(|at| at.elapsed() >= retry_pause(state.failures)) => {
                    Some(self.start(&mut state))
                }
                None => None,
            }
        };
        if let Some(flight) = flight {
            landed(flight).await;
        }
        self.current().ok_or_else(|| {
            let state = self.state();
            let error = state.last_error.as_deref().unwrap_or("the last good keys are too old");
            Rejection::new(Reason::IssuerNotReady).finding(error).retry_after(retry_pause(state.failures))
        })
    }

    /// Newer keys than `seen`, when somebody already has them or a fetch for a token's sake may be made now. `unknown`
    /// is the key id that `seen` does not have.
    pub(crate) async fn newer(
        self: &Arc<Self>,
        seen: &Arc<KeySet>,
        unknown: Option<&str>,
    ) -> Option<Arc<KeySet>> {
        if let Some(newer) = self.current().filter(|set| !Arc::ptr_eq(set, seen)) {
            return Some(newer);
        }
        let flight = {
            let mut state = self.state();
            let now = Instant::now();
            state.unknown.retain(|(_, until)| now < *until);
            if unknown.is_some_and(|kid| state.unknown.iter().any(|(known, _)| known == kid)) {
                return None;
            }
            match state.in_flight() {
                Some(flight) => flight,
                None if state.spend_extra(now) => self.start(&mut state),
                None => return None,
            }
        };
        landed(flight).await;
        let newer = self.current().filter(|set| !Arc::ptr_eq(set, seen));
        if let Some(kid) = unknown.filter(|kid| !newer.as_ref().is_some_and(|set| set.names(kid))) {
            let mut state = self.state();
            if state.unknown.len() >= MAX_UNKNOWN {
                state.unknown.pop_front();
            }
            state.unknown.push_back((kid.to_owned(), Instant::now() + EXTRA_FETCH_PAUSE));
        }
        newer
    }

    /// Fetches now and then for ever.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            let flight = {
                let mut state = self.state();
                let running = state.in_flight();
                running.unwrap_or_else(|| self.start(&mut state))
            };
            landed(flight).await;
            let pause = self.pause();
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    /// Until the next fetch.
    fn pause(&self) -> Duration {
        let state = self.state();
        if state.failures > 0 {
            return retry_pause(state.failures);
        }
        let (least, most) = REFRESH_BOUNDS;
        let said = state.good.as_ref().and_then(|good| good.max_age).map(|age| age.clamp(least, most));
        self.config.refresh.or(said).unwrap_or(DEFAULT_REFRESH)
    }

    pub(crate) fn report(&self) -> IssuerState {
        let ready = self.current();
        let state = self.state();
        IssuerState {
            name: self.config.name.clone(),
            url: self.config.url.clone(),
            ready: ready.is_some(),
            keys: ready.as_ref().map_or(0, |set| set.len()),
            refused_keys: ready.as_ref().map(|set| set.refused().to_vec()).unwrap_or_default(),
            age: state.good.as_ref().map(|good| good.at.elapsed()),
            last_error: state.last_error.clone(),
        }
    }

    /// Starts the one fetch everybody waits for. It is a task of its own: a caller who hangs up cannot end it, or
    /// whoever sends an unknown `kid` and leaves could keep the keys from ever being renewed.
    fn start(self: &Arc<Self>, state: &mut State) -> watch::Receiver<()> {
        let (landing, flight) = watch::channel(());
        state.running = Some(flight.clone());
        state.last_started = Some(Instant::now());
        let issuer = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = issuer.fetch_keys().await;
            issuer.store(fetched);
            drop(landing);
        });
        flight
    }

    fn store(&self, fetched: Result<Keys, FetchError>) {
        let name = &self.config.name;
        let mut state = self.state();
        match fetched {
            Ok(Keys { set, source, max_age }) => {
                for key in set.iter().flat_map(KeySet::refused) {
                    tracing::debug!(issuer = %name, kid = key.kid.as_deref(), why = key.why, "published key is not used");
                }
                // Asked with a tag that is only there with a set.
                let set = set.map(Arc::new).or_else(|| state.good.as_ref().map(|good| Arc::clone(&good.set)));
                state.good = set.map(|set| Good { set, at: Instant::now(), source, max_age });
                state.failures = 0;
                state.last_error = None;
            }
            Err(error) => {
                tracing::warn!(issuer = %name, %error, "keys could not be fetched");
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(error.to_string());
            }
        }
    }

    async fn fetch_keys(&self) -> Result<Keys, FetchError> {
        let uri = match &self.config.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discover().await?,
        };
        let known =
            self.state().good.as_ref().map(|good| good.source.clone()).filter(|known| known.uri == uri);
        let known = known.and_then(|known| known.tag);
        let fetched = self.get(&uri, known.clone()).await?;
        let wrong = |what: String| FetchError::new(format!("{uri}: {what}"));
        let set = match &fetched.body {
            None if known.is_none() => return Err(wrong("not modified, and nothing is at hand".to_owned())),
            None => None,
            Some(document) => {
                let set = KeySet::parse_with_use(document, self.config.profile.key_use()).map_err(wrong)?;
                // An empty answer is far more often a broken deployment than the wish to lock everybody out.
                if set.is_empty() {
                    return Err(wrong("no usable key".to_owned()));
                }
                Some(set)
            }
        };
        // RFC 9110 section 15.4.5: a 304 may leave the tag out.
        let source = Source { tag: fetched.tag.or(known), uri };
        Ok(Keys { set, source, max_age: fetched.max_age })
    }

    /// `jwks_uri` of the discovery document (OpenID Connect Discovery 1.0 section 4).
    async fn discover(&self) -> Result<String, FetchError> {
        self.discovery(|document| match document.get("jwks_uri").and_then(Json::as_str) {
            Some(uri) if self.config.may_publish_at(uri) => Ok(uri.to_owned()),
            Some(uri) => {
                Err(format!("jwks_uri {uri:?} is on another host: set jwks_uri to it when that is meant"))
            }
            None => Err("no jwks_uri".to_owned()),
        })
        .await
    }

    /// What is read of the discovery document, which must be this issuer's own.
    pub(crate) async fn discovery<T>(
        &self,
        read: impl FnOnce(&Object<'_>) -> Result<T, String>,
    ) -> Result<T, FetchError> {
        let url = &self.config.url;
        let place = format!("{}/.well-known/openid-configuration", url.strip_suffix('/').unwrap_or(url));
        let wrong = |what: String| FetchError::new(format!("{place}: {what}"));
        let document = self.get(&place, None).await?.body.unwrap_or_default();
        if document.len() > MAX_DOCUMENT {
            return Err(wrong("more than 1 MiB".to_owned()));
        }
        let document = json::parse_object(&document).map_err(wrong)?;
        match document.get("issuer").and_then(Json::as_str) {
            Some(issuer) if issuer == url => {}
            Some(_) => return Err(wrong(format!("issuer is not {url} to the letter"))),
            None => return Err(wrong("no issuer".to_owned())),
        }
        read(&document).map_err(wrong)
    }

    async fn get(&self, url: &str, known: Option<String>) -> Result<Fetched, FetchError> {
        let wrong = |what: &str| FetchError::new(format!("{url}: {what}"));
        let uri = self.config.fetchable(url).map_err(wrong)?;
        match tokio::time::timeout(FETCH_TIMEOUT, self.fetch.fetch(uri, known)).await {
            Ok(answer) => answer.map_err(|e| wrong(&e.to_string())),
            Err(_) => Err(wrong("no answer within 3 s")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes one extra fetch, when there is one to take: a bucket of [`EXTRA_FETCH_BURST`], one more per
    /// [`EXTRA_FETCH_PAUSE`].
    fn spend_extra(&mut self, now: Instant) -> bool {
        let paid = self.extra_paid.map_or(now, |paid| paid.max(now));
        let room = EXTRA_FETCH_PAUSE.saturating_mul(EXTRA_FETCH_BURST.saturating_sub(1));
        if paid.duration_since(now) > room {
            return false;
        }
        self.extra_paid = Some(paid + EXTRA_FETCH_PAUSE);
        true
    }

    fn in_flight(&self) -> Option<watch::Receiver<()>> {
        // `has_changed` errs once the sender is gone: nothing is ever sent.
        self.running.clone().filter(|flight| flight.has_changed().is_ok())
    }
}

async fn landed(mut flight: watch::Receiver<()>) {
    // Errs when the task is over, which is what we wait for.
    let _ = flight.changed().await;
}

fn retry_pause(failures: u32) -> Duration {
    let secs = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(secs).min(MAX_RETRY_PAUSE)
}

/// Ten per cent more or less, so that a fleet of gateways does not ask in step.
fn jittered(pause: Duration) -> Duration {
    // Randomly keyed per process and call; good enough to spread, and std has no other.
    let random = RandomState::new().build_hasher().finish() % 2001;
    let per_mille = 900.0 + f64::from(u32::try_from(random).unwrap_or(1000)) / 10.0;
    pause.mul_f64(per_mille / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_jitter_stays_within_a_tenth() {
        let pauses: Vec<_> = (0..9).map(|n| retry_pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry_pause(u32::MAX), MAX_RETRY_PAUSE);
        for _ in 0..1000 {
            let pause = jittered(Duration::from_secs(1000)).as_secs_f64();
            assert!((900.0..=1100.1).contains(&pause), "{pause}");
        }
    }
}
