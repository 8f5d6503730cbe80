//! `mix_shift(kind, lines) OVER (PARTITION BY service ORDER BY window)` as SQL sees it.
//!
//! All rows of one service and window are one observation, whatever their order, and get the same
//! answer. The engine hands over the rows of a closed window at once.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::Result;

use crate::mix_shift::{Shift, State};
use crate::stateful::{Member, Rows};

impl Member for State {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let kinds = cast(&rows.args[0], &DataType::Utf8)?;
        let kinds = kinds.as_string::<i32>();
        let lines = rows.args[1].as_primitive::<Float64Type>();
        let ids: Vec<u64> = (0..rows.series.len()).map(|row| id(kinds.value(row))).collect();
        let mut answers: Vec<Option<(Shift, bool)>> = vec![None; rows.series.len()];
        for ((_, series), members) in rows.windows() {
            let count = |row: &usize| {
                let said = kinds.is_valid(*row) && lines.is_valid(*row);
                (ids[*row], if said { lines.value(*row) } else { 0.0 })
            };
            let mut counts: Vec<(u64, f64)> = members.iter().map(count).collect();
            counts.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            let state = &mut states[series as usize];
            let known: Vec<bool> = members.iter().map(|row| state.knows(ids[*row])).collect();
            let shift = state.step(&counts);
            for (row, known) in members.into_iter().zip(known) {
                let moved = shift.kind.map_or(!known, |kind| kind == ids[row]);
                answers[row] = Some((shift, moved));
            }
        }
        Ok(column(&answers))
    }
}

/// FNV-1a: the same number on every machine and in every checkpoint.
pub(crate) fn id(kind: &str) -> u64 {
    kind.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `moved`: the row is of the kind that moved most; none is where that kind is missing.
fn shift_fields() -> Fields {
    vec![
        Field::new("score", DataType::Float64, false),
        Field::new("observed", DataType::Float64, false),
        Field::new("expected", DataType::Float64, false),
        Field::new("direction", DataType::Utf8, false),
        Field::new("moved", DataType::Boolean, false),
    ]
    .into()
}

pub(crate) fn shift_type() -> DataType {
    DataType::Struct(shift_fields())
}

fn column(answers: &[Option<(Shift, bool)>]) -> ArrayRef {
    let number = |f: fn(&Shift) -> f64| -> ArrayRef {
        let value = |a: &Option<(Shift, bool)>| a.as_ref().map_or(0.0, |(shift, _)| f(shift));
        Arc::new(Float64Array::from_iter_values(answers.iter().map(value)))
    };
    let direction = |a: &Option<(Shift, bool)>| match a.map_or(0, |(s, _)| s.verdict.direction) {
        1.. => "up",
        0 => "none",
        _ => "down",
    };
    let moved: BooleanArray = answers.iter().map(|a| Some(a.is_some_and(|(_, m)| m))).collect();
    let columns: Vec<ArrayRef> = vec![
        number(|s| s.verdict.score),
        number(|s| s.observed),
        number(|s| s.verdict.expected),
        Arc::new(StringArray::from_iter_values(answers.iter().map(direction))),
        Arc::new(moved),
    ];
    Arc::new(StructArray::new(shift_fields(), columns, None))
}

#[cfg(test)]
mod tests {
    use arrow::array::BinaryArray;

    use super::*;
    use crate::stateful::{Stateful, States};

    fn rows(mixes: &mut States<State>, start: i64, counts: &[(&str, f64)]) -> StructArray {
        let kinds: StringArray = counts.iter().map(|(kind, _)| Some(*kind)).collect();
        let lines: Float64Array = counts.iter().map(|(_, lines)| Some(*lines)).collect();
        let (series, start) = (vec![0; counts.len()], vec![start; counts.len()]);
        let width = vec![1; counts.len()];
        let args: Vec<ArrayRef> = vec![Arc::new(kinds), Arc::new(lines)];
        let rows =
            Rows { series: &series, series_count: 1, start: &start, width: &width, args: &args };
        mixes.update(&rows).unwrap().as_struct().clone()
    }

    #[test]
    fn the_rows_of_a_window_are_one_observation_in_any_order_and_after_a_restart() {
        let mut forth = States::<State>::default();
        let mut back = States::<State>::default();
        for start in 0..30 {
            rows(&mut forth, start, &[("in", 30.0), ("out", 30.0 + (start % 3) as f64)]);
            rows(&mut back, start, &[("out", 30.0 + (start % 3) as f64), ("in", 30.0)]);
        }
        assert_eq!(forth.save(), back.save());
        let mut restored = States::<State>::default();
        restored.restore(&forth.save()).unwrap();
        for mixes in [&mut forth, &mut restored] {
            let answer = rows(mixes, 30, &[("in", 30.0), ("fail", 30.0)]);
            let score = answer.column(0).as_primitive::<Float64Type>();
            assert!(score.value(0) > 3.0 && score.value(0) == score.value(1));
            assert!(!answer.column(4).as_boolean().value(0));
        }
        assert!(States::<State>::default().restore(&BinaryArray::from_vec(vec![b"x"])).is_err());
    }
}
