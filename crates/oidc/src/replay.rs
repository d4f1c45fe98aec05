//! What must not come twice, and what we gave out ourselves; both bounded in number and time.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Timestamp;

/// Proofs remembered per generation: 3 MiB, and a thousand sender-constrained calls a second.
pub const MAX_PROOFS: usize = 100_000;

/// How long a generation lasts: longer than the longest time a proof counts, early clocks included. A proof is
/// remembered for one generation at least.
const GENERATION: Duration = Duration::from_secs(150);

/// How long a nonce counts.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);

/// Bytes of a nonce's time and of its seal.
const TIME: usize = 8;
const SEAL: usize = 16;

/// Whether something was seen before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    First,
    Again,
    /// Too many within the time: nobody can say.
    Full,
}

/// Two generations of digests: the young one becomes the old one when its time is over.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
    born: Option<Timestamp>,
}

impl Replays {
    /// Remembers `id` of `owner`.
    pub(crate) fn see(&self, owner: &str, id: &str, now: Timestamp) -> Seen {
        let whole = digest(&SHA256, format!("{owner} {id}").as_bytes());
        let Some(key) = whole.as_ref().first_chunk::<16>() else { return Seen::Full };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = generations.born.map(|born| now.since(born));
        if age.is_none_or(|age| age >= GENERATION) {
            // After a long silence the young generation is as much over as the old one.
            let silent = age.is_some_and(|age| age >= GENERATION.saturating_mul(2));
            let young = mem::take(&mut generations.young);
            generations.old = if silent { HashSet::new() } else { young };
            generations.born = Some(now);
        }
        if generations.young.contains(key) || generations.old.contains(key) {
            Seen::Again
        } else if generations.young.len() >= MAX_PROOFS {
            Seen::Full
        } else {
            generations.young.insert(*key);
            Seen::First
        }
    }
}

/// Nonces that need no memory: a time, sealed with a key of this process, or of all who share a secret.
pub(crate) struct Nonces(hmac::Key);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces(..)")
    }
}

impl Nonces {
    /// `None` on a system without randomness.
    pub(crate) fn random() -> Option<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// Those of all who have this secret.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(crate) fn issue(&self, now: Timestamp) -> String {
        let time = now.as_secs().to_be_bytes();
        let seal = hmac::sign(&self.0, &time);
        let seal = seal.as_ref().get(..SEAL).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([time.as_slice(), seal].concat())
    }

    pub(crate) fn holds(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((time, seal)) = bytes.split_first_chunk::<TIME>() else { return false };
        let issued = Timestamp::from_secs(i64::from_be_bytes(*time));
        // Not compared in constant time: whoever learns a seal byte by byte learns what we hand to everybody.
        let right = hmac::sign(&self.0, time).as_ref().get(..SEAL) == Some(seal);
        right && issued <= now && now.since(issued) < NONCE_LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_counts_once_for_as_long_as_it_could_count() {
        let replays = Replays::default();
        let at = Timestamp::from_secs;
        assert_eq!(replays.see("key", "a", at(0)), Seen::First);
        assert_eq!(replays.see("other", "a", at(0)), Seen::First);
        for later in [0, 60, 120, 149, 150, 200, 299] {
            assert_eq!(replays.see("key", "a", at(later)), Seen::Again, "{later}");
        }
        assert_eq!(replays.see("key", "a", at(1000)), Seen::First);
    }

    #[test]
    fn what_cannot_be_remembered_is_not_taken() {
        let replays = Replays::default();
        for n in 0..MAX_PROOFS {
            assert_eq!(replays.see("key", &n.to_string(), Timestamp::from_secs(0)), Seen::First);
        }
        assert_eq!(replays.see("key", "one more", Timestamp::from_secs(1)), Seen::Full);
        assert_eq!(replays.see("key", "one more", Timestamp::from_secs(200)), Seen::First);
    }

    #[test]
    fn nonces_count_with_all_who_share_their_secret_and_with_nobody_else() {
        let now = Timestamp::from_secs(1000);
        let nonce = Nonces::of(b"ours").issue(now);
        assert!(Nonces::of(b"ours").holds(&nonce, now));
        assert!(!Nonces::of(b"theirs").holds(&nonce, now));
    }

    #[test]
    fn nonces_end_and_cannot_be_made_up() {
        let (ours, theirs) = (Nonces::random().unwrap(), Nonces::random().unwrap());
        let at = Timestamp::from_secs;
        let nonce = ours.issue(at(1000));
        assert!(ours.holds(&nonce, at(1000)) && ours.holds(&nonce, at(1299)));
        for (nonce, now) in
            [(&*nonce, 1300), (&nonce, 999), ("", 1000), ("AAAA", 1000), (&theirs.issue(at(1000)), 1000)]
        {
            assert!(!ours.holds(nonce, at(now)), "{nonce} {now}");
        }
    }
}
