use std::fmt;

/// Why a policy set did not load, and where. Prints as an excerpt:
///
/// ```text
/// error: unknown role `analyst`
///   --> policy/research.cedar:3:24
///    |
///  3 |   principal in Role::"analyst",
///    |                ^
///    = help: did you mean `analysts`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// Path of the file as it was given; empty when the declarations are at fault and no rule is.
    pub file: String,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 when it is about the file as a whole.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line itself.
    excerpt: Option<String>,
}

impl LoadError {
    pub(crate) fn of_declarations(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::of_file("", message, help)
    }

    pub(crate) fn of_file(
        file: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (file, message, help) = (file.into(), message.into(), Some(help.into()));
        Self { file, line: 0, column: 0, message, help, excerpt: None }
    }

    /// Points at the byte `offset` of `text`, or at its end when it has no such byte.
    pub(crate) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        let excerpt = text.lines().nth(line.saturating_sub(1)).map(|line| line.replace('\t', " "));
        Self { file: file.to_owned(), line, column, message: message.into(), help: None, excerpt }
    }

    pub(crate) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match (&self.excerpt, self.line) {
            (Some(excerpt), line @ 1..) => {
                let gutter = line.to_string().len();
                write!(f, "\n{:gutter$}--> {}:{line}:{}", "", self.file, self.column)?;
                write!(f, "\n {:gutter$} |\n {line} | {excerpt}", "")?;
                let indent = self.column.saturating_sub(1);
                write!(f, "\n {:gutter$} | {:indent$}^", "", "")?;
                if let Some(help) = &self.help {
                    write!(f, "\n {:gutter$} = help: {help}", "")?;
                }
            }
            _ => {
                if !self.file.is_empty() {
                    write!(f, "\n --> {}", self.file)?;
                }
                if let Some(help) = &self.help {
                    write!(f, "\n  = help: {help}")?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// The known name closest to a misspelt one, when it is close.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for ((y, above), left_above) in b.iter().zip(row.iter().skip(1)).zip(row.iter()) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = left_above.saturating_add(usize::from(x != *y));
            next.push(replaced.min(above.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_a_stranger_is_not() {
        let known = ["analysts", "operators", "interns"];
        assert_eq!(closest("analyst", known), Some("analysts"));
        assert_eq!(closest("interms", known), Some("interns"));
        assert_eq!(closest("payroll", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn an_error_shows_the_line_it_means() {
        let text = "permit (\n  principal in Role::\"analyst\"\n);";
        let error = LoadError::at("policy/x.cedar", text, 24, "unknown role `analyst`")
            .with_help(Some("did you mean `analysts`?".to_owned()));
        assert_eq!((error.line, error.column), (2, 16));
        let expected = "error: unknown role `analyst`\n --> policy/x.cedar:2:16\n   |\n 2 |   principal in Role::\"analyst\"\n   |                ^\n   = help: did you mean `analysts`?";
        assert_eq!(error.to_string(), expected);
    }
}
