//! Session windows: per key, rows that are never more than a gap apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_plan::PhysicalExpr;

use super::frame::Aggregate;
use super::keys::{GeneralKeys, to_plain};
use super::rows::{Rows, unnamed};
use super::window::{conform, window_column};
use crate::error::Result;
use crate::model::Nanos;

pub struct SessionSpec {
    pub gap: Nanos,
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub key_types: Vec<DataType>,
    /// Position of the window among the group columns of the output.
    pub window_at: usize,
    pub aggregates: Vec<Aggregate>,
    pub output: SchemaRef,
}

/// A running session aggregation.
pub struct Session {
    spec: SessionSpec,
    /// At most one session per key is open, because rows come in order of event time.
    open: BTreeMap<Key, State>,
    /// Sessions that a later row closed before the watermark did, with their keys.
    closed: Vec<(Key, State)>,
}

/// Key values in comparable form: rendered once per row's group, so that output order is defined.
type Key = Vec<String>;

struct State {
    start: Nanos,
    last: Nanos,
    keys: Vec<ScalarValue>,
    accumulators: Vec<Box<dyn Accumulator>>,
}

impl Session {
    pub fn new(spec: SessionSpec) -> Self {
        Self { spec, open: BTreeMap::new(), closed: Vec::new() }
    }

    pub fn spec(&self) -> &SessionSpec {
        &self.spec
    }

    pub fn update(&mut self, rows: &Rows) -> Result<()> {
        let n = rows.batch.num_rows();
        let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&rows.batch)?.into_array(n)?);
        let columns: Vec<ArrayRef> = self.spec.keys.iter().map(array).collect::<Result<_>>()?;
        let columns = to_plain(&columns)?;
        let mut groups = Vec::new();
        let mut table = GeneralKeys::new(&self.spec.key_types)?;
        table.intern(&columns, n, &mut groups)?;
        let mut members = vec![Vec::<u32>::new(); table.len()];
        for (row, group) in groups.iter().enumerate() {
            members[*group].push(row as u32);
        }
        for rows_of_key in members {
            self.update_key(rows, &columns, &rows_of_key)?;
        }
        Ok(())
    }

    /// Adds the rows of one key, splitting them where a gap lies between two of them.
    fn update_key(&mut self, rows: &Rows, columns: &[ArrayRef], members: &[u32]) -> Result<()> {
        let Some(first) = members.first() else { return Ok(()) };
        let scalar = |c: &ArrayRef| Ok(ScalarValue::try_from_array(c, *first as usize)?);
        let keys: Vec<ScalarValue> = columns.iter().map(scalar).collect::<Result<_>>()?;
        let key: Key = keys.iter().map(|k| format!("{k:?}")).collect();
        let mut from = 0;
        while from < members.len() {
            let mut last = rows.ts[members[from] as usize];
            let mut to = from + 1;
            while to < members.len() && rows.ts[members[to] as usize] - last < self.spec.gap {
                last = rows.ts[members[to] as usize];
                to += 1;
            }
            let start = rows.ts[members[from] as usize];
            let expired = self.open.get(&key).is_some_and(|s| start - s.last >= self.spec.gap);
            if expired && let Some(done) = self.open.remove(&key) {
                self.closed.push((key.clone(), done));
            }
            if !self.open.contains_key(&key) {
                let accumulators = self.accumulators()?;
                let state = State { start, last, keys: keys.clone(), accumulators };
                self.open.insert(key.clone(), state);
            }
            if let Some(state) = self.open.get_mut(&key) {
                state.last = last;
                let picked = UInt32Array::from(members[from..to].to_vec());
                accumulate(&self.spec.aggregates, &mut state.accumulators, &rows.batch, &picked)?;
            }
            from = to;
        }
        Ok(())
    }

    /// Fires the sessions whose gap lies wholly before the watermark, by end, start and key: in the
    /// same order however often a watermark comes.
    pub fn advance(&mut self, watermark: Nanos) -> Result<Vec<Rows>> {
        let gap = self.spec.gap;
        let due: Vec<Key> = self
            .open
            .iter()
            .filter(|(_, s)| s.last + gap <= watermark)
            .map(|(k, _)| k.clone())
            .collect();
        for key in due {
            if let Some(state) = self.open.remove(&key) {
                self.closed.push((key, state));
            }
        }
        let (mut fired, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.closed)
            .into_iter()
            .partition(|(_, s)| s.last + gap <= watermark);
        self.closed = waiting;
        if fired.is_empty() {
            return Ok(Vec::new());
        }
        fired.sort_by(|(ka, a), (kb, b)| (a.last, a.start, ka).cmp(&(b.last, b.start, kb)));
        Ok(vec![self.rows(fired)?])
    }

    fn rows(&self, mut fired: Vec<(Key, State)>) -> Result<Rows> {
        let starts: Vec<Nanos> = fired.iter().map(|(_, s)| s.start).collect();
        let mut columns = Vec::new();
        for i in 0..self.spec.keys.len() {
            columns.push(ScalarValue::iter_to_array(fired.iter().map(|(_, s)| s.keys[i].clone()))?);
        }
        let ends: Vec<Nanos> = fired.iter().map(|(_, s)| s.last + self.spec.gap).collect();
        columns.insert(self.spec.window_at, window_column(&starts, |i| ends[i]));
        for i in 0..self.spec.aggregates.len() {
            let values: Vec<ScalarValue> = fired
                .iter_mut()
                .map(|(_, s)| Ok(s.accumulators[i].evaluate()?))
                .collect::<Result<_>>()?;
            columns.push(ScalarValue::iter_to_array(values)?);
        }
        let batch = conform(&self.spec.output, columns, starts.len())?;
        Ok(Rows { ts: ScalarBuffer::from(starts), batch })
    }

    fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        self.spec.aggregates.iter().map(|a| Ok(a.function.create_accumulator()?)).collect()
    }

    /// One batch per session, `[start, last, open, keys…, states…]`.
    pub fn save(&mut self) -> Result<Vec<RecordBatch>> {
        let aggregates = &self.spec.aggregates;
        let open = self.open.values_mut().map(|s| (s, 1));
        let closed = self.closed.iter_mut().map(|(_, s)| (s, 0));
        open.chain(closed).map(|(state, is_open)| save_one(aggregates, state, is_open)).collect()
    }

    pub fn restore(&mut self, parts: &[RecordBatch]) -> Result<()> {
        for part in parts {
            let int = |i: usize| part.column(i).as_primitive::<Int64Type>().value(0);
            let n = self.spec.keys.len();
            let scalar = |c: &ArrayRef| Ok(ScalarValue::try_from_array(c, 0)?);
            let keys: Vec<ScalarValue> =
                part.columns()[3..3 + n].iter().map(scalar).collect::<Result<_>>()?;
            let key: Key = keys.iter().map(|k| format!("{k:?}")).collect();
            let mut accumulators = self.accumulators()?;
            let mut at = 3 + n;
            for (a, acc) in self.spec.aggregates.iter().zip(&mut accumulators) {
                let fields = a.function.state_fields()?.len();
                acc.merge_batch(&part.columns()[at..at + fields])?;
                at += fields;
            }
            let state = State { start: int(0), last: int(1), keys, accumulators };
            match int(2) {
                1 => drop(self.open.insert(key, state)),
                _ => self.closed.push((key, state)),
            }
        }
        Ok(())
    }
}

fn accumulate(
    aggregates: &[Aggregate],
    accumulators: &mut [Box<dyn Accumulator>],
    batch: &RecordBatch,
    picked: &UInt32Array,
) -> Result<()> {
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(|c| take(c, picked, None)).collect::<Result<_, _>>()?;
    let batch = RecordBatch::try_new(batch.schema(), columns)?;
    for (a, acc) in aggregates.iter().zip(accumulators) {
        let batch = match &a.filter {
            Some(f) => {
                let mask = f.evaluate(&batch)?.into_array(batch.num_rows())?;
                arrow::compute::filter_record_batch(&batch, mask.as_boolean())?
            }
            None => batch.clone(),
        };
        let array =
            |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&batch)?.into_array(batch.num_rows())?);
        let args: Vec<ArrayRef> = a.args.iter().map(array).collect::<Result<_>>()?;
        // Row by row: sums over lanes would round otherwise in batches of another size.
        for row in 0..batch.num_rows() {
            let one: Vec<ArrayRef> = args.iter().map(|arg| arg.slice(row, 1)).collect();
            acc.update_batch(&one)?;
        }
    }
    Ok(())
}

fn save_one(aggregates: &[Aggregate], state: &mut State, is_open: i64) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = [state.start, state.last, is_open]
        .into_iter()
        .map(|v| Arc::new(Int64Array::from(vec![v])) as ArrayRef)
        .collect();
    for key in &state.keys {
        columns.push(key.to_array()?);
    }
    for (a, acc) in aggregates.iter().zip(&mut state.accumulators) {
        let saved: Vec<ArrayRef> =
            acc.state()?.iter().map(|s| Ok(s.to_array()?)).collect::<Result<_>>()?;
        // Accumulators may give their state away when it is read: put it back.
        *acc = a.function.create_accumulator()?;
        acc.merge_batch(&saved)?;
        columns.extend(saved);
    }
    unnamed(columns)
}
