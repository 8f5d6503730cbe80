//! What people bring: runbooks, vectors of an endpoint, and feedback, into the archive.

use std::collections::BTreeMap;
use std::path::Path;

use super::hashed;
use super::import::{self, Changes, Found, Origin};
use super::learned::{Columns, Feedback, Said, Section, feedback_rows, section_rows, vector_rows};
use super::load;
use super::rows::{call_rows, named};
use super::writer::{Outbox, Writer};
use crate::diagnose::advise::{Call, Embedder};
use crate::error::{Error, Result};
use crate::model::{Diagnosis, Incident, Nanos, stable_id};

/// Vectors that are committed together.
const VECTORS_PER_COMMIT: usize = 1_024;

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    pub changes: Changes,
    /// Sections of the collection that are there now.
    pub sections: usize,
}

/// What an import is to do.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub dir: &'a Path,
    pub collection: &'a str,
    pub cluster: &'a str,
    /// Takes the place of what another directory has given; without it, only the collection's own
    /// directory may change it.
    pub replace: bool,
    /// Reads also what has not changed.
    pub all: bool,
}

/// The markdown of `dir`.
///
/// # Errors
/// [`Error::Usage`] where the directory holds none, which would remove all there is.
pub fn found(dir: &Path) -> Result<Found> {
    let found = import::read_dir(dir)?;
    if !found.documents.is_empty() {
        return Ok(found);
    }
    let message = match found.refused.first() {
        Some((source, problem)) => {
            format!("{} holds no markdown that can be read: {source}: {problem}", dir.display())
        }
        None => format!("{} holds no markdown", dir.display()),
    };
    Err(Error::usage(message, "name the directory of the runbooks"))
}

/// Imports what was [`found`]: what is new or changed is written, what is gone is marked as gone.
///
/// # Errors
/// [`Error::Usage`] where the collection was read from another directory.
pub async fn import(writer: &Writer, order: Order<'_>, found: Found) -> Result<Imported> {
    let Order { dir, collection, cluster, replace, all } = order;
    let root = dir.canonicalize().map_err(Error::io(dir))?;
    let root = root.to_string_lossy();
    let archive = writer.archive();
    let mut known = load::sections(archive).await?;
    known.retain(|s| s.passage.collection == collection);
    let here = known.iter().filter(|s| s.passage.cluster == cluster);
    let other = here.filter_map(|s| s.root.as_deref()).find(|other| *other != root);
    if let Some(other) = other.filter(|_| !replace) {
        return Err(Error::usage(
            format!("collection {collection} was imported from {other}, not from {root}"),
            "give these runbooks a --name of their own, or --replace the others",
        ));
    }
    let revision = load::last_revision(archive).await? + 1;
    let origin = Origin { cluster, collection, root: &root };
    let mut changes = import::changes(origin, &found, &known, revision, all);
    changes.warnings.extend(found.refused);
    changes.warnings.sort();
    let mut outbox = Outbox::default();
    if !changes.rows.is_empty() {
        outbox.rows("runbooks", section_rows(&changes.rows)?);
    }
    commit(writer, "import", revision, outbox, &[collection]).await?;
    let mut now = load::sections(archive).await?;
    fill_built_in(writer, cluster, &now).await?;
    now.retain(|s| s.passage.collection == collection && s.passage.cluster == cluster);
    Ok(Imported { changes, sections: now.len() })
}

/// Vectors of sections that have none yet, also those that an import could not write any more.
async fn fill_built_in(writer: &Writer, cluster: &str, sections: &[Section]) -> Result<()> {
    let known = load::vectors(writer.archive(), hashed::MODEL).await?;
    let mut missing = BTreeMap::new();
    for section in sections {
        let id = section.passage.vector_id();
        if !known.contains_key(&id) {
            missing.insert(id, hashed::vector(&section.passage.vector_text()));
        }
    }
    let missing: Vec<(String, Vec<f32>)> = missing.into_iter().collect();
    for vectors in missing.chunks(VECTORS_PER_COMMIT) {
        commit_vectors(writer, cluster, hashed::MODEL, vectors).await?;
    }
    Ok(())
}

/// Asks an endpoint for the vectors that sections and cases lack; returns how many came. Those that
/// came before an error stay.
pub async fn embed(writer: &Writer, cluster: &str, embedder: &Embedder) -> Result<usize> {
    let archive = writer.archive();
    let known = load::vectors(archive, embedder.model()).await?;
    let mut texts = BTreeMap::new();
    for section in load::sections(archive).await? {
        texts.insert(section.passage.vector_id(), section.passage.vector_text());
    }
    for case in load::cases(archive).await? {
        texts.insert(case.vector_id(), case.text);
    }
    texts.retain(|id, _| !known.contains_key(id));
    let (ids, texts): (Vec<String>, Vec<String>) = texts.into_iter().unzip();
    let mut waiting = Vec::new();
    let mut failed = None;
    for (ids, texts) in ids.chunks(embedder.batch()).zip(texts.chunks(embedder.batch())) {
        match embedder.embed(texts).await {
            Ok(vectors) => waiting.extend(ids.iter().cloned().zip(vectors)),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    for vectors in waiting.chunks(VECTORS_PER_COMMIT) {
        commit_vectors(writer, cluster, embedder.model(), vectors).await?;
    }
    failed.map_or(Ok(waiting.len()), Err)
}

async fn commit_vectors(
    writer: &Writer,
    cluster: &str,
    model: &str,
    vectors: &[(String, Vec<f32>)],
) -> Result<()> {
    let mut outbox = Outbox::default();
    outbox.rows("vectors", vector_rows(cluster, model, vectors)?);
    let ids: Vec<&str> = vectors.iter().map(|(id, _)| id.as_str()).collect();
    commit(writer, "vectors", 1, outbox, &[&[model], ids.as_slice()].concat()).await
}

/// What to say of an id that names no incident of an archive.
pub fn no_incident(id: &str) -> Error {
    Error::usage(
        format!("the archive has no incident {id}"),
        "see `faultline query --archive DIR \"SELECT incident_id, title FROM incidents\"`, with \
         the same DIR; one that is open is there from the next checkpoint of its run on",
    )
}

/// Records what a person says about an incident.
///
/// # Errors
/// [`Error::Usage`] where the archive has no such incident.
pub async fn feedback(writer: &Writer, incident_id: &str, said: Said) -> Result<Feedback> {
    let archive = writer.archive();
    let id = incident_id.replace('\'', "''");
    let sql = format!("SELECT cluster, opened_at FROM incidents WHERE incident_id = '{id}'");
    let found = load::rows(archive, "incidents", &sql).await?;
    let Some(incident) = found.iter().find(|b| b.num_rows() > 0).map(Columns) else {
        return Err(no_incident(incident_id));
    };
    let (cluster, opened_at): (String, Nanos) =
        (incident.text("cluster", 0), incident.time("opened_at", 0).unwrap_or_default());
    let sql = format!("SELECT max(number) AS number FROM feedback WHERE incident_id = '{id}'");
    let commit = format!("feedback-{}", stable_id(&["feedback", incident_id]));
    let mut number = 0;
    loop {
        let given = load::rows(archive, "feedback", &sql).await?;
        let given = given.iter().filter(|b| b.num_rows() > 0);
        number = given.map(|b| Columns(b).integer("number", 0)).fold(number, i64::max) + 1;
        let feedback = Feedback {
            cluster: named(&cluster).to_owned(),
            opened_at,
            incident_id: incident_id.to_owned(),
            number,
            said: said.clone(),
        };
        let mut outbox = Outbox::default();
        outbox.rows("feedback", feedback_rows(std::slice::from_ref(&feedback))?);
        // Somebody else may have been given this number at the same time.
        if writer.append(&commit, number, outbox).await? {
            return Ok(feedback);
        }
    }
}

/// Whether anything that the archive tells of a cluster is about this service.
pub async fn is_service(writer: &Writer, cluster: &str, service: &str) -> Result<bool> {
    let [cluster, service] = [cluster, service].map(|text| text.replace('\'', "''"));
    for table in ["diagnoses", "signals"] {
        let sql = format!(
            "SELECT service FROM {table} WHERE cluster = '{cluster}' AND service = '{service}' \
             LIMIT 1"
        );
        if load::rows(writer.archive(), table, &sql).await?.iter().any(|b| b.num_rows() > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps what a language model was asked about a moment of an outage that a person named. `moment`
/// stands for the incident that it may be; every asking has an id of its own.
pub async fn asked(
    writer: &Writer,
    outage: &Path,
    moment: &Incident,
    diagnosis: &Diagnosis,
    calls: &[Call],
) -> Result<()> {
    let number = writer.archive().commits("llm_calls").await? + 1;
    let outage = outage.to_string_lossy();
    let id = stable_id(&["asked", &outage, &moment.id, &number.to_string()]);
    let asking = Incident { id: id.clone(), ..moment.clone() };
    let mut outbox = Outbox::default();
    if !calls.is_empty() {
        outbox.rows("llm_calls", call_rows(&asking, diagnosis, calls)?);
    }
    commit(writer, "asked", number, outbox, &[&id]).await
}

/// Commits rows under a name of their own, so that nobody else's number hides them.
async fn commit(
    writer: &Writer,
    what: &str,
    number: i64,
    outbox: Outbox,
    parts: &[&str],
) -> Result<()> {
    if outbox.is_empty() {
        return Ok(());
    }
    let process = std::process::id().to_string();
    let number_text = number.to_string();
    let name = stable_id(&[&[what, &process, &number_text], parts].concat());
    writer.append(&format!("{what}-{name}"), number, outbox).await?;
    Ok(())
}
