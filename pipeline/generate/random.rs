//! Numbers that are the same on every platform: only integer arithmetic and IEEE operations that
//! are exact by definition, no transcendental functions of the platform.

/// xoshiro256++ 1.0 (Blackman and Vigna), seeded through splitmix64.
#[derive(Clone)]
pub struct Random([u64; 4]);

impl Random {
    /// Streams of different names are independent of each other, so that one part of a scenario
    /// does not change when another one draws more.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut state = name.bytes().fold(seed, |s, b| mix(s ^ u64::from(b)));
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        }))
    }

    pub fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// 0 to 1, without 1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Close to standard normal: the sum of twelve uniforms (Irwin–Hall), which ends at ±6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Factor with median 1 and the given spread of its logarithm.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        exp(sigma * self.normal())
    }

    /// Whole number with this mean: its floor, or one more.
    pub fn count(&mut self, mean: f64) -> usize {
        // A mean spread evenly around its value gives the variation of arrivals.
        let mean = mean * (0.5 + self.uniform());
        mean as usize + usize::from(self.chance(mean.fract()))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// (1 + x/2¹⁰)^(2¹⁰): the exponential to a few digits, by ten squarings.
pub fn exp(x: f64) -> f64 {
    let mut y = (1.0 + x / 1024.0).max(0.0);
    for _ in 0..10 {
        y *= y;
    }
    y
}

/// A smooth wave of period 1 between −1 and 1, zero at 0: the sine by Bhaskara's formula.
pub fn wave(x: f64) -> f64 {
    let x = x - x.floor();
    let (half, sign) = if x < 0.5 { (x, 1.0) } else { (x - 0.5, -1.0) };
    let p = half * (0.5 - half);
    sign * 16.0 * p / (1.25 - 4.0 * p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut r = Random::new(7, "test");
        let n = 20_000;
        let normal: Vec<f64> = (0..n).map(|_| r.normal()).collect();
        let mean = normal.iter().sum::<f64>() / n as f64;
        let variance = normal.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let total: usize = (0..n).map(|_| r.count(2.3)).sum();
        assert!((total as f64 / n as f64 - 2.3).abs() < 0.05);
        assert!((0..n).all(|_| r.below(3) < 3));
    }

    #[test]
    fn functions_are_close_to_what_they_stand_for() {
        for i in -20..=20 {
            let x = f64::from(i) / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 0.003, "exp {x}");
            assert!((wave(x) - (x * std::f64::consts::TAU).sin()).abs() < 0.003, "wave {x}");
        }
    }

    #[test]
    fn streams_differ_by_seed_and_name() {
        let first = |seed, name| Random::new(seed, name).next();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }
}
