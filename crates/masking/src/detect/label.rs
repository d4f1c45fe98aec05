//! What names a value: the words right before it, an XML element, a column of an SQL statement.

use memchr::memrchr_iter;

/// How near a label must be.
const NEAR: usize = 64;

/// Elements that mark text up and name nothing.
const MARKUP: &[&str] = &["b", "br", "code", "div", "em", "font", "i", "p", "span", "strong", "td", "u"];

/// The name of what stands behind this text.
pub(super) fn of(before: &str) -> &str {
    if let Some(columns) = sql(before) {
        return columns;
    }
    let near =
        before.get(before.floor_char_boundary(before.len().saturating_sub(NEAR))..).unwrap_or_default();
    if let Some((_, element)) = near.rsplit_once('<')
        && let Some((name, text)) = element.split_once('>')
        && text.trim().is_empty()
        && !name.starts_with('/')
        && !MARKUP.contains(&name.split(' ').next().unwrap_or_default())
    {
        return name;
    }
    let end = |c: char| c.is_ascii_digit() || matches!(c, '{' | '}' | ';');
    let near = near.rsplit(end).next().unwrap_or_default();
    ["\",", "',", "\n\n"].iter().fold(near, |near, end| near.rsplit(end).next().unwrap_or_default())
}

/// Behind `(a, b) VALUES (1, `: the column the next value is for, or all columns that can be seen.
fn sql(before: &str) -> Option<&str> {
    let at = rfind(before, "VALUES").or_else(|| rfind(before, "values"))?;
    let (columns, values) = (before.get(..at)?, before.get(at + 6..)?);
    let columns = columns.trim_end().strip_suffix(')')?;
    if !values.trim_start().starts_with('(') {
        return None;
    }
    let row = values.rsplit("(").next()?;
    // Commas inside of quotation marks are no separators.
    let index = row.split('\'').step_by(2).map(|outside| outside.matches(',').count()).sum::<usize>();
    match columns.rsplit_once('(') {
        Some((_, columns)) => columns.split(',').nth(index),
        None => Some(columns),
    }
}

/// Where a text of ASCII stands last.
fn rfind(text: &str, word: &str) -> Option<usize> {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let first = word.first()?;
    memrchr_iter(*first, text).find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_value_is_named_by_words_an_element_a_member_or_a_column() {
        for (before, label) in [
            ("call me at ", "call me at "),
            ("{\"a\": 1, \"phone\": \"", ", \"phone\": \""),
            ("\"phone\": \"\", \"size\": \"", " \"size\": \""),
            ("<phone></phone><size>", "size"),
            ("Phone: <b>", "Phone: <b>"),
            ("INSERT INTO t (id, phone, size) VALUES ('a,b', '", " phone"),
            ("phone, size) VALUES ('", "phone, size"),
            ("INSERT INTO t (id, phone) VALUES ('a', 'b'), ('c', '", " phone"),
        ] {
            assert_eq!(of(before), label, "{before}");
        }
    }
}
