//! Style as a test: what `rustfmt` and `clippy` do not see.
//!
//! Each rule collects every offence before it fails, so that one run shows all there is to mend.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Tests run in the folder of their package, wherever the binary was built.
const ROOT: &str = ".";

/// Lines of a file up to its `mod tests`.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;
const README_LINES_MAX: usize = 250;

/// Calls that end the process or print for a debugger; a test may make them.
const ABRUPT: [&str; 6] =
    [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "dbg!("];
const VAGUE_NAMES: [&str; 8] =
    ["common", "commons", "helper", "helpers", "manager", "util", "utils", "misc"];
/// Split, so that this file does not find itself.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Where `unsafe` may stand, beside tests, each for a reason that the file gives.
const UNSAFE_FILES: [&str; 3] =
    ["pipeline/stream/series.rs", "udfs/src/plugin/entry.rs", "udfs/src/plugin/mod.rs"];

/// Outside crates with one home: name, and the paths that may say it.
const HOMES: [(&str, &[&str]); 4] = [
    ("rdkafka", &["pipeline/bus/kafka", "pipeline/source/kafka"]),
    ("kube", &["pipeline/source/kubernetes", "pipeline/execute", "pipeline/cluster/operator"]),
    ("axum", &["pipeline/serve"]),
    ("reqwest", &["pipeline/diagnose/advise", "pipeline/run/webhook.rs"]),
];

/// Words that a crate's code does not say: folder, word.
const STRANGERS: [(&str, &[&str]); 2] = [
    ("udfs/src/", &["tokio", "faultline", "faultline_storage", "SystemTime", "Instant"]),
    ("storage/src/", &["faultline", "faultline_udfs", "Incident", "Diagnosis", "Evidence"]),
];

/// One Rust file.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    /// The text without comments, literals and test code; the same lines and columns.
    code: String,
    /// Lines before the first test module.
    length: usize,
    is_test: bool,
}

impl File {
    /// Names of modules from the crate's root to this file, for a file of `pipeline/`.
    fn modules(&self) -> Option<Vec<&str>> {
        let inside = self.path.strip_prefix("pipeline/")?.strip_suffix(".rs")?;
        let mut modules: Vec<&str> = inside.split('/').collect();
        if modules.last() == Some(&"mod") {
            modules.pop();
        }
        (modules != ["lib"] && modules != ["main"]).then_some(modules)
    }
}

/// Paths under the root with this extension, sorted; build output and hidden folders left out.
fn paths(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(ROOT).unwrap().to_string_lossy().replace('\\', "/")
}

fn files() -> Vec<File> {
    let mut test_modules = BTreeSet::new();
    let mut files: Vec<File> = Vec::new();
    for path in paths("rs") {
        let text = fs::read_to_string(&path).unwrap();
        let (code, length, only_in_tests) = without_tests(&without_literals(&text));
        let path = relative(&path);
        let folder = match path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        test_modules.extend(only_in_tests.into_iter().map(|m| format!("{folder}/{m}")));
        files.push(File { path, text, code, length, is_test: false });
    }
    for file in &mut files {
        let module = file.path.trim_end_matches(".rs");
        let folders = ["tests", "benches", "fixtures"];
        file.is_test = file.path.split('/').any(|part| folders.contains(&part))
            || module.ends_with("/tests")
            || test_modules.iter().any(|m| module == m || module.starts_with(&format!("{m}/")));
        if file.is_test {
            file.code = file.code.chars().map(blank).collect();
        }
    }
    files
}

fn blank(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

/// Blanks comments and the contents of strings and characters.
fn without_literals(text: &str) -> String {
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
fn without_tests(code: &str) -> (String, usize, Vec<String>) {
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
fn item_end(lines: &[&str], at: usize) -> usize {
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
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part_of_word(line[..at].chars().next_back())
            && !part_of_word(line[at + word.len()..].chars().next())
    })
}

fn offences(rule: impl Fn(&File, &mut dyn FnMut(usize, String))) -> Vec<String> {
    let mut found = Vec::new();
    for file in files() {
        rule(&file, &mut |line, what| found.push(format!("{}:{line}: {what}", file.path)));
    }
    found
}

/// Applies `rule` to each line of product code.
fn code_offences(rule: impl Fn(&File, &str) -> Option<String>) -> Vec<String> {
    offences(|file, report| {
        for (i, line) in file.code.lines().enumerate() {
            if let Some(what) = rule(file, line) {
                report(i + 1, what);
            }
        }
    })
}

#[track_caller]
fn none(found: Vec<String>) {
    assert!(found.is_empty(), "{} offences:\n{}", found.len(), found.join("\n"));
}

#[test]
fn files_and_functions_are_short_enough_to_read() {
    none(offences(|file, report| {
        if file.length > FILE_LINES_MAX && !file.is_test {
            report(FILE_LINES_MAX, format!("{} lines before `mod tests`", file.length));
        }
        let lines: Vec<&str> = file.code.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if has_word(line, "fn") && line.ends_with(['{', '(']) {
                let length = item_end(&lines, at) - at;
                if length > FUNCTION_LINES_MAX {
                    report(at + 1, format!("a function of {length} lines"));
                }
            }
        }
    }));
}

#[test]
fn lines_are_at_most_a_hundred_columns_wide() {
    none(offences(|file, report| {
        // Samples of input in test folders are as wide as the input is.
        if file.path.contains("/tests/") {
            return;
        }
        for (i, line) in file.text.lines().enumerate() {
            let width = line.chars().count();
            if width > LINE_CHARS_MAX {
                report(i + 1, format!("{width} columns"));
            }
        }
    }));
}

#[test]
fn product_code_does_not_stop_abruptly() {
    none(code_offences(|_, line| {
        let call = ABRUPT.iter().find(|call| line.contains(*call))?;
        Some(format!("`{call}` outside tests"))
    }));
}

#[test]
fn nothing_is_left_for_later() {
    let mut found = Vec::new();
    for path in ["rs", "sql", "py", "toml", "md", "slt"].into_iter().flat_map(paths) {
        let text = fs::read_to_string(&path).unwrap();
        for (i, line) in text.lines().enumerate() {
            if let Some(mark) = UNFINISHED.iter().find(|mark| has_word(line, mark)) {
                found.push(format!("{}:{}: {mark}", relative(&path), i + 1));
            }
        }
    }
    none(found);
}

#[test]
fn names_say_what_is_inside() {
    none(offences(|file, report| {
        let part = file.path.split(['/', '.']).find(|part| VAGUE_NAMES.contains(part));
        if let Some(part) = part {
            report(1, format!("`{part}` says nothing; name it after what it holds"));
        }
    }));
}

#[test]
fn unsafe_code_stays_where_it_is_needed() {
    let files = files();
    let users = files.iter().filter(|f| f.code.lines().any(|line| has_word(line, "unsafe")));
    let users: Vec<&str> = users.map(|f| f.path.as_str()).collect();
    assert_eq!(users, UNSAFE_FILES, "files with `unsafe`, and those that may have it");
}

#[test]
fn crates_keep_to_their_layer() {
    none(code_offences(|file, line| {
        let (_, words) = STRANGERS.iter().find(|(folder, _)| file.path.starts_with(folder))?;
        let word = words.iter().find(|word| has_word(line, word))?;
        Some(format!("`{word}` does not belong into this crate"))
    }));
}

#[test]
fn outside_crates_have_one_home() {
    none(code_offences(|file, line| {
        let is_home = |homes: &[&str]| homes.iter().any(|home| file.path.starts_with(home));
        let lost = |(name, homes): &&(&str, &[&str])| {
            line.contains(&format!("{name}::")) && !is_home(homes)
        };
        HOMES.iter().find(lost).map(|(name, homes)| format!("`{name}` lives in {homes:?}"))
    }));
}

/// Modules that a crate's root declares, in order.
fn declared_in(root: &str) -> Vec<String> {
    let root = fs::read_to_string(Path::new(ROOT).join(root)).unwrap();
    let declared = |line: &str| {
        let name = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        Some(name.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    };
    root.lines().filter_map(declared).collect()
}

/// First segments of the paths from the crate's root in `code`, with line and what follows.
fn root_paths(code: &str) -> Vec<(usize, String, String)> {
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

#[test]
fn modules_use_only_what_is_declared_above_them() {
    let flow = declared_in("pipeline/lib.rs");
    let of_the_program = declared_in("pipeline/main.rs");
    let place = |name: &str| flow.iter().position(|m| m == name);
    none(offences(|file, report| {
        let Some(modules) = file.modules().filter(|_| !file.is_test) else { return };
        if of_the_program.iter().any(|m| m == modules[0]) {
            return;
        }
        let Some(own) = place(modules[0]) else {
            return report(1, format!("module `{}` is not declared in lib.rs", modules[0]));
        };
        for (line, name, tail) in root_paths(&file.code) {
            // The crate's error wraps the errors of its sources, wherever they are declared.
            let wrapped = modules == ["error"] && tail == "::Error";
            if place(&name).is_some_and(|used| used > own) && !wrapped {
                report(line, format!("`{}` uses `{name}`, declared below it", modules[0]));
            }
        }
        let climb = "super::".repeat(modules.len());
        for (i, line) in file.code.lines().enumerate() {
            if line.contains(&climb) {
                report(i + 1, format!("`{climb}` reaches the crate's root; write `crate::`"));
            }
        }
    }));
}

#[test]
fn jobs_say_what_they_are() {
    let mut found = Vec::new();
    for path in paths("sql") {
        let name = relative(&path);
        let Some(stem) = name.strip_prefix("sql/detect/").map(|n| n.trim_end_matches(".sql"))
        else {
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        let header = |key: &str| {
            let comments = text.lines().map_while(|line| line.strip_prefix("--"));
            let mut pairs = comments.filter_map(|line| line.split_once(':'));
            pairs.find(|(k, _)| k.trim() == key).map_or("", |(_, value)| value.trim())
        };
        if header("name") != stem {
            found.push(format!("{name}: `-- name:` is not the file's name"));
        }
        if header("description").is_empty() {
            found.push(format!("{name}: no `-- description:`"));
        }
        if !["info", "warning", "critical"].contains(&header("severity")) {
            found.push(format!("{name}: `-- severity:` is not info, warning or critical"));
        }
    }
    none(found);
}

#[test]
fn readme_is_short_and_its_map_is_true() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines");
    let (_, map) = readme.split_once("## Code map").unwrap();
    let map = map.split("```").nth(1).unwrap();
    let mapped: Vec<&str> = map.lines().filter_map(|l| l.split_whitespace().next()).collect();
    let mut found = Vec::new();
    for path in mapped.iter().filter(|p| p.contains(['/', '.'])) {
        if !Path::new(ROOT).join(path).exists() {
            found.push(format!("README.md maps {path}, which does not exist"));
        }
    }
    for module in declared_in("pipeline/lib.rs") {
        let spelled = [format!("pipeline/{module}.rs"), format!("pipeline/{module}/")];
        if !mapped.iter().any(|p| spelled.iter().any(|s| s == p)) {
            found.push(format!("README.md does not map pipeline/{module}"));
        }
    }
    none(found);
}

/// The rules read code with the help of these.
mod tests {
    use super::*;

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
