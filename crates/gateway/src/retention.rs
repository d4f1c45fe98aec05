//! What the record has held for long enough is given up: what lies beside leaves by class, then the leaves.

use std::{sync::Arc, time::Duration};

use crewgate_audit::{Cursors, EraseError, Erasure};
use crewgate_core::{Clock, Timestamp};

use crate::config::RetentionSettings;

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// What those who share a record take turns at it by. Not a name an export may have.
const NAME: &str = " retention";

/// For how long what is kept, and what gives it up.
pub(crate) struct Retention {
    pub(crate) kept: RetentionSettings,
    /// Exports that must have read a leaf before it goes.
    pub(crate) exports: Vec<String>,
    pub(crate) erasure: Arc<dyn Erasure>,
    pub(crate) cursors: Arc<dyn Cursors>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Retention {
    /// Gives up what is due, until it is dropped.
    pub(crate) async fn run(self) {
        if self.kept.content.is_empty() && self.kept.leaves.is_none() {
            return;
        }
        loop {
            if let Err(error) = self.turn().await {
                tracing::error!(%error, "the record keeps what its time is over for; it is tried again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn turn(&self) -> Result<(), EraseError> {
        // Of gateways that share a record one gives up what is old.
        if !self.cursors.leads(NAME).await? {
            return Ok(());
        }
        let now = self.clock.now();
        for (class, time) in &self.kept.content {
            let leaves = self.erasure.prune(*class, now.saturating_sub(*time), None).await?;
            if leaves > 0 {
                tracing::info!(class = class.as_str(), leaves, "what lay beside old leaves was given up");
            }
        }
        match self.kept.leaves {
            Some(time) => self.cut(now.saturating_sub(time)).await,
            None => Ok(()),
        }
    }

    async fn cut(&self, before: Timestamp) -> Result<(), EraseError> {
        let mut keep_from = u64::MAX;
        for name in &self.exports {
            keep_from = keep_from.min(self.cursors.exported(name).await?);
        }
        let first = self.erasure.cut(before, keep_from, None).await?;
        tracing::debug!(first, "the first leaf of the record");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crewgate_audit::{AuditStore, Class, Entry, Held, Lane, Log, Phase, Query, verify};
    use crewgate_core::RequestId;
    use crewgate_store::{Options, Store};
    use crewgate_testkit::ManualClock;

    use super::*;

    #[tokio::test]
    async fn what_is_old_goes_class_by_class_and_then_leaf_by_leaf() {
        let folder = std::env::temp_dir().join(format!("crewgate-retention-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::open(folder.join("crewgate.db"), Options::default()).await.unwrap();
        let day = Duration::from_secs(86_400);
        let clock = ManualClock::new();
        let mut retention = Retention {
            kept: RetentionSettings { content: [(Class::Refusals, day)].into(), leaves: Some(2 * day) },
            exports: vec!["siem".to_owned()],
            erasure: Arc::new(store.clone()),
            cursors: Arc::new(store.clone()),
            clock: Arc::new(clock.clone()),
        };
        let mut entries = Vec::new();
        for n in 0..600 {
            let phase = if n % 2 == 0 { Phase::Outcome } else { Phase::Refused };
            entries.push(store.append(Lane::Outcome, Entry::new(phase, RequestId::random(), clock.now())));
        }
        for appended in entries {
            appended.await.unwrap();
        }
        let gone = async || {
            let leaves = store.leaves(Query::default().limit(u32::MAX)).await.unwrap();
            leaves.iter().filter(|leaf| leaf.held == Held::Missing).count()
        };
        retention.turn().await.unwrap();
        assert_eq!(gone().await, 0, "nothing is old yet");
        clock.advance(day + Duration::from_secs(1));
        retention.turn().await.unwrap();
        assert_eq!((gone().await, store.first().await), (300, Ok(0)));
        clock.advance(day);
        retention.turn().await.unwrap();
        assert_eq!(store.first().await, Ok(0), "an export has read nothing of it");
        store.acknowledge("siem", 300).await.unwrap();
        retention.turn().await.unwrap();
        assert_eq!(store.first().await, Ok(256));
        retention.exports.clear();
        retention.turn().await.unwrap();
        assert_eq!(store.first().await, Ok(512));
        assert!(verify(&store, None, |_, _| ()).await.unwrap().is_ok());
        store.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
