//! Leaves of a transaction that are not in the database yet. They are written together: a statement costs more than a row.

use std::collections::{BTreeMap, BTreeSet};

use crewgate_audit::Word;
use crewgate_core::{RequestId, RunId};

use crate::{
    db::{self, Sql},
    fault::Fault,
    tx::{Pseudonym, Tx},
};

/// Rows of one statement. Few sizes, so that the statements are few and stay prepared.
const SIZES: [usize; 3] = [64, 8, 1];

/// A leaf's row.
pub(crate) struct Row {
    pub(crate) index: i64,
    pub(crate) record: String,
    pub(crate) subject: Pseudonym,
    pub(crate) key: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) words: BTreeSet<Word>,
    pub(crate) request: RequestId,
    pub(crate) run: Option<RunId>,
}

#[derive(Default)]
pub(crate) struct Unwritten {
    rows: Vec<Row>,
    /// Intents that have no outcome, with their leaf, and those that have one.
    opened: BTreeMap<String, i64>,
    closed: Vec<String>,
}

impl Unwritten {
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn open_intent(&mut self, request: RequestId, leaf: i64) {
        self.opened.insert(request.to_string(), leaf);
    }

    pub(crate) fn close_intent(&mut self, request: RequestId) {
        let request = request.to_string();
        self.opened.remove(&request);
        self.closed.push(request);
    }

    /// The first person other than `nobody` whom a leaf of these requests or this run tells of.
    pub(crate) fn subject_of(
        &self,
        requests: [Option<RequestId>; 2],
        run: Option<RunId>,
        nobody: Pseudonym,
    ) -> Option<Pseudonym> {
        let about = |row: &&Row| requests.contains(&Some(row.request)) || run.is_some() && row.run == run;
        self.rows.iter().filter(about).map(|row| row.subject).find(|subject| *subject != nobody)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Tx {
    /// Writes what waits: before a command that reads or changes leaves, and before a commit.
    pub(crate) async fn write_out(&mut self) -> Result<(), Fault> {
        let Unwritten { rows, opened, closed } = std::mem::take(&mut self.unwritten);
        let words: Vec<(String, i64)> =
            rows.iter().flat_map(|row| row.words.iter().map(|word| (word.to_string(), row.index))).collect();
        self.insert("INSERT INTO leaf (idx, record, subject, key, sealed) VALUES ", rows, "", |sql, row| {
            sql.push_bind(row.index).push(", ").push_bind(row.record).push(", ");
            sql.push_bind(row.subject.to_vec()).push(", ").push_bind(row.key).push(", ");
            sql.push_bind(row.sealed);
        })
        .await?;
        self.insert("INSERT INTO leaf_word (word, idx) VALUES ", words, "", |sql, (word, index)| {
            sql.push_bind(word).push(", ").push_bind(index);
        })
        .await?;
        for request in closed {
            let query = db::query("DELETE FROM open_intent WHERE request = $1").bind(request);
            query.execute(&mut self.conn).await?;
        }
        let again = " ON CONFLICT (request) DO UPDATE SET leaf = excluded.leaf";
        let opened = opened.into_iter().collect();
        self.insert(
            "INSERT INTO open_intent (request, leaf) VALUES ",
            opened,
            again,
            |sql, (request, leaf)| {
                sql.push_bind(request).push(", ").push_bind(leaf);
            },
        )
        .await
    }

    async fn insert<T>(
        &mut self,
        head: &'static str,
        rows: Vec<T>,
        tail: &'static str,
        values: impl Fn(&mut Sql, T),
    ) -> Result<(), Fault> {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let size = SIZES.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
            let mut sql = db::query(head);
            for (n, row) in rows.by_ref().take(size).enumerate() {
                sql.push(if n == 0 { "(" } else { ", (" });
                values(&mut sql, row);
                sql.push(")");
            }
            sql.push(tail);
            sql.execute(&mut self.conn).await?;
        }
        Ok(())
    }
}
