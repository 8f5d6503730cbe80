//! The highest value of earlier windows: what a series has reached before, and come back from.
//!
//! Only windows count that were over before the present one began, so a rise that still goes on
//! does not stand in its own way. Two maxima of one width each hold back what is too recent, so it
//! counts one or two widths after its window began. What is older than a block of eight days and
//! the one before is forgotten: a habit of every day or week is known, and one event not for ever.

use crate::codec::Reader;

const VERSION: u8 = 1;
/// A block of days.
const BLOCK: i64 = 8 * 86_400_000_000_000;

/// The state of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    recent: Maxima,
    earlier: Maxima,
}

/// The highest value of the present stretch of time and of the one before; −∞ where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Maxima {
    /// When the present stretch began, nanoseconds; `i64::MIN` before the first.
    since: i64,
    highest: [f64; 2],
}

impl Maxima {
    const NEW: Self = Self { since: i64::MIN, highest: [f64::NEG_INFINITY; 2] };

    /// Stretches of `length` go by until `now`. Returns the highest of those that are left behind.
    fn pass(&mut self, now: i64, length: i64) -> f64 {
        if self.since == i64::MIN {
            self.since = now;
        }
        let passed = now.saturating_sub(self.since) / length;
        let mut behind = f64::NEG_INFINITY;
        for _ in 0..passed.min(2) {
            behind = behind.max(self.highest[1]);
            self.highest = [f64::NEG_INFINITY, self.highest[0]];
        }
        self.since += passed.max(0) * length;
        behind
    }

    fn learn(&mut self, value: f64) {
        self.highest[0] = self.highest[0].max(value);
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A series without history.
    pub fn new() -> Self {
        Self { recent: Maxima::NEW, earlier: Maxima::NEW }
    }

    /// Takes in the value of the window that starts at `ts_ns` and is `width_ns` long, none if it
    /// is not finite. Returns the highest of earlier windows, if there is one.
    pub fn step(&mut self, ts_ns: i64, width_ns: i64, value: f64) -> Option<f64> {
        let over = self.recent.pass(ts_ns, width_ns.max(1));
        self.earlier.learn(over);
        self.earlier.pass(ts_ns, BLOCK);
        if value.is_finite() {
            self.recent.learn(value);
        }
        let [this, last] = self.earlier.highest;
        Some(this.max(last)).filter(|highest| highest.is_finite())
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        for Maxima { since, highest } in [self.recent, self.earlier] {
            out.extend_from_slice(&since.to_le_bytes());
            highest.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let mut maxima = || {
            let since = from.i64()?;
            let mut number = || from.i64().map(|bits| f64::from_bits(bits as u64));
            let highest = [number()?, number()?];
            let sound = highest.iter().all(|v| v.is_finite() || *v == f64::NEG_INFINITY);
            sound.then_some(Maxima { since, highest })
        };
        let state = Self { recent: maxima()?, earlier: maxima()? };
        from.end()?;
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000_000;
    const DAY: i64 = 24 * HOUR;

    /// The answers to windows of four hours, every half of an hour.
    fn answers(values: impl IntoIterator<Item = f64>) -> Vec<Option<f64>> {
        let mut state = State::new();
        let step = |(i, value)| state.step(i * HOUR / 2, 4 * HOUR, value);
        (0..).zip(values).map(step).collect()
    }

    #[test]
    fn what_every_day_reaches_is_known_from_the_second_day_on() {
        let day = |i: i32| f64::from(i % 48);
        let answers = answers((0..48 * 40).map(day));
        assert!(answers[..8].iter().all(Option::is_none));
        assert!(answers[64..].iter().all(|answer| *answer == Some(47.0)));
    }

    #[test]
    fn a_rise_is_not_compared_with_itself() {
        for (i, answer) in answers((0..500).map(f64::from)).into_iter().enumerate().skip(16) {
            let answer = answer.unwrap();
            assert!((i as f64 - 16.0..=i as f64 - 8.0).contains(&answer), "{answer} at {i}");
        }
    }

    #[test]
    fn what_was_high_once_is_forgotten_after_a_week_or_two() {
        let mut state = State::new();
        state.step(0, HOUR, 9.0);
        let mut at = |days: i64| state.step(days * DAY, HOUR, 1.0);
        assert_eq!((at(1), at(7), at(9), at(15)), (Some(9.0), Some(9.0), Some(9.0), Some(9.0)));
        assert_eq!(at(17), Some(1.0));
        assert_eq!(at(90), None, "nor after a long silence");
    }

    proptest! {
        /// Against the definition: all of a window's earlier ones but the last width, no others.
        #[test]
        fn it_is_the_highest_of_windows_that_were_over(
            values in proptest::collection::vec(-1e9..1e9_f64, 1..300),
        ) {
            for (i, answer) in answers(values.iter().copied()).into_iter().enumerate() {
                let highest = |n: usize| values[..n].iter().copied().reduce(f64::max);
                let (least, most) = (highest(i.saturating_sub(15)), highest(i.saturating_sub(7)));
                prop_assert!(least <= answer && answer <= most, "{answer:?} at {i}");
            }
        }

        #[test]
        fn any_windows_are_survived_and_states_survive_bytes(
            steps in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<f64>()), 0..20),
        ) {
            let mut state = State::new();
            for (ts, width, value) in steps {
                state.step(ts, width, value);
            }
            let mut bytes = Vec::new();
            state.write(&mut bytes);
            prop_assert_eq!(State::read(&bytes), Some(state));
            prop_assert_eq!(State::read(&bytes[1..]), None);
        }
    }
}
