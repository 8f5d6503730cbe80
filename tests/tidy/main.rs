//! Style as a test: what `rustfmt` and `clippy` do not see.
//!
//! Each rule collects every offence before it fails, so that one run shows all there is to mend.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use source::{blank, has_word, item_end, root_paths, without_literals, without_tests};

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
