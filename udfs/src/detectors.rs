//! The stateful detectors as SQL sees them: argument and result columns around the pure functions.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::common::Result;

use crate::stateful::{Function, Member, Numbers, Rows, Saved, States};
use crate::verdict::Verdict;
use crate::{
    absence, absences, alerting, count_anomaly, counter_rate, due, error_budgets, highest_before,
    metric_anomaly, mix_shift, mixes, reading, readings,
};

/// Score from which a window is abnormal where a job does not say: one window in a thousand.
pub const THRESHOLD: f64 = 3.0;

const MOMENT: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// All stateful functions.
pub const FUNCTIONS: [Function; 12] = [
    Function {
        name: "absence",
        args: &[DataType::Utf8, DataType::Float64],
        optional: 0,
        joint: Some(2),
        lasting: false,
        returns: absences::absence_type,
        make: || Box::new(States::<absence::State>::default()),
    },
    Function {
        name: "metric_anomaly",
        args: &[DataType::Float64, DataType::Utf8, DataType::Boolean],
        optional: 2,
        joint: Some(2),
        lasting: false,
        returns: verdict_type,
        make: || Box::new(States::<metric_anomaly::State>::default()),
    },
    Function {
        name: "count_anomaly",
        args: &[DataType::Float64, DataType::Float64],
        optional: 1,
        joint: Some(1),
        lasting: false,
        returns: verdict_type,
        make: || Box::new(States::<count_anomaly::State>::default()),
    },
    Function {
        name: "counter_rate",
        args: &[DataType::Float64, MOMENT],
        optional: 1,
        joint: None,
        lasting: false,
        returns: || DataType::Float64,
        make: || Box::new(States::<counter_rate::State>::default()),
    },
    Function {
        name: "due",
        args: &[MOMENT],
        optional: 0,
        joint: None,
        lasting: false,
        returns: || DataType::Boolean,
        make: || Box::new(States::<due::State>::default()),
    },
    Function {
        name: "error_budget",
        args: &[DataType::Float64, DataType::Utf8],
        optional: 1,
        joint: None,
        lasting: false,
        returns: error_budgets::spending_type,
        make: || Box::new(States::<error_budgets::Series>::default()),
    },
    Function {
        name: "first_seen",
        args: &[DataType::Float64],
        optional: 0,
        joint: None,
        lasting: true,
        returns: || DataType::Float64,
        make: || Box::new(States::<Alone<FirstSeen>>::default()),
    },
    Function {
        name: "highest",
        args: &[DataType::Float64],
        optional: 0,
        joint: None,
        lasting: true,
        returns: || DataType::Float64,
        make: || Box::new(States::<Alone<Highest>>::default()),
    },
    Function {
        name: "highest_before",
        args: &[DataType::Float64],
        optional: 0,
        joint: None,
        lasting: false,
        returns: || DataType::Float64,
        make: || Box::new(States::<Alone<highest_before::State>>::default()),
    },
    Function {
        name: "mix_shift",
        args: &[DataType::Utf8, DataType::Float64],
        optional: 0,
        joint: Some(2),
        lasting: false,
        returns: mixes::shift_type,
        make: || Box::new(States::<mix_shift::State>::default()),
    },
    Function {
        name: "reading",
        args: &[DataType::Float64, DataType::Float64, DataType::Utf8, MOMENT],
        optional: 1,
        joint: None,
        lasting: false,
        returns: readings::reading_type,
        make: || Box::new(States::<Option<reading::State>>::default()),
    },
    Function {
        name: "alerting",
        args: &[DataType::Float64, DataType::Float64],
        optional: 1,
        joint: None,
        lasting: false,
        returns: alert_type,
        make: || Box::new(States::<Alone<alerting::State>>::default()),
    },
];

/// One series' state and how a row of arguments advances it.
trait Detector: Saved + 'static {
    type Answer: Copy;

    fn step(&mut self, start: i64, width: i64, args: &[f64]) -> Self::Answer;
    fn column(answers: Vec<Self::Answer>) -> ArrayRef;
}

/// A detector that sees the rows of its series one by one.
#[derive(Default)]
struct Alone<D>(D);

impl<D: Detector> Saved for Alone<D> {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        D::read(bytes).map(Self)
    }
}

impl<D: Detector> Member for Alone<D> {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let columns: Vec<Numbers<'_>> = (0..rows.args.len()).map(|at| rows.numbers(at)).collect();
        let mut args = vec![0.0; columns.len()];
        let mut answers = Vec::with_capacity(rows.series.len());
        for (row, series) in rows.series.iter().enumerate() {
            for (slot, column) in args.iter_mut().zip(&columns) {
                *slot = column.of(row);
            }
            let state = &mut states[*series as usize].0;
            answers.push(state.step(rows.start[row], rows.width[row], &args));
        }
        Ok(D::column(answers))
    }
}

fn verdict_fields() -> Fields {
    vec![
        Field::new("score", DataType::Float64, false),
        Field::new("expected", DataType::Float64, false),
        Field::new("direction", DataType::Utf8, false),
    ]
    .into()
}

fn verdict_type() -> DataType {
    DataType::Struct(verdict_fields())
}

pub(crate) fn verdicts(answers: &[Verdict]) -> ArrayRef {
    let direction = |v: &Verdict| match v.direction {
        1.. => "up",
        0 => "none",
        _ => "down",
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from_iter_values(answers.iter().map(|v| v.score))),
        Arc::new(Float64Array::from_iter_values(answers.iter().map(|v| v.expected))),
        Arc::new(StringArray::from_iter_values(answers.iter().map(direction))),
    ];
    Arc::new(StructArray::new(verdict_fields(), columns, None))
}

/// `fire`: a signal is due for this window; `active`: an episode is going on.
fn alert_fields() -> Fields {
    vec![
        Field::new("fire", DataType::Boolean, false),
        Field::new("active", DataType::Boolean, false),
    ]
    .into()
}

fn alert_type() -> DataType {
    DataType::Struct(alert_fields())
}

impl Member for counter_rate::State {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let (values, newest) = (rows.numbers(0), rows.times(1)?);
        let rates = rows.series.iter().enumerate().map(|(row, series)| {
            let at = newest.as_ref().and_then(|newest| newest.of(row)).unwrap_or(rows.start[row]);
            states[*series as usize].step(at, values.of(row))
        });
        Ok(Arc::new(rates.collect::<Float64Array>()))
    }
}

impl Member for due::State {
    type Shared = ();

    fn advance(states: &mut [Self], (): &mut (), rows: &Rows<'_>) -> Result<ArrayRef> {
        let newest = rows.times(0)?;
        let due = rows.series.iter().enumerate().map(|(row, series)| {
            let newest = newest.as_ref().and_then(|newest| newest.of(row));
            let step = |at| states[*series as usize].step(rows.start[row], rows.width[row], at);
            Some(newest.is_some_and(step))
        });
        Ok(Arc::new(due.collect::<BooleanArray>()))
    }
}

/// Whether the series had a value before; 1 for its first one, 0 afterwards.
#[derive(Default)]
struct FirstSeen(bool);

impl Saved for FirstSeen {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.0));
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(Self(false)),
            [1] => Some(Self(true)),
            _ => None,
        }
    }
}

impl Detector for FirstSeen {
    type Answer = Option<f64>;

    fn step(&mut self, _start: i64, _width: i64, args: &[f64]) -> Option<f64> {
        let first = !self.0 && args[0] > 0.0;
        self.0 |= first;
        Some(f64::from(u8::from(first)))
    }

    fn column(answers: Vec<Option<f64>>) -> ArrayRef {
        Arc::new(Float64Array::from(answers))
    }
}

/// The highest value so far; NaN before the first.
struct Highest(f64);

impl Default for Highest {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl Saved for Highest {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self(f64::from_le_bytes(bytes.try_into().ok()?)))
    }
}

impl Detector for Highest {
    type Answer = Option<f64>;

    fn step(&mut self, _start: i64, _width: i64, args: &[f64]) -> Option<f64> {
        self.0 = self.0.max(args[0]);
        Some(self.0).filter(|highest| !highest.is_nan())
    }

    fn column(answers: Vec<Option<f64>>) -> ArrayRef {
        Arc::new(Float64Array::from(answers))
    }
}

impl Detector for highest_before::State {
    type Answer = Option<f64>;

    fn step(&mut self, start: i64, width: i64, args: &[f64]) -> Option<f64> {
        self.step(start, width, args[0])
    }

    fn column(answers: Vec<Option<f64>>) -> ArrayRef {
        Arc::new(Float64Array::from(answers))
    }
}

impl Detector for alerting::State {
    type Answer = (bool, bool);

    fn step(&mut self, start: i64, _width: i64, args: &[f64]) -> (bool, bool) {
        let threshold = args.get(1).copied().filter(|t| t.is_finite()).unwrap_or(THRESHOLD);
        let fire = self.step(start, args[0], threshold);
        (fire, self.active() && args[0] >= threshold)
    }

    fn column(answers: Vec<(bool, bool)>) -> ArrayRef {
        let side = |f: fn(&(bool, bool)) -> bool| -> ArrayRef {
            Arc::new(answers.iter().map(|a| Some(f(a))).collect::<BooleanArray>())
        };
        Arc::new(StructArray::new(alert_fields(), vec![side(|a| a.0), side(|a| a.1)], None))
    }
}
