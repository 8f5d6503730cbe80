//! What the archive knows, read into a [`Library`].

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::FieldRef;
use datafusion::prelude::SessionContext;
use faultline_storage::archive::Archive;
use futures::future::BoxFuture;

use super::case::Case;
use super::learned::{self, Said, Section, VectorsById};
use super::library::{CASES_MAX, Library, Model};
use super::schema::{TableDoc, archive_tables};
use crate::error::{Error, Result};

/// Everything that the archive knows, with the vectors of `model`. Files that are damaged are left
/// out, as queries leave them out.
///
/// # Errors
/// The archive cannot be read.
pub async fn load(archive: &Archive, model: Model) -> Result<Library> {
    let vectors = vectors(archive, &model.name).await?;
    let sections = sections(archive).await?;
    let mut cases = cases(archive).await?;
    let opinions = opinions(archive).await?;
    let outcomes = rows(archive, "outcomes", "SELECT * FROM outcomes").await?;
    let mut library = Library::new(model)?;
    let found: BTreeMap<String, String> =
        cases.iter().map(|c| (c.incident_id.clone(), c.root_service.clone())).collect();
    let judged = learned::votes(&opinions, &found).into_iter().chain(learned::outcomes(&outcomes));
    for (incident_id, verdict) in judged {
        library.judge(&incident_id, verdict);
    }
    for (section, record) in learned::section_votes(&opinions, &cited(archive, &opinions).await?) {
        library.judge_section(&section, &record);
    }
    let of = |id: &str| vectors.get(id).cloned().unwrap_or_default();
    let passages = sections.into_iter().map(|s| {
        let vector = of(&s.passage.vector_id());
        (s.passage, vector)
    });
    library.add_passages(passages.collect())?;
    // The newest know most about today.
    let older = cases.len().saturating_sub(CASES_MAX);
    for case in cases.drain(older..) {
        let vector = of(&case.vector_id());
        library.add_case(case, vector);
    }
    Ok(library)
}

/// Cases by the time at which they closed.
pub async fn cases(archive: &Archive) -> Result<Vec<Case>> {
    let sql = "SELECT * FROM cases ORDER BY closed_at, incident_id";
    Ok(learned::cases(&rows(archive, "cases", sql).await?))
}

type Opinions = BTreeMap<String, Vec<Said>>;

/// What people have said, by incident.
async fn opinions(archive: &Archive) -> Result<Opinions> {
    let sql = "SELECT * FROM feedback ORDER BY incident_id, number";
    Ok(learned::opinions(&rows(archive, "feedback", sql).await?))
}

/// Incidents that somebody has an opinion of, each with a section of a runbook that it was told
/// with, in order.
async fn cited(archive: &Archive, opinions: &Opinions) -> Result<Vec<(String, String)>> {
    if opinions.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT incident_id, evidence_id FROM evidence WHERE kind = 'runbook' \
               ORDER BY incident_id, evidence_id";
    let read = |columns: &learned::Columns<'_>, row| {
        (columns.text("incident_id", row), columns.text("evidence_id", row))
    };
    let mut cited = learned::each(&rows(archive, "evidence", sql).await?, read);
    cited.retain(|(incident, _)| opinions.contains_key(incident));
    Ok(cited)
}

/// Sections that are there now, by their place.
pub async fn sections(archive: &Archive) -> Result<Vec<Section>> {
    let sql = "SELECT * FROM runbooks ORDER BY cluster, collection, source, section";
    Ok(learned::sections(&rows(archive, "runbooks", sql).await?))
}

/// Vectors that `model` has made.
pub async fn vectors(archive: &Archive, model: &str) -> Result<VectorsById> {
    let model = model.replace('\'', "''");
    let sql = format!("SELECT vector_id, vector FROM vectors WHERE model = '{model}'");
    Ok(learned::vectors(&rows(archive, "vectors", &sql).await?))
}

/// The greatest number of an import so far, removed sections included; 0 before the first.
pub async fn last_revision(archive: &Archive) -> Result<i64> {
    let sql = "SELECT max(revision) AS revision FROM runbooks_written";
    let found = rows(archive, "runbooks", sql).await?;
    let found = found.iter().filter(|b| b.num_rows() > 0);
    Ok(found.map(|b| learned::Columns(b).integer("revision", 0)).max().unwrap_or(0))
}

/// How much people have brought so far: another one where there is something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edition {
    revision: i64,
    feedback: i64,
}

pub async fn edition(archive: &Archive) -> Result<Edition> {
    let sql = "SELECT count(*) AS number FROM feedback_written";
    let found = rows(archive, "feedback", sql).await?;
    let feedback = found.iter().map(|b| learned::Columns(b).integer("number", 0)).sum();
    Ok(Edition { revision: last_revision(archive).await?, feedback })
}

/// The answer to `sql` about `table`; its rows as they were written are in `TABLE_written`.
pub async fn rows(archive: &Archive, table: &str, sql: &str) -> Result<Vec<RecordBatch>> {
    let (table, sql) = (table.to_owned(), sql.to_owned());
    let attempt = async move |archive: &Archive| answer(archive, &table, &sql).await;
    // Boxed, as the compiler cannot see through the closure that the future is `Send`.
    let attempts: BoxFuture<'_, Result<Vec<RecordBatch>>> =
        Box::pin(archive.run_with_quarantine(attempt));
    attempts.await
}

async fn answer(archive: &Archive, table: &str, sql: &str) -> Result<Vec<RecordBatch>> {
    let context = SessionContext::new();
    let written = format!("{table}_written");
    context.register_table(&written, archive.provider(table).await?)?;
    let documented = archive_tables()?.into_iter().find(|t| t.name == table);
    let documented = documented.ok_or_else(|| {
        Error::usage(format!("there is no table {table}"), "see sql/schema for those that are")
    })?;
    let latest = context.sql(&documented.latest_rows(&written)).await?;
    context.register_table(table, latest.into_view())?;
    let found = context.sql(sql).await?.collect().await?;
    found.iter().map(|batch| as_documented(&documented, batch)).collect()
}

/// Columns in the types of their table, whatever the engine has made of them on its way.
fn as_documented(table: &TableDoc, batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let column = |(field, column): (&FieldRef, &ArrayRef)| {
        let documented = table.columns.iter().find(|c| c.name == *field.name());
        let column = match documented.filter(|c| c.data_type != *field.data_type()) {
            Some(documented) => cast(column, &documented.data_type)?,
            None => Arc::clone(column),
        };
        Ok((field.name().clone(), column))
    };
    let columns = schema.fields().iter().zip(batch.columns()).map(column);
    Ok(RecordBatch::try_from_iter(columns.collect::<Result<Vec<_>>>()?)?)
}
