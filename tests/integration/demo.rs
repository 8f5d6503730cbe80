//! The bundled outage: where it comes from, and what people see of it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::program::{faultline, text};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[test]
fn the_bundled_outage_is_what_the_generator_makes() {
    let dir = TempDir::new().unwrap();
    let made = dir.path().join("outage");
    assert_eq!(faultline(&["generate", &text(&made)]).code, Some(0));
    let bundled = Path::new("demo/outage");
    let names = |folder: &Path| -> Vec<PathBuf> {
        files(folder).iter().map(|f| f.strip_prefix(folder).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&made), names(bundled));
    for name in names(bundled) {
        let same = fs::read(made.join(&name)).unwrap() == fs::read(bundled.join(&name)).unwrap();
        assert!(same, "{} differs", name.display());
    }
}

/// The whole timeline of its replay, as it is printed.
#[test]
fn the_timeline_of_the_bundled_outage() {
    let dir = TempDir::new().unwrap();
    let archive = text(&dir.path().join("archive"));
    let shown = faultline(&["replay", "demo/outage", "--archive", &archive]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let timeline = shown.stdout.split(" rows in ").next().unwrap();
    insta::assert_snapshot!(timeline.trim_end());
}
