//! Session windows: per key, rows that are never more than a gap apart.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_plan::PhysicalExpr;
use hashbrown::HashTable;

use super::frame::{Aggregate, Inputs};
use super::keys::{plain, to_plain};
use super::rows::{Rows, unnamed};
use super::series::KeyHasher;
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
    /// Between key columns and their bytes, which sort as the columns do.
    keys: RowConverter,
    /// The open sessions, at most one per key, because rows come in order of event time; `None`
    /// where a place is free.
    open: Vec<Option<State>>,
    free: Vec<u32>,
    /// Places of the open sessions by their key.
    places: HashTable<u32>,
    /// The places of open sessions, each once, by a moment before which it does not end.
    ends: BTreeMap<Nanos, Vec<u32>>,
    /// Sessions that a later row closed before the watermark did.
    closed: Vec<State>,
}

struct State {
    key: Box<[u8]>,
    start: Nanos,
    last: Nanos,
    accumulators: Vec<Box<dyn Accumulator>>,
}

impl Session {
    pub fn new(spec: SessionSpec) -> Result<Self> {
        let fields = spec.key_types.iter().map(|t| SortField::new(plain(t))).collect();
        Ok(Self {
            keys: RowConverter::new(fields)?,
            spec,
            open: Vec::new(),
            free: Vec::new(),
            places: HashTable::new(),
            ends: BTreeMap::new(),
            closed: Vec::new(),
        })
    }

    pub fn spec(&self) -> &SessionSpec {
        &self.spec
    }

    pub fn update(&mut self, rows: &Rows) -> Result<()> {
        let n = rows.batch.num_rows();
        let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&rows.batch)?.into_array(n)?);
        let columns: Vec<ArrayRef> = self.spec.keys.iter().map(array).collect::<Result<_>>()?;
        let keys = self.key_rows(&columns)?;
        let inputs = Inputs::evaluate(&self.spec.aggregates, &rows.batch)?;
        for (row, ts) in rows.ts.iter().enumerate() {
            let key = key_of(keys.as_ref(), row);
            let place = match self.find(key) {
                Some(place) => place,
                None => self.open(self.session(key, *ts)?),
            };
            let fresh = match &self.open[place as usize] {
                Some(open) if ts - open.last >= self.spec.gap => Some(self.session(key, *ts)?),
                _ => None,
            };
            let Some(session) = &mut self.open[place as usize] else { continue };
            if let Some(fresh) = fresh {
                self.closed.push(std::mem::replace(session, fresh));
            }
            session.last = *ts;
            // Row by row: sums over lanes would round otherwise in batches of another size.
            inputs.update(row, &mut session.accumulators)?;
        }
        Ok(())
    }

    /// The keys of a batch, if there are key columns.
    fn key_rows(&self, columns: &[ArrayRef]) -> Result<Option<arrow::row::Rows>> {
        let keys = || Ok(self.keys.convert_columns(&to_plain(columns)?)?);
        (!columns.is_empty()).then(keys).transpose()
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let same = |place: &u32| {
            self.open[*place as usize].as_ref().is_some_and(|session| *session.key == *key)
        };
        self.places.find(hash(key), same).copied()
    }

    /// A session that begins with a row.
    fn session(&self, key: &[u8], at: Nanos) -> Result<State> {
        let make = |a: &Aggregate| Ok(a.function.create_accumulator()?);
        let accumulators = self.spec.aggregates.iter().map(make).collect::<Result<_>>()?;
        Ok(State { key: Box::from(key), start: at, last: at, accumulators })
    }

    /// Gives a session of a key that has none a place.
    fn open(&mut self, session: State) -> u32 {
        let hashed = hash(&session.key);
        let end = session.last + self.spec.gap;
        let place = match self.free.pop() {
            Some(place) => {
                self.open[place as usize] = Some(session);
                place
            }
            None => {
                self.open.push(Some(session));
                self.open.len() as u32 - 1
            }
        };
        self.ends.entry(end).or_default().push(place);
        let open = &self.open;
        self.places.insert_unique(hashed, place, |place| {
            open[*place as usize].as_ref().map_or(0, |session| hash(&session.key))
        });
        place
    }

    /// Fires the sessions whose gap lies wholly before the watermark, by end, start and key: in the
    /// same order however often a watermark comes.
    pub fn advance(&mut self, watermark: Nanos) -> Result<Vec<Rows>> {
        let gap = self.spec.gap;
        let due = |session: &State| session.last + gap <= watermark;
        let mut fired: Vec<State> = self.closed.extract_if(.., |session| due(session)).collect();
        while let Some(entry) = self.ends.first_entry().filter(|entry| *entry.key() <= watermark) {
            for place in entry.remove() {
                let Some(session) = self.open[place as usize].take_if(|session| due(session))
                else {
                    let last = self.open[place as usize].as_ref().map_or(0, |s| s.last);
                    self.ends.entry(last + gap).or_default().push(place);
                    continue;
                };
                let found = self.places.find_entry(hash(&session.key), |other| *other == place);
                if let Ok(found) = found {
                    found.remove();
                }
                self.free.push(place);
                fired.push(session);
            }
        }
        if fired.is_empty() {
            return Ok(Vec::new());
        }
        fired.sort_by(|a, b| (a.last, a.start, &a.key).cmp(&(b.last, b.start, &b.key)));
        Ok(vec![self.rows(fired)?])
    }

    fn rows(&self, mut fired: Vec<State>) -> Result<Rows> {
        let starts: Vec<Nanos> = fired.iter().map(|s| s.start).collect();
        let ends: Vec<Nanos> = fired.iter().map(|s| s.last + self.spec.gap).collect();
        let mut columns = self.key_columns(&fired)?;
        columns.insert(self.spec.window_at, window_column(&starts, |i| ends[i]));
        for i in 0..self.spec.aggregates.len() {
            let value = |s: &mut State| Ok(s.accumulators[i].evaluate()?);
            let values = fired.iter_mut().map(value).collect::<Result<Vec<_>>>()?;
            columns.push(ScalarValue::iter_to_array(values)?);
        }
        let batch = conform(&self.spec.output, columns, starts.len())?;
        Ok(Rows { ts: ScalarBuffer::from(starts), batch })
    }

    fn key_columns<'a>(
        &self,
        sessions: impl IntoIterator<Item = &'a State>,
    ) -> Result<Vec<ArrayRef>> {
        if self.spec.keys.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.keys.parser();
        Ok(self.keys.convert_rows(sessions.into_iter().map(|s| parser.parse(&s.key)))?)
    }

    /// A row per session, `[start, last, open, keys…, states…]`.
    pub fn save(&mut self) -> Result<Vec<RecordBatch>> {
        let sessions = || self.open.iter().flatten().chain(&self.closed);
        let (all, open) = (sessions().count(), self.places.len());
        if all == 0 {
            return Ok(Vec::new());
        }
        let integers = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let mut columns = vec![
            integers(sessions().map(|s| s.start).collect()),
            integers(sessions().map(|s| s.last).collect()),
            integers((0..all).map(|n| i64::from(n < open)).collect()),
        ];
        columns.extend(self.key_columns(sessions())?);
        for (i, aggregate) in self.spec.aggregates.iter().enumerate() {
            let mut states: Vec<Vec<ScalarValue>> = Vec::new();
            for session in self.open.iter_mut().flatten().chain(&mut self.closed) {
                let state = session.accumulators[i].state()?;
                // Accumulators may give their state away when it is read: put it back.
                session.accumulators[i] = aggregate.function.create_accumulator()?;
                let parts = state.iter().map(|s| Ok(s.to_array()?)).collect::<Result<Vec<_>>>()?;
                session.accumulators[i].merge_batch(&parts)?;
                states.push(state);
            }
            for part in 0..states[0].len() {
                let values = states.iter().map(|state| state[part].clone());
                columns.push(ScalarValue::iter_to_array(values)?);
            }
        }
        Ok(vec![unnamed(columns)?])
    }

    pub fn restore(&mut self, parts: &[RecordBatch]) -> Result<()> {
        for part in parts {
            let int = |i: usize| part.column(i).as_primitive::<Int64Type>().values();
            let (keys, mut states) = part.columns()[3..].split_at(self.spec.keys.len());
            let keys = self.key_rows(keys)?;
            let mut sessions = Vec::new();
            for (row, (start, last)) in int(0).iter().zip(int(1)).enumerate() {
                let begun = self.session(key_of(keys.as_ref(), row), *start)?;
                sessions.push(State { last: *last, ..begun });
            }
            for (i, aggregate) in self.spec.aggregates.iter().enumerate() {
                let (own, rest) = states.split_at(aggregate.function.state_fields()?.len());
                states = rest;
                for (row, session) in sessions.iter_mut().enumerate() {
                    let state: Vec<ArrayRef> = own.iter().map(|c| c.slice(row, 1)).collect();
                    session.accumulators[i].merge_batch(&state)?;
                }
            }
            for (session, open) in sessions.into_iter().zip(int(2)) {
                match open {
                    1 => drop(self.open(session)),
                    _ => self.closed.push(session),
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a row's key; without key columns there is one key, the empty one.
fn key_of(keys: Option<&arrow::row::Rows>, row: usize) -> &[u8] {
    keys.map_or(&[], |keys| keys.row(row).data())
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = KeyHasher::default();
    hasher.write(key);
    hasher.finish()
}
