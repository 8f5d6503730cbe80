//! `error_budget(value, metric) OVER (PARTITION BY series ORDER BY window)` as SQL sees it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;

use crate::error_budget::{Meaning, Spending, State};
use crate::stateful::{Member, Rows, Saved};

/// A series, as its first row names it.
#[derive(Debug, Default)]
pub(crate) enum Series {
    #[default]
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

impl Saved for Series {
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
}

impl Member for Series {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let (values, names) = (rows.numbers(0), rows.texts(1)?);
        let mut answers = Vec::with_capacity(rows.series.len());
        for (row, series) in rows.series.iter().enumerate() {
            let state = &mut states[*series as usize];
            if matches!(state, Self::New) {
                // A null names nothing.
                *state = Self::of(names.as_ref().map(|names| names.of(row).unwrap_or_default()));
            }
            answers.push(match state {
                Self::Share(state) => state.step(rows.start[row], rows.width[row], values.of(row)),
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
