//! Corrections over all rows that share a partition and a window: `f(x) OVER (PARTITION BY keys
//! ORDER BY window)`.
//!
//! They remember nothing and need no plan of their own per window, which the functions in
//! [`crate::tick`] do: a window of a hundred series costs microseconds. The engine hands over the
//! rows of a closed window at once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::common::Result;

use crate::benjamini_hochberg;
use crate::stateful::{Rows, Stateful};

/// False discovery rate over everything watched at one tick.
const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// The scores that survive the false discovery rate, 0 for the others.
fn discovered(scores: &[f64]) -> Vec<f64> {
    benjamini_hochberg::discoveries(scores, FALSE_DISCOVERY_RATE)
}

/// From the scores of one partition and window to one score for each; values may be NaN.
pub(crate) struct Together {
    score: fn(&[f64]) -> Vec<f64>,
    partitions: usize,
}

impl Together {
    pub(crate) fn benjamini_hochberg() -> Box<dyn Stateful> {
        Box::new(Self { score: benjamini_hochberg::benjamini_hochberg, partitions: 0 })
    }

    pub(crate) fn discoveries() -> Box<dyn Stateful> {
        Box::new(Self { score: discovered, partitions: 0 })
    }
}

impl Stateful for Together {
    fn update(&mut self, rows: &Rows<'_>) -> Result<ArrayRef> {
        self.partitions = self.partitions.max(rows.series_count);
        let column = rows.args[0].as_primitive::<Float64Type>();
        let value = |row: &usize| if column.is_valid(*row) { column.value(*row) } else { f64::NAN };
        let mut out = vec![0.0; column.len()];
        for members in rows.windows().into_values() {
            let scores: Vec<f64> = members.iter().map(value).collect();
            for (row, score) in members.into_iter().zip((self.score)(&scores)) {
                out[row] = score;
            }
        }
        Ok(Arc::new(Float64Array::from(out)))
    }

    fn save(&self) -> BinaryArray {
        BinaryArray::from_vec(vec![b"".as_slice(); self.partitions])
    }

    fn restore(&mut self, states: &BinaryArray) -> Result<()> {
        self.partitions = states.len();
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_and_window_is_corrected_by_itself() {
        let scores: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(3.0), Some(5.0), Some(3.0), None, Some(3.0)]));
        let args = [scores];
        let rows = Rows {
            series: &[0, 1, 0, 0, 1],
            series_count: 2,
            start: &[0, 0, 60, 60, 60],
            width: &[60; 5],
            args: &args,
        };
        let mut corrected = Together::benjamini_hochberg();
        let out = corrected.update(&rows).unwrap();
        let out = out.as_primitive::<Float64Type>();
        let expected = [3.0, 5.0, 3.0 - 2f64.log10(), 0.0, 3.0];
        for (row, expected) in expected.into_iter().enumerate() {
            assert!((out.value(row) - expected).abs() < 1e-12, "{row}");
        }
        let mut restored = Together::discoveries();
        restored.restore(&corrected.save()).unwrap();
        assert_eq!(restored.save().len(), 2);
    }
}
