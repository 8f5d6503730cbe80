//! `error_budget(value, metric) OVER (PARTITION BY series ORDER BY window)` as SQL sees it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::Result;

use crate::error_budget::{Meaning, Spending, State};
use crate::stateful::{Member, Rows};

/// A series, as its first row names it.
#[derive(Debug)]
pub(crate) enum Series {
    New,
    /// Its metric is no share of requests.
    Other,
    Share(State),
}

impl Series {
    fn of(metric: Option<&str>) -> Self {
        metric
            .map_or(Some(Meaning::FAILING), Meaning::of)
            .map_or(Self::Other, |meaning| Self::Share(State::new(meaning)))
    }
}

impl Member for Series {
    type Shared = ();

    fn new() -> Self {
        Self::New
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::New => {}
            Self::Other => out.push(0),
            Self::Share(state) => state.write(out),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::New),
            [0] => Some(Self::Other),
            bytes => State::read(bytes).map(Self::Share),
        }
    }

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let values = rows.args[0].as_primitive::<Float64Type>();
        let names = rows.args.get(1).map(|names| cast(names, &DataType::Utf8)).transpose()?;
        let names = names.as_ref().map(|names| names.as_string::<i32>());
        let mut answers = Vec::with_capacity(rows.series.len());
        for (row, series) in rows.series.iter().enumerate() {
            let state = &mut states[*series as usize];
            if matches!(state, Self::New) {
                // A null names nothing.
                let name = names.map(|n| if n.is_valid(row) { n.value(row) } else { "" });
                *state = Self::of(name);
            }
            let known = values.is_valid(row).then(|| values.value(row));
            answers.push(match (state, known) {
                (Self::Share(state), Some(value)) => {
                    state.step(rows.start[row], rows.width[row], value)
                }
                _ => None,
            });
        }
        Ok(column(&answers))
    }
}

fn fields() -> Fields {
    vec![
        Field::new("score", DataType::Float64, false),
        Field::new("failing", DataType::Float64, false),
        Field::new("expected", DataType::Float64, false),
        Field::new("direction", DataType::Utf8, false),
    ]
    .into()
}

pub(crate) fn spending_type() -> DataType {
    DataType::Struct(fields())
}

/// Null where the metric is no share of requests, or the value none.
fn column(answers: &[Option<Spending>]) -> ArrayRef {
    let number = |f: fn(&Spending) -> f64| -> ArrayRef {
        let values = answers.iter().map(|a| a.as_ref().map_or(0.0, f));
        Arc::new(Float64Array::from_iter_values(values))
    };
    let direction = |a: &Option<Spending>| match a {
        Some(spending) if spending.up => "up",
        Some(_) => "down",
        None => "none",
    };
    let columns = vec![
        number(|s| s.score),
        number(|s| s.failing),
        number(|s| s.expected),
        Arc::new(StringArray::from_iter_values(answers.iter().map(direction))),
    ];
    let known: NullBuffer = answers.iter().map(Option::is_some).collect();
    Arc::new(StructArray::new(fields(), columns, Some(known)))
}
