//! `metric_anomaly(value [, kind [, is_rate]]) OVER (PARTITION BY series ORDER BY window)` as SQL
//! sees it.
//!
//! With a kind, what other young series of it show lets a young series speak; without one it stays
//! silent until it is grown up. The kind also tells how rare an event is after zeros. A series of
//! which `is_rate` changes, as what was taken for a counter is none, begins anew. The engine hands
//! over the rows of a closed window at once.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use datafusion::common::Result;

use crate::Verdict;
use crate::detectors::verdicts;
use crate::metric_anomaly::State;
use crate::mixes::id;
use crate::newcomers::{GROWN, Newcomers, Past, Row};
use crate::stateful::{Member, Rows};

impl Member for State {
    type Shared = Newcomers;

    fn advance(
        states: &mut [Self],
        newcomers: &mut Newcomers,
        rows: &Rows<'_>,
    ) -> Result<ArrayRef> {
        let (values, kinds, rates) = (rows.numbers(0), rows.texts(1)?, rows.flags(2));
        let mut answers = vec![Verdict::silent(0.0); rows.series.len()];
        for members in rows.moments().into_values() {
            for row in &members {
                if let Some(is_rate) = rates.as_ref().and_then(|rates| rates.of(*row)) {
                    states[rows.series[*row] as usize].measure(is_rate);
                }
            }
            let past = |row: &usize| {
                let state = &states[rows.series[*row] as usize];
                match state.young() {
                    Some(young) => Some(Past::Young { young, idle: state.is_idle() }),
                    None if state.windows() < GROWN && state.is_still() => {
                        Some(Past::Still { windows: state.windows() })
                    }
                    None => None,
                }
            };
            let asked = members.iter().filter_map(|row| {
                let (past, value) = (past(row)?, values.of(*row));
                let kind = id(kinds.as_ref()?.of(*row)?);
                value.is_finite().then_some((*row, Row { kind, past, value }))
            });
            let (asked, told): (Vec<usize>, Vec<Row>) = asked.unzip();
            let scores = newcomers.moment(&told);
            let scores: BTreeMap<usize, f64> = asked.into_iter().zip(scores).collect();
            for row in members {
                let state = &mut states[rows.series[row] as usize];
                answers[row] =
                    state.step_beside(rows.start[row], values.of(row), scores.get(&row).copied());
            }
        }
        Ok(verdicts(&answers))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, BinaryArray, BooleanArray, Float64Array, StringArray};
    use arrow::datatypes::Float64Type;

    use super::*;
    use crate::noise::{Family, Noise};
    use crate::stateful::{Stateful, States};

    type Metrics = States<State>;

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
    fn a_fault_that_shows_in_many_young_series_is_told_while_it_lasts() {
        let (mut noise, mut metrics) = (Noise::new(Family::Normal, 5), Metrics::default());
        for minute in 0..15 {
            let mut values = calm(&mut noise);
            if minute >= 12 {
                values[..10].iter_mut().for_each(|value| *value *= 1.5);
            }
            let scores = window(&mut metrics, minute, &values, false);
            let told = scores[..10].iter().filter(|score| **score >= 3.0).count();
            assert_eq!(told, if minute >= 12 { 10 } else { 0 }, "{minute}: {scores:?}");
        }
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

    #[test]
    fn what_turns_out_to_be_no_counter_is_another_series() {
        let told = [false, true].map(|known| {
            let (mut noise, mut metrics) = (Noise::new(Family::Normal, 7), Metrics::default());
            let mut scores = Vec::new();
            for minute in 0..200 {
                let is_rate = minute < 100;
                let value = if is_rate { 10.0 } else { 9e8 } * (1.0 + 0.01 * noise.next());
                let args: Vec<ArrayRef> = vec![
                    Arc::new(Float64Array::from(vec![value])),
                    Arc::new(StringArray::from(vec!["memory_total"])),
                    Arc::new(BooleanArray::from(vec![is_rate || !known])),
                ];
                let start = [1_600_000_000_000_000_000 + minute * MINUTE];
                let (series, width) = (&[0][..], &[MINUTE][..]);
                let rows = Rows { series, series_count: 1, start: &start, width, args: &args };
                let answer = metrics.update(&rows).unwrap();
                scores.push(answer.as_struct().column(0).as_primitive::<Float64Type>().value(0));
            }
            scores.into_iter().any(|score| score >= 3.0)
        });
        assert_eq!(told, [true, false], "only where it is not known");
    }

    #[test]
    fn a_counter_that_begins_to_count_is_the_same_series() {
        let mut state = State::new();
        for minute in 0..100 {
            state.measure(false);
            state.step(minute * MINUTE, 0.0);
        }
        state.measure(true);
        assert!(state.windows() == 100 && state.step(100 * MINUTE, 2.0).score >= 3.0);
        state.measure(false);
        assert_eq!(state.windows(), 0);
    }

    /// Rows of windows of any width, by the end of which they are given: `(series, start, end,
    /// value)`.
    fn sessions(noise: &mut Noise) -> Vec<(u32, i64, i64, f64)> {
        let mut rows = Vec::new();
        for end in 1..40i64 {
            for series in 0..40u32 {
                let width = 1 + (i64::from(series) * 7 + end * 3) % 9;
                let value = if (series, end) == (5, 20) { 30.0 } else { 10.0 };
                rows.push((series, end - width, end, value * (1.0 + 0.02 * noise.next())));
            }
        }
        rows
    }

    #[test]
    fn windows_that_close_together_are_answered_as_if_they_closed_alone() {
        let all = sessions(&mut Noise::new(Family::Normal, 6));
        let answered = |metrics: &mut Metrics, rows: &[(u32, i64, i64, f64)]| {
            let args: Vec<ArrayRef> = vec![
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.3))),
                Arc::new(StringArray::from(vec!["cpu"; rows.len()])),
            ];
            let series: Vec<u32> = rows.iter().map(|r| r.0).collect();
            let start: Vec<i64> = rows.iter().map(|r| r.1 * MINUTE).collect();
            let width: Vec<i64> = rows.iter().map(|r| (r.2 - r.1) * MINUTE).collect();
            let (series, start, width) = (&series[..], &start[..], &width[..]);
            let rows = Rows { series, series_count: 40, start, width, args: &args };
            let answer = metrics.update(&rows).unwrap();
            answer.as_struct().column(0).as_primitive::<Float64Type>().values().to_vec()
        };
        let together = answered(&mut Metrics::default(), &all);
        let mut metrics = Metrics::default();
        let alone: Vec<f64> =
            all.chunk_by(|a, b| a.2 == b.2).flat_map(|rows| answered(&mut metrics, rows)).collect();
        assert_eq!(together, alone);
        assert!(together.iter().any(|score| *score >= 3.0), "it says nothing");
    }
}
