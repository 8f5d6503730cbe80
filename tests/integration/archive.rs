//! What an archive holds, as queries see it and as the tables lie.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use datafusion::prelude::SessionContext;
use faultline::knowledge::{archive_tables, table_specs};
use faultline::query::{Format, Limits, Session, write};
use faultline_storage::archive::{Archive, Open};

use crate::program::block_on;

/// Rows of every table as CSV, by name; below the header the lines are sorted.
pub type Contents = BTreeMap<String, String>;

/// All that SQL sees.
pub fn contents(archive: &Path) -> Contents {
    block_on(async {
        let limits = Limits { rows: 1_000_000, ..Limits::default() };
        let session = Session::open(archive, limits).await.unwrap();
        let mut contents = Contents::new();
        for table in session.tables() {
            let answer = session.run(&format!("SELECT * FROM {}", table.name)).await.unwrap();
            assert!(answer.truncated.is_none() && answer.warnings.is_empty(), "{answer:?}");
            let mut csv = Vec::new();
            write(&answer, Format::Csv, &mut csv).unwrap();
            let csv = String::from_utf8(csv).unwrap();
            let mut lines: Vec<&str> = csv.lines().collect();
            lines[1..].sort_unstable();
            contents.insert(table.name.clone(), lines.join("\n"));
        }
        contents
    })
}

/// Rows below the header.
pub fn count(contents: &Contents, table: &str) -> usize {
    contents[table].lines().count() - 1
}

/// Keys that stand in a table more than once. SQL over the archive would show each only once.
pub fn repeated(archive: &Path) -> Vec<String> {
    block_on(async {
        let opened = Archive::open(archive, table_specs().unwrap(), Open::ReadOnly).await.unwrap();
        let context = SessionContext::new();
        let mut repeated = Vec::new();
        for table in archive_tables().unwrap().iter().filter(|t| !t.key.is_empty()) {
            let provider = opened.provider(&table.name).await.unwrap();
            context.register_table(table.name.as_str(), provider).unwrap();
            // An incident is told twice: while it is open, and when it has closed; a template as
            // often as it has become another.
            let state = match table.name.as_str() {
                "incidents" => ", state",
                "templates" => ", canonical_id, template, moved_at",
                _ => "",
            };
            let key = format!("{}{state}", table.key.join(", "));
            let sql =
                format!("SELECT {key} FROM {} GROUP BY {key} HAVING count(*) > 1", table.name);
            for batch in context.sql(&sql).await.unwrap().collect().await.unwrap() {
                repeated.push(format!("{}: {} keys", table.name, batch.num_rows()));
            }
        }
        repeated.retain(|r| !r.ends_with(": 0 keys"));
        repeated
    })
}

/// Data files and log entries below an archive, in order.
pub fn files(archive: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![archive.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// Entries in the logs of all tables: each is one commit.
pub fn commits(archive: &Path) -> usize {
    let is_entry = |p: &&PathBuf| {
        p.extension().is_some_and(|e| e == "json")
            && p.parent().is_some_and(|d| d.ends_with("_delta_log"))
    };
    files(archive).iter().filter(is_entry).count()
}
