//! Change of a mix: severities of a service's logs, status classes, callers.
//!
//! The Jensen–Shannon divergence of this window's mix and an exponentially weighted baseline's,
//! weighted by their counts `n` and `N`: `JSD = H(pooled) − (n·H(now) + N·H(base))/(n+N)`. In nats,
//! `2·(n+N)·JSD` is the likelihood-ratio statistic of "both come from one mix", asymptotically χ²
//! with `K − 1` degrees of freedom, `K` the categories ever seen (Grosse et al., Phys. Rev. E 65,
//! 2002); so ten lines say less than ten thousand. `−ln p` is then calibrated against the key's own
//! past by peaks over threshold, for lines come in bursts and are not independent.

use crate::Verdict;
use crate::codec::{Reader, put_f32s};
use crate::peaks_over_threshold::{Prior, Tail};
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 2;
/// Categories told apart; the last takes in all further ones.
pub const CATEGORIES: usize = 8;
/// Windows with rows before a key may speak.
const WARM_UP: u16 = 12;
/// Windows that the baseline remembers.
const MEMORY: f64 = 200.0;
/// Score from which the baseline is frozen, and alerting windows after which the new mix is
/// normal.
const ALERT: f64 = 2.0;
const PATIENCE: u16 = 60;
/// Law of `−ln p`: exponential with mean 1.
const PRIOR: Prior = Prior { threshold: 3.912, excess: 1.0, weight: 8.0 };

/// The state of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    windows: u16,
    hot: u16,
    /// Mean count per window of each category.
    base: [f32; CATEGORIES],
    tail: Tail,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A key never seen.
    pub fn new() -> Self {
        Self { windows: 0, hot: 0, base: [0.0; CATEGORIES], tail: Tail::new(PRIOR) }
    }

    /// Scores the counts per category of one window, in a fixed order; negative and non-finite
    /// ones count as 0. `Verdict::expected` is the share that the baseline gives to the category
    /// that moved the divergence most, and `direction` whether its share rose or fell.
    pub fn step(&mut self, counts: &[f64]) -> Verdict {
        let mut now = [0.0; CATEGORIES];
        for (i, c) in counts.iter().enumerate() {
            if c.is_finite() && *c > 0.0 {
                now[i.min(CATEGORIES - 1)] += c.min(1e15);
            }
        }
        let total: f64 = now.iter().sum();
        if total <= 0.0 {
            return Verdict::silent(0.0);
        }
        if self.windows < WARM_UP {
            self.learn(&now);
            return Verdict::silent(0.0);
        }
        let (log_p, mover, share) = self.surprise(&now, total);
        let model = log_p / std::f64::consts::LN_10;
        let score = self.tail.score(log_p, PRIOR).min(model).min(SCORE_MAX);
        let alert = score >= ALERT;
        self.hot = if alert { self.hot.saturating_add(1) } else { self.hot.saturating_sub(2) };
        self.tail.learn(log_p, PRIOR, self.hot <= 1);
        if self.hot >= PATIENCE {
            self.base = now.map(|c| c as f32);
            self.windows = WARM_UP;
            self.hot = 0;
        } else if !alert {
            self.learn(&now);
        }
        let rise = now[mover] / total - share;
        let direction = if score > 0.0 { i8::from(rise > 0.0) - i8::from(rise < 0.0) } else { 0 };
        Verdict { score, expected: share, direction }
    }

    fn learn(&mut self, now: &[f64; CATEGORIES]) {
        self.windows = self.windows.saturating_add(1);
        let pace = 1.0 / f64::from(self.windows).min(MEMORY);
        for (base, now) in self.base.iter_mut().zip(now) {
            *base += (pace * (now - f64::from(*base))) as f32;
        }
    }

    /// `(−ln p, category that contributes most, its baseline share)`.
    fn surprise(&self, now: &[f64; CATEGORIES], total: f64) -> (f64, usize, f64) {
        let n = f64::from(self.windows).min(MEMORY);
        let base = self.base.map(|b| f64::from(b) * n);
        let base_total: f64 = base.iter().sum();
        if base_total <= 0.0 {
            return (0.0, 0, 0.0);
        }
        let pooled_total = total + base_total;
        let (mut g, mut kinds, mut mover, mut most) = (0.0, 0u32, 0, 0.0);
        for i in 0..CATEGORIES {
            let pooled = (now[i] + base[i]) / pooled_total;
            if pooled <= 0.0 {
                continue;
            }
            kinds += 1;
            let part = |count: f64, of: f64| {
                if count > 0.0 { count * (count / of / pooled).ln() } else { 0.0 }
            };
            g += 2.0 * (part(now[i], total) + part(base[i], base_total));
            let moved = (now[i] / total - base[i] / base_total).abs();
            if moved > most {
                (mover, most) = (i, moved);
            }
        }
        let p = if kinds < 2 { 1.0 } else { chi_square_tail(g.max(0.0), kinds - 1) };
        (-p.max(1e-300).ln(), mover, base[mover] / base_total)
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.windows.to_le_bytes());
        out.extend_from_slice(&self.hot.to_le_bytes());
        put_f32s(out, &self.base);
        self.tail.write(out);
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let (windows, hot) = (from.u16()?, from.u16()?);
        let state = Self { windows, hot, base: from.f32s()?, tail: Tail::read(&mut from)? };
        from.end()?;
        state.base.iter().all(|b| *b >= 0.0).then_some(state)
    }
}

/// P(χ² ≥ x), by the recurrence Q(a + 1, y) = Q(a, y) + yᵃ e⁻ʸ / Γ(a + 1) from the closed forms at
/// a = ½ and 1.
fn chi_square_tail(x: f64, degrees: u32) -> f64 {
    let y = x / 2.0;
    let odd = degrees % 2 == 1;
    let (mut a, mut q) = if odd { (0.5, erfc(y.sqrt())) } else { (1.0, (-y).exp()) };
    // yᵃ e⁻ʸ / Γ(a + 1) at the first a.
    let mut term = if odd { 2.0 * (y / std::f64::consts::PI).sqrt() } else { y } * (-y).exp();
    while a + 0.5 < f64::from(degrees) / 2.0 {
        q += term;
        a += 1.0;
        term *= y / a;
    }
    q.clamp(0.0, 1.0)
}

/// Complementary error function for x ≥ 0, relative error below 1.2e-7 (Numerical Recipes, §6.2).
fn erfc(x: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    t * (-x * x + C.iter().rev().fold(0.0, |sum, c| sum * t + c)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    fn trained(seed: u64) -> (State, Rng) {
        let (mut state, mut rng) = (State::new(), Rng(seed));
        for _ in 0..100 {
            state.step(&[rng.poisson(200.0), rng.poisson(20.0), rng.poisson(2.0)]);
        }
        (state, rng)
    }

    #[test]
    fn chi_square_agrees_with_tables() {
        for (x, degrees, p) in
            [(3.841, 1, 0.05), (9.210, 2, 0.01), (16.266, 3, 0.001), (24.322, 7, 0.001)]
        {
            let got = chi_square_tail(x, degrees);
            assert!((got / p - 1.0).abs() < 2e-3, "{x} {degrees}: {got}");
        }
    }

    #[test]
    fn errors_that_push_out_information_are_seen() {
        let (state, _) = trained(1);
        let verdict = state.clone().step(&[150.0, 20.0, 60.0]);
        assert!(verdict.score > 3.0, "{verdict:?}");
        let (ten_times, few) =
            (state.clone().step(&[2_000.0, 200.0, 20.0]), state.clone().step(&[0.0, 1.0]));
        assert!(ten_times.score < 1.0, "more of the same is no change: {ten_times:?}");
        assert!(few.score < 3.0, "{few:?}");
        let new_kind = state.clone().step(&[200.0, 20.0, 2.0, 0.0, 40.0]);
        assert!(new_kind.score > 3.0 && new_kind.direction == 1 && new_kind.expected == 0.0);
    }

    #[test]
    fn a_steady_mix_rarely_alarms_and_a_new_one_becomes_normal() {
        let (mut alarms, mut late) = (0, 0);
        for seed in 0..20 {
            let (mut state, mut rng) = trained(seed);
            for _ in 0..500 {
                let v = state.step(&[rng.poisson(200.0), rng.poisson(20.0), rng.poisson(2.0)]);
                alarms += i32::from(v.score >= 3.0);
            }
            for i in 0..200 {
                let v = state.step(&[rng.poisson(100.0), rng.poisson(100.0)]);
                late += i32::from(i > 100 && v.score >= 3.0);
            }
        }
        assert!(alarms <= 20, "{alarms} of 10000");
        assert!(late <= 20, "{late}");
    }

    #[test]
    fn nonsense_is_ignored_and_states_survive_bytes() {
        let (mut state, _) = trained(3);
        let before = state.clone();
        assert_eq!(state.step(&[f64::NAN, -3.0]).score, 0.0);
        assert_eq!(state.step(&[]).score, 0.0);
        assert_eq!(state, before);
        let mut bytes = Vec::new();
        state.write(&mut bytes);
        assert_eq!(State::read(&bytes), Some(state));
        assert_eq!(State::read(&bytes[..20]), None);
    }
}
