//! One of two databases, and statements that mean the same on both.
//!
//! What is asked is standard SQL with `$1`, `$2`, …, which both know; what differs (how a database is opened, how its
//! writer begins and ends) stands where that is done, never in a port. Numbers are 64 bits with a sign, texts UTF-8.

use std::{borrow::Cow, fmt::Display, fmt::Write, future::Future, time::Duration};

use sqlx::{
    AssertSqlSafe, ColumnIndex, Connection as _, Database, Decode, PgConnection, PgPool, Postgres, Row as _,
    Sqlite, SqliteConnection, SqlitePool, Type,
    pool::PoolOptions,
    postgres::{PgArguments, PgDatabaseError, PgRow, PgSeverity},
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

/// The one connection of a writer, or one that reads.
#[derive(Debug)]
pub(crate) enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Conn {
    pub(crate) async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(conn) => conn.close().await,
            Self::Postgres(conn) => conn.close().await,
        }
    }
}

/// Connections that only read.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Connections that are kept for as long as they work. What looks for old ones in sqlx 0.9 counts the idle ones while
/// others are taken and given back, and when it reads a number below zero it goes round without end.
pub(crate) fn lasting<DB: Database>(pool: PoolOptions<DB>) -> PoolOptions<DB> {
    pool.max_lifetime(None).idle_timeout(None)
}

/// Whether this is PostgreSQL's own word that what was asked was not done, and not that it is gone.
pub(crate) fn is_refusal(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    refused.is_some_and(|error| error.severity() == PgSeverity::Error)
}

/// How long a server is waited for by whoever reads: longer than it gives a statement by itself. One that is gone
/// without a word would be waited for until the operating system gives it up.
const PATIENCE: Duration = Duration::from_secs(65);

async fn patiently<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Where a statement is carried out.
pub(crate) enum At<'a> {
    Conn(&'a mut Conn),
    Pool(&'a Pool),
}

impl<'a> From<&'a mut Conn> for At<'a> {
    fn from(conn: &'a mut Conn) -> Self {
        Self::Conn(conn)
    }
}

impl<'a> From<&'a Pool> for At<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

/// A value in the place of a `$n`. A missing one has a type too: PostgreSQL asks for it.
#[derive(Debug)]
pub(crate) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! value {
    ($($from:ty => $kind:ident, $into:expr);+ $(;)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$kind(Some($into(value)))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$kind(value.map($into))
            }
        })+
    };
}

value! {
    i64 => Number, std::convert::identity;
    u32 => Number, i64::from;
    u8 => Number, i64::from;
    bool => Number, i64::from;
    String => Text, std::convert::identity;
    &str => Text, str::to_owned;
    &String => Text, String::clone;
    Vec<u8> => Bytes, std::convert::identity;
    &[u8] => Bytes, <[u8]>::to_vec;
}

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Sql {
    text: Cow<'static, str>,
    values: Vec<Value>,
    nameless: bool,
}

/// A statement that is written out; [`Sql::push`] goes on from it.
pub(crate) fn query(text: &'static str) -> Sql {
    Sql { text: Cow::Borrowed(text), values: Vec::new(), nameless: false }
}

/// As the method of either database of this name, of the statement it becomes there.
macro_rules! carry_out {
    ($self:ident, $at:ident, $method:ident, $into:expr) => {
        match $at.into() {
            At::Conn(Conn::Sqlite(conn)) => $self.sqlite().$method(conn).await.map($into),
            At::Conn(Conn::Postgres(conn)) => $self.postgres().$method(conn).await.map($into),
            At::Pool(Pool::Sqlite(pool)) => $self.sqlite().$method(pool).await.map($into),
            At::Pool(Pool::Postgres(pool)) => patiently($self.postgres().$method(pool)).await.map($into),
        }
    };
}

impl Sql {
    /// For a statement of very many values, all of them pushed: SQLite looks for each `$n` among all there are, and for
    /// a `?` it does not.
    pub(crate) fn of_many(mut self, conn: &Conn) -> Self {
        self.nameless = matches!(conn, Conn::Sqlite(_));
        self
    }

    /// The value of the next `$n` of a statement that is written out.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// More of the statement: of ours, never of a caller's.
    pub(crate) fn push(&mut self, text: impl Display) -> &mut Self {
        // Writing into a string does not fail.
        let _ = write!(self.text.to_mut(), "{text}");
        self
    }

    /// A value where the statement stands.
    pub(crate) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let place = self.values.len();
        if self.nameless { self.push("?") } else { self.push(format_args!("${place}")) }
    }

    /// A list in brackets for `IN`. An empty one holds nothing that could be equal to anything.
    pub(crate) fn push_list(&mut self, values: impl IntoIterator<Item = impl Into<Value>>) -> &mut Self {
        self.push("(NULL");
        for value in values {
            self.push(", ").push_bind(value);
        }
        self.push(")")
    }

    /// Carries it out. Gives the number of rows it changed.
    pub(crate) async fn execute<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<u64> {
        match at.into() {
            At::Conn(Conn::Sqlite(conn)) => {
                self.sqlite().execute(conn).await.map(|done| done.rows_affected())
            }
            At::Conn(Conn::Postgres(conn)) => {
                self.postgres().execute(conn).await.map(|done| done.rows_affected())
            }
            At::Pool(Pool::Sqlite(pool)) => {
                self.sqlite().execute(pool).await.map(|done| done.rows_affected())
            }
            At::Pool(Pool::Postgres(pool)) => {
                patiently(self.postgres().execute(pool)).await.map(|done| done.rows_affected())
            }
        }
    }

    /// All rows.
    pub(crate) async fn fetch_all<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Vec<Row>> {
        carry_out!(self, at, fetch_all, |rows| rows.into_iter().map(Row::from).collect())
    }

    /// The first row, if there is one.
    pub(crate) async fn fetch_optional<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Option<Row>> {
        carry_out!(self, at, fetch_optional, |row| row.map(Row::from))
    }

    /// The first row.
    pub(crate) async fn fetch_one<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Row> {
        carry_out!(self, at, fetch_one, Row::from)
    }

    /// The first column of the first row.
    pub(crate) async fn scalar<'a, T: Column>(self, at: impl Into<At<'a>>) -> sqlx::Result<T> {
        self.fetch_one(at).await?.try_get(0)
    }

    /// The first column of the first row, if there is one.
    pub(crate) async fn scalar_optional<'a, T: Column>(
        self,
        at: impl Into<At<'a>>,
    ) -> sqlx::Result<Option<T>> {
        self.fetch_optional(at).await?.map(|row| row.try_get(0)).transpose()
    }

    fn sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        let query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }

    fn postgres(self) -> Query<'static, Postgres, PgArguments> {
        let query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }
}

/// What a statement found.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

impl Row {
    /// A column, by name or by number.
    pub(crate) fn try_get<'r, T>(
        &'r self,
        column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    ) -> sqlx::Result<T>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// What a column can be read as without borrowing from its row.
pub(crate) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}
