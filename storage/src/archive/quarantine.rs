//! Damaged files are left out and named; the others go on answering.
//!
//! Files are looked at when a provider is made, once each, as they never change: small ones are
//! compared with the hash in their name, of large ones the footer is read. Damage inside the pages
//! of these, and what comes later, shows while a query runs, or not at all if it happens to decode:
//! [`Archive::verify`] reads every file whole.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

use super::Archive;
use super::inspect::{Readable, check, decode, is_read_failure, unreadable};
use super::table::{ActiveFile, Layout, NO_LOG, Snapshot, Table};
use crate::error::{Error, Result};

/// Footers read at the same time.
const FOOTERS_AT_ONCE: usize = 16;

/// A data file that is left out of every answer until the archive is opened again, or the log of a
/// table that gives none until it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    pub path: PathBuf,
    pub reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    known: Mutex<Known>,
}

/// Bounded by the number of files in the tables' current snapshots, plus the damaged ones.
#[derive(Debug, Default)]
struct Known {
    damaged: BTreeMap<PathBuf, String>,
    /// Table, then path and size.
    sound: HashMap<String, HashMap<(String, u64), Arc<Statistics>>>,
}

impl Quarantine {
    /// Those of `files` that can be read; the others become known as damaged.
    pub(super) async fn readable(
        &self,
        root: &Path,
        store: &Arc<dyn ObjectStore>,
        layout: &Layout,
        files: Vec<ActiveFile>,
    ) -> Result<Vec<Readable>> {
        let dir = root.join(&layout.table);
        let cached = self.lock().sound.remove(&layout.table).unwrap_or_default();
        let candidates: Vec<ActiveFile> = {
            let known = self.lock();
            let sound = |f: &ActiveFile| !known.damaged.contains_key(&dir.join(&f.path));
            files.into_iter().filter(sound).collect()
        };
        let checks = candidates.into_iter().map(|file| {
            let statistics = cached.get(&(file.path.clone(), file.size)).cloned();
            check(Arc::clone(store), layout, file, statistics)
        });
        let checked: Vec<Result<Readable, (ActiveFile, String)>> =
            futures::stream::iter(checks).buffered(FOOTERS_AT_ONCE).try_collect().await?;
        let mut readable = Vec::with_capacity(checked.len());
        for outcome in checked {
            match outcome {
                Ok(file) => readable.push(file),
                Err((file, reason)) => {
                    self.add(dir.join(&file.path), reason);
                }
            }
        }
        let sound = readable
            .iter()
            .map(|r| ((r.file.path.clone(), r.file.size), Arc::clone(&r.statistics)))
            .collect();
        self.lock().sound.insert(layout.table.clone(), sound);
        Ok(readable)
    }

    /// Whether the file was not known as damaged before.
    pub(super) fn add(&self, path: PathBuf, reason: String) -> bool {
        if self.contains(&path) {
            return false;
        }
        tracing::error!(path = %path.display(), reason, "damaged, and left out");
        self.lock().damaged.insert(path, reason).is_none()
    }

    /// It can be read after all.
    fn remove(&self, path: &Path) {
        self.lock().damaged.remove(path);
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.lock().damaged.contains_key(path)
    }

    fn list(&self) -> Vec<Damaged> {
        let known = self.lock();
        let named = |(path, reason): (&PathBuf, &String)| Damaged {
            path: path.clone(),
            reason: reason.clone(),
        };
        known.damaged.iter().map(named).collect()
    }

    /// The maps are valid after every single operation, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Archive {
    /// The files found damaged or missing since the archive was opened, by path.
    pub fn quarantined(&self) -> Vec<Damaged> {
        self.quarantine.list()
    }

    /// The newest state of a table, `None` while it does not exist; or why its log cannot be read,
    /// which is then known as damaged until it can.
    pub(super) async fn snapshot(&self, table: &Table) -> Result<Result<Option<Snapshot>, String>> {
        let reason = match table.refresh().await {
            Ok(None) if table.holds_data() => NO_LOG.to_owned(),
            Ok(snapshot) => {
                self.quarantine.remove(&table.log());
                return Ok(Ok(snapshot));
            }
            Err(error) if error.is_of_one_table() => first_line(&error.to_string()),
            Err(error) => return Err(error),
        };
        self.quarantine.add(table.log(), reason.clone());
        Ok(Err(reason))
    }

    /// Reads every file of `table` completely, leaves damaged ones out from now on, and returns
    /// how many of them were not known.
    pub async fn verify(&self, table: &str) -> Result<usize> {
        let table = self.table(table)?;
        let Ok(Some(snapshot)) = self.snapshot(table).await? else {
            return Ok(0);
        };
        let mut found = 0;
        for file in snapshot.files()? {
            let path = table.dir().join(&file.path);
            if self.quarantine.contains(&path) {
                continue;
            }
            if let Err(reason) = self.decode(table, &file).await? {
                found += usize::from(self.quarantine.add(path, reason));
            }
        }
        Ok(found)
    }

    /// Runs `run`, a query over providers of this archive. If reading fails or panics, every table
    /// is verified, and if that finds damage that was not known, `run` runs once more without the
    /// damaged files: it should make its providers itself.
    pub async fn run_with_quarantine<T, E>(
        &self,
        run: impl AsyncFn(&Self) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: StdError + From<Error> + 'static,
    {
        let failure = match caught(run(self)).await {
            Ok(value) => return Ok(value),
            Err(failure) if is_read_failure(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        let mut found = 0;
        for table in self.tables.keys() {
            found += self.verify(table).await?;
        }
        if found == 0 {
            return Err(failure);
        }
        caught(run(self)).await
    }

    /// The content of a file as batches, or why it is damaged.
    pub(super) async fn decode(
        &self,
        table: &Table,
        file: &ActiveFile,
    ) -> Result<Result<Vec<RecordBatch>, String>> {
        let location = file.location(&table.spec().name)?;
        let read = async { self.reader.get(&location).await?.bytes().await };
        let bytes = match read.await {
            Ok(bytes) => bytes,
            Err(err) => return unreadable(err, location.as_ref()).map(Err),
        };
        let file = file.clone();
        let decoded = tokio::task::spawn_blocking(move || decode(&file, bytes)).await;
        Ok(decoded.unwrap_or_else(|_| Err("the decoder panicked".to_owned())))
    }
}

/// Libraries put backtraces behind it.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

async fn caught<T, E: From<Error>>(run: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(Error::Panicked(text.to_owned()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, data_files, open, rows, txn};
    use super::*;

    const CLUSTERS: &str = "select cluster, sum(id), sum(length(tags[1])) from events \
                            group by cluster order by cluster";

    /// Files of clusters a, b and c, in this order.
    async fn three_files(dir: &Path) -> (Archive, Vec<PathBuf>) {
        let archive = open(dir).await;
        for (version, cluster) in [(1, "a"), (2, "b"), (3, "c")] {
            let rows = vec![rows(cluster, 0..1_000)];
            archive.commit("events", rows, txn("app", version)).await.unwrap();
        }
        let files = data_files(dir);
        (archive, files)
    }

    fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    fn named(archive: &Archive) -> Vec<PathBuf> {
        archive.quarantined().into_iter().map(|d| d.path).collect()
    }

    #[tokio::test]
    async fn a_damaged_footer_a_cut_and_a_missing_file_are_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, files) = three_files(&dir.path().canonicalize().unwrap()).await;
        damage(&files[0], |b| {
            let end = b.len();
            b[end - 60..end - 8].fill(0xff);
        });
        let answer = ask(&archive, CLUSTERS).await.unwrap();
        assert_eq!(answer, "b,499500,2000;c,499500,2000");
        damage(&files[1], |b| b.truncate(b.len() / 2));
        assert_eq!(ask(&archive, CLUSTERS).await.unwrap(), "c,499500,2000");
        std::fs::remove_file(&files[2]).unwrap();
        assert_eq!(ask(&archive, CLUSTERS).await.unwrap(), "");
        assert_eq!(named(&archive), files);
        let reasons: Vec<String> = archive.quarantined().into_iter().map(|d| d.reason).collect();
        assert!(reasons[1].contains("the log says"), "{reasons:?}");
        assert_eq!(reasons[2], "the file is missing");
    }

    #[tokio::test]
    async fn a_damaged_page_is_found_by_the_query_that_meets_it() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, files) = three_files(&dir.path().canonicalize().unwrap()).await;
        // Looked at while it was sound.
        ask(&archive, CLUSTERS).await.unwrap();
        damage(&files[1], |b| {
            let middle = b.len() / 3;
            b[4..middle].fill(0x5a);
        });
        let plain = ask(&archive, CLUSTERS).await;
        assert!(plain.is_err() && archive.quarantined().is_empty());
        let answer = archive.run_with_quarantine(async |a| ask(a, CLUSTERS).await);
        let answer: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(answer);
        assert_eq!(answer.await.unwrap(), "a,499500,2000;c,499500,2000");
        assert_eq!(named(&archive), [files[1].clone()]);
        assert_eq!(ask(&archive, CLUSTERS).await.unwrap(), "a,499500,2000;c,499500,2000");
    }

    #[tokio::test]
    async fn verify_finds_every_flipped_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, files) = three_files(&dir.path().canonicalize().unwrap()).await;
        assert_eq!(archive.verify("events").await.unwrap(), 0);
        let length = std::fs::read(&files[0]).unwrap().len();
        for at in (0..length).step_by(length / 13) {
            damage(&files[0], |b| b[at] ^= 1);
            let again = open(dir.path()).await;
            assert_eq!(again.verify("events").await.unwrap(), 1, "byte {at}");
            assert_eq!(again.verify("events").await.unwrap(), 0);
            damage(&files[0], |b| b[at] ^= 1);
        }
    }

    #[tokio::test]
    async fn a_flipped_bit_is_never_answered_from() {
        let dir = tempfile::tempdir().unwrap();
        let (_, files) = three_files(&dir.path().canonicalize().unwrap()).await;
        let length = std::fs::read(&files[0]).unwrap().len();
        for at in (4..length).step_by(length / 13) {
            damage(&files[0], |b| b[at] ^= 4);
            let again = open(dir.path()).await;
            let answer = ask(&again, CLUSTERS).await.unwrap();
            assert_eq!(answer.matches(';').count(), 1, "byte {at}: {answer}");
            assert_eq!(named(&again).len(), 1, "byte {at}");
            damage(&files[0], |b| b[at] ^= 4);
        }
    }

    #[tokio::test]
    async fn a_file_that_no_commit_names_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, files) = three_files(dir.path()).await;
        std::fs::copy(&files[0], files[0].with_file_name("part-orphan.parquet")).unwrap();
        let count = ask(&archive, "select count(*) from events").await.unwrap();
        assert_eq!(count, "3000");
        assert!(archive.quarantined().is_empty());
    }

    #[tokio::test]
    async fn an_error_of_the_query_itself_does_not_read_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, files) = three_files(dir.path()).await;
        ask(&archive, CLUSTERS).await.unwrap();
        damage(&files[0], |b| b[200] ^= 1);
        let divided = archive
            .run_with_quarantine(async |a| {
                ask(a, "select 1 / (id - id) from events where cluster = 'c'").await
            })
            .await;
        assert!(divided.is_err());
        assert!(archive.quarantined().is_empty());
    }
}
