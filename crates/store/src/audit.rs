//! The record's port.

use crewgate_audit::{
    AuditError, AuditStore, Entry, Lane, Leaf, Log, Place, Query, Seat,
    tlog::{Hash, TILE, Tile, Tiles, VerifierKey},
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    Store,
    db::{self, Row, Sql},
    fault::Fault,
    lanes::heard,
    rows,
    tx::Sorted,
};

impl Store {
    fn put(&self, seat: OwnedSemaphorePermit, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
        let Some(lanes) = &self.shared().lanes else { return ready(Err(AuditError::Unavailable)).boxed() };
        // Serialised and digested here, on the caller's time, not on the writer's.
        match Sorted::new(entry, &lanes.seal) {
            Ok(sorted) => {
                let plain = sorted.is_plain();
                heard(lanes.send(seat, plain, move |tx| Box::pin(tx.record(sorted)))).boxed()
            }
            Err(error) => ready(Err(error)).boxed(),
        }
    }
}

impl AuditStore for Store {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
        let Some(lanes) = &self.shared().lanes else { return ready(Err(AuditError::Unavailable)).boxed() };
        let seats = match lane {
            Lane::Intent => &lanes.intent,
            Lane::Outcome => &lanes.outcome,
            Lane::Refusal => {
                if !self.shared().refusals.quota().admit(&entry) {
                    return ready(Err(AuditError::Full)).boxed();
                }
                &lanes.refusal
            }
        };
        match std::sync::Arc::clone(seats).try_acquire_owned() {
            Ok(seat) => self.put(seat, entry),
            Err(_) => {
                if lane == Lane::Refusal {
                    self.shared().refusals.quota().fold(&entry);
                }
                ready(Err(AuditError::Full)).boxed()
            }
        }
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Seat>, AuditError>> {
        async move {
            if !self.is_writable() {
                return Err(AuditError::Unavailable);
            }
            let lanes = self.shared().lanes.as_ref().ok_or(AuditError::Unavailable)?;
            let seat = lanes.seat(&lanes.outcome).await.ok_or(AuditError::Full)?;
            Ok(Box::new(Reserved { store: self.clone(), seat }) as Box<dyn Seat>)
        }
        .boxed()
    }

    fn leaves(&self, query: Query) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        async move {
            let sql = self.select(query)?;
            self.read(&sql.fetch_all(self.readers()).await.map_err(read)?)
        }
        .boxed()
    }

    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        async move {
            let mut sql = self.leaf();
            sql.push(" WHERE idx IN (SELECT leaf FROM open_intent) ORDER BY idx LIMIT ").push_bind(limit);
            self.read(&sql.fetch_all(self.readers()).await.map_err(read)?)
        }
        .boxed()
    }
}

impl Tiles for Store {
    type Error = AuditError;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, AuditError>> {
        async move {
            // Bytes that are no tile are none: verification then names the leaf below.
            Ok(rows::tile(self.readers(), level, n)
                .await?
                .and_then(|bytes| Tile::hashes_of(&bytes))
                .unwrap_or_default())
        }
        .boxed()
    }
}

impl Log for Store {
    fn keys(&self) -> Vec<VerifierKey> {
        self.shared().reading.keys.clone()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>> {
        async move {
            rows::checkpoint(self.readers()).await?.map(|(_, note)| note).ok_or(AuditError::Unavailable)
        }
        .boxed()
    }

    fn checkpoints(&self, above: u64, limit: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>> {
        async move {
            let Ok(above) = rows::signed(above) else { return Ok(Vec::new()) };
            let sql = "SELECT size, note FROM checkpoint WHERE size > $1 ORDER BY size LIMIT $2";
            let query = db::query(sql).bind(above).bind(limit);
            let found = query.fetch_all(self.readers()).await.map_err(read)?;
            Ok(found.iter().map(rows::sized).collect::<Result<_, _>>()?)
        }
        .boxed()
    }

    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        async move {
            let (Ok(begin), Ok(end)) = (rows::signed(n * TILE), rows::signed((n + 1) * TILE)) else {
                return Ok(Vec::new());
            };
            let mut sql = self.leaf();
            sql.push(" WHERE idx >= ")
                .push_bind(begin)
                .push(" AND idx < ")
                .push_bind(end)
                .push(" ORDER BY idx");
            self.read(&sql.fetch_all(self.readers()).await.map_err(read)?)
        }
        .boxed()
    }

    fn first(&self) -> BoxFuture<'_, Result<u64, AuditError>> {
        async move {
            let sql = "SELECT coalesce(min(idx), 0) FROM leaf";
            let first: i64 = db::query(sql).scalar(self.readers()).await.map_err(read)?;
            // A number nobody wrote is for verification to find.
            Ok(u64::try_from(first).unwrap_or_default() / TILE * TILE)
        }
        .boxed()
    }
}

impl Store {
    /// The statement that reads what a query asks for. What is sorted are numbers of leaves, never their content.
    fn select(&self, query: Query) -> Result<Sql, AuditError> {
        let mut sql = self.leaf();
        sql.push(" WHERE idx IN (SELECT leaf.idx FROM leaf");
        for (n, word) in query.words.iter().enumerate() {
            let word = word.to_string();
            sql.push(format_args!(" JOIN leaf_word w{n} ON w{n}.idx = leaf.idx AND w{n}.word = "))
                .push_bind(word);
        }
        sql.push(" WHERE true");
        if let Some(after) = query.after {
            let side = if query.newest_first { "<" } else { ">" };
            sql.push(format_args!(" AND leaf.idx {side} ")).push_bind(rows::signed(after)?);
        }
        for (condition, instant) in [(" AND time >= ", query.since), (" AND time < ", query.until)] {
            if let Some(instant) = instant {
                sql.push(condition).push_bind(instant.as_micros());
            }
        }
        let texts = [
            (" AND run = ", query.run.map(|run| run.to_string())),
            (" AND request = ", query.request.map(|request| request.to_string())),
            (" AND approval = ", query.approval.map(|approval| approval.to_string())),
            (" AND phase = ", query.phase.map(|phase| phase.as_str().to_owned())),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                sql.push(condition).push_bind(text);
            }
        }
        if let Some(principal) = query.principal {
            // Without the key nobody can tell which leaves are whose.
            let seal = self.shared().reading.seal.as_ref().ok_or(AuditError::Unavailable)?;
            sql.push(" AND subject = ").push_bind(seal.pseudonym(&principal).to_vec());
        }
        let order = if query.newest_first { " DESC" } else { "" };
        sql.push(format_args!(" ORDER BY leaf.idx{order} LIMIT ")).push_bind(query.limit);
        sql.push(format_args!(") ORDER BY idx{order}"));
        Ok(sql)
    }

    /// Adds a witness's signature line to the checkpoint of this size; whether it is good is for the caller to know.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when it could not be written.
    pub async fn cosign(&self, size: u64, line: String) -> Result<(), AuditError> {
        self.change(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE checkpoint SET note = note || $1, cosigned = cosigned + 1 WHERE size = $2";
                let query = db::query(sql).bind(line).bind(rows::signed(size)?);
                query.execute(&mut tx.conn).await.map_err(read)?;
                Ok(())
            })
        })
        .await
    }

    /// The largest checkpoint a witness has cosigned.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the store cannot be read.
    pub async fn cosigned(&self) -> Result<Option<String>, AuditError> {
        let sql = "SELECT note FROM checkpoint WHERE cosigned > 0 ORDER BY size DESC LIMIT 1";
        db::query(sql).scalar_optional(self.readers()).await.map_err(read)
    }

    fn leaf(&self) -> Sql {
        rows::leaf_of(self.readers())
    }

    fn read(&self, rows: &[Row]) -> Result<Vec<Leaf>, AuditError> {
        let seal = self.shared().reading.seal.as_ref();
        rows.iter().map(|row| rows::leaf(row, seal).map_err(AuditError::from)).collect()
    }
}

fn read(error: sqlx::Error) -> AuditError {
    tracing::error!(%error, "the record could not be read");
    Fault::from(error).into()
}

struct Reserved {
    store: Store,
    seat: OwnedSemaphorePermit,
}

impl Seat for Reserved {
    fn submit(self: Box<Self>, entry: Entry) -> BoxFuture<'static, Result<Place, AuditError>> {
        let Self { store, seat } = *self;
        store.put(seat, entry)
    }
}
