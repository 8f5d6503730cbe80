//! What the rules read of Rust text: code without comments, literals and tests, and its paths.

pub fn blank(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

/// Blanks comments and the contents of strings and characters.
pub fn without_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| blank(*c)));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// End of the comment or literal that begins at `at`; `at` itself if none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let is = |i: usize, c: char| chars.get(i) == Some(&c);
    let within = |i: usize| i.min(chars.len());
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if is(at + 1, '/') => {
            (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
        }
        '/' if is(at + 1, '*') => {
            let (mut i, mut depth) = (at + 2, 1);
            while i < chars.len() && depth > 0 {
                match (chars[i], chars.get(i + 1)) {
                    ('/', Some('*')) => (i, depth) = (i + 2, depth + 1),
                    ('*', Some('/')) => (i, depth) = (i + 2, depth - 1),
                    _ => i += 1,
                }
            }
            within(i)
        }
        '"' => quoted_end(chars, at, '"'),
        '\'' if is(at + 1, '\\') => quoted_end(chars, at, '\''),
        // A lifetime has no closing quote after its first character.
        '\'' if is(at + 2, '\'') => at + 3,
        'r' if !in_word || is(at.wrapping_sub(1), 'b') => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if !is(at + 1 + hashes, '"') {
                return at;
            }
            let closes = |i: &usize| is(*i, '"') && (1..=hashes).all(|h| is(i + h, '#'));
            let close = (at + 2 + hashes..chars.len()).find(closes);
            close.map_or(chars.len(), |i| i + 1 + hashes)
        }
        _ => at,
    }
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// Blanks items under `#[cfg(test)]`, and all from the first test module with a body on. Returns
/// the code, its length in lines, and the modules that are declared for tests only.
pub fn without_tests(code: &str) -> (String, usize, Vec<String>) {
    let lines: Vec<&str> = code.lines().collect();
    let mut kept: Vec<&str> = Vec::new();
    let mut only_in_tests = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim() != "#[cfg(test)]" {
            kept.push(lines[at]);
            at += 1;
            continue;
        }
        let is_attribute = |line: &&str| line.trim().starts_with("#[") || line.trim().is_empty();
        let item = at + lines[at..].iter().take_while(|l| is_attribute(l)).count();
        let Some(head) = lines.get(item) else { break };
        let name = head.trim().trim_start_matches("pub ").strip_prefix("mod ");
        match name.map(|n| n.strip_suffix(';')) {
            Some(None) => break,
            Some(Some(module)) => only_in_tests.push(module.to_owned()),
            None => {}
        }
        let end = item_end(&lines, item);
        kept.extend((at..end).map(|_| ""));
        at = end;
    }
    let length = kept.len();
    (kept.join("\n"), length, only_in_tests)
}

/// The line after the item that begins on line `at`, by the indentation that rustfmt gives it.
pub fn item_end(lines: &[&str], at: usize) -> usize {
    let indent = lines[at].len() - lines[at].trim_start().len();
    let closes = |line: &str| {
        let body = line.trim_start();
        line.len() - body.len() == indent && (body.ends_with(';') || body.starts_with('}'))
    };
    if lines[at].ends_with(';') || lines[at].ends_with('}') {
        return at + 1;
    }
    let close = (at + 1..lines.len()).find(|i| closes(lines[*i]));
    close.map_or(lines.len(), |i| i + 1)
}

/// True if `word` stands in `line`, and not as part of another word.
pub fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part_of_word(line[..at].chars().next_back())
            && !part_of_word(line[at + word.len()..].chars().next())
    })
}

/// First segments of the paths from the crate's root in `code`, with line and what follows.
pub fn root_paths(code: &str) -> Vec<(usize, String, String)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, key) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) || code[..at].ends_with('$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + key.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            for item in top_level_items(group) {
                let name: String = item.chars().take_while(|c| is_name(*c)).collect();
                found.push((line, name.clone(), item[name.len()..].to_owned()));
            }
        } else {
            let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
            let tail = rest[name.len()..].chars().take_while(|c| is_name(*c) || *c == ':');
            found.push((line, name.clone(), tail.collect()));
        }
    }
    found
}

/// The items of a `use` group, up to its closing brace.
fn top_level_items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(group[start..i].trim());
                start = i + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

mod tests {
    use super::*;
    use crate::ABRUPT;

    #[test]
    fn literals_and_comments_are_not_code() {
        let text = "a(\"x \\\" .unwrap()\", 'b', '\\'', r#\"dbg!(\"#) // panic!(\nlet l: &'a str;";
        let code = without_literals(text);
        assert_eq!(code.len(), text.len());
        assert!(ABRUPT.iter().all(|call| !code.contains(call)), "{code}");
        assert!(code.ends_with("\nlet l: &'a str;"));
    }

    #[test]
    fn test_code_is_not_product_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod noise;\nfn b() {}\n#[cfg(test)]\nmod tests {\n}";
        let (code, length, modules) = without_tests(text);
        assert_eq!((length, modules), (4, vec!["noise".to_owned()]));
        assert_eq!(code, "fn a() {}\n\n\nfn b() {}");
    }

    #[test]
    fn paths_are_found_in_groups_too() {
        let names = |code| root_paths(code).into_iter().map(|(_, n, _)| n).collect::<Vec<_>>();
        assert_eq!(names("use crate::{model::{Nanos, DAY}, stream};"), ["model", "stream"]);
        assert_eq!(names("crate::error::Error::usage(x); $crate::b::c"), ["error"]);
    }
}
