//! Checkpoints of a live run.
//!
//! A barrier follows a watermark through every stage. Behind it each origin (ingest, every job)
//! hands the collector its state as of that watermark; the collector adds its own and what has yet
//! to be archived, and makes all of it durable in one step. Only then are those rows committed to
//! the archive, under the number of the checkpoint. A run that is killed in between therefore finds
//! them in its checkpoint and commits them again under the same number, which the archive
//! recognises: nothing is lost and nothing is there twice.

use std::time::Duration;

use faultline_storage::checkpoint::{Checkpoint, CheckpointStore, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::knowledge::{Outbox, archive_tables};
use crate::monitor::template::history::Known;
use crate::stream::driver;

/// Names the parts that hold rows for the archive.
const OUTBOX: &str = "outbox-";

/// Where the checkpoints of a run go, and the one that it goes on from.
pub struct Checkpoints {
    pub store: CheckpointStore,
    pub resumed: Option<Checkpoint>,
    /// What a later run must have in common with this one to go on from its checkpoints.
    pub plan: String,
    pub every: Duration,
}

/// What one origin contributes.
#[derive(Default)]
pub struct Share {
    pub parts: Vec<(String, Part)>,
    pub meta: Value,
    /// What ingest knows of template ids; no part of the checkpoint.
    pub templates: Vec<Known>,
}

/// The state of the job with this origin.
pub fn of_job(origin: usize, saved: driver::Saved) -> Share {
    let mut share = Share::default();
    let mut names = Vec::new();
    for (i, (node, name, batches)) in saved.into_iter().enumerate() {
        share.parts.push((job_part(origin, i), Part::Batches(batches)));
        names.push((node, name));
    }
    share.meta = serde_json::json!(names);
    share
}

pub fn job_state(origin: usize, checkpoint: &Checkpoint) -> Result<driver::Saved> {
    let names: Vec<(usize, String)> = meta(checkpoint, origin)?;
    let state = |(i, (node, name)): (usize, (usize, String))| {
        Ok((node, name, checkpoint.batches(&job_part(origin, i))?))
    };
    names.into_iter().enumerate().map(state).collect()
}

fn job_part(origin: usize, i: usize) -> String {
    format!("job-{origin}-{i}.arrows")
}

/// What an origin noted beside its parts.
pub fn meta<T: DeserializeOwned>(checkpoint: &Checkpoint, origin: usize) -> Result<T> {
    let noted = checkpoint.meta.get("origins").and_then(|o| o.get(origin)).cloned();
    serde_json::from_value(noted.unwrap_or_default()).map_err(unreadable)
}

/// The run that wrote the checkpoint, as the archive knows it.
pub fn written_by(checkpoint: &Checkpoint) -> Result<String> {
    let run = checkpoint.meta.get("run").cloned().unwrap_or_default();
    serde_json::from_value(run).map_err(unreadable)
}

/// The note of all origins and of the run that archives the outbox.
pub fn note(run: &str, origins: Vec<Value>) -> Value {
    serde_json::json!({ "run": run, "origins": origins })
}

pub fn outbox_parts(outbox: &Outbox) -> Vec<(String, Part)> {
    let part = |(table, rows): (&str, &[_])| {
        (format!("{OUTBOX}{table}.arrows"), Part::Batches(rows.to_vec()))
    };
    outbox.tables().map(part).collect()
}

/// The rows that the archive may not have yet.
pub fn outbox(checkpoint: &Checkpoint) -> Result<Outbox> {
    let mut outbox = Outbox::default();
    for table in archive_tables()? {
        let part = format!("{OUTBOX}{}.arrows", table.name);
        if checkpoint.names().any(|n| n == part) {
            for rows in checkpoint.batches(&part)? {
                outbox.rows(&table.name, rows);
            }
        }
    }
    Ok(outbox)
}

pub fn to_bytes<T: Serialize>(state: &T) -> Result<Part> {
    Ok(Part::Bytes(serde_json::to_vec(state).map_err(unreadable)?))
}

pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(unreadable)
}

pub fn unreadable(problem: impl ToString) -> Error {
    let remedy = "it was written by another version; start over with --fresh".to_owned();
    Error::Checkpoint { message: problem.to_string(), remedy }
}
