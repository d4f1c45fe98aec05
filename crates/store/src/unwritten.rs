//! Leaves of a transaction that are not in the database yet. They are written together: a statement costs more than a row.

use std::collections::{BTreeMap, BTreeSet};

use crewgate_audit::Word;
use crewgate_core::{RequestId, RunId};

use crate::{
    db::{self, Sql},
    fault::Fault,
    tx::{Pseudonym, Tx},
};

/// Rows of one statement. Few sizes, so that the statements are few and stay prepared; the largest is a full batch.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// Bytes of the rows of one statement, where it has more than one: the database has each of them in memory twice.
const LARGEST: usize = 4 << 20;

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
        let leaves = Rows {
            head: "INSERT INTO leaf (idx, record, subject, key, sealed) VALUES ",
            tail: "",
            bytes: |row: &Row| row.record.len() + row.sealed.len(),
        };
        self.write(leaves, rows, |sql, row| {
            sql.push_bind(row.index).push(", ").push_bind(row.record).push(", ");
            sql.push_bind(row.subject.to_vec()).push(", ").push_bind(row.key).push(", ");
            sql.push_bind(row.sealed);
        })
        .await?;
        let insert = Rows {
            head: "INSERT INTO leaf_word (word, idx) VALUES ",
            tail: "",
            bytes: |(word, _): &(String, i64)| word.len(),
        };
        self.write(insert, words, |sql, (word, index)| {
            sql.push_bind(word).push(", ").push_bind(index);
        })
        .await?;
        let delete =
            Rows { head: "DELETE FROM open_intent WHERE request IN (", tail: ")", bytes: String::len };
        self.write(delete, closed, |sql, request| {
            sql.push_bind(request);
        })
        .await?;
        let insert = Rows {
            head: "INSERT INTO open_intent (request, leaf) VALUES ",
            tail: " ON CONFLICT (request) DO UPDATE SET leaf = excluded.leaf",
            bytes: |(request, _): &(String, i64)| request.len(),
        };
        self.write(insert, opened.into_iter().collect(), |sql, (request, leaf)| {
            sql.push_bind(request).push(", ").push_bind(leaf);
        })
        .await
    }

    async fn write<T>(
        &mut self,
        Rows { head, tail, bytes }: Rows<T>,
        rows: Vec<T>,
        values: impl Fn(&mut Sql, T),
    ) -> Result<(), Fault> {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let size = next(rows.as_slice(), bytes);
            let mut sql = db::query(head).of_many(&self.conn);
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

/// A statement about rows: what comes before them, what comes after, and the bytes of one.
struct Rows<T> {
    head: &'static str,
    tail: &'static str,
    bytes: fn(&T) -> usize,
}

/// How many rows the next statement takes: as many as there are and it may hold, and one in any case.
fn next<T>(rows: &[T], bytes: fn(&T) -> usize) -> usize {
    let fits = |rows: &[T]| rows.iter().map(bytes).sum::<usize>() <= LARGEST;
    SIZES.into_iter().find(|size| rows.get(..*size).is_some_and(fits)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_takes_as_many_rows_as_its_bytes_allow_and_one_in_any_case() {
        let taken = |rows: &[usize]| next(rows, |size| *size);
        assert_eq!(taken(&[1]), 1);
        assert_eq!(taken(&[1; 3]), 1);
        assert_eq!(taken(&[1; 100]), 64);
        assert_eq!(taken(&[1; 1000]), 256);
        assert_eq!(taken(&[LARGEST / 64; 256]), 64);
        assert_eq!(taken(&[LARGEST / 63; 256]), 16);
        assert_eq!(taken(&[LARGEST; 256]), 1);
        assert_eq!(taken(&[LARGEST + 1; 8]), 1);
    }
}
