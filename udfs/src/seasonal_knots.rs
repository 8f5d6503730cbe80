//! A repeating pattern as equally spaced knots around a circle, linear in between.
//!
//! With 24 knots over a day it is a time-of-day baseline of 96 bytes that has no jumps at slot
//! borders, and that learns from any sampling period: an observation moves the two knots beside it
//! by their interpolation weights (one step of least mean squares).

use crate::codec::{Reader, put_f32s};

/// A circular piecewise-linear function with `K` knots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Knots<const K: usize>([f32; K]);

impl<const K: usize> Knots<K> {
    pub(crate) const fn new() -> Self {
        Self([0.0; K])
    }

    /// The two knots beside a phase in `0.0..1.0` and the weight of the second.
    fn around(phase: f64) -> (usize, usize, f64) {
        let at = phase * K as f64;
        let left = (at as usize).min(K - 1);
        (left, (left + 1) % K, at - left as f64)
    }

    pub(crate) fn at(&self, phase: f64) -> f64 {
        let (left, right, w) = Self::around(phase);
        f64::from(self.0[left]) * (1.0 - w) + f64::from(self.0[right]) * w
    }

    /// Moves the pattern at `phase` towards `at(phase) + by`.
    pub(crate) fn nudge(&mut self, phase: f64, by: f64) {
        let (left, right, w) = Self::around(phase);
        self.0[left] += (by * (1.0 - w)) as f32;
        self.0[right] += (by * w) as f32;
    }

    pub(crate) fn raw(&self) -> &[f32; K] {
        &self.0
    }

    pub(crate) fn raw_mut(&mut self) -> &mut [f32; K] {
        &mut self.0
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_f32s(out, &self.0);
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        from.f32s().map(Self)
    }
}

/// Where `ts_ns` lies in a cycle of `period_ns`, in `0.0..1.0`, also before 1970.
pub(crate) fn phase(ts_ns: i64, period_ns: i64) -> f64 {
    ts_ns.rem_euclid(period_ns) as f64 / period_ns as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_a_wave_and_joins_at_the_ends() {
        let mut knots = Knots::<24>::new();
        let wave = |p: f64| (p * std::f64::consts::TAU).sin();
        for i in 0..24 * 60 * 10 {
            let p = f64::from(i % 1440) / 1440.0;
            knots.nudge(p, 0.1 * (wave(p) - knots.at(p)));
        }
        for i in 0..1440 {
            let p = f64::from(i) / 1440.0;
            assert!((knots.at(p) - wave(p)).abs() < 0.05, "at {p}");
        }
        assert!((knots.at(0.999_999) - knots.at(0.0)).abs() < 1e-3);
    }

    #[test]
    fn phase_is_defined_before_1970() {
        assert_eq!(phase(-1, 4), 0.75);
        assert_eq!(phase(5, 4), 0.25);
    }
}
