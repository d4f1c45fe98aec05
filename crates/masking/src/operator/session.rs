//! What stands behind the numbers and tokens of one run.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

use super::keys::normalised;
use crate::Entity;

/// Values one run may get numbers and tokens for. Beyond it they get the bare name of their entity: less is told, and
/// nothing is told wrong.
pub const MAX_ISSUED: usize = 10_000;

/// Random bytes of a vault token.
const TOKEN_BYTES: usize = 16;

/// Stands where an issued thing is the distance dates are moved by.
const SHIFT: &str = "shift";

/// Something given out in the place of a value.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// As it stands in masked text: `<EMAIL_1>`, `<EMAIL:v:…>`.
    pub token: String,
    /// Name of the entity.
    pub entity: String,
    /// What it stands for.
    pub value: String,
}

impl Issued {
    /// One that was kept somewhere.
    #[must_use]
    pub fn new(token: impl Into<String>, entity: impl Into<String>, value: impl Into<String>) -> Self {
        Self { token: token.into(), entity: entity.into(), value: value.into() }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("token", &self.token).finish_non_exhaustive()
    }
}

/// The numbers and tokens of one run, shared by its request, stream and status. Clones share it.
///
/// The same value has the same number wherever it stands in the run; a token of another run means nothing here.
#[derive(Clone, Default)]
pub struct Session(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    by_value: HashMap<(bool, String, String), String>,
    by_token: BTreeMap<String, String>,
    last: HashMap<String, u32>,
    shift: Option<i32>,
    unsaved: Vec<Issued>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("issued", &self.state().by_token.len()).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins with nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on where these were issued.
    #[must_use]
    pub fn resume(issued: impl IntoIterator<Item = Issued>) -> Self {
        let session = Self::new();
        let mut state = session.state();
        for one in issued {
            state.note(&one);
        }
        drop(state);
        session
    }

    /// What was issued since it was last asked.
    #[must_use]
    pub fn take_unsaved(&self) -> Vec<Issued> {
        std::mem::take(&mut self.state().unsaved)
    }

    /// Whether this very session is meant.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What a token of this session stands for.
    #[must_use]
    pub fn value(&self, token: &str) -> Option<String> {
        self.state().by_token.get(token).cloned()
    }

    /// `<EMAIL_1>`; `None` when the session is full.
    pub(super) fn number(&self, entity: &Entity, value: &str) -> Option<String> {
        self.issue(false, entity, value, |state| {
            let last = state.last.get(entity.name()).copied().unwrap_or_default();
            Some(format!("<{}_{}>", entity.name(), last.checked_add(1)?))
        })
    }

    /// `<EMAIL:v:…>`; `None` when the session is full or the system has no randomness.
    pub(super) fn token(&self, entity: &Entity, value: &str) -> Option<String> {
        self.issue(true, entity, value, |_| {
            let mut bytes = [0; TOKEN_BYTES];
            getrandom::fill(&mut bytes).ok()?;
            Some(format!("<{}:v:{}>", entity.name(), BASE64.encode(bytes)))
        })
    }

    /// The distance dates are moved by: drawn once a session, never zero.
    pub(super) fn shift(&self, most: u16) -> Option<i32> {
        let mut state = self.state();
        if let Some(shift) = state.shift {
            return Some(shift);
        }
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).ok()?;
        let most = i32::from(most.max(1));
        // A bias of a few in four thousand million: nothing is gained from it.
        let drawn = i32::try_from(u32::from_le_bytes(bytes) % u32::try_from(2 * most).ok()?).ok()?;
        let shift = if drawn < most { drawn - most } else { drawn - most + 1 };
        let issued = Issued::new(SHIFT, SHIFT, shift.to_string());
        state.note(&issued);
        state.unsaved.push(issued);
        Some(shift)
    }

    fn issue(
        &self,
        token: bool,
        entity: &Entity,
        value: &str,
        make: impl FnOnce(&State) -> Option<String>,
    ) -> Option<String> {
        let mut state = self.state();
        let key = (token, entity.name().to_owned(), normalised(entity.name(), value));
        if let Some(known) = state.by_value.get(&key) {
            return Some(known.clone());
        }
        if state.by_token.len() >= MAX_ISSUED {
            return None;
        }
        let token = make(&state)?;
        let issued = Issued::new(token.clone(), entity.name(), value);
        state.note(&issued);
        state.unsaved.push(issued);
        Some(token)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, issued: &Issued) {
        if issued.token == SHIFT {
            self.shift = issued.value.parse().ok();
            return;
        }
        let number = issued.token.strip_suffix('>').and_then(|token| token.rsplit_once('_'));
        let number = number.and_then(|(_, number)| number.parse::<u32>().ok());
        if let Some(number) = number {
            let last = self.last.entry(issued.entity.clone()).or_default();
            *last = (*last).max(number);
        }
        let normal = normalised(&issued.entity, &issued.value);
        self.by_value.insert((number.is_none(), issued.entity.clone(), normal), issued.token.clone());
        self.by_token.insert(issued.token.clone(), issued.value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_number_however_it_is_spelt_and_after_a_restart_too() {
        let session = Session::new();
        let number = |session: &Session, value: &str| session.number(&Entity::Email, value).unwrap();
        assert_eq!(number(&session, "a@example.com"), "<EMAIL_1>");
        assert_eq!(number(&session, "b@example.com"), "<EMAIL_2>");
        assert_eq!(number(&session, "A@Example.com"), "<EMAIL_1>");
        let kept = session.take_unsaved();
        assert_eq!(kept.len(), 2);
        assert!(session.take_unsaved().is_empty());
        let resumed = Session::resume(kept);
        assert_eq!(number(&resumed, "b@example.com"), "<EMAIL_2>");
        assert_eq!(number(&resumed, "c@example.com"), "<EMAIL_3>");
        assert_eq!(resumed.value("<EMAIL_1>").as_deref(), Some("a@example.com"));
        assert_eq!(Session::new().value("<EMAIL_1>"), None);
    }

    #[test]
    fn tokens_cannot_be_guessed_from_each_other_and_belong_to_their_session() {
        let (one, other) = (Session::new(), Session::new());
        let token = one.token(&Entity::Email, "a@example.com").unwrap();
        assert_eq!(one.token(&Entity::Email, "a@example.com").as_ref(), Some(&token));
        assert_ne!(other.token(&Entity::Email, "a@example.com").as_ref(), Some(&token));
        assert_eq!(other.value(&token), None);
    }

    #[test]
    fn a_full_session_issues_no_more_and_keeps_what_it_has() {
        let session = Session::new();
        for n in 0..MAX_ISSUED {
            session.number(&Entity::Phone, &format!("{n}")).unwrap();
        }
        assert_eq!(session.number(&Entity::Phone, "x"), None);
        assert_eq!(session.number(&Entity::Phone, "0").as_deref(), Some("<PHONE_1>"));
    }

    #[test]
    fn dates_of_a_run_move_together_and_always_move() {
        for _ in 0..200 {
            let session = Session::new();
            let shift = session.shift(3).unwrap();
            assert!((1..=3).contains(&shift.abs()), "{shift}");
            assert_eq!(session.shift(3), Some(shift));
            assert_eq!(Session::resume(session.take_unsaved()).shift(3), Some(shift));
        }
    }
}
