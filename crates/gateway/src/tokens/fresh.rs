//! A token that is always fresh: renewed before it ends, once for all who wait.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crewgate_core::{Clock, Timestamp};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use super::{SourceError, Token, TokenSource};

/// Time between two questions to a source that did not bring a new token.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for a source.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps the token of a source. Clones are the same.
///
/// After four fifths of a token's life the next one is fetched beside the calls, which go on with the old one; they
/// wait only when there is none that counts. However many wait, the source is asked once, and being asked is not
/// ended by any of them going away.
#[derive(Clone)]
pub struct Fresh(Arc<Inner>);

struct Inner {
    source: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Token>,
    flight: Option<Flight>,
    /// When the last question brought nothing new, and the error if there was one: who asks again at once hears it
    /// again.
    failed: Option<(Timestamp, Option<SourceError>)>,
}

type Flight = Shared<BoxFuture<'static, Result<Token, SourceError>>>;

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("source", &self.0.source).finish_non_exhaustive()
    }
}

impl Fresh {
    /// The tokens of this source.
    pub fn new(source: Arc<dyn TokenSource>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { source, clock, state: Mutex::default() }))
    }

    /// A token that counts.
    ///
    /// # Errors
    ///
    /// The source's error, when there is no earlier token that still counts.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: a question to the source goes on without it.
    pub async fn token(&self) -> Result<Token, SourceError> {
        let flight = {
            let mut state = self.0.state();
            let now = self.0.clock.now();
            let usable = state.current.clone().filter(|token| !token.is_spent(now));
            if let Some(token) = usable.as_ref().filter(|token| !token.is_due(now)) {
                return Ok(token.clone());
            }
            let just_failed = state.failed.as_ref().filter(|(when, _)| now.since(*when) < PAUSE);
            match (&usable, just_failed) {
                (Some(token), Some(_)) => return Ok(token.clone()),
                (None, Some((_, Some(error)))) => return Err(error.clone()),
                _ => {}
            }
            let flight = state.flight.clone().unwrap_or_else(|| self.take_off(&mut state));
            if let Some(token) = usable {
                return Ok(token);
            }
            flight
        };
        flight.await
    }

    fn take_off(&self, state: &mut State) -> Flight {
        // On its own: a refresh token that rotates is lost with whoever asked, if whoever asked could end it.
        let task = tokio::spawn(Arc::clone(&self.0).renew());
        let landed = async move {
            task.await.unwrap_or_else(|_| Err(SourceError::Unavailable("the token source broke".to_owned())))
        };
        let flight = landed.boxed().shared();
        state.flight = Some(flight.clone());
        flight
    }
}

impl Inner {
    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(self: Arc<Self>) -> Result<Token, SourceError> {
        let flight = Flying(&self);
        let brought = tokio::time::timeout(PATIENCE, self.source.obtain()).await.unwrap_or_else(|_| {
            Err(SourceError::Unavailable(format!("no token within {} s", PATIENCE.as_secs())))
        });
        let now = self.clock.now();
        let mut state = self.state();
        state.failed = match &brought {
            Ok(token) => {
                state.current = Some(token.clone());
                token.is_due(now).then_some((now, None))
            }
            Err(error) => {
                tracing::warn!(%error, "no new token");
                Some((now, Some(error.clone())))
            }
        };
        drop(state);
        drop(flight);
        brought
    }
}

/// The flight ends with its task, also when that breaks.
struct Flying<'a>(&'a Inner);

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.state().flight = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use crewgate_testkit::ManualClock;
    use tokio::sync::Semaphore;

    use super::*;

    /// Brings `t1`, `t2`, …, each good for a hundred seconds, as soon as it is let.
    #[derive(Debug)]
    struct Counted {
        clock: ManualClock,
        asked: AtomicU32,
        let_go: Semaphore,
        broken: Mutex<Option<SourceError>>,
    }

    impl TokenSource for Counted {
        fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
            Box::pin(async {
                let n = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                self.let_go.acquire().await.unwrap().forget();
                if let Some(error) = self.broken.lock().unwrap().clone() {
                    return Err(error);
                }
                Ok(Token::granted(&format!("t{n}"), Some(secs(100)), self.clock.now()).unwrap())
            })
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn fresh(let_go: usize) -> (Arc<Counted>, Fresh, ManualClock) {
        let clock = ManualClock::new();
        let source = Arc::new(Counted {
            clock: clock.clone(),
            asked: AtomicU32::new(0),
            let_go: Semaphore::new(let_go),
            broken: Mutex::default(),
        });
        (Arc::clone(&source), Fresh::new(source, Arc::new(clock.clone())), clock)
    }

    async fn value(fresh: &Fresh) -> String {
        fresh.token().await.unwrap().expose().to_owned()
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn all_who_wait_share_one_question() {
        let (source, fresh, _) = fresh(0);
        let asking = (0..50).map(|_| {
            tokio::spawn({
                let fresh = fresh.clone();
                async move { value(&fresh).await }
            })
        });
        let asking: Vec<_> = asking.collect();
        settle().await;
        source.let_go.add_permits(50);
        for one in asking {
            assert_eq!(one.await.unwrap(), "t1");
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_next_token_is_fetched_beside_calls_that_go_on_with_the_old_one() {
        let (source, fresh, clock) = fresh(1);
        assert_eq!(value(&fresh).await, "t1");
        clock.advance(secs(79));
        assert_eq!(value(&fresh).await, "t1");
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        clock.advance(secs(1));
        // The source is asked and does not answer; nobody waits for it.
        for _ in 0..10 {
            assert_eq!(value(&fresh).await, "t1");
            settle().await;
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
        source.let_go.add_permits(1);
        settle().await;
        assert_eq!(value(&fresh).await, "t2");
    }

    #[tokio::test]
    async fn an_old_token_counts_until_it_is_spent_while_the_source_is_broken() {
        let (source, fresh, clock) = fresh(1);
        assert_eq!(value(&fresh).await, "t1");
        let down = SourceError::Unavailable("down".to_owned());
        *source.broken.lock().unwrap() = Some(down.clone());
        source.let_go.add_permits(100);
        clock.advance(secs(80));
        for _ in 0..5 {
            assert_eq!(value(&fresh).await, "t1");
            settle().await;
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 2, "a broken source is asked once in {PAUSE:?}");
        clock.advance(secs(15));
        assert_eq!(fresh.token().await, Err(down.clone()));
        // Asked a moment ago: the same answer, without asking.
        assert_eq!(fresh.token().await, Err(down));
        assert_eq!(source.asked.load(Ordering::SeqCst), 3);
        *source.broken.lock().unwrap() = None;
        clock.advance(PAUSE);
        assert_eq!(value(&fresh).await, "t4");
    }

    #[tokio::test]
    async fn a_source_without_a_newer_token_is_not_asked_with_every_call_and_is_asked_at_the_end() {
        /// Always the same token.
        #[derive(Debug)]
        struct Same(Token, AtomicU32);
        impl TokenSource for Same {
            fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
                Box::pin(async {
                    self.1.fetch_add(1, Ordering::SeqCst);
                    Ok(self.0.clone())
                })
            }
        }
        let clock = ManualClock::new();
        let token = Token::granted("same", Some(secs(100)), clock.now()).unwrap();
        let source = Arc::new(Same(token, AtomicU32::new(0)));
        let fresh = Fresh::new(Arc::clone(&source) as Arc<dyn TokenSource>, Arc::new(clock.clone()));
        let asked = || source.1.load(Ordering::SeqCst);
        clock.advance(secs(94));
        for _ in 0..5 {
            assert_eq!(value(&fresh).await, "same");
            settle().await;
        }
        assert_eq!(asked(), 1);
        // Spent a moment later: somebody else may have brought a new one meanwhile.
        clock.advance(Duration::from_millis(1001));
        assert_eq!(value(&fresh).await, "same");
        assert_eq!(asked(), 2);
    }

    #[tokio::test]
    async fn a_question_goes_on_when_who_asked_is_gone() {
        let (source, fresh, _) = fresh(0);
        let asking = tokio::spawn({
            let fresh = fresh.clone();
            async move { fresh.token().await }
        });
        settle().await;
        asking.abort();
        settle().await;
        source.let_go.add_permits(1);
        settle().await;
        assert_eq!(value(&fresh).await, "t1");
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_source_that_breaks_is_asked_again() {
        #[derive(Debug)]
        struct Broken;
        impl TokenSource for Broken {
            fn obtain(&self) -> BoxFuture<'_, Result<Token, SourceError>> {
                Box::pin(async { panic!("broken") })
            }
        }
        let fresh = Fresh::new(Arc::new(Broken), Arc::new(ManualClock::new()));
        for _ in 0..2 {
            assert!(matches!(fresh.token().await, Err(SourceError::Unavailable(_))));
        }
    }
}
