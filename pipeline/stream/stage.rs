//! One step of a job, and the graph that they form.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::PhysicalExpr;

use super::finite::Finite;
use super::frame::Aggregate;
use super::over::Over;
use super::rows::{Msg, Rows};
use super::schema::Stream;
use super::session::Session;
use super::sift::{Fault, Problem, sift};
use super::window::{Window, conform};
use crate::error::Result;
use crate::model::Nanos;

pub enum Stage {
    Source(Stream),
    Project { exprs: Vec<Arc<dyn PhysicalExpr>>, output: SchemaRef },
    Filter { predicate: Arc<dyn PhysicalExpr> },
    Window(Window),
    Session(Session),
    Over(Over),
    Finite(Finite),
}

impl Stage {
    /// Everything that it evaluates on a row before it changes anything.
    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        match self {
            Self::Source(_) | Self::Finite(_) => Vec::new(),
            Self::Project { exprs, .. } => exprs.clone(),
            Self::Filter { predicate } => vec![Arc::clone(predicate)],
            Self::Window(window) => {
                let spec = window.spec();
                with_inputs(&spec.keys, &spec.aggregates)
            }
            Self::Session(session) => {
                let spec = session.spec();
                with_inputs(&spec.keys, &spec.aggregates)
            }
            Self::Over(over) => {
                let spec = over.spec();
                let args = spec.calls.iter().flat_map(|call| &call.args);
                spec.keys.iter().chain(args).chain(&spec.window).cloned().collect()
            }
        }
    }

    /// Columns of what it passes on, given those of what comes in.
    fn output(&self, input: &SchemaRef) -> SchemaRef {
        Arc::clone(match self {
            Self::Source(_) | Self::Filter { .. } => input,
            Self::Project { output, .. } => output,
            Self::Window(window) => &window.spec().output,
            Self::Session(session) => &session.spec().output,
            Self::Over(over) => &over.spec().output,
            Self::Finite(finite) => finite.output(),
        })
    }
}

/// Evaluates every expression on no rows: what fails here fails on all of them.
pub fn check_types(nodes: &[Node]) -> Result<()> {
    let mut inputs: Vec<Option<SchemaRef>> = vec![None; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let source = match &node.stage {
            Stage::Source(stream) => Some(stream.schema()),
            _ => None,
        };
        let Some(input) = inputs[at].take().or(source) else { continue };
        let none = RecordBatch::new_empty(Arc::clone(&input));
        for expression in node.stage.expressions() {
            expression.evaluate(&none)?;
        }
        if let Some((next, _)) = node.next {
            inputs[next] = Some(node.stage.output(&input));
        }
    }
    Ok(())
}

fn with_inputs(
    keys: &[Arc<dyn PhysicalExpr>],
    aggregates: &[Aggregate],
) -> Vec<Arc<dyn PhysicalExpr>> {
    let inputs = aggregates.iter().flat_map(|a| a.args.iter().chain(&a.filter));
    keys.iter().chain(inputs).cloned().collect()
}

/// A stage, where its output goes, and how far its inputs have come.
pub struct Node {
    pub stage: Stage,
    /// Downstream node and the input that this one feeds; `None` for the last.
    pub next: Option<(usize, usize)>,
    /// Rows that it could not work with, until they are taken.
    pub faults: Vec<Fault>,
    watermarks: Vec<Nanos>,
    passed: Nanos,
}

impl Node {
    pub fn new(stage: Stage, inputs: usize) -> Self {
        let watermarks = vec![Nanos::MIN; inputs.max(1)];
        Self { stage, next: None, faults: Vec::new(), watermarks, passed: Nanos::MIN }
    }

    /// Handles rows or a watermark on one input; returns what follows from it, in order.
    pub async fn step(&mut self, port: usize, msg: Msg) -> Result<Vec<Msg>> {
        match msg {
            Msg::Batch(rows) => {
                let out = self.rows_or_faults(port, rows)?;
                Ok(out.into_iter().map(Msg::Batch).collect())
            }
            Msg::Watermark(watermark) => self.watermark(port, watermark).await,
            Msg::Renumbered => {
                match &mut self.stage {
                    Stage::Window(window) => window.renumber()?,
                    Stage::Over(over) => over.renumber(),
                    // These look at keys as text, and keep none.
                    Stage::Source(_) | Stage::Project { .. } | Stage::Filter { .. } => {}
                    Stage::Session(_) | Stage::Finite(_) => {}
                }
                Ok(vec![Msg::Renumbered])
            }
            Msg::End => {
                let mut out = self.watermark(port, Nanos::MAX).await?;
                if self.passed == Nanos::MAX {
                    out.push(Msg::End);
                }
                Ok(out)
            }
        }
    }

    /// Sets aside the rows on which an expression fails. All are evaluated before anything changes.
    fn rows_or_faults(&mut self, port: usize, rows: Rows) -> Result<Vec<Rows>> {
        let error = match self.rows(port, rows.clone()) {
            Err(error) if Problem::of(&error).is_some() => error,
            done => return Ok(done?.into_iter().collect()),
        };
        let (sound, mut faults) = sift(&self.stage.expressions(), &rows)?;
        if faults.is_empty() && sound.len() == 1 {
            // It came of what was done with the values.
            return Err(error);
        }
        self.faults.append(&mut faults);
        let mut out = Vec::new();
        for rows in sound {
            out.extend(self.rows(port, rows)?);
        }
        Ok(out)
    }

    fn rows(&mut self, port: usize, rows: Rows) -> Result<Option<Rows>> {
        let out = match &mut self.stage {
            Stage::Source(_) => rows,
            Stage::Project { exprs, output } => project(exprs, output, rows)?,
            Stage::Filter { predicate } => keep(predicate, rows)?,
            Stage::Window(window) => {
                window.update(&rows)?;
                return Ok(None);
            }
            Stage::Session(session) => {
                session.update(&rows)?;
                return Ok(None);
            }
            Stage::Over(over) => over.update(rows)?,
            Stage::Finite(finite) => {
                finite.update(port, &rows)?;
                return Ok(None);
            }
        };
        Ok((out.batch.num_rows() > 0).then_some(out))
    }

    async fn watermark(&mut self, port: usize, watermark: Nanos) -> Result<Vec<Msg>> {
        self.watermarks[port] = self.watermarks[port].max(watermark);
        let combined = self.watermarks.iter().copied().min().unwrap_or(watermark);
        if combined <= self.passed {
            return Ok(Vec::new());
        }
        self.passed = combined;
        let fired = match &mut self.stage {
            Stage::Window(window) => window.advance(combined)?,
            Stage::Session(session) => session.advance(combined)?,
            Stage::Finite(finite) => finite.advance(combined, &mut self.faults).await?,
            Stage::Source(_) | Stage::Project { .. } | Stage::Filter { .. } | Stage::Over(_) => {
                Vec::new()
            }
        };
        let mut out: Vec<Msg> = fired.into_iter().map(Msg::Batch).collect();
        if combined < Nanos::MAX {
            out.push(Msg::Watermark(combined));
        }
        Ok(out)
    }

    /// State for a checkpoint: named lists of batches that [`Node::restore`] reads back.
    pub fn save(&mut self) -> Result<Vec<(String, Vec<RecordBatch>)>> {
        let mut parts = match &mut self.stage {
            Stage::Source(_) | Stage::Project { .. } | Stage::Filter { .. } => Vec::new(),
            Stage::Window(window) => vec![("window".to_owned(), window.save()?)],
            Stage::Session(session) => vec![("session".to_owned(), session.save()?)],
            Stage::Over(over) => vec![("over".to_owned(), over.save()?)],
            Stage::Finite(finite) => {
                (0..finite.inputs()).map(|i| (format!("rows{i}"), finite.save(i))).collect()
            }
        };
        let marks = self.watermarks.iter().copied().chain([self.passed]);
        parts.push(("watermarks".to_owned(), vec![integers(marks.collect())?]));
        Ok(parts)
    }

    pub fn restore(&mut self, name: &str, parts: &[RecordBatch]) -> Result<()> {
        if name == "watermarks" {
            let Some(batch) = parts.first() else { return Ok(()) };
            let marks = batch.column(0).as_primitive::<Int64Type>().values();
            if let Some((passed, inputs)) = marks.split_last() {
                self.passed = *passed;
                self.watermarks = inputs.to_vec();
            }
            return Ok(());
        }
        match &mut self.stage {
            Stage::Source(_) | Stage::Project { .. } | Stage::Filter { .. } => Ok(()),
            Stage::Window(window) => window.restore(parts),
            Stage::Session(session) => session.restore(parts),
            Stage::Over(over) => over.restore(parts),
            Stage::Finite(finite) => {
                let input = name.strip_prefix("rows").and_then(|n| n.parse().ok()).unwrap_or(0);
                finite.restore(input, parts)
            }
        }
    }
}

fn integers(values: Vec<i64>) -> Result<RecordBatch> {
    let column = Arc::new(arrow::array::Int64Array::from(values)) as arrow::array::ArrayRef;
    Ok(RecordBatch::try_from_iter([("value", column)])?)
}

fn project(exprs: &[Arc<dyn PhysicalExpr>], output: &SchemaRef, rows: Rows) -> Result<Rows> {
    let n = rows.batch.num_rows();
    let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&rows.batch)?.into_array(n)?);
    let columns = exprs.iter().map(array).collect::<Result<Vec<_>>>()?;
    Ok(Rows { batch: conform(output, columns, n)?, ts: rows.ts })
}

fn keep(predicate: &Arc<dyn PhysicalExpr>, rows: Rows) -> Result<Rows> {
    let n = rows.batch.num_rows();
    let mask = predicate.evaluate(&rows.batch)?.into_array(n)?;
    let mask = mask.as_boolean();
    if mask.null_count() == 0 && mask.true_count() == n {
        return Ok(rows);
    }
    let ts = arrow::array::Int64Array::new(rows.ts, None);
    let ts = filter(&ts, mask)?;
    let ts: ScalarBuffer<i64> = ts.as_primitive::<Int64Type>().values().clone();
    Ok(Rows { ts, batch: filter_record_batch(&rows.batch, mask)? })
}
