//! `absence(name, rows) OVER (PARTITION BY group ORDER BY window)` as SQL sees it.
//!
//! All rows of one group and window are one observation. Who is missing has no row, so the answers
//! are spread over the rows of those who are there: the first gets who is missed most, the next
//! who comes next, and the others a null name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::Result;

use crate::absence::{Absent, State};
use crate::stateful::{Member, Rows};

impl Member for State {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let names = cast(&rows.args[0], &DataType::Utf8)?;
        let names = names.as_string::<i32>();
        let counts = rows.args[1].as_primitive::<Float64Type>();
        let mut answers: Vec<Option<Absent>> = vec![None; rows.series.len()];
        for ((start, series), mut members) in rows.windows() {
            let mut there: BTreeMap<&str, f64> = BTreeMap::new();
            for row in members.iter().filter(|row| names.is_valid(**row)) {
                let count = if counts.is_valid(*row) { counts.value(*row) } else { 0.0 };
                *there.entry(names.value(*row)).or_default() += count;
            }
            members.sort_by_key(|row| names.value(*row));
            for (row, absent) in
                members.into_iter().zip(states[series as usize].step(start, &there))
            {
                answers[row] = Some(absent);
            }
        }
        Ok(column(&answers))
    }
}

fn fields() -> Fields {
    vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("score", DataType::Float64, false),
        Field::new("expected", DataType::Float64, false),
        Field::new("fresh", DataType::Boolean, false),
    ]
    .into()
}

pub(crate) fn absence_type() -> DataType {
    DataType::Struct(fields())
}

fn column(answers: &[Option<Absent>]) -> ArrayRef {
    let number = |f: fn(&Absent) -> f64| -> ArrayRef {
        let value = |a: &Option<Absent>| a.as_ref().map_or(0.0, f);
        Arc::new(Float64Array::from_iter_values(answers.iter().map(value)))
    };
    let name = |a: &Option<Absent>| a.as_ref().map(|absent| absent.name.clone());
    let names: StringArray = answers.iter().map(name).collect();
    let fresh: BooleanArray =
        answers.iter().map(|a| Some(a.as_ref().is_some_and(|absent| absent.fresh))).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(names), number(|a| a.score), number(|a| a.expected), Arc::new(fresh)];
    Arc::new(StructArray::new(fields(), columns, None))
}

#[cfg(test)]
mod tests {
    use arrow::array::BinaryArray;

    use super::*;
    use crate::stateful::{Stateful, States};

    fn rows(absences: &mut States<State>, start: i64, names: &[&str]) -> StructArray {
        let (series, start) = (vec![0; names.len()], vec![start; names.len()]);
        let (width, rows) = (vec![1; names.len()], vec![2.0; names.len()]);
        let args: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(names.to_vec())), Arc::new(Float64Array::from(rows))];
        let rows =
            Rows { series: &series, series_count: 1, start: &start, width: &width, args: &args };
        absences.update(&rows).unwrap().as_struct().clone()
    }

    #[test]
    fn the_missing_are_told_on_the_rows_of_the_others_in_any_order_and_after_a_restart() {
        let (mut forth, mut back) = (States::<State>::default(), States::<State>::default());
        for start in 0..60 {
            rows(&mut forth, start, &["a", "b", "c", "d"]);
            rows(&mut back, start, &["d", "b", "a", "c"]);
        }
        assert_eq!(forth.save(), back.save());
        let mut restored = States::<State>::default();
        restored.restore(&forth.save()).unwrap();
        let told = |absences: &mut States<State>, names: &[&str], on: &str| {
            let answer = rows(absences, 60, names);
            let told = answer.column(0).as_string::<i32>().clone();
            let at = names.iter().position(|name| *name == on).unwrap();
            (told.value(at).to_owned(), told.null_count())
        };
        assert_eq!(told(&mut restored, &["d", "b", "a"], "a"), ("c".to_owned(), 2));
        assert_eq!(told(&mut forth, &["a", "b", "d"], "a"), ("c".to_owned(), 2));
        assert!(States::<State>::default().restore(&BinaryArray::from_vec(vec![b"x"])).is_err());
    }
}
