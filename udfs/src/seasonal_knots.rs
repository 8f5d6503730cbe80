//! A repeating pattern as equally spaced knots around a circle, linear in between.
//!
//! With 24 knots over a day it is a time-of-day baseline of 50 bytes that has no jumps at slot
//! borders, and that learns from any sampling period: an observation moves the two knots beside it
//! by their interpolation weights (one step of least mean squares).
//!
//! Knots are 16-bit integers times one power of two that they share (block floating point), which
//! follows the largest of them. A step of learning is often smaller than one unit of these, so it
//! is rounded up as often as its fraction says (stochastic rounding: Croci et al., Royal Society
//! Open Science 9, 2022); the lot is drawn from the time of the observation, so a replay draws the
//! same.

use crate::codec::Reader;

/// A piecewise-linear function of time with `K` knots and a cycle of `CYCLE` nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Knots<const K: usize, const CYCLE: i64> {
    /// Value of a knot is its part times `2^exponent`.
    parts: [i16; K],
    exponent: i8,
}

/// Largest part, before it is rounded; at least a quarter of it is used, or the exponent shrinks.
const PART_MAX: f64 = i16::MAX as f64 - 1.0;

impl<const K: usize, const CYCLE: i64> Knots<K, CYCLE> {
    pub(crate) const fn new() -> Self {
        Self { parts: [0; K], exponent: i8::MIN }
    }

    /// The two knots beside a time, also before 1970, and the weight of the second.
    fn around(ts_ns: i64) -> (usize, usize, f64) {
        let at = ts_ns.rem_euclid(CYCLE) as f64 / CYCLE as f64 * K as f64;
        let left = (at as usize).min(K - 1);
        (left, (left + 1) % K, at - left as f64)
    }

    pub(crate) fn at(&self, ts_ns: i64) -> f64 {
        let (left, right, w) = Self::around(ts_ns);
        self.get(left) * (1.0 - w) + self.get(right) * w
    }

    /// Moves the pattern at `ts_ns` towards `at(ts_ns) + by`.
    pub(crate) fn nudge(&mut self, ts_ns: i64, by: f64) {
        let (left, right, w) = Self::around(ts_ns);
        let lots = lots(ts_ns);
        for (i, by, lot) in [(left, by * (1.0 - w), lots[0]), (right, by * w, lots[1])] {
            let part = self.part(self.get(i) + by);
            self.parts[i] = (part + lot).floor() as i16;
        }
        self.use_range();
    }

    /// Value of one knot.
    pub(crate) fn get(&self, i: usize) -> f64 {
        f64::from(self.parts[i]) * power_of_two(self.exponent)
    }

    /// Sets one knot, to within `2⁻¹⁵` of the largest.
    pub(crate) fn set(&mut self, i: usize, value: f64) {
        self.parts[i] = self.part(value).round() as i16;
        self.use_range();
    }

    /// `value` in units of the shared power of two, which grows if it must.
    fn part(&mut self, value: f64) -> f64 {
        while value.abs() > PART_MAX * power_of_two(self.exponent) {
            if self.exponent == i8::MAX {
                return PART_MAX.copysign(value);
            }
            self.exponent += 1;
            self.parts = self.parts.map(|part| part / 2);
        }
        value / power_of_two(self.exponent)
    }

    /// Lets the shared power of two shrink with the largest knot.
    fn use_range(&mut self) {
        let largest = self.parts.iter().fold(0, |most, part| most.max(part.unsigned_abs()));
        let spare = largest.leading_zeros().saturating_sub(2) as i8;
        if largest == 0 {
            self.exponent = i8::MIN;
        } else if spare > 0 && self.exponent > i8::MIN + spare {
            self.exponent -= spare;
            self.parts = self.parts.map(|part| part << spare);
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.exponent as u8);
        out.extend(self.parts.iter().flat_map(|part| part.to_le_bytes()));
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let exponent = from.u8()? as i8;
        let mut parts = [0; K];
        for part in &mut parts {
            *part = from.u16()? as i16;
        }
        Some(Self { parts, exponent })
    }
}

/// `2^exponent`, a normal number for every `i8`.
fn power_of_two(exponent: i8) -> f64 {
    f64::from_bits(((1023 + i64::from(exponent)) as u64) << 52)
}

/// Two numbers in `0.0..1.0` that look drawn by lot (the mixing step of SplitMix64).
fn lots(of: i64) -> [f64; 2] {
    let mixed = (of as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    [mixed >> 32, mixed & 0xffff_ffff].map(|bits| bits as f64 / 2.0_f64.powi(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60;

    #[test]
    fn learns_a_wave_and_joins_at_the_ends() {
        let mut knots = Knots::<24, DAY>::new();
        let wave = |minute: i64| (minute as f64 / DAY as f64 * std::f64::consts::TAU).sin();
        for minute in 0..DAY * 10 {
            knots.nudge(minute, 0.1 * (wave(minute) - knots.at(minute)));
        }
        for minute in 0..DAY {
            assert!((knots.at(minute) - wave(minute)).abs() < 0.05, "at {minute}");
        }
        assert!((knots.at(DAY - 1) - knots.at(DAY)).abs() < 0.01);
    }

    #[test]
    fn time_goes_round_before_1970_too() {
        let mut knots = Knots::<24, DAY>::new();
        knots.set(23, 1.0);
        assert_eq!((knots.at(-60), knots.at(-DAY - 60), knots.at(23 * 60)), (1.0, 1.0, 1.0));
    }

    #[test]
    fn learns_by_steps_below_its_resolution() {
        let mut knots = Knots::<24, DAY>::new();
        knots.set(12, 1_000.0);
        for day in 0..20_000 {
            knots.nudge(day * DAY, 1e-3 * (1.0 - knots.at(0)));
        }
        assert!((knots.get(0) - 1.0).abs() < 0.3, "{}", knots.get(0));
        assert_eq!((knots.get(1), knots.get(12)), (0.0, 1_000.0), "others stay");
    }

    #[test]
    fn any_scale_is_kept_to_15_bits() {
        for scale in [1e-25, 1.0, 1e30] {
            let mut knots = Knots::<14, DAY>::new();
            let worst = |knots: &Knots<14, DAY>, scale: f64| {
                let off = |i: usize| (knots.get(i) / scale - (i as f64 - 5.0)).abs();
                (0..14).map(off).fold(0.0, f64::max)
            };
            (0..14).for_each(|i| knots.set(i, scale * (i as f64 - 5.0)));
            assert!(worst(&knots, scale) < 8.0 / 8_192.0, "at {scale}");
            // The first round only makes way for the power of two to shrink.
            for _ in 0..2 {
                (0..14).for_each(|i| knots.set(i, 1e-6 * scale * (i as f64 - 5.0)));
            }
            assert!(worst(&knots, 1e-6 * scale) < 8.0 / 8_192.0, "small at {scale}");
        }
    }
}
