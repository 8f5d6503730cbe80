//! What readers of a log pass over in silence: a table that is gone, an entry that says nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Archive;
use crate::error::{Error, Result};

/// Why a table counts as damaged that is not there.
const GONE: &str = "the table is missing; where none was lost the next `replay` or `run` makes it";

impl Archive {
    /// As [`Self::verify`], and lists in [`Self::quarantined`] as well what keeps no query from
    /// answering: a table that is gone, and entries of its log that hold nothing any more.
    pub async fn audit(&self, table: &str) -> Result<()> {
        self.verify(table).await?;
        let table = self.table(table)?;
        match self.snapshot(table).await? {
            Ok(Some(_)) => {
                let log = table.log();
                let spoilt = tokio::task::spawn_blocking(move || spoilt_entries(&log)).await;
                for (path, reason) in spoilt.map_err(|e| Error::Panicked(e.to_string()))?? {
                    self.quarantine.add(path, reason);
                }
            }
            Ok(None) => drop(self.quarantine.add(table.dir().to_owned(), GONE.to_owned())),
            // Listed already.
            Err(_) => {}
        }
        Ok(())
    }
}

/// Entries that are not lines of JSON, one at least, and why.
fn spoilt_entries(log: &Path) -> Result<Vec<(PathBuf, String)>> {
    let failed = |e: io::Error| Error::io("read directory", log, e);
    let mut spoilt = Vec::new();
    for entry in fs::read_dir(log).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "json") {
            match fs::read_to_string(&path) {
                Ok(text) => spoilt.extend(problem(&text).map(|reason| (path, reason))),
                Err(error) => spoilt.push((path, error.to_string())),
            }
        }
    }
    Ok(spoilt)
}

fn problem(entry: &str) -> Option<String> {
    if entry.trim().is_empty() {
        return Some("this entry of the log is empty".to_owned());
    }
    let wrong = |line: &str| serde_json::from_str::<Value>(line).err();
    let error = entry.lines().find_map(wrong)?;
    Some(format!("this entry of the log is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, open, rows, txn};

    #[tokio::test]
    async fn an_emptied_entry_is_found_though_every_query_answers() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        for version in 1..4 {
            let rows = vec![rows("a", version..version + 1)];
            archive.commit("events", rows, txn("app", version)).await.unwrap();
        }
        archive.audit("events").await.unwrap();
        assert_eq!(archive.quarantined(), []);
        let entry = archive.root.join("events/_delta_log/00000000000000000002.json");
        std::fs::write(&entry, "").unwrap();
        let archive = open(dir.path()).await;
        assert_eq!(ask(&archive, "select count(*) from events").await.unwrap(), "2");
        archive.audit("events").await.unwrap();
        let found: Vec<_> = archive.quarantined().into_iter().map(|d| d.path).collect();
        assert_eq!(found, [entry]);
    }
}
