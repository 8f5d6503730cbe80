//! Rows that a job wrote into `signals`, as nouns.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;

use super::correlate::MAX_SCORE;
use crate::model::{DAY, Nanos, Severity, Signal, stable_id};

/// Longest window of a signal: none that a job can ask for is longer.
const WIDTH_MAX: Nanos = 3660 * DAY;

/// A signal, or word that its series is still abnormal.
#[derive(Clone, Debug)]
pub struct Found {
    pub ongoing: bool,
    pub signal: Signal,
}

/// The job that wrote the rows.
pub struct Origin<'a> {
    pub job: &'a str,
    /// Hash of what the job computes.
    pub hash: &'a str,
    pub severity: Severity,
}

/// Reads a batch in the columns of [`crate::stream::schema::signals_schema`]. Rows whose window has
/// no beginning or end, ends before it begins or is longer than any window are left out: there is
/// no time to which they could belong.
pub fn read(origin: &Origin<'_>, batch: &RecordBatch) -> Vec<Found> {
    let columns = Columns { batch };
    (0..batch.num_rows()).filter_map(|row| columns.found(origin, row)).collect()
}

struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.schema().index_of(name).ok().map(|i| self.batch.column(i))
    }

    fn text(&self, name: &str, row: usize) -> String {
        let column = self.column(name).filter(|c| c.is_valid(row));
        column.map_or_else(String::new, |c| c.as_string::<i32>().value(row).to_owned())
    }

    /// Not a number where the job gave none.
    fn float(&self, name: &str, row: usize) -> f64 {
        let column = self.column(name).filter(|c| c.is_valid(row));
        column.map_or(f64::NAN, |c| c.as_primitive::<Float64Type>().value(row))
    }

    fn flag(&self, name: &str, row: usize) -> bool {
        let column = self.column(name).filter(|c| c.is_valid(row));
        column.is_some_and(|c| c.as_boolean().value(row))
    }

    fn time(&self, name: &str, row: usize) -> Option<Nanos> {
        let column = self.column(name).filter(|c| c.is_valid(row));
        column.map(|c| c.as_primitive::<TimestampNanosecondType>().value(row))
    }

    fn found(&self, origin: &Origin<'_>, row: usize) -> Option<Found> {
        let (start, end) = (self.time("window_start", row)?, self.time("window_end", row)?);
        end.checked_sub(start).filter(|width| (0..=WIDTH_MAX).contains(width))?;
        let [cluster, service, instance, metric] =
            ["cluster", "service", "instance", "metric"].map(|c| self.text(c, row));
        let id = stable_id(&[
            origin.hash,
            &cluster,
            &service,
            &instance,
            &metric,
            &start.to_string(),
            &end.to_string(),
        ]);
        let direction = self.text("direction", row);
        // Checkpoints and the bus carry JSON, which has no way to write NaN.
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        let signal = Signal {
            id,
            job: origin.job.to_owned(),
            severity: origin.severity,
            cluster,
            service,
            instance,
            metric,
            window_start: start,
            window_end: end,
            score: match self.float("score", row) {
                // The most surprising of all, not one of which nothing is known.
                f64::INFINITY => MAX_SCORE,
                score => finite(score),
            },
            observed: finite(self.float("observed", row)),
            expected: finite(self.float("expected", row)),
            direction: if direction.is_empty() { "none".to_owned() } else { direction },
            predicted: self.flag("predicted", row),
            detail: self.text("detail", row),
        };
        Some(Found { ongoing: self.flag("ongoing", row), signal })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, TimestampNanosecondArray};

    use super::*;

    #[test]
    fn an_endless_score_is_the_highest_and_no_score_is_none() {
        let scores = vec![3.5, f64::INFINITY, f64::NAN, f64::NEG_INFINITY];
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![0; scores.len()]));
        let score: ArrayRef = Arc::new(Float64Array::from(scores));
        let columns = [("window_start", times.clone()), ("window_end", times), ("score", score)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let origin = Origin { job: "job", hash: "", severity: Severity::Warning };
        let found: Vec<f64> = read(&origin, &batch).iter().map(|f| f.signal.score).collect();
        assert_eq!(found, [3.5, MAX_SCORE, 0.0, 0.0]);
    }

    #[test]
    fn a_row_without_a_possible_window_is_no_signal() {
        let day = Some(DAY);
        let windows = [
            (day, Some(2 * DAY)),
            (day, day),
            (day, Some(DAY - 1)),
            (None, day),
            (day, None),
            (day, Some(DAY + WIDTH_MAX + 1)),
            (Some(i64::MIN), Some(i64::MAX)),
        ];
        let (starts, ends): (Vec<_>, Vec<_>) = windows.into_iter().unzip();
        let times =
            |t: Vec<Option<Nanos>>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(t)) };
        let columns = [("window_start", times(starts)), ("window_end", times(ends))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let origin = Origin { job: "job", hash: "", severity: Severity::Warning };
        let found = read(&origin, &batch);
        let ends: Vec<Nanos> = found.iter().map(|f| f.signal.window_end).collect();
        assert_eq!(ends, [2 * DAY, DAY]);
    }
}
