//! What a metric says in one window: a gauge its mean, a counter how fast it counts.
//!
//! Prometheus and OpenMetrics name counters `…_total` and the buckets of histograms `…_bucket`.
//! Names that end in `_count` or `_sum` are counters in a histogram or summary, and gauges
//! elsewhere (`thread_count`): these are watched first. A counter rises and never falls, but for a
//! reset, which takes it below half of what it was.

use crate::codec::Reader;
use crate::counter_rate;

const VERSION: u8 = 1;
/// Values after which it is decided what a name of two meanings stands for.
const WATCHED: u8 = 12;
/// Fewest rises among them that make a counter.
const RISES: u8 = 3;

/// What the values of a series are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Gauge,
    Counter(counter_rate::State),
    /// The name may mean either.
    Watched {
        values: u8,
        rises: u8,
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
fn falls(last: f64, value: f64) -> bool {
    value < last && value > 0.5 * last
}

impl State {
    /// A series of this name of which nothing is known.
    pub fn of(metric: &str) -> Self {
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| metric.ends_with(suffix));
        if ends(&["_total", "_bucket"]) {
            Self::Counter(counter_rate::State::new())
        } else if ends(&["_count", "_sum"]) {
            Self::Watched { values: 0, rises: 0, last: f64::NAN }
        } else {
            Self::Gauge
        }
    }

    /// Takes in the mean and the highest value of the window that starts at `ts_ns`. `None` where
    /// it is not known yet what the series is, or how fast it counts.
    pub fn step(&mut self, ts_ns: i64, mean: f64, highest: f64) -> Option<Reading> {
        match self {
            Self::Gauge => Some(Reading { value: mean, is_rate: false }),
            Self::Counter(rate) => {
                let value = rate.step(ts_ns, highest)?;
                Some(Reading { value, is_rate: true })
            }
            Self::Watched { values, rises, last } => {
                if !highest.is_finite() {
                    return None;
                }
                *values += 1;
                *rises += u8::from(highest > *last);
                if falls(*last, highest) || highest < 0.0 {
                    *self = Self::Gauge;
                } else if *values >= WATCHED {
                    *self = if *rises >= RISES {
                        Self::Counter(counter_rate::State::new())
                    } else {
                        Self::Gauge
                    };
                } else {
                    *last = highest;
                    return None;
                }
                self.step(ts_ns, mean, highest)
            }
        }
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Gauge => out.push(0),
            Self::Counter(rate) => {
                out.push(1);
                rate.write(out);
            }
            Self::Watched { values, rises, last } => {
                out.extend_from_slice(&[2, *values, *rises]);
                out.extend_from_slice(&last.to_le_bytes());
            }
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let state = match from.u8()? {
            0 => Self::Gauge,
            1 => return counter_rate::State::read(bytes.get(2..)?).map(Self::Counter),
            2 => {
                let (values, rises) = (from.u8()?, from.u8()?);
                let last = f64::from_bits(from.i64()? as u64);
                Self::Watched { values, rises, last }
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
    let is_counter = match State::of(metric) {
        State::Gauge => false,
        State::Counter(_) => true,
        State::Watched { .. } => {
            let pairs = || samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
            let rises = pairs().filter(|(last, value)| value > last).count();
            rises >= usize::from(RISES) && !pairs().any(|(last, value)| falls(last, value))
        }
    };
    if is_counter {
        let mut rate = counter_rate::State::new();
        let rates = samples.iter().filter_map(|(ts, value)| Some((*ts, rate.step(*ts, *value)?)));
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
