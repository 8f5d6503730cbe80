//! What a metric says in one window: a gauge its mean, a counter how fast it counts.
//!
//! Prometheus and OpenMetrics name counters `…_total` and the buckets of histograms `…_bucket`.
//! Names that end in `_count` or `_sum` are counters in a histogram or summary, and gauges
//! elsewhere (`thread_count`): these are watched until they have risen often enough, or fallen. A
//! counter rises and never falls, but for a reset, which takes it below half of what it was. If it
//! falls by less, how fast it counted then is not known, and if it keeps doing so it is a gauge,
//! whatever its name.

use crate::codec::Reader;
use crate::counter_rate;

const VERSION: u8 = 2;
/// Values after which it is decided what a name of two meanings stands for. One that stands still
/// for so long is told as it is, and watched on: a counter may have had nothing to count yet.
const WATCHED: u8 = 12;
/// Fewest rises that make a counter.
const RISES: u8 = 3;
/// What a fall weighs against a counter, in rises: a process that restarts takes part of a sum with
/// it, but not every few minutes, as garbage is collected.
const FALL: u8 = 16;
/// Weight from which on it is none, and what of it is held against a series that has shown nothing
/// yet: a gauge may have such a name (`memory_usage_total`).
const GAUGE: u8 = 4 * FALL;
const UNPROVEN: u8 = 2 * FALL;

/// Bytes of a counter's state before those of its rate: version, kind, falls and last value.
const COUNTER_HEADER: usize = 3 + size_of::<f64>();

/// What the values of a series are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Gauge,
    Counter {
        rate: counter_rate::State,
        last: f64,
        falls: u8,
    },
    /// The name may mean either.
    Watched {
        values: u8,
        rises: u8,
        /// Values since the last rise.
        still: u8,
        last: f64,
    },
}

/// What one window says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// In the unit of the metric; of a counter per second.
    pub value: f64,
    pub is_rate: bool,
}

/// Whether a series that went from `last` to `value` can be no counter.
fn fell(last: f64, value: f64) -> bool {
    value < last && value > 0.5 * last
}

impl State {
    /// A series of this name of which nothing is known.
    pub fn of(metric: &str) -> Self {
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| metric.ends_with(suffix));
        if ends(&["_total", "_bucket"]) {
            Self::counter(UNPROVEN)
        } else if ends(&["_count", "_sum"]) {
            Self::Watched { values: 0, rises: 0, still: 0, last: f64::NAN }
        } else {
            Self::Gauge
        }
    }

    fn counter(falls: u8) -> Self {
        Self::Counter { rate: counter_rate::State::new(), last: f64::NAN, falls }
    }

    /// Takes in the mean and the highest value of a window, of which `ts_ns` is the newest sample.
    /// `None` where it is not known yet what the series is, or how fast it counts.
    pub fn step(&mut self, ts_ns: i64, mean: f64, highest: f64) -> Option<Reading> {
        let whole = !matches!(self, Self::Counter { last, .. } if fell(*last, highest));
        self.watch(highest);
        match self {
            Self::Gauge => Some(Reading { value: mean, is_rate: false }),
            Self::Counter { rate, .. } => {
                let value = rate.step(ts_ns, highest)?;
                whole.then_some(Reading { value, is_rate: true })
            }
            Self::Watched { still, .. } => {
                let steady = *still >= WATCHED && highest.is_finite();
                steady.then_some(Reading { value: mean, is_rate: false })
            }
        }
    }

    /// Looks at what the next value says of what the series is.
    fn watch(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        match self {
            Self::Gauge => {}
            Self::Counter { last, falls, .. } => {
                if fell(*last, value) {
                    *falls += FALL;
                } else if value > *last {
                    *falls = falls.saturating_sub(1);
                }
                *last = value;
                if *falls >= GAUGE {
                    *self = Self::Gauge;
                }
            }
            Self::Watched { values, rises, still, last } => {
                let rose = value > *last;
                *values = values.saturating_add(1);
                *rises += u8::from(rose);
                *still = if rose { 0 } else { still.saturating_add(1) };
                if fell(*last, value) || value < 0.0 {
                    *self = Self::Gauge;
                } else if *values >= WATCHED && *rises >= RISES {
                    *self = Self::counter(0);
                } else {
                    *last = value;
                    if *still >= WATCHED {
                        *rises = 0;
                    }
                }
            }
        }
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Gauge => out.push(0),
            Self::Counter { rate, last, falls } => {
                out.extend_from_slice(&[1, *falls]);
                out.extend_from_slice(&last.to_le_bytes());
                rate.write(out);
            }
            Self::Watched { values, rises, still, last } => {
                out.extend_from_slice(&[2, *values, *rises, *still]);
                out.extend_from_slice(&last.to_le_bytes());
            }
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let state = match from.u8()? {
            0 => Self::Gauge,
            1 => {
                let (falls, last) = (from.u8()?, f64::from_bits(from.i64()? as u64));
                let rate = counter_rate::State::read(bytes.get(COUNTER_HEADER..)?)?;
                return Some(Self::Counter { rate, last, falls });
            }
            2 => {
                let (values, rises, still) = (from.u8()?, from.u8()?, from.u8()?);
                let last = f64::from_bits(from.i64()? as u64);
                Self::Watched { values, rises, still, last }
            }
            _ => return None,
        };
        from.end()?;
        Some(state)
    }
}

/// Turns the samples of a series, in order of time, into rates if they are of a counter; returns
/// whether they are.
pub fn to_rates(metric: &str, samples: &mut Vec<(i64, f64)>) -> bool {
    let pairs = || samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
    let rises = || pairs().filter(|(last, value)| value > last).count();
    let falls = || pairs().filter(|(last, value)| fell(*last, *value)).count();
    let is_counter = match State::of(metric) {
        State::Gauge => false,
        State::Counter { .. } => usize::from(FALL) * falls() < rises() + usize::from(UNPROVEN),
        State::Watched { .. } => rises() >= usize::from(RISES) && falls() == 0,
    };
    if is_counter {
        let mut rate = counter_rate::State::new();
        let mut last = f64::NAN;
        let rates = samples.iter().filter_map(|(ts, value)| {
            let whole = !fell(std::mem::replace(&mut last, *value), *value);
            let rate = rate.step(*ts, *value)?;
            whole.then_some((*ts, rate))
        });
        *samples = rates.collect();
    }
    is_counter
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    fn read(metric: &str, values: &[f64]) -> Vec<Option<f64>> {
        let mut state = State::of(metric);
        let step = |(i, v): (usize, &f64)| state.step(i as i64 * MINUTE, *v, *v);
        values.iter().enumerate().map(step).map(|r| r.map(|r| r.value)).collect()
    }

    #[test]
    fn counters_count_per_second_and_gauges_are_as_they_are() {
        assert_eq!(read("http_errors_total", &[10.0, 70.0, 6.0]), [None, Some(1.0), Some(0.1)]);
        assert_eq!(read("queue_length", &[10.0, 70.0]), [Some(10.0), Some(70.0)]);
    }

    #[test]
    fn a_name_of_two_meanings_is_watched_first() {
        let counts: Vec<f64> = (0..20).map(|i| 120.0 * f64::from(i)).collect();
        let read_counts = read("request_seconds_count", &counts);
        assert!(read_counts[..12].iter().all(Option::is_none), "{read_counts:?}");
        assert_eq!(read_counts[19], Some(2.0));
        assert_eq!(
            read("thread_count", &[200.0, 201.0, 199.0, 205.0])[2..],
            [Some(199.0), Some(205.0)]
        );
        assert_eq!(read("node_count", &[3.0; 20])[19], Some(3.0));
    }

    #[test]
    fn a_counter_that_has_nothing_to_count_at_first_is_one_when_it_counts() {
        let idle = std::iter::repeat_n(57.0, 40);
        let busy = (1..=20).map(|i| 57.0 + 120.0 * f64::from(i));
        let values: Vec<f64> = idle.chain(busy).collect();
        let read = read("request_seconds_count", &values);
        assert_eq!((read[5], read[39]), (None, Some(57.0)));
        assert!(read[40..43].iter().all(Option::is_none), "it is not known yet: {read:?}");
        assert_eq!(read[59], Some(2.0));
    }

    #[test]
    fn what_keeps_falling_is_a_gauge_whatever_its_name() {
        let waves = |i: i32| 100.0 + f64::from(i * 7 % 11);
        let values: Vec<f64> = (0..40).map(waves).collect();
        assert_eq!(read("connections_total", &values)[39], Some(waves(39)));
        let mut started: Vec<f64> = (1..=13).map(|i| f64::from(i) * 10.0).collect();
        started.extend((0..40).map(waves));
        assert_eq!(read("thread_count", &started)[52], Some(waves(39)));
        let noisy = |i: i32| 9e8 + 1e6 * f64::from(i * 7 % 11);
        let memory: Vec<f64> = (0..12).map(noisy).collect();
        assert_eq!(read("memory_usage_total", &memory)[11], Some(noisy(11)), "soon");
        // Part of a sum that starts again is a reset of that part.
        let reset: Vec<f64> = (0..40).map(|i| f64::from(60 * (i + 1 - i / 20 * 8))).collect();
        assert_eq!(read("a_total", &reset)[20..22], [None, Some(1.0)]);
        assert_eq!(read("a_total", &reset)[39], Some(1.0));
        let saw = |i: i32| 1e8 + 1e6 * f64::from(i % 7);
        let collected: Vec<f64> = (0..30).map(saw).collect();
        let told = read("memory_usage_total", &collected);
        assert_eq!((told[7], told[29]), (None, Some(saw(29))), "{told:?}");
        let mut samples: Vec<(i64, f64)> =
            values.iter().enumerate().map(|(i, v)| (i as i64 * MINUTE, *v)).collect();
        assert!(!to_rates("connections_total", &mut samples));
    }

    #[test]
    fn samples_of_counters_become_rates() {
        let samples = |values: &[f64]| -> Vec<(i64, f64)> {
            values.iter().enumerate().map(|(i, v)| (i as i64 * MINUTE, *v)).collect()
        };
        let mut counter = samples(&[0.0, 60.0, 180.0, 240.0]);
        assert!(to_rates("a_sum", &mut counter));
        assert_eq!(counter, [(MINUTE, 1.0), (2 * MINUTE, 2.0), (3 * MINUTE, 1.0)]);
        let mut gauge = samples(&[5.0, 6.0, 5.0, 6.0, 7.0, 8.0]);
        assert!(!to_rates("pod_count", &mut gauge) && gauge.len() == 6);
    }

    #[test]
    fn states_survive_bytes() {
        for metric in ["a", "a_total", "a_count"] {
            let mut state = State::of(metric);
            state.step(MINUTE, 5.0, 5.0);
            let mut bytes = Vec::new();
            state.write(&mut bytes);
            assert_eq!(State::read(&bytes), Some(state));
            assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
        }
    }
}
