//! How two runs differ: what was told, without what is another each time.

use std::{collections::HashMap, fmt::Write as _};

use crewgate_audit::Timeline;
use serde::Serialize;

use super::{Failure, Output};

/// Lines of each run that are compared at most; their table is the product of both.
const MAX_LINES: usize = 4000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Both,
    First,
    Second,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    side: Side,
    line: String,
}

#[derive(Debug, Serialize)]
struct Report {
    same: bool,
    rows: Vec<Row>,
}

pub(super) fn run(first: &Timeline, second: &Timeline, output: Output) -> Result<(), Failure> {
    let (first, second) = (story(first), story(second));
    if first.len().max(second.len()) > MAX_LINES {
        return Err(Failure::no(format!("runs of more than {MAX_LINES} lines are not compared")));
    }
    let rows = compare(&first, &second);
    let report = Report { same: rows.iter().all(|row| row.side == Side::Both), rows };
    output.print(&report, |report| {
        let mut text = String::new();
        for Row { side, line } in &report.rows {
            let mark = match side {
                Side::Both => ' ',
                Side::First => '-',
                Side::Second => '+',
            };
            let _ = writeln!(text, "{mark} {line}");
        }
        text.trim_end().to_owned()
    })?;
    if report.same { Ok(()) } else { Err(Failure::no("the runs differ")) }
}

/// The lines, with what every run has another of by the order in which it comes: ids, digests, instants, leaves.
fn story(timeline: &Timeline) -> Vec<String> {
    let mut names = HashMap::new();
    timeline.folded().iter().map(|line| plain(&line.text, &mut names)).collect()
}

fn plain(text: &str, names: &mut HashMap<String, usize>) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_leaf = false;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| part(c) != part(first)).unwrap_or(rest.len());
        let (token, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = next;
        // A sentence's own full stop or colon is not part of what it ends.
        let core = token.trim_end_matches([':', '.']);
        let tail = token.get(core.len()..).unwrap_or_default();
        if after_leaf && core.parse::<u64>().is_ok() || is_elapsed(core) {
            out.push('#');
            out.push_str(tail);
        } else if is_other_each_time(core) {
            let next = names.len() + 1;
            let name = *names.entry(core.to_owned()).or_insert(next);
            let _ = write!(out, "#{name}{tail}");
        } else {
            out.push_str(token);
        }
        after_leaf = core == "leaf" || (after_leaf && token.trim().is_empty());
    }
    out
}

/// `+12.345s`: how long it took is compared by looking, not by the letter.
fn is_elapsed(token: &str) -> bool {
    let number = token.strip_prefix('+').and_then(|rest| rest.strip_suffix('s'));
    number.is_some_and(|number| number.parse::<f64>().is_ok())
}

/// Ids, digests and fingerprints, instants.
fn is_other_each_time(token: &str) -> bool {
    let digest = token.len() >= 16 && token.bytes().all(|b| b.is_ascii_hexdigit());
    digest || uuid::Uuid::try_parse(token).is_ok() || humantime::parse_rfc3339(token).is_ok()
}

/// The longest story both have in common, and what each has besides.
fn compare(first: &[String], second: &[String]) -> Vec<Row> {
    let width = second.len() + 1;
    // How much the ends of both from here on have in common; one row more than there are lines, all nothing.
    let mut common = vec![0_u16; (first.len() + 1) * width];
    let at = |common: &[u16], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, one) in first.iter().enumerate().rev() {
        for (j, other) in second.iter().enumerate().rev() {
            let longest = if one == other {
                at(&common, i + 1, j + 1).saturating_add(1)
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = longest;
            }
        }
    }
    let (mut i, mut j, mut rows) = (0, 0, Vec::new());
    loop {
        let (side, line) = match (first.get(i), second.get(j)) {
            (Some(one), Some(other)) if one == other => (Side::Both, one),
            (Some(one), other) if other.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                (Side::First, one)
            }
            (_, Some(other)) => (Side::Second, other),
            (_, None) => return rows,
        };
        i += usize::from(side != Side::Second);
        j += usize::from(side != Side::First);
        rows.push(Row { side, line: line.clone() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_digests_instants_and_leaves_are_compared_by_their_order() {
        let mut names = HashMap::new();
        let id = "0b8f2c1d-5e6f-4a7b-8c9d-0e1f2a3b4c5d";
        let line = format!("approval {id}: asks owners until 2026-06-15T12:00:00.000001Z");
        assert_eq!(plain(&line, &mut names), "approval #1: asks owners until #2");
        assert_eq!(plain(&format!("request {id}."), &mut names), "request #1.");
        assert_eq!(
            plain("on the record as leaf 17; the call leaves", &mut names),
            "on the record as leaf #; the call leaves"
        );
        let digest = "ab".repeat(32);
        assert_eq!(
            plain(&format!("will send 12 bytes, sha-256 {digest}"), &mut names),
            "will send 12 bytes, sha-256 #3"
        );
        assert_eq!(
            plain("asked 3 more times until +4.000s, ok", &mut names),
            "asked 3 more times until #, ok"
        );
        assert_eq!(plain("answer 200, 17 leaves, naïve", &mut names), "answer 200, 17 leaves, naïve");
    }

    proptest! {
        #[test]
        fn each_side_of_a_difference_is_that_run(
            first in prop::collection::vec("[abc]", 0..12), second in prop::collection::vec("[abc]", 0..12),
        ) {
            let rows = compare(&first, &second);
            let of = |not: Side| rows.iter().filter(|row| row.side != not).map(|row| row.line.clone()).collect::<Vec<_>>();
            prop_assert_eq!(of(Side::Second), first.clone());
            prop_assert_eq!(of(Side::First), second.clone());
            prop_assert_eq!(rows.iter().all(|row| row.side == Side::Both), first == second);
        }
    }
}
