//! The course of a metric in one line of text, for people who look before they read.

use std::collections::HashMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};

use crate::model::{MINUTE, Nanos, Signal};

/// Columns of a line, and those of them before the signal began.
const COLUMNS: usize = 24;
const BEFORE: i64 = 16;

/// Columns with values below which a line shows nothing.
const COLUMNS_MIN: usize = 6;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Raw metric rows by series.
#[derive(Default)]
pub struct Sparks<'a>(HashMap<Series<'a>, Vec<(Nanos, f64)>>);

/// Service, instance and metric.
type Series<'a> = (&'a str, &'a str, &'a str);

impl<'a> Sparks<'a> {
    /// Of batches as [`crate::diagnose::pinned`] makes them: columns of the stream, text plain.
    pub fn of(metrics: &'a [RecordBatch]) -> Self {
        let mut series: HashMap<Series<'a>, Vec<(Nanos, f64)>> = HashMap::new();
        for batch in metrics {
            let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
            let keys = [text("service"), text("instance"), text("metric")];
            let times =
                batch.column(0).as_primitive_opt::<TimestampNanosecondType>().map(|c| c.values());
            let values = batch.column_by_name("value");
            let values = values.and_then(|c| c.as_primitive_opt::<Float64Type>());
            let ([Some(service), Some(instance), Some(metric)], Some(times), Some(values)) =
                (keys, times, values)
            else {
                continue;
            };
            for (row, (ts, value)) in times.iter().zip(values.values()).enumerate() {
                let key = (service.value(row), instance.value(row), metric.value(row));
                series.entry(key).or_default().push((*ts, *value));
            }
        }
        Self(series)
    }

    /// Minutes, or the time between two values where that is more, around the beginning of the
    /// signal, from the lowest to the highest of them; blank where there was no value. `None` where
    /// too few rows are at hand.
    pub fn line(&self, signal: &Signal) -> Option<String> {
        let key = (&*signal.service, &*signal.instance, &*signal.metric);
        let mut rows = self.0.get(&key)?.clone();
        rows.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.total_cmp(&b.1)));
        let steps = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|step| *step > 0);
        let width = steps.min().unwrap_or(MINUTE).max(MINUTE);
        let mut columns = [(0.0, 0u32); COLUMNS];
        for (ts, value) in rows.iter().filter(|(_, value)| value.is_finite()) {
            let at = (ts - signal.window_start).div_euclid(width) + BEFORE;
            if let Some(column) = usize::try_from(at).ok().and_then(|at| columns.get_mut(at)) {
                *column = (column.0 + value, column.1 + 1);
            }
        }
        let means = columns.map(|(sum, n)| (n > 0).then(|| sum / f64::from(n)));
        let shown: Vec<f64> = means.iter().flatten().copied().collect();
        let (low, high) = (
            shown.iter().copied().fold(f64::INFINITY, f64::min),
            shown.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        if shown.len() < COLUMNS_MIN {
            return None;
        }
        let block = |mean: Option<f64>| match mean {
            None => ' ',
            Some(_) if high <= low => BLOCKS[0],
            Some(mean) => BLOCKS[(((mean - low) / (high - low) * 8.0) as usize).min(7)],
        };
        Some(means.map(block).iter().collect::<String>().trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::samples::two_cases;
    use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampNanosecondArray};
    use std::sync::Arc;

    fn rows(values: &[(i64, f64)]) -> RecordBatch {
        let text =
            |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; values.len()])) };
        let times = TimestampNanosecondArray::from_iter_values(values.iter().map(|v| v.0 * MINUTE));
        let columns = [
            ("ts", Arc::new(times) as ArrayRef),
            ("service", text("cart")),
            ("instance", text("cart-0")),
            ("metric", text("latency")),
            ("value", Arc::new(Float64Array::from_iter_values(values.iter().map(|v| v.1)))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn signal(minute: i64) -> Signal {
        Signal {
            service: "cart".into(),
            instance: "cart-0".into(),
            metric: "latency".into(),
            window_start: minute * MINUTE,
            window_end: (minute + 1) * MINUTE,
            ..two_cases()[0].incident.signals[0].clone()
        }
    }

    #[test]
    fn the_signal_begins_in_the_seventeenth_column() {
        let minutes = (0..40).filter(|minute| *minute != 27);
        let values: Vec<_> = minutes.map(|m| (m, if m >= 30 { 7.0 } else { 1.0 })).collect();
        let batches = [rows(&values)];
        let sparks = Sparks::of(&batches);
        assert_eq!(sparks.line(&signal(30)).unwrap(), "▁▁▁▁▁▁▁▁▁▁▁▁▁ ▁▁████████");
        assert_eq!(sparks.line(&signal(-1)).unwrap(), "▁▁▁▁▁▁▁");
        assert!(sparks.line(&signal(90)).is_none());
        let other = Signal { metric: "cpu".into(), ..signal(39) };
        assert!(sparks.line(&other).is_none());
    }
}
