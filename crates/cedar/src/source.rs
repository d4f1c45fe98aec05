//! Finds rules and words in Cedar text. Not a parser: Cedar's own says what is a rule. This one only knows strings and
//! comments, so that a file can be cut at its semicolons and an error can point at the word it is about.

/// A piece of Cedar text that is neither blank nor comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An identifier, a keyword or a number.
    Word(&'a str),
    /// What stands between quotes, escapes as written.
    Str(&'a str),
    /// Any other character.
    Mark(char),
}

/// One rule's text and where it begins in its file, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    pub(crate) offset: usize,
}

/// Tokens with their offsets and the offsets behind them, in bytes.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (usize, Token<'_>, usize)> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let first = rest.chars().next()?;
            let start = at;
            if first.is_whitespace() {
                at = at.saturating_add(first.len_utf8());
                continue;
            }
            if rest.starts_with("//") {
                at = at.saturating_add(rest.find('\n').unwrap_or(rest.len()));
                continue;
            }
            let (token, length) = if first == '"' {
                let inside = rest.get(1..).unwrap_or_default();
                let length = closing_quote(inside);
                (Token::Str(inside.get(..length).unwrap_or_default()), length.saturating_add(2))
            } else if first.is_alphanumeric() || first == '_' {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Word(rest.get(..length).unwrap_or_default()), length)
            } else {
                (Token::Mark(first), first.len_utf8())
            };
            // An unterminated string ends with the text.
            at = at.saturating_add(length).min(text.len());
            return Some((start, token, at));
        }
    })
}

/// Bytes before the quote that ends a string.
fn closing_quote(inside: &str) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    inside.len()
}

/// Cuts a file into rules: a semicolon outside strings and comments ends one, and nothing else does.
pub(crate) fn statements(text: &str) -> Vec<Statement<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut end = 0;
    for (at, token, behind) in tokens(text) {
        let offset = *start.get_or_insert(at);
        end = behind;
        if token == Token::Mark(';') {
            found.push(Statement { text: text.get(offset..behind).unwrap_or_default(), offset });
            start = None;
        }
    }
    if let Some(offset) = start {
        found.push(Statement { text: text.get(offset..end).unwrap_or_default(), offset });
    }
    found
}

/// Where `@key` stands.
pub(crate) fn annotation(text: &str, key: &str) -> Option<usize> {
    let mut mark = None;
    for (at, token, _) in tokens(text) {
        match token {
            Token::Mark('@') => mark = Some(at),
            Token::Word(word) if word == key && mark.is_some() => return mark,
            _ => mark = None,
        }
    }
    None
}

/// Where the entity `kind::"id"` stands.
pub(crate) fn entity(text: &str, kind: &str, id: &str) -> Option<usize> {
    let all: Vec<_> = tokens(text).collect();
    all.windows(4).find_map(|window| match window {
        [
            (at, Token::Word(word), _),
            (_, Token::Mark(':'), _),
            (_, Token::Mark(':'), _),
            (_, Token::Str(name), _),
        ] if *word == kind && *name == id => Some(*at),
        _ => None,
    })
}

/// Where this word stands, bare or between quotes.
pub(crate) fn word(text: &str, word: &str) -> Option<usize> {
    tokens(text)
        .find(|(_, token, _)| matches!(token, Token::Word(w) | Token::Str(w) if *w == word))
        .map(|t| t.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn semicolons_in_strings_and_comments_end_nothing() {
        let text = "// a; b\n@id(\"x;\\\";\") permit (principal, action, resource); // c;\nforbid (x);tail";
        let found: Vec<_> = statements(text).iter().map(|s| (s.offset, s.text)).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], (8, "@id(\"x;\\\";\") permit (principal, action, resource);"));
        assert_eq!(found[1].1, "forbid (x);");
        assert_eq!(found[2].1, "tail");
    }

    #[test]
    fn words_are_found_where_they_mean_something() {
        let text = "// @mask Role::\"a\"\n@id(\"@mask\") @mask(\"p\") forbid (principal in Role::\"a\", action, resource);";
        assert_eq!(annotation(text, "mask"), text.find("@mask(\"p"));
        assert_eq!(entity(text, "Role", "a"), text.rfind("Role"));
        assert_eq!(word(text, "principal"), text.find("principal"));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_without_losing_a_token(text in "[ -~\"\\\\;/@\né]{0,80}") {
            let whole: Vec<_> = tokens(&text).map(|(at, token, _)| (at, token)).collect();
            let cut: Vec<_> = statements(&text)
                .iter()
                .flat_map(|s| tokens(s.text).map(|(at, token, _)| (at + s.offset, token)).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(whole, cut);
        }
    }
}
