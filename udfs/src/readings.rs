//! `reading(mean, highest, metric, newest) OVER (PARTITION BY series ORDER BY window)` as SQL sees
//! it; `newest`, which may be left out, is the time of the newest sample.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;

use crate::reading::{Reading, State};
use crate::stateful::{Member, Rows, Saved};

/// `None` for a series that has had no row yet: its first one names the metric.
impl Saved for Option<State> {
    fn write(&self, out: &mut Vec<u8>) {
        if let Some(state) = self {
            state.write(out);
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(None),
            bytes => State::read(bytes).map(Some),
        }
    }
}

impl Member for Option<State> {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let (mean, highest, names) = (rows.numbers(0), rows.numbers(1), rows.texts(2)?);
        let newest = rows.times(3)?;
        let name = |row| names.as_ref().and_then(|names| names.of(row)).unwrap_or_default();
        let mut answers = Vec::with_capacity(rows.series.len());
        for (row, series) in rows.series.iter().enumerate() {
            let state = states[*series as usize].get_or_insert_with(|| State::of(name(row)));
            let at = newest.as_ref().and_then(|newest| newest.of(row)).unwrap_or(rows.start[row]);
            answers.push(state.step(at, mean.of(row), highest.of(row)));
        }
        Ok(column(&answers))
    }
}

/// `value` is null where nothing is known yet.
fn fields() -> Fields {
    vec![
        Field::new("value", DataType::Float64, true),
        Field::new("is_rate", DataType::Boolean, false),
    ]
    .into()
}

pub(crate) fn reading_type() -> DataType {
    DataType::Struct(fields())
}

fn column(answers: &[Option<Reading>]) -> ArrayRef {
    let values: Float64Array = answers.iter().map(|a| a.map(|r| r.value)).collect();
    let rates: BooleanArray = answers.iter().map(|a| Some(a.is_some_and(|r| r.is_rate))).collect();
    Arc::new(StructArray::new(fields(), vec![Arc::new(values), Arc::new(rates)], None))
}
