//! Rust source as a list of tokens: enough to find a function's head, with comments and literals
//! out of the way.

/// A word, a literal, or one character of punctuation. `line` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

/// Never fails: what is not closed reaches to the end of the text, and the compiler is the one to
/// complain.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest, first);
        let (text, after) = rest.split_at(length);
        if !first.is_whitespace() && !text.starts_with("//") && !text.starts_with("/*") {
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// Bytes of the token, comment or space that `rest` begins with.
fn token_length(rest: &str, first: char) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_length(rest)
    } else if first == '"' {
        1 + quoted_length(&rest[1..], '"')
    } else if first == '\'' {
        quote_length(rest)
    } else if first.is_alphanumeric() || first == '_' {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        word + prefixed_string_length(&rest[..word], &rest[word..])
    } else {
        first.len_utf8()
    }
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Bytes up to and with the closing quote; a backslash hides what follows it.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut hidden = false;
    for (at, c) in rest.char_indices() {
        if !hidden && c == quote {
            return at + 1;
        }
        hidden = !hidden && c == '\\';
    }
    rest.len()
}

/// A character literal, or the quote and name of a lifetime.
fn quote_length(rest: &str) -> usize {
    let mut after = rest.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => 1 + quoted_length(&rest[1..], '\''),
        _ => rest[1..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(rest.len(), |at| 1 + at),
    }
}

/// The rest of a literal such as `b"..."` or `r#"..."#`, 0 where `word` is no prefix of a string.
fn prefixed_string_length(word: &str, after: &str) -> usize {
    let hashes = after.len() - after.trim_start_matches('#').len();
    let raw = matches!(word, "r" | "br" | "cr");
    if !after[hashes..].starts_with('"') || (!raw && (hashes > 0 || !matches!(word, "b" | "c"))) {
        return 0;
    }
    let body = hashes + 1;
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        after[body..].find(&close).map_or(after.len(), |at| body + at + close.len())
    } else {
        body + quoted_length(&after[body..], '"')
    }
}

#[cfg(test)]
mod tests {
    use super::tokens;
    use proptest::prelude::*;

    fn check(source: &str, expected: &[&str]) {
        let found: Vec<&str> = tokens(source).iter().map(|token| token.text).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn splits_words_and_punctuation() {
        check("fn f(a: &str)->i64", &["fn", "f", "(", "a", ":", "&", "str", ")", "-", ">", "i64"]);
        check("&'a str 'x' '\\'' b'q'", &["&", "'a", "str", "'x'", "'\\''", "b", "'q'"]);
    }

    #[test]
    fn leaves_out_comments() {
        check("a // #[udf]\nb /* x /* y */ z */ c /**/ d", &["a", "b", "c", "d"]);
        check("a /* not closed", &["a"]);
    }

    #[test]
    fn keeps_literals_whole() {
        check(r##"x = "a \" b" ; y"##, &["x", "=", r##""a \" b""##, ";", "y"]);
        check(
            r###"r#"say "hi""# b"\"" r"\" z"###,
            &[r###"r#"say "hi""#"###, r#"b"\"""#, r#"r"\""#, "z"],
        );
    }

    #[test]
    fn counts_lines_through_comments_and_strings() {
        let lines: Vec<usize> =
            tokens("a\n/* \n */ b \"\n\" c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 3, 4]);
    }

    proptest! {
        #[test]
        fn never_fails(source in "[a-z0-9 \n\"'/*#\\\\<>é]{0,60}") {
            let kept: usize = tokens(&source).iter().map(|token| token.text.len()).sum();
            prop_assert!(kept <= source.len());
        }
    }
}
