//! The raw rows worth keeping with an incident: what its evidence can be looked up in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::columns::selected;
use super::periods::wanted;
use super::telemetry::Period;
use super::{Request, Slices};
use crate::error::Result;
use crate::model::{Diagnosis, Nanos};
use crate::stream::schema::Stream;

/// Rows kept per stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub metrics: usize,
    pub logs: usize,
    pub spans: usize,
    pub changes: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { metrics: 50_000, logs: 5_000, spans: 5_000, changes: 200 }
    }
}

/// Rows of the incident's services and of its causes, from an hour before the window to an
/// hour after its start, as far as the slices reach and the caps allow. At most one batch per
/// stream, by time; columns of [`Stream::schema`] with all text plain.
///
/// Where there are more rows than the cap, each series, template or operation keeps as many as
/// any other, those nearest to the start of the window: a burst crowds nothing out.
pub fn pinned(
    request: &Request,
    diagnosis: &Diagnosis,
    incident_services: &[String],
    slices: &Slices,
    caps: Caps,
) -> Result<Slices> {
    let mut services: BTreeSet<&str> = incident_services.iter().map(String::as_str).collect();
    for cause in &diagnosis.causes {
        services.insert(&cause.service);
        let cited = diagnosis.evidence.iter().filter(|e| cause.evidence_ids.contains(&e.id));
        services.extend(cited.map(|e| e.service.as_str()));
    }
    let pin =
        Pin { cluster: &request.cluster, at: request.at, period: wanted(request).logs, services };
    Ok(Slices {
        metrics: pin.rows(Stream::Metrics, &slices.metrics, caps.metrics)?,
        logs: pin.rows(Stream::Logs, &slices.logs, caps.logs)?,
        spans: pin.rows(Stream::Spans, &slices.spans, caps.spans)?,
        changes: pin.rows(Stream::Changes, &slices.changes, caps.changes)?,
    })
}

struct Pin<'a> {
    cluster: &'a str,
    at: Nanos,
    period: Period,
    services: BTreeSet<&'a str>,
}

impl Pin<'_> {
    fn rows(
        &self,
        stream: Stream,
        batches: &[RecordBatch],
        cap: usize,
    ) -> Result<Vec<RecordBatch>> {
        let schema = plain(stream);
        let (mut parts, mut times) = (Vec::new(), Vec::new());
        for batch in batches {
            let rows = selected(batch, self.cluster, self.period, |s| self.services.contains(s))?;
            let indices: UInt32Array = rows.iter().map(|(_, row)| *row).collect();
            parts.push(cast_to(&take_record_batch(batch, &indices)?, &schema)?);
            times.extend(rows.iter().map(|(ts, _)| *ts));
        }
        if times.is_empty() {
            return Ok(Vec::new());
        }
        let all = concat_batches(&schema, &parts)?;
        let kept = self.fair_share(&all, &times, group_columns(stream), cap)?;
        Ok(vec![take_record_batch(&all, &kept)?])
    }

    /// At most `cap` rows, in order: the nearest of every group, then the second nearest, and so
    /// on; equal rows are told apart by nothing, so that it does not matter which is kept.
    fn fair_share(
        &self,
        all: &RecordBatch,
        times: &[Nanos],
        group: &[&str],
        cap: usize,
    ) -> Result<UInt32Array> {
        let whole = sort_keys(all.columns())?;
        let columns = group
            .iter()
            .map(|name| Ok(Arc::clone(all.column(all.schema_ref().index_of(name)?))))
            .collect::<Result<Vec<_>>>()?;
        let groups = sort_keys(&columns)?;
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            let distance = |row: usize| times[row].abs_diff(self.at);
            distance(a).cmp(&distance(b)).then_with(|| whole.row(a).cmp(&whole.row(b)))
        });
        let mut taken: BTreeMap<_, u32> = BTreeMap::new();
        let mut turns: Vec<(u32, u32)> = order
            .into_iter()
            .map(|row| {
                let turn = taken.entry(groups.row(row as usize)).or_insert(0);
                *turn += 1;
                (*turn, row)
            })
            .collect();
        turns.sort_by_key(|(turn, _)| *turn); // stable: the nearest first within a turn
        turns.truncate(cap);
        let mut kept: Vec<u32> = turns.into_iter().map(|(_, row)| row).collect();
        kept.sort_unstable_by(|a, b| whole.row(*a as usize).cmp(&whole.row(*b as usize)));
        Ok(kept.into())
    }
}

fn group_columns(stream: Stream) -> &'static [&'static str] {
    match stream {
        Stream::Metrics => &["service", "instance", "metric", "labels"],
        Stream::Logs => &["service", "template_id", "template"],
        Stream::Spans => &["service", "operation", "status"],
        Stream::Changes => &["service", "kind"],
    }
}

fn sort_keys(columns: &[ArrayRef]) -> Result<arrow::row::Rows> {
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?.convert_columns(columns)?)
}

/// The stream's columns with plain text in place of interned.
fn plain(stream: Stream) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(..) => Field::new(field.name(), DataType::Utf8, field.is_nullable()),
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(stream.schema().fields().iter().map(plain).collect::<Vec<_>>()))
}

fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|f| Ok(cast(batch.column(batch.schema_ref().index_of(f.name())?), f.data_type())?))
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
