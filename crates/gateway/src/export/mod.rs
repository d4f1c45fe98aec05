//! Handing the record on: to collectors, SIEMs and log servers, from the log itself and never in the way of a call.
//!
//! A worker reads the log from where its sink has last acknowledged, hands over what is there in order, and moves on when
//! the sink says that it has all of it. What it does not say so of is handed over again: at least once, in order.

mod event;
mod objects;
mod ocsf;
mod otlp;
mod parquet;
mod post;
mod syslog;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crewgate_audit::{AuditStore, Cursors, Query, tlog::TILE};
use futures_util::future::BoxFuture;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge},
};

pub(crate) use self::event::Event;
use crate::config::{ExportSettings, ExportTo};

/// Leaves that are handed over at once, at most: those of one tile.
const BATCH: u64 = TILE;

/// How often the log is looked at when everything has been handed over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first pause after a sink has failed; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause after a sink has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a sink may take for one batch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Leaves in order, all of one tile, and the log they are from.
pub(crate) struct Batch<'a> {
    pub(crate) log: &'a dyn AuditStore,
    pub(crate) events: &'a [Event],
    /// The first leaf after them.
    pub(crate) end: u64,
}

/// Where the record is handed on to.
pub(crate) trait Sink: Send + 'static {
    /// Whether it takes these now, or waits for more.
    fn takes(&self, _: &Batch<'_>) -> bool {
        true
    }

    /// Hands these over, in order. `Ok`: the other side has said that it has all of them.
    fn hand_over<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), String>>;
}

/// How exports stand, by name: what is wrong, or nothing. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Standing {
    pub(crate) fn all(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, name: &str, wrong: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), wrong);
    }
}

/// One export at work.
pub(crate) struct Export {
    name: String,
    audit: Arc<dyn AuditStore>,
    cursors: Arc<dyn Cursors>,
    sink: Box<dyn Sink>,
    standing: Standing,
    exported: Counter<u64>,
    failures: Counter<u64>,
    lag: Gauge<u64>,
}

impl Export {
    /// Makes what these settings ask for.
    pub(crate) fn new(
        settings: &ExportSettings,
        audit: Arc<dyn AuditStore>,
        cursors: Arc<dyn Cursors>,
        standing: Standing,
    ) -> Result<Self, String> {
        let sink: Box<dyn Sink> = match &settings.to {
            ExportTo::Objects(objects) => Box::new(objects::Objects::new(objects)?),
            ExportTo::Ocsf(http) => Box::new(ocsf::Ocsf::new(http)?),
            ExportTo::Otlp(http) => Box::new(otlp::Otlp::new(http)?),
            ExportTo::Syslog(syslog) => Box::new(syslog::Syslog::new(syslog)?),
        };
        let meter = global::meter("crewgate");
        standing.set(&settings.name, None);
        Ok(Self {
            name: settings.name.clone(),
            audit,
            cursors,
            sink,
            standing,
            exported: meter.u64_counter("crewgate.export.leaves").build(),
            failures: meter.u64_counter("crewgate.export.failures").build(),
            lag: meter.u64_gauge("crewgate.export.lag").build(),
        })
    }

    /// Hands on, until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping it between a sink's acknowledgement and its being written down hands that batch over again.
    pub(crate) async fn run(mut self) {
        let label = [KeyValue::new("export", self.name.clone())];
        let mut pause = FIRST_PAUSE;
        loop {
            match self.advance(&label).await {
                Ok(0) => {
                    self.standing.set(&self.name, None);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ok(leaves) => {
                    self.standing.set(&self.name, None);
                    self.exported.add(leaves, &label);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    tracing::warn!(export = self.name, error, "the record is not handed on; it waits");
                    self.standing.set(&self.name, Some(error));
                    self.failures.add(1, &label);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Hands one batch over and writes down that it was received; how many leaves it had.
    async fn advance(&mut self, label: &[KeyValue]) -> Result<u64, String> {
        if !self.cursors.leads(&self.name).await.map_err(|error| error.to_string())? {
            return Ok(0);
        }
        let next = self.cursors.exported(&self.name).await.map_err(|error| error.to_string())?;
        let query =
            |query: Query| async { self.audit.leaves(query).await.map_err(|error| error.to_string()) };
        let newest = query(Query::default().newest_first().limit(1)).await?;
        let size = newest.first().map_or(0, |leaf| leaf.index.saturating_add(1));
        self.lag.record(size.saturating_sub(next), label);
        let limit = u32::try_from(BATCH - next % BATCH).unwrap_or(1);
        let leaves = query(Query { after: next.checked_sub(1), ..Query::default().limit(limit) }).await?;
        let Some(last) = leaves.last() else { return Ok(0) };
        let (end, count) = (last.index.saturating_add(1), leaves.len());
        let events: Vec<Event> = leaves.iter().map(Event::of).collect();
        let batch = Batch { log: &*self.audit, events: &events, end };
        if !self.sink.takes(&batch) {
            return Ok(0);
        }
        let handed = tokio::time::timeout(PATIENCE, self.sink.hand_over(&batch)).await;
        handed.map_err(|_| "it does not answer".to_owned())??;
        self.cursors.acknowledge(&self.name, end).await.map_err(|error| error.to_string())?;
        self.lag.record(size.saturating_sub(end), label);
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}
