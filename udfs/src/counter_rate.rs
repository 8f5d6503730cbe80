//! Per-second rate of a counter, as Prometheus defines it: a fall is a reset to zero.
//!
//! `rate = (value − previous) / seconds`; after a reset `value / seconds`, the least the counter
//! can have counted since. Source: Prometheus, `rate()` and `increase()`.

use crate::codec::Reader;

const VERSION: u8 = 1;

/// The last sample of one counter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    last: Option<(i64, f64)>,
}

impl State {
    /// A counter never seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Events per second since the sample before. `None` for the first sample, for one that is
    /// negative or not finite, and for one that is not later than the last: none of these change
    /// the state but the first.
    pub fn step(&mut self, ts_ns: i64, value: f64) -> Option<f64> {
        if !(value.is_finite() && value >= 0.0) {
            return None;
        }
        let Some((last_ts, last)) = self.last else {
            self.last = Some((ts_ns, value));
            return None;
        };
        if ts_ns <= last_ts {
            return None;
        }
        self.last = Some((ts_ns, value));
        let seconds = ts_ns.saturating_sub(last_ts) as f64 / 1e9;
        let increase = if value < last { value } else { value - last };
        let rate = increase / seconds;
        rate.is_finite().then_some(rate)
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        if let Some((ts, value)) = self.last {
            out.extend_from_slice(&ts.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        if bytes.len() == 1 {
            return Some(Self::default());
        }
        let last = Some((from.i64()?, from.f64()?));
        from.end()?;
        Some(Self { last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn counts_per_second_across_resets() {
        let mut state = State::new();
        assert_eq!(state.step(0, 100.0), None);
        assert_eq!(state.step(10 * S, 150.0), Some(5.0));
        assert_eq!(state.step(20 * S, 30.0), Some(3.0));
        assert_eq!(state.step(30 * S, 30.0), Some(0.0));
    }

    #[test]
    fn nonsense_and_disorder_change_nothing() {
        let mut state = State::new();
        assert_eq!(state.step(0, f64::NAN), None);
        state.step(10 * S, 100.0);
        let before = state;
        for (ts, value) in [(11 * S, f64::NAN), (11 * S, -1.0), (10 * S, 120.0), (5 * S, 1e9)] {
            assert_eq!(state.step(ts, value), None);
            assert_eq!(state, before);
        }
        assert_eq!(state.step(20 * S, 110.0), Some(1.0));
    }

    #[test]
    fn survives_bytes() {
        for state in [State::new(), State { last: Some((-5, 7.5)) }] {
            let mut bytes = Vec::new();
            state.write(&mut bytes);
            assert_eq!(State::read(&bytes), Some(state));
        }
        assert_eq!(State::read(&[]), None);
        assert_eq!(State::read(&[1, 2, 3]), None);
    }
}
