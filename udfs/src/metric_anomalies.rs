//! `metric_anomaly(value [, kind]) OVER (PARTITION BY series ORDER BY window)` as SQL sees it.
//!
//! With a kind, what other young series of it show lets a young series speak; without one it stays
//! silent until it is grown up. The engine hands over the rows of a closed window at once.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_datafusion_err};

use crate::Verdict;
use crate::detectors::verdicts;
use crate::metric_anomaly::{State, WARM_UP};
use crate::mixes::id;
use crate::newcomers::{Newcomers, Row};
use crate::stateful::{Rows, Stateful};

/// The states of all series of one call, and what is known of the young among them.
pub(crate) struct Metrics {
    states: Vec<State>,
    newcomers: Newcomers,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { states: Vec::new(), newcomers: Newcomers::new(WARM_UP) }
    }
}

impl Metrics {
    /// Advances the rows of one moment that belong to young series.
    fn moment(&mut self, members: &[usize], rows: &Rows<'_>, cells: &Cells<'_>) -> Vec<Verdict> {
        let state = |row: usize| rows.series[row] as usize;
        let asked = members.iter().filter_map(|row| {
            let (value, kind) = (cells.value(*row), cells.kind(*row)?);
            let young = self.states[state(*row)].young()?;
            value.is_finite().then_some((*row, Row { kind, young, value }))
        });
        let (asked, young): (Vec<usize>, Vec<Row>) = asked.unzip();
        let scores: BTreeMap<usize, f64> =
            asked.into_iter().zip(self.newcomers.moment(&young)).collect();
        let step = |row: &usize| {
            let score = scores.get(row).copied().unwrap_or(0.0);
            self.states[state(*row)].step_as(rows.start[*row], cells.value(*row), score)
        };
        members.iter().map(step).collect()
    }
}

/// The arguments of a call.
struct Cells<'a> {
    values: &'a arrow::array::Float64Array,
    kinds: Option<&'a arrow::array::StringArray>,
}

impl Cells<'_> {
    /// A null says nothing about its series, like NaN.
    fn value(&self, row: usize) -> f64 {
        if self.values.is_valid(row) { self.values.value(row) } else { f64::NAN }
    }

    fn kind(&self, row: usize) -> Option<u64> {
        self.kinds.filter(|kinds| kinds.is_valid(row)).map(|kinds| id(kinds.value(row)))
    }
}

impl Stateful for Metrics {
    fn update(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        self.states.resize_with(rows.series_count.max(self.states.len()), State::new);
        let kinds = rows.args.get(1).map(|kinds| cast(kinds, &DataType::Utf8)).transpose()?;
        let cells = Cells {
            values: rows.args[0].as_primitive::<Float64Type>(),
            kinds: kinds.as_ref().map(|kinds| kinds.as_string::<i32>()),
        };
        let mut answers = Vec::with_capacity(rows.series.len());
        let mut moments: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        // A young series does not advance here, so all its rows are set aside.
        for (row, series) in rows.series.iter().enumerate() {
            let state = &mut self.states[*series as usize];
            answers.push(if cells.kinds.is_some() && state.is_young() {
                moments.entry(rows.start[row]).or_default().push(row);
                Verdict::silent(0.0)
            } else {
                state.step(rows.start[row], cells.value(row))
            });
        }
        for members in moments.into_values() {
            let verdicts = self.moment(&members, rows, &cells);
            members.into_iter().zip(verdicts).for_each(|(row, verdict)| answers[row] = verdict);
        }
        Ok(verdicts(&answers))
    }

    /// What is known of the young stands before the state of the first series.
    fn save(&self) -> BinaryArray {
        let mut out = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for (number, state) in self.states.iter().enumerate() {
            bytes.clear();
            if number == 0 {
                let mut shared = Vec::new();
                self.newcomers.write(&mut shared);
                bytes.extend_from_slice(&(shared.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&shared);
            }
            state.write(&mut bytes);
            out.append_value(&bytes);
        }
        out.finish()
    }

    fn restore(&mut self, states: &BinaryArray) -> Result<()> {
        let unreadable = || {
            exec_datafusion_err!("the saved state of a detector is damaged or of another version")
        };
        let mut rest: Vec<&[u8]> = states.iter().map(Option::unwrap_or_default).collect();
        if let Some(first) = rest.first_mut() {
            let (shared, state) = split(first).ok_or_else(unreadable)?;
            self.newcomers = Newcomers::read(shared).ok_or_else(unreadable)?;
            *first = state;
        }
        let read = |bytes: &[u8]| State::read(bytes).ok_or_else(unreadable);
        self.states = rest.into_iter().map(read).collect::<Result<_>>()?;
        Ok(())
    }
}

/// What stands behind its length, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;
    use crate::noise::{Family, Noise};

    const MINUTE: i64 = 60_000_000_000;

    /// One window of every series, in an order of one's own; scores by series.
    fn window(metrics: &mut Metrics, minute: i64, values: &[f64], reversed: bool) -> Vec<f64> {
        let mut series: Vec<u32> = (0..values.len() as u32).collect();
        if reversed {
            series.reverse();
        }
        let of = |s: &u32| values[*s as usize];
        let args: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from_iter_values(series.iter().map(of))),
            Arc::new(StringArray::from(vec!["cpu"; values.len()])),
        ];
        let start = vec![1_600_000_000_000_000_000 + minute * MINUTE; values.len()];
        let width = vec![MINUTE; values.len()];
        let rows = Rows {
            series: &series,
            series_count: values.len(),
            start: &start,
            width: &width,
            args: &args,
        };
        let answer = metrics.update(&rows).unwrap();
        let scores = answer.as_struct().column(0).as_primitive::<Float64Type>().clone();
        let mut by_series = vec![0.0; values.len()];
        series.iter().enumerate().for_each(|(row, s)| by_series[*s as usize] = scores.value(row));
        by_series
    }

    fn calm(noise: &mut Noise) -> Vec<f64> {
        (0..40).map(|i| f64::from(10 * (i % 4 + 1)) * (1.0 + 0.02 * noise.next())).collect()
    }

    #[test]
    fn a_young_series_speaks_and_what_it_says_is_not_what_it_learns() {
        let mut noise = Noise::new(Family::Normal, 3);
        let (mut forth, mut back) = (Metrics::default(), Metrics::default());
        for minute in 0..60 {
            let mut values = calm(&mut noise);
            if (12..15).contains(&minute) || minute == 50 {
                values[7] *= 1.5;
            }
            let scores = window(&mut forth, minute, &values, false);
            assert_eq!(scores, window(&mut back, minute, &values, true), "{minute}");
            let told = (12..15).contains(&minute) || minute == 50;
            assert_eq!(scores[7] >= 3.0, told, "{minute}: {}", scores[7]);
            if minute == 30 {
                let mut restored = Metrics::default();
                restored.restore(&forth.save()).unwrap();
                forth = restored;
            }
        }
        assert_eq!(forth.save(), back.save());
        let damaged = BinaryArray::from_vec(vec![b"x"]);
        assert!(Metrics::default().restore(&damaged).is_err());
    }

    #[test]
    fn a_young_series_whose_change_lasts_begins_anew() {
        let mut noise = Noise::new(Family::Normal, 4);
        let mut metrics = Metrics::default();
        for minute in 0..60 {
            let mut values = calm(&mut noise);
            if minute >= 12 {
                values[7] *= 3.0;
            }
            let score = window(&mut metrics, minute, &values, false)[7];
            assert_eq!(score >= 3.0, (12..16).contains(&minute), "{minute}: {score}");
        }
    }
}
