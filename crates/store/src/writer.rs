//! The one writer: many commands per transaction, each in a savepoint, all answered after the commit.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crewgate_approval::Hint;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    command::Command,
    db::{self, Conn},
    fault::Fault,
    lanes::Refusals,
    options::Options,
    postgres::Postgres,
    tx::{Sorted, Tx},
};

/// How often the writer looks at what nobody asked for: counts of refusals that are due, a write-ahead log to empty.
const TICK: Duration = Duration::from_secs(5);

/// How long a server may take for a transaction: longer than it allows a statement.
const LONGEST: Duration = Duration::from_secs(75);

/// How long it may take to take one back.
const ROLLBACK: Duration = Duration::from_secs(5);

/// Pages a commit writes besides its leaves: index and head pages, rounded up. Only decides when to checkpoint.
const PAGES_PER_COMMIT: u64 = 8;

/// Where the writer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// A commit or a checkpoint failed: what is on the disk is not known.
    Poisoned,
    Closed,
}

pub(crate) enum Message {
    Command(Box<dyn Command>),
    /// Finish what is in line and close the database.
    Close,
}

pub(crate) struct Writer {
    pub(crate) tx: Tx,
    pub(crate) inbox: mpsc::UnboundedReceiver<Message>,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) hint: Hint,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) options: Options,
    pub(crate) uncheckpointed: u64,
    /// Held, and so locked, until the writer has ended.
    pub(crate) lock: Option<File>,
    /// How a connection that was lost is made again; `None` where that cannot be.
    pub(crate) reconnect: Option<Postgres>,
    pub(crate) lost: bool,
}

/// Why the writer must stop at once.
struct Poison(String);

impl Writer {
    pub(crate) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let mut closing = false;
            tokio::select! {
                // Work first: a busy writer looks around when it has a moment, which every batch's end is.
                biased;
                message = self.inbox.recv() => match message {
                    Some(Message::Command(command)) => batch.push(command),
                    Some(Message::Close) | None => closing = true,
                },
                _ = tick.tick() => {}
            }
            while !closing && batch.len() < self.options.batch {
                match self.inbox.try_recv() {
                    Ok(Message::Command(command)) => batch.push(command),
                    Ok(Message::Close) => closing = true,
                    Err(_) => break,
                }
            }
            let idle = batch.is_empty();
            if let Err(Poison(reason)) = self.turn(&mut batch, idle, closing).await {
                return self.poison(&reason);
            }
            if closing {
                return self.close().await;
            }
        }
    }

    async fn turn(
        &mut self,
        batch: &mut Vec<Box<dyn Command>>,
        idle: bool,
        closing: bool,
    ) -> Result<(), Poison> {
        let counts = self.refusals.due(&*self.options.clock, closing);
        let counts = counts.and_then(|entry| Sorted::new(entry, &self.tx.keys.seal).ok());
        if !batch.is_empty() || counts.is_some() {
            self.transaction(std::mem::take(batch), counts).await?;
        }
        let pages = self.tx.bytes / 4096 + self.uncheckpointed;
        if pages >= self.options.checkpoint_pages || idle && pages > 0 {
            self.checkpoint().await?;
        }
        Ok(())
    }

    async fn transaction(
        &mut self,
        mut batch: Vec<Box<dyn Command>>,
        counts: Option<Sorted>,
    ) -> Result<(), Poison> {
        self.tx.moved.clear();
        if let Err(fault) = self.connected().await {
            answer(batch, Err(fault));
            return Ok(());
        }
        let limit = self.limit();
        let work = async {
            self.tx.begin().await?;
            for command in &mut batch {
                self.tx.savepoint(&mut **command).await?;
            }
            if let Some(counts) = counts {
                self.tx.record(counts).await.map_err(|error| Fault::Unavailable(error.to_string()))?;
            }
            self.tx.notify().await?;
            let tree = self.tx.grow().await?;
            self.tx.intact().await?;
            Ok(tree)
        };
        let silent = |_| Err(Fault::Unavailable("the database does not answer".to_owned()));
        let tree = match timeout(limit, work).await.unwrap_or_else(silent) {
            Ok(tree) => tree,
            Err(fault) => {
                // Nothing was committed, that is certain; whether the connection still works is not.
                self.tx.forget(0);
                let silent = |_| Err(Poison("the database does not answer".to_owned()));
                let rolled_back = timeout(limit.min(ROLLBACK), rollback(&mut self.tx)).await;
                let rolled_back = rolled_back.unwrap_or_else(silent);
                tracing::error!(%fault, "a transaction was rolled back");
                answer(batch, Err(fault));
                return match rolled_back {
                    // The server takes back what a connection that is gone had begun.
                    Err(Poison(_)) if self.reconnect.is_some() => {
                        self.lost = true;
                        Ok(())
                    }
                    rolled_back => rolled_back,
                };
            }
        };
        let silent = |_| Err(sqlx::Error::PoolTimedOut);
        match timeout(limit, db::query("COMMIT").execute(&mut self.tx.conn)).await.unwrap_or_else(silent) {
            Ok(_) => {
                self.tx.tree = tree;
                self.commits.fetch_add(1, Ordering::Relaxed);
                self.uncheckpointed = self.uncheckpointed.saturating_add(PAGES_PER_COMMIT);
                answer(batch, Ok(()));
                for approval in self.tx.moved.drain(..) {
                    self.hint.ring_for(approval);
                }
                Ok(())
            }
            // PostgreSQL says that it did not, and took everything back.
            Err(error) if db::is_refusal(&error) => {
                self.tx.forget(0);
                tracing::error!(%error, "a transaction was not committed");
                answer(batch, Err(error.into()));
                Ok(())
            }
            Err(error) => {
                // After a failed fsync the pages may or may not be there when the file is next opened.
                let reason = error.to_string();
                answer(batch, Err(Fault::Unknown(reason.clone())));
                Err(Poison(reason))
            }
        }
    }

    /// How long a transaction may take: a server can be gone without a word. A file answers, or fails.
    fn limit(&self) -> Duration {
        if self.reconnect.is_some() { LONGEST } else { Duration::MAX }
    }

    /// Makes the connection again that was lost. What it had begun was not committed, or this process had ended.
    async fn connected(&mut self) -> Result<(), Fault> {
        if let (true, Some(postgres)) = (self.lost, &self.reconnect) {
            let conn = postgres.writer().await.map_err(|error| Fault::Unavailable(error.to_string()))?;
            self.tx.conn = Conn::Postgres(conn);
            self.lost = false;
            tracing::info!("the database is there again");
        }
        Ok(())
    }

    /// Moves what is committed into the database file. SQLite's own checkpoints are off: they swallow errors.
    /// PostgreSQL does it by itself, and says in a commit when it could not.
    async fn checkpoint(&mut self) -> Result<(), Poison> {
        (self.uncheckpointed, self.tx.bytes) = (0, 0);
        if let Conn::Postgres(_) = self.tx.conn {
            return Ok(());
        }
        let done = db::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut self.tx.conn).await;
        let done = done.and_then(|row| Ok((row.try_get::<i64>(1)?, row.try_get::<i64>(2)?)));
        let (log, moved) = done.map_err(|error| Poison(format!("checkpoint: {error}")))?;
        // A reader on an old page keeps the rest for later. It is tried again after as many pages more.
        if moved < log {
            tracing::debug!(log, moved, "a reader holds back the checkpoint");
        }
        Ok(())
    }

    fn poison(mut self, reason: &str) {
        tracing::error!(
            reason,
            "the store is poisoned: what is on the disk is not known; this process must end"
        );
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Command(command) = message {
                command.answer(Err(Fault::closed()));
            }
        }
        // Closing the connection would checkpoint, and a second fsync after a failed one can report success for pages
        // that were lost. The operating system closes the file when the process ends.
        std::mem::forget(self.tx.conn);
        self.life.send_replace(Life::Poisoned);
    }

    async fn close(mut self) {
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Command(command) = message {
                command.answer(Err(Fault::closed()));
            }
        }
        if let Err(error) = self.tx.conn.close().await {
            tracing::error!(%error, "closing the database failed; all that was answered is durable");
        }
        drop(self.lock);
        self.life.send_replace(Life::Closed);
    }
}

impl Tx {
    /// Runs one command so that it leaves all or nothing. An error means that the whole transaction is lost.
    async fn savepoint(&mut self, command: &mut dyn Command) -> Result<(), Fault> {
        if command.is_plain() {
            // It only hands in a leaf. What kept it from that is the database's, and may have ended the transaction.
            return match command.run(self).await {
                true => Ok(()),
                false => Err(Fault::Unavailable("a leaf could not be handed in".to_owned())),
            };
        }
        // Before the savepoint, and there for the command to see.
        self.write_out().await?;
        let (leaves, moved) = (self.pending.len(), self.moved.len());
        execute(self, "SAVEPOINT command").await?;
        if !command.run(self).await {
            execute(self, "ROLLBACK TO command").await?;
            self.forget(leaves);
            self.moved.truncate(moved);
        }
        execute(self, "RELEASE command").await
    }
}

async fn execute(tx: &mut Tx, sql: &'static str) -> Result<(), Fault> {
    db::query(sql).execute(&mut tx.conn).await?;
    Ok(())
}

async fn rollback(tx: &mut Tx) -> Result<(), Poison> {
    match execute(tx, "ROLLBACK").await {
        Ok(()) => Ok(()),
        // Some errors roll back by themselves (SQLITE_FULL, SQLITE_IOERR), and a BEGIN that failed began nothing.
        Err(Fault::Unavailable(reason)) if reason.contains("no transaction is active") => Ok(()),
        Err(fault) => Err(Poison(fault.to_string())),
    }
}

fn answer(batch: Vec<Box<dyn Command>>, fate: Result<(), Fault>) {
    for command in batch {
        command.answer(fate.clone());
    }
}
