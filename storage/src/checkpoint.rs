//! Checkpoints of a stream job: all parts of an epoch, or the epoch before it.
//!
//! An epoch is a directory that gets its name last. Its `manifest.json` lists length and BLAKE3
//! hash of every part and is itself covered by `manifest.json.blake3`, so `b3sum --check` can tell
//! what the store can tell. Batches are Arrow IPC streams: unlike IPC files they allow a dictionary
//! to change between batches.
//!
//! A part that has not changed since the epoch before is a second name (hard link) of the same
//! file: what only ever grows costs a checkpoint what is new. Both epochs then share its damage.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Error, Result};
use crate::lock::ProcessLock;

/// Epochs kept: the one in use, and the one before in case it turns out damaged.
const KEPT: usize = 2;

const MANIFEST: &str = "manifest.json";
const MANIFEST_HASH: &str = "manifest.json.blake3";
const UNFINISHED: &str = ".tmp";
const LOCK: &str = "run.lock";

/// The content of one file of a checkpoint.
#[derive(Debug, Clone)]
pub enum Part {
    Batches(Vec<RecordBatch>),
    Bytes(Vec<u8>),
    /// As the part of this name in the epoch that this store wrote last.
    Unchanged,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    epoch: u64,
    plan_hash: String,
    parts: Vec<PartEntry>,
    meta: serde_json::Value,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartEntry {
    name: String,
    bytes: u64,
    blake3: String,
}

/// The checkpoints of one run, in one directory that only one process writes.
#[derive(Debug)]
pub struct CheckpointStore {
    dir: PathBuf,
    /// Directory and parts of the epoch written last.
    written: Option<(PathBuf, Vec<PartEntry>)>,
    /// Epochs that were found damaged: kept for their number until there is a later one.
    damaged: Vec<Name>,
    _lock: ProcessLock,
}

/// A directory `epoch-E-A`: a job that fell back may write epoch E a second time, as attempt A + 1,
/// without taking the first away before the second is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    epoch: u64,
    attempt: u64,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let (epoch, attempt) = text.strip_prefix("epoch-")?.split_once('-')?;
        Some(Self { epoch: epoch.parse().ok()?, attempt: attempt.parse().ok()? })
    }

    fn dir(self, root: &Path) -> PathBuf {
        root.join(format!("epoch-{:020}-{}", self.epoch, self.attempt))
    }
}

impl CheckpointStore {
    /// Opens the store in `dir`, creating it, and removes what a crash left unfinished.
    ///
    /// # Errors
    /// [`Error::Locked`] while another store on `dir` is open, in this process or another.
    pub fn open(dir: &Path) -> Result<Self> {
        durable::create_dir_all(dir)?;
        let lock = ProcessLock::take(&dir.join(LOCK))?;
        let store =
            Self { dir: dir.to_path_buf(), written: None, damaged: Vec::new(), _lock: lock };
        for entry in store.entries()? {
            if entry.ends_with(UNFINISHED) {
                remove(&store.dir.join(entry))?;
            }
        }
        Ok(store)
    }

    /// Writes a checkpoint; when it returns, [`Self::latest`] finds this one also after a loss of
    /// power. Part names are plain file names. Numbers in `meta` should be integers: JSON may round
    /// others.
    ///
    /// # Errors
    /// Among others [`Error::Checkpoint`] for an unchanged part that was not written before.
    pub fn write(
        &mut self,
        epoch: u64,
        plan_hash: &str,
        parts: &[(String, Part)],
        meta: &serde_json::Value,
    ) -> Result<()> {
        let present = self.complete()?;
        let attempts = present.iter().filter(|n| n.epoch == epoch);
        let name = Name { epoch, attempt: attempts.map(|n| n.attempt + 1).max().unwrap_or(0) };
        let target = name.dir(&self.dir);
        let mut staging = target.clone().into_os_string();
        staging.push(UNFINISHED);
        let staging = PathBuf::from(staging);
        remove(&staging)?;
        durable::create_dir_all(&staging)?;
        let entries = self.write_parts(&staging, parts)?;
        let parts = entries.clone();
        let (plan_hash, meta) = (plan_hash.to_owned(), meta.clone());
        let manifest = Manifest { epoch, plan_hash, parts, meta };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| self.unusable(format!("manifest: {e}")))?;
        let hash = format!("{}  {MANIFEST}\n", blake3::hash(&text).to_hex());
        durable::replace(&staging.join(MANIFEST), [text.as_slice()])?;
        durable::replace(&staging.join(MANIFEST_HASH), [hash.as_bytes()])?;
        fs::rename(&staging, &target).map_err(|e| Error::io("rename into", &target, e))?;
        durable::sync_dir(&self.dir)?;
        self.written = Some((target, entries));
        let damaged = std::mem::take(&mut self.damaged);
        let (damaged, sound): (Vec<Name>, Vec<Name>) =
            present.into_iter().partition(|name| damaged.contains(name));
        for old in sound.iter().rev().skip(KEPT - 1).chain(&damaged) {
            remove(&old.dir(&self.dir))?;
        }
        Ok(())
    }

    /// The newest checkpoint whose every byte is as written; `None` if none was ever written. A
    /// damaged one is passed over with a warning.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there are checkpoints and all are damaged: to start over in silence
    /// would lose state.
    pub fn latest(&mut self) -> Result<Option<Checkpoint>> {
        let mut reasons = Vec::new();
        for name in self.complete()?.into_iter().rev() {
            let dir = name.dir(&self.dir);
            match Checkpoint::load(&dir) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(err @ Error::Damaged { .. }) => {
                    tracing::warn!(epoch = name.epoch, %err, "damaged checkpoint passed over");
                    reasons.push(err.to_string());
                    self.damaged.push(name);
                }
                Err(err) => return Err(err),
            }
        }
        if reasons.is_empty() {
            return Ok(None);
        }
        Err(self.unusable(reasons.join("; ")))
    }

    /// The number of the newest checkpoint, whether or not it can be read; 0 before the first.
    pub fn last_epoch(&self) -> Result<u64> {
        Ok(self.complete()?.last().map_or(0, |n| n.epoch))
    }

    fn write_parts(&self, dir: &Path, parts: &[(String, Part)]) -> Result<Vec<PartEntry>> {
        let mut names = BTreeSet::new();
        let mut entries = Vec::with_capacity(parts.len());
        for (name, part) in parts {
            let plain = Path::new(name).file_name().is_some_and(|n| *n == **name);
            if !plain || name.starts_with(MANIFEST) || !names.insert(name) {
                return Err(self.unusable(format!("{name:?} cannot be the name of a part")));
            }
            let bytes = match part {
                Part::Batches(batches) => Cow::Owned(encode(batches)?),
                Part::Bytes(bytes) => Cow::Borrowed(bytes),
                Part::Unchanged => {
                    entries.push(self.link(dir, name)?);
                    continue;
                }
            };
            durable::replace(&dir.join(name), [bytes.as_slice()])?;
            entries.push(PartEntry {
                name: name.clone(),
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
            });
        }
        Ok(entries)
    }

    /// Gives the file of the epoch written last a name in `dir` too, which is synced later.
    fn link(&self, dir: &Path, name: &str) -> Result<PartEntry> {
        let found = self.written.as_ref().and_then(|(from, parts)| {
            Some((from.join(name), parts.iter().find(|part| part.name == name)?))
        });
        let Some((file, entry)) = found else {
            return Err(self.unusable(format!("part {name} is unchanged, but nowhere written")));
        };
        fs::hard_link(&file, dir.join(name)).map_err(|e| Error::io("link", &file, e))?;
        Ok(entry.clone())
    }

    /// The checkpoints that got their name, oldest first.
    fn complete(&self) -> Result<Vec<Name>> {
        let entries = self.entries()?;
        let mut names: Vec<Name> = entries.iter().filter_map(|e| Name::parse(e)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn entries(&self) -> Result<Vec<String>> {
        let io = |e| Error::io("list", &self.dir, e);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            names.extend(entry.map_err(io)?.file_name().into_string());
        }
        Ok(names)
    }

    fn unusable(&self, reason: String) -> Error {
        Error::Checkpoint { path: self.dir.clone(), reason }
    }
}

/// A checkpoint that was read and compared with its hashes.
#[derive(Debug)]
pub struct Checkpoint {
    pub epoch: u64,
    pub plan_hash: String,
    pub meta: serde_json::Value,
    dir: PathBuf,
    parts: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    fn load(dir: &Path) -> Result<Self> {
        let text = read(&dir.join(MANIFEST))?;
        let hash = read(&dir.join(MANIFEST_HASH))?;
        let damaged = |name: &str, reason: &str| Error::Damaged {
            path: dir.join(name),
            reason: reason.to_owned(),
        };
        if !hash.starts_with(blake3::hash(&text).to_hex().as_bytes()) {
            return Err(damaged(MANIFEST, "its hash differs"));
        }
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|e| damaged(MANIFEST, &e.to_string()))?;
        let mut parts = BTreeMap::new();
        for entry in manifest.parts {
            let bytes = read(&dir.join(&entry.name))?;
            if bytes.len() as u64 != entry.bytes {
                return Err(damaged(&entry.name, "its length differs"));
            }
            if blake3::hash(&bytes).to_hex().as_str() != entry.blake3 {
                return Err(damaged(&entry.name, "its hash differs"));
            }
            parts.insert(entry.name, bytes);
        }
        Ok(Self {
            epoch: manifest.epoch,
            plan_hash: manifest.plan_hash,
            meta: manifest.meta,
            dir: dir.to_path_buf(),
            parts,
        })
    }

    /// Refuses to continue with the state of another plan.
    pub fn require_plan(&self, plan_hash: &str) -> Result<()> {
        if self.plan_hash == plan_hash {
            return Ok(());
        }
        Err(Error::PlanMismatch {
            epoch: self.epoch,
            found: self.plan_hash.clone(),
            wanted: plan_hash.to_owned(),
        })
    }

    /// The names of the parts, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// The content of a part that was written as [`Part::Bytes`].
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        self.parts
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| Error::Missing { path: self.dir.join(name) })
    }

    /// The content of a part that was written as [`Part::Batches`].
    pub fn batches(&self, name: &str) -> Result<Vec<RecordBatch>> {
        let mut rest = self.bytes(name)?;
        let mut batches = Vec::new();
        while !rest.is_empty() {
            let mut reader = StreamReader::try_new(&mut rest, None)?;
            for batch in &mut reader {
                batches.push(batch?);
            }
        }
        Ok(batches)
    }
}

/// One IPC stream after the other, each of as many batches as have the same schema.
fn encode(batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for run in batches.chunk_by(|a, b| a.schema() == b.schema()) {
        let mut writer = StreamWriter::try_new(bytes, &run[0].schema())?;
        for batch in run {
            writer.write(batch)?;
        }
        bytes = writer.into_inner()?;
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::Damaged {
            path: path.to_path_buf(),
            reason: "the file is missing".to_owned(),
        }),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", dir, e)),
    }
}

#[cfg(test)]
mod tests;
