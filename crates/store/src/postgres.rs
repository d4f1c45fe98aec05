//! A database of PostgreSQL's, shared by gateways that take turns at writing.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use crewgate_approval::Hint;
use crewgate_core::ApprovalId;
use sqlx::{
    ConnectOptions, PgConnection, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgSslMode},
};
use tokio::sync::watch;

use crate::{
    db::{self, Conn, Pool},
    open::{self, Opened, Steps, migrator},
    options::{OpenError, Options},
    store::{Reading, Store},
    writer::Life,
};

/// The pen: whoever holds this advisory lock writes. It is held from the begin of a transaction to its end.
pub(crate) const PEN: i64 = i64::from_be_bytes(*b"crewgate");

/// Where it is told which approvals have moved.
pub(crate) const CHANNEL: &str = "crewgate_approval";

/// The first that has all that is asked for here and is still mended by its makers.
const OLDEST: i64 = 140_000;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long to wait before listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// What the writer asks of the server. A gateway that stops in the middle must not keep the others from writing, and
/// what is answered must be on the disk.
const WRITER: [(&str, &str); 6] = [
    ("client_min_messages", "warning"),
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    // Longer than a gateway that has stopped with the pen in its hand keeps it.
    ("lock_timeout", "20s"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "10s"),
];

/// What readers ask of it. What they read is bounded: what takes longer has lost its way, or waits for a lock.
const READER: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "60s")];

/// Where a PostgreSQL database is, and as whom it is used.
///
/// Gateways that share one must connect to it directly: a pooler between them and it that hands out connections by
/// transaction takes away what sessions ask for.
#[derive(Clone)]
pub struct Postgres(Box<PgConnectOptions>);

impl Postgres {
    /// The database of this address, `postgres://user@host:port/database?sslmode=verify-full`, without its password. To
    /// another machine only a connection whose certificate is verified will do.
    ///
    /// # Errors
    ///
    /// [`OpenError::Database`] when it is no such address. The message does not repeat it.
    pub fn new(url: &str) -> Result<Self, OpenError> {
        let wrong = |what: &str| OpenError::Database(what.to_owned());
        let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let options = PgConnectOptions::from_str(url).ok().filter(|_| known);
        let options = options
            .ok_or_else(|| wrong("this is not the address of a PostgreSQL database: `postgres://…`"))?;
        let host = options.get_host();
        let here = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
        if !here && !verified {
            return Err(wrong(
                "nobody would know who answers on another machine: say `?sslmode=verify-full`",
            ));
        }
        Ok(Self(Box::new(options.application_name("crewgate").disable_statement_logging())))
    }

    /// The password of whom it is used as.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        Self(Box::new(self.0.password(password)))
    }

    /// A connection that may write.
    pub(crate) async fn writer(&self) -> Result<PgConnection, OpenError> {
        let options = PgConnectOptions::clone(&self.0).options(WRITER);
        let connecting = options.connect();
        let late = |_| OpenError::Database("the database does not answer".to_owned());
        let mut conn = tokio::time::timeout(CONNECT, connecting).await.map_err(late)??;
        trustworthy(&mut conn).await?;
        Ok(conn)
    }

    async fn readers(&self, count: u32) -> Result<Pool, OpenError> {
        let connect = PgConnectOptions::clone(&self.0).options(READER);
        let pool = db::lasting(PgPoolOptions::new()).max_connections(count).acquire_timeout(CONNECT);
        Ok(Pool::Postgres(pool.connect_with(connect).await?))
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without a password.
impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.0.get_host(), self.0.get_port());
        write!(f, "postgres://{host}:{port}/{}", self.0.get_database().unwrap_or_default())
    }
}

pub(crate) async fn open(postgres: Postgres, options: Options) -> Result<Store, OpenError> {
    let needed = || {
        OpenError::Key(
            "a record in PostgreSQL needs keys that are given, the same for every gateway".to_owned(),
        )
    };
    let keys = options.keys.clone().ok_or_else(needed)?;
    let mut conn = postgres.writer().await?;
    // Tables may be made by another gateway meanwhile, and an index of a large one takes its time.
    let made = async {
        sqlx::query("SET lock_timeout = 0").execute(&mut conn).await?;
        sqlx::query("SET statement_timeout = 0").execute(&mut conn).await?;
        migrator(MIGRATIONS).run_direct(None, &mut conn, false).await
    };
    made.await.map_err(|error| OpenError::Migration(error.to_string()))?;
    drop(conn);
    let conn = postgres.writer().await?;
    let readers = postgres.readers(options.readers).await?;
    let reconnect = Some(postgres.clone());
    let opened = Opened { conn: Conn::Postgres(conn), readers, keys, lock: None, reconnect };
    let store = open::start(opened, options).await?;
    tokio::spawn(listen(postgres, store.shared().hint.clone(), store.shared().alive.clone()));
    Ok(store)
}

pub(crate) async fn open_read_only(postgres: &Postgres, reading: Reading) -> Result<Store, OpenError> {
    open::read_only(postgres.readers(2).await?, MIGRATIONS, reading).await
}

/// A server that keeps what it says it keeps.
async fn trustworthy(conn: &mut PgConnection) -> Result<(), OpenError> {
    let setting = async |conn: &mut PgConnection, name: &str| -> Result<String, OpenError> {
        Ok(sqlx::query("SELECT current_setting($1)").bind(name).fetch_one(conn).await?.try_get(0)?)
    };
    let version = setting(conn, "server_version_num").await?;
    if !version.parse::<i64>().is_ok_and(|version| version >= OLDEST) {
        return Err(OpenError::Server(format!("PostgreSQL {version} is too old: 14 or later is needed")));
    }
    for (name, wanted) in [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")] {
        let found = setting(conn, name).await?;
        if found != wanted {
            return Err(OpenError::Server(format!(
                "PostgreSQL says `{name} = {found}`: what it answers need not be on its disk; it must be `{wanted}`"
            )));
        }
    }
    // Waits for an approval are told to everybody who listens; the names must not be cut.
    let encoding = setting(conn, "server_encoding").await?;
    if encoding != "UTF8" {
        return Err(OpenError::Server(format!("the database's encoding is {encoding}: it must be UTF8")));
    }
    Ok(())
}

/// Rings for what other gateways have moved. A ring that is lost loses nothing: whoever waits looks at the row from time
/// to time.
async fn listen(postgres: Postgres, hint: Hint, mut alive: watch::Receiver<Life>) {
    let heard = async {
        loop {
            if let Err(error) = hear(&postgres, &hint).await {
                tracing::debug!(%error, "not listening to the database; waits are looked at from time to time");
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    tokio::select! {
        () = heard => {}
        // An error: the writer is gone without a word.
        _ = alive.wait_for(|life| *life != Life::Running) => {}
    }
}

async fn hear(postgres: &Postgres, hint: &Hint) -> sqlx::Result<()> {
    let pool = db::lasting(PgPoolOptions::new()).max_connections(1).acquire_timeout(CONNECT);
    let mut listener =
        PgListener::connect_with(&pool.connect_lazy_with(PgConnectOptions::clone(&postgres.0))).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // What was told before is not heard any more: everybody looks.
        hint.ring();
        while let Some(told) = listener.try_recv().await? {
            match told.payload().parse::<ApprovalId>() {
                Ok(approval) => hint.ring_for(approval),
                Err(_) => hint.ring(),
            }
        }
    }
}

const MIGRATIONS: Steps = &[
    (1, "tables", include_str!("../migrations/postgres/0001_tables.sql")),
    (
        2,
        "broken glasses and delegations",
        include_str!("../migrations/postgres/0002_broken_glasses_and_delegations.sql"),
    ),
    (3, "keys since", include_str!("../migrations/postgres/0003_keys_since.sql")),
    (4, "sealed approvals", include_str!("../migrations/postgres/0004_sealed_approvals.sql")),
    (5, "waiting of one", include_str!("../migrations/postgres/0005_waiting_of_one.sql")),
];
