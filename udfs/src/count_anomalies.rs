//! `count_anomaly(count [, exposure]) OVER (PARTITION BY key ORDER BY window)` as SQL sees it.
//!
//! A window whose exposure is not known is passed over. What other young series show lets a young
//! one speak, so the engine hands over the rows of a closed window at once.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use datafusion::common::Result;

use crate::Verdict;
use crate::count_anomaly::{SECONDS, State};
use crate::detectors::verdicts;
use crate::stateful::{Member, Rows};
use crate::young_counts::{Row, YoungCounts};

impl Member for State {
    type Shared = YoungCounts;

    fn advance(states: &mut [Self], young: &mut YoungCounts, rows: &Rows<'_>) -> Result<ArrayRef> {
        let counts = rows.numbers(0);
        let exposures = (rows.args.len() > 1).then(|| rows.numbers(1));
        let mut answers = vec![Verdict::silent(0.0); rows.series.len()];
        for members in rows.moments().into_values() {
            let seconds = |row: usize| rows.width[row] as f64 * SECONDS;
            let exposure =
                |row: usize| seconds(row) * exposures.as_ref().map_or(1.0, |units| units.of(row));
            let sound = members.into_iter().filter(|row| {
                let state = &mut states[rows.series[*row] as usize];
                state.pass(rows.start[*row], rows.width[*row], counts.of(*row), exposure(*row))
            });
            let sound: Vec<usize> = sound.collect();
            let asked = sound.iter().filter_map(|row| {
                let young = states[rows.series[*row] as usize].young(exposure(*row))?;
                Some((*row, Row { young, count: counts.of(*row) }))
            });
            let (asked, told): (Vec<usize>, Vec<Row>) = asked.unzip();
            let scores: BTreeMap<usize, f64> = asked.into_iter().zip(young.moment(&told)).collect();
            for row in sound {
                let others = scores.get(&row).copied().unwrap_or(0.0);
                let state = &mut states[rows.series[row] as usize];
                answers[row] = state.judge(exposure(row), counts.of(row), others);
            }
        }
        Ok(verdicts(&answers))
    }
}
