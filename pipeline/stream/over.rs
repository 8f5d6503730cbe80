//! Stateful functions: `f(args) OVER (PARTITION BY series ORDER BY window)`.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::PhysicalExpr;
use faultline_udfs::stateful::{Function, Rows as Call, Stateful};

use super::keys::{GeneralKeys, SeriesKeys, to_plain};
use super::rows::{Rows, unnamed};
use super::series::SERIES_MAX;
use super::window::conform;
use crate::error::{Error, Result};
use crate::model::{DAY, Nanos};

/// One stateful function call of a job.
pub struct Stage {
    pub function: Function,
    pub args: Vec<Arc<dyn PhysicalExpr>>,
}

pub struct OverSpec {
    pub calls: Vec<Stage>,
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub key_types: Vec<DataType>,
    pub interned: bool,
    /// The window that each row stands for, where it stands for one.
    pub window: Option<Arc<dyn PhysicalExpr>>,
    pub output: SchemaRef,
}

/// A series that had no row on so many days that had any is forgotten, when the next day begins: it
/// comes back as a new one. What happens once a week is remembered.
const REMEMBERED_DAYS: usize = 8;

enum Partitions {
    Series(SeriesKeys),
    General(GeneralKeys),
}

/// Running stateful functions over one partitioning.
pub struct Over {
    spec: OverSpec,
    partitions: Partitions,
    states: Vec<Box<dyn Stateful>>,
    /// By series: the end of its last window.
    last: Vec<Nanos>,
    /// The last days of event time that had rows, today and those that are remembered.
    days: VecDeque<i64>,
    /// Number of series from a window's end on, told when it changed.
    census: Vec<(Nanos, usize)>,
    counted: usize,
}

impl Over {
    pub fn new(spec: OverSpec) -> Result<Self> {
        let partitions = match spec.interned {
            true => Partitions::Series(SeriesKeys::new(spec.keys.len())),
            false => Partitions::General(GeneralKeys::new(&spec.key_types)?),
        };
        let states = spec.calls.iter().map(|c| (c.function.make)()).collect();
        let (last, days, census) = (Vec::new(), VecDeque::new(), Vec::new());
        Ok(Self { spec, partitions, states, last, days, census, counted: 0 })
    }

    pub fn spec(&self) -> &OverSpec {
        &self.spec
    }

    /// Answers rows at once; they come in window order within each series.
    pub fn update(&mut self, rows: Rows) -> Result<Rows> {
        let n = rows.batch.num_rows();
        let array = |e: &Arc<dyn PhysicalExpr>| Ok(e.evaluate(&rows.batch)?.into_array(n)?);
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(array).collect::<Result<_>>()?;
        let args = |call: &Stage| call.args.iter().map(array).collect::<Result<Vec<_>>>();
        let args: Vec<Vec<ArrayRef>> = self.spec.calls.iter().map(args).collect::<Result<_>>()?;
        let width = match &self.spec.window {
            Some(e) => widths(array(e)?.as_struct()),
            None => vec![0; n],
        };
        let ends: Vec<Nanos> = rows.ts.iter().zip(&width).map(|(ts, width)| ts + width).collect();
        let mut answers: Vec<Vec<ArrayRef>> = vec![Vec::new(); args.len()];
        let mut from = 0;
        loop {
            let to = self.enter(&ends, from)?;
            let cut = |a: &ArrayRef| a.slice(from, to - from);
            let keys: Vec<ArrayRef> = keys.iter().map(cut).collect();
            let series = self.partition(&keys, to - from)?;
            self.note(&series, &ends[from..to], &width[from..to]);
            let series_count = self.series_count();
            let (start, width) = (&rows.ts[from..to], &width[from..to]);
            for ((state, args), answers) in self.states.iter_mut().zip(&args).zip(&mut answers) {
                let args: Vec<ArrayRef> = args.iter().map(cut).collect();
                let call = Call { series: &series, series_count, start, width, args: &args };
                answers.push(state.update(&call)?);
            }
            from = to;
            if from >= n {
                break;
            }
        }
        let mut out = rows.batch.columns().to_vec();
        for parts in &answers {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            out.push(concat(&parts)?);
        }
        Ok(Rows { ts: rows.ts, batch: conform(&self.spec.output, out, n)? })
    }

    /// Ids of interned keys stand for other keys from here on.
    pub fn renumber(&mut self) {
        if let Partitions::Series(keys) = &mut self.partitions {
            keys.renumber();
        }
    }

    /// Changes of the number of series since the last call.
    pub fn take_census(&mut self) -> Vec<(Nanos, usize)> {
        std::mem::take(&mut self.census)
    }

    /// Comes to the row `from`; returns the first row behind it that is of a later day.
    fn enter(&mut self, ends: &[Nanos], from: usize) -> Result<usize> {
        let Some(end) = ends.get(from) else { return Ok(from) };
        let today = end.div_euclid(DAY);
        if self.days.back().is_none_or(|day| *day < today) {
            self.days.push_back(today);
            self.forget(*end)?;
        }
        let until = (self.days.back().unwrap_or(&today) + 1) * DAY;
        Ok(from + ends[from..].iter().take_while(|end| **end < until).count())
    }

    /// A new day begins with a row at `now`: forgets the series that have had nothing for long, and
    /// of too many those that were silent longest.
    fn forget(&mut self, now: Nanos) -> Result<()> {
        let mut oldest = i64::MIN;
        while self.days.len() > REMEMBERED_DAYS + 1 {
            self.days.pop_front();
        }
        let lasting = self.spec.calls.iter().any(|call| call.function.lasting);
        if self.days.len() > REMEMBERED_DAYS && !lasting {
            oldest = self.days[0];
        }
        let had = |last: &Nanos, oldest: i64| last.div_euclid(DAY) >= oldest;
        let today = self.days.len() - 1;
        let mut days = self.days.range(..today);
        while self.last.iter().filter(|last| had(last, oldest)).count() > SERIES_MAX {
            let Some(day) = days.next() else { break };
            oldest = day + 1;
        }
        let keep: Vec<bool> = self.last.iter().map(|last| had(last, oldest)).collect();
        if keep.iter().all(|keep| *keep) {
            return Ok(());
        }
        self.states.iter_mut().for_each(|state| state.retain(&keep));
        self.last.retain(|last| had(last, oldest));
        match &mut self.partitions {
            Partitions::Series(table) => table.retain(&keep),
            Partitions::General(table) => table.retain(&BooleanArray::from(keep))?,
        }
        if self.spec.window.is_some() {
            self.counted = self.last.len();
            self.census.push((now, self.counted));
        }
        Ok(())
    }

    /// Notes when each series had its last row. Series are numbered as they come, so a number
    /// beyond all others is a new one. Each counts from the end of its own first window on, however
    /// many windows come together.
    fn note(&mut self, series: &[u32], ends: &[Nanos], width: &[Nanos]) {
        for ((number, end), width) in series.iter().zip(ends).zip(width) {
            let at = *number as usize;
            if at >= self.last.len() {
                self.last.resize(at + 1, Nanos::MIN);
            }
            self.last[at] = self.last[at].max(*end);
            if at >= self.counted && *width > 0 {
                self.counted = at + 1;
                match self.census.last_mut().filter(|(at, _)| at == end) {
                    Some((_, last)) => *last = self.counted,
                    None => self.census.push((*end, self.counted)),
                }
            }
        }
    }

    fn partition(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        match &mut self.partitions {
            Partitions::Series(keys) => {
                let mut groups = Vec::new();
                keys.intern(columns, &mut groups);
                Ok(groups)
            }
            Partitions::General(keys) => {
                let mut groups = Vec::new();
                keys.intern(&to_plain(columns)?, rows, &mut groups)?;
                Ok(groups.into_iter().map(|g| g as u32).collect())
            }
        }
    }

    fn series_count(&self) -> usize {
        match &self.partitions {
            Partitions::Series(keys) => keys.len(),
            Partitions::General(keys) => keys.len(),
        }
    }

    /// A row per series, its key columns, the end of its last window, and the state of every call;
    /// and the days.
    pub fn save(&mut self) -> Result<Vec<RecordBatch>> {
        let count = self.series_count();
        let mut columns = match &mut self.partitions {
            Partitions::Series(keys) => to_plain(&keys.columns((0..count as u32).collect()))?,
            Partitions::General(keys) => keys.columns()?,
        };
        columns.push(Arc::new(Int64Array::from(self.last.clone())));
        columns.extend(self.states.iter().map(|s| Arc::new(s.save()) as ArrayRef));
        let days = Int64Array::from_iter_values(self.days.iter().copied());
        Ok(vec![unnamed(columns)?, unnamed(vec![Arc::new(days)])?])
    }

    pub fn restore(&mut self, parts: &[RecordBatch]) -> Result<()> {
        let unreadable = |message: String| {
            let remedy = "start over with --fresh".to_owned();
            Error::Checkpoint { message, remedy }
        };
        let other =
            || unreadable("a stateful function has the state of another version".to_owned());
        let integers = |column: Option<&ArrayRef>| {
            let column = column.and_then(|c| c.as_primitive_opt::<Int64Type>());
            column.map(|c| c.values().to_vec()).ok_or_else(other)
        };
        let [series, days] = parts else { return Err(other()) };
        self.days = integers(days.columns().first())?.into();
        let (keys, rest) = series.columns().split_at(self.spec.keys.len());
        self.last = integers(rest.first())?;
        match &mut self.partitions {
            Partitions::Series(table) => {
                let text: Vec<_> = keys.iter().map(|c| c.as_string::<i32>()).collect();
                for row in 0..series.num_rows() {
                    table.intern_text(text.iter().map(|t| t.value(row)));
                }
            }
            Partitions::General(table) => {
                table.intern(keys, series.num_rows(), &mut Vec::new())?;
            }
        }
        for (state, saved) in self.states.iter_mut().zip(&rest[1..]) {
            let saved: &BinaryArray = saved.as_binary_opt::<i32>().ok_or_else(other)?;
            state.restore(saved).map_err(|e| unreadable(e.strip_backtrace()))?;
        }
        if self.spec.window.is_some() {
            self.counted = self.series_count();
        }
        Ok(())
    }
}

fn widths(windows: &StructArray) -> Vec<Nanos> {
    let side = |i: usize| -> &ScalarBuffer<i64> {
        windows.column(i).as_primitive::<TimestampNanosecondType>().values()
    };
    side(0).iter().zip(side(1).iter()).map(|(start, end)| end - start).collect()
}
