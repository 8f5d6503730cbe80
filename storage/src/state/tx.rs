//! Blobs by namespace and key, inside a transaction.

use std::cell::RefCell;
use std::path::Path;

use rusqlite::{OptionalExtension, Transaction, params};

use super::failed;
use crate::error::{Error, Result};

/// What a transaction may do; see [`super::State::transaction`].
#[derive(Debug)]
pub struct Tx<'a> {
    pub(super) inner: &'a Transaction<'a>,
    path: &'a Path,
    /// A fatal error counts also where the caller dropped it.
    fatal: RefCell<Option<Error>>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(inner: &'a Transaction<'a>, path: &'a Path) -> Self {
        Self { inner, path, fatal: RefCell::new(None) }
    }

    pub fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.checked(|tx| {
            tx.prepare_cached("SELECT value FROM blobs WHERE namespace = ?1 AND key = ?2")?
                .query_row(params![namespace, key], |row| row.get(0))
                .optional()
        })
    }

    pub fn put(&self, namespace: &str, key: &str, value: &[u8]) -> Result<()> {
        self.checked(|tx| {
            tx.prepare_cached("INSERT OR REPLACE INTO blobs VALUES (?1, ?2, ?3)")?
                .execute(params![namespace, key, value])
                .map(|_| ())
        })
    }

    /// Whether there was something to delete.
    pub fn delete(&self, namespace: &str, key: &str) -> Result<bool> {
        self.checked(|tx| {
            tx.prepare_cached("DELETE FROM blobs WHERE namespace = ?1 AND key = ?2")?
                .execute(params![namespace, key])
                .map(|rows| rows > 0)
        })
    }

    /// At most `limit` entries whose key starts with `prefix`, by key in byte order.
    pub fn scan(
        &self,
        namespace: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        self.checked(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT key, value FROM blobs WHERE namespace = ?1 AND key >= ?2 ORDER BY key",
            )?;
            let mut rows = statement.query(params![namespace, prefix])?;
            let mut found = Vec::new();
            while found.len() < limit {
                let Some(row) = rows.next()? else { break };
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                found.push((key, row.get(1)?));
            }
            Ok(found)
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.path
    }

    pub(super) fn take_fatal(&self) -> Option<Error> {
        self.fatal.take()
    }

    pub(super) fn checked<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        work(self.inner).map_err(|source| {
            let err = failed(self.path, source);
            if let Error::Sync { path, source } = &err {
                self.fatal.replace(Some(Error::Sync {
                    path: path.clone(),
                    source: std::io::Error::other(source.to_string()),
                }));
            }
            err
        })
    }
}
