//! Tail probability of a non-negative statistic by peaks over threshold, in constant memory.
//!
//! Pickands–Balkema–de Haan: above a high threshold `t`, excesses follow a generalised Pareto law,
//! so `P(S > s) = rate · (1 + γ (s − t) / σ)^(−1/γ)` (SPOT: Siffer et al., KDD 2017). Here
//! - `t` follows the `LEVEL` quantile by stochastic approximation, and `rate` measures how often
//!   it is really exceeded, so an error of the one is made good by the other;
//! - `σ` and `γ` come from exponentially weighted moments of the excesses. The moment estimator is
//!   `γ = (1 − m²/v)/2`; it is shrunk to 0 while excesses are few;
//! - the uncertainty of `σ` is kept: for exponential excesses with a gamma prior the predictive
//!   law is a Pareto law with `γ = 1/ν`, `ν` the number of excesses plus that of the prior. It is
//!   added to `γ`. A young series therefore has wide tails;
//! - no law is trusted beyond the data: the peaks of the highest clusters (*records*) are kept, and
//!   what has happened `k` times in `N` windows has a probability of at least `k/(N + N₀)`, as far
//!   as so many are kept. A record counts fully up to its own size and fades exponentially above
//!   it, with the scale of the excesses, as it could have been that much larger. So a spike that
//!   keeps coming back falls silent, be the fitted law what it may. Nothing is held against what
//!   never happened: how far an extrapolation is to be believed shows in many series better than
//!   in one, and is judged where they come together;
//! - feedback: real series are not stationary, so the law alone alarms too often. The share of
//!   windows beyond the `CLIP` quantile is measured, and scores lose the decades by which it
//!   exceeds `CLIP` (adaptive conformal inference: Gibbs & Candès, NeurIPS 2021, in its simplest
//!   form).

use crate::codec::{Reader, put_f32s};
use crate::verdict::SCORE_MAX;

/// Share of windows above the threshold. Lower would leave too few excesses to learn from within a
/// thousand windows; higher would fit the body, not the tail.
const LEVEL: f64 = 0.02;
/// Excesses that the moments remember: a mean good to 7 %.
const EXCESSES: u8 = 200;
/// Windows that `rate` and `t` remember: the same span of time.
const WINDOWS: u16 = (EXCESSES as f64 / LEVEL) as u16;
/// Weight of the prior, in windows, on `rate`.
const PRIOR_WINDOWS: f64 = 100.0;
/// Excesses at which the moment estimate of `γ` counts half; its standard error is about `1/√n`
/// there.
const SHAPE_EXCESSES: f64 = 25.0;
/// Lightest and heaviest shape: above 1/2 the variance, and with it the moment estimator, does not
/// exist; below −1/2 the likelihood is not regular (Smith, 1985).
const SHAPES: (f64, f64) = (-0.5, 0.5);

/// Share of the prior threshold below which none is learnt: where a series never moves, what is
/// next to nothing is no tail.
const LEAST: f64 = 0.1;

/// Probability of an alarm. A value beyond this quantile is learnt as if it were the quantile, as
/// long as alarms come no more often than they should.
const CLIP: f64 = 1e-3;
/// Cluster peaks kept. The law is good to about one window in a thousand, and three events in a few
/// thousand windows reach there; a fourth changed no figure.
const RECORDS: usize = 3;
/// Windows in which a record falls by the factor e towards the threshold: slowly, or what comes
/// once a day would be higher than yesterday's every time.
const RECORD_WINDOWS: f32 = 8.0 * WINDOWS as f32;
/// Windows that the prior on the rate of records is worth: one alarm at `CLIP`.
const PRIOR_RECORDS: f64 = 1.0 / CLIP;
/// What is believed about a tail before any data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prior {
    /// The `1 − LEVEL` quantile of the statistic.
    pub threshold: f64,
    /// Its mean excess above that.
    pub excess: f64,
    /// How many excesses that belief is worth.
    pub weight: f64,
}

/// The running estimate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tail {
    threshold: f32,
    rate: f32,
    excess: f32,
    square: f32,
    /// How often a score of at least `−log10 CLIP` really came.
    alarms: f32,
    /// Highest peaks of clusters, falling; 0 where there was none.
    records: [f32; RECORDS],
    /// Windows seen, up to `WINDOWS`.
    windows: u16,
    /// Excesses seen, up to `EXCESSES`.
    excesses: u8,
    /// Which of them is the present cluster's; `RECORDS` if none.
    current: u8,
}

impl Tail {
    pub(crate) fn new(prior: Prior) -> Self {
        Self {
            threshold: prior.threshold as f32,
            rate: LEVEL as f32,
            excess: prior.excess as f32,
            square: (2.0 * prior.excess * prior.excess) as f32,
            alarms: CLIP as f32,
            records: [0.0; RECORDS],
            windows: 0,
            excesses: 0,
            current: RECORDS as u8,
        }
    }

    /// `(γ as learnt, what uncertainty adds to it, σ)` of the excess law.
    fn law(&self, prior: Prior) -> (f64, f64, f64) {
        let n = f64::from(self.excesses);
        let mean = f64::from(self.excess);
        let variance = (f64::from(self.square) - mean * mean).max(1e-12 * mean * mean);
        let moment = 0.5 * (1.0 - mean * mean / variance);
        let shape = moment.clamp(SHAPES.0, SHAPES.1) * n / (n + SHAPE_EXCESSES);
        (shape, 1.0 / (n + prior.weight), mean * (1.0 - shape))
    }

    /// Windows seen, as far as they are remembered.
    pub(crate) fn windows(&self) -> f64 {
        f64::from(self.windows)
    }

    /// −log10 of the probability of at least `s`, which is no less than how often it happened.
    pub(crate) fn score(&self, s: f64, prior: Prior) -> f64 {
        let score = self.score_by_law(s, prior);
        if s <= f64::from(self.threshold) { score } else { score.min(self.record_score(s)) }
    }

    /// The same by the fitted law alone. Below the threshold, where no tail law holds, it rises
    /// linearly from 0 so that scores stay ordered.
    pub(crate) fn score_by_law(&self, s: f64, prior: Prior) -> f64 {
        let t = f64::from(self.threshold);
        let at_threshold = -f64::from(self.rate).max(1e-6).log10();
        if s <= t {
            return if t > 0.0 { at_threshold * (s / t).max(0.0) } else { 0.0 };
        }
        let (shape, unsure, scale) = self.law(prior);
        let decades = decades((shape + unsure).min(SHAPES.1), (s - t) / scale);
        (at_threshold + decades - self.overrun().log10()).clamp(0.0, SCORE_MAX)
    }

    /// The most that the records allow; the present cluster does not count against itself.
    fn record_score(&self, s: f64) -> f64 {
        let excess = f64::from(self.excess);
        let mut events = 0.0;
        for (i, record) in self.records.iter().enumerate() {
            if i != usize::from(self.current) && *record > 0.0 {
                events += ((f64::from(*record) - s) / excess).exp().min(1.0);
            }
        }
        if events == 0.0 {
            return SCORE_MAX;
        }
        ((f64::from(self.windows) + PRIOR_RECORDS) / events).log10()
    }

    /// The highest peak so far; 0 where there was none.
    pub(crate) fn record(&self) -> f64 {
        f64::from(self.records[0])
    }

    /// Keeps `s` if it is the peak of its cluster so far and one of the highest.
    fn keep(&mut self, s: f64, fresh: bool) {
        let t = self.threshold;
        if self.windows >= WINDOWS {
            for record in &mut self.records {
                *record -= (*record - t).max(0.0) / RECORD_WINDOWS;
            }
        }
        if fresh {
            self.current = RECORDS as u8;
        }
        let s = s as f32;
        let mut at = usize::from(self.current).min(RECORDS - 1);
        if s <= t || s <= self.records[at] {
            return;
        }
        self.records[at] = s;
        while at > 0 && self.records[at] > self.records[at - 1] {
            self.records.swap(at, at - 1);
            at -= 1;
        }
        self.current = at as u8;
    }

    /// The value that is exceeded with probability `p` by the law as learnt, at least the
    /// threshold.
    fn quantile(&self, p: f64, prior: Prior) -> f64 {
        let (shape, _, scale) = self.law(prior);
        let ratio = (f64::from(self.rate) / p).max(1.0);
        let reach = if shape.abs() < 1e-6 { ratio.ln() } else { (ratio.powf(shape) - 1.0) / shape };
        f64::from(self.threshold) + scale * reach
    }

    /// How many times more often than it should an alarm came, at least 1.
    fn overrun(&self) -> f64 {
        (f64::from(self.alarms) / CLIP).max(1.0)
    }

    /// Learns from one window. A value beyond the `CLIP` quantile counts as that quantile, so that
    /// one outage does not make the next one look ordinary; if alarms overrun, as the quantile of
    /// a probability that many times smaller, so that what keeps coming back does. `fresh` is
    /// false within an alarm that has begun before: excesses are learnt once per cluster, as the
    /// theory wants them independent.
    pub(crate) fn learn(&mut self, s: f64, prior: Prior, fresh: bool) {
        let t = f64::from(self.threshold);
        let over = s > t;
        let f = self.overrun();
        self.keep(s, fresh);
        let alarm = over && s > self.quantile(CLIP, prior);
        let s = if over { s.min(self.quantile(CLIP / f, prior)) } else { s };
        self.windows = (self.windows + 1).min(WINDOWS);
        let windows = f64::from(self.windows);
        let pace = 1.0 / (windows + PRIOR_WINDOWS).min(f64::from(WINDOWS));
        let alarm = f64::from(u8::from(alarm));
        self.alarms += ((alarm - f64::from(self.alarms)) / (windows + 1.0 / CLIP)) as f32;
        let hit = f64::from(u8::from(over));
        self.rate += ((hit - f64::from(self.rate)) * pace) as f32;
        let mean = f64::from(self.excess);
        if over && fresh {
            let y = s - t;
            self.excesses = (self.excesses + 1).min(EXCESSES);
            let known = f64::from(self.excesses) + prior.weight;
            let pace = 1.0 / known.min(f64::from(EXCESSES));
            self.excess += ((y - mean) * pace) as f32;
            self.square += ((y * y - f64::from(self.square)) * pace) as f32;
        }
        // Robbins–Monro: the density at the threshold of an exponential tail is LEVEL/σ, so this
        // is Newton's step with gain `pace`.
        let threshold = t + mean / LEVEL * pace * (hit - LEVEL);
        self.threshold = threshold.max(LEAST * prior.threshold) as f32;
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let s = self;
        put_f32s(out, &[s.threshold, s.rate, s.excess, s.square, s.alarms]);
        put_f32s(out, &s.records);
        out.extend_from_slice(&s.windows.to_le_bytes());
        out.extend([s.excesses, s.current]);
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let [threshold, rate, excess, square, alarms] = from.f32s()?;
        let records = from.f32s()?;
        let (windows, excesses, current) = (from.u16()?, from.u8()?, from.u8()?);
        let sound = excess > 0.0 && square > 0.0 && (0.0..=1.0).contains(&rate);
        let sound = sound && windows <= WINDOWS && excesses <= EXCESSES;
        let sound = sound && usize::from(current) <= RECORDS;
        sound.then_some(Self {
            threshold,
            rate,
            excess,
            square,
            alarms,
            records,
            windows,
            excesses,
            current,
        })
    }
}

/// Decades by which the generalised Pareto law falls up to `y` scales.
fn decades(shape: f64, y: f64) -> f64 {
    let nats = if shape.abs() < 1e-6 {
        y
    } else if shape * y <= -1.0 + 1e-9 {
        return SCORE_MAX;
    } else {
        (shape * y).ln_1p() / shape
    };
    nats / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    const PRIOR: Prior = Prior { threshold: 1.0, excess: 1.0, weight: 20.0 };

    #[test]
    fn scores_of_an_exponential_statistic_are_its_decades() {
        let (mut tail, mut rng) = (Tail::new(PRIOR), Rng(3));
        for _ in 0..20_000 {
            tail.learn(-rng.uniform().ln(), PRIOR, true);
        }
        for decades in [2.0, 3.0, 3.5] {
            let score = tail.score(decades * std::f64::consts::LN_10, PRIOR);
            assert!((score - decades).abs() < 0.4, "{decades}: {score}");
        }
    }

    #[test]
    fn next_to_nothing_is_no_tail_of_what_never_moves() {
        let mut tail = Tail::new(PRIOR);
        for _ in 0..5_000 {
            tail.learn(0.0, PRIOR, true);
        }
        assert!(tail.score(1e-6, PRIOR) < 0.1 && tail.score(30.0, PRIOR) > 4.0);
    }

    #[test]
    fn what_happened_before_is_no_rarer_than_that() {
        let mut tail = Tail::new(PRIOR);
        for i in 0..5_000 {
            tail.learn(if i % 1_000 == 999 { 40.0 } else { 0.5 }, PRIOR, true);
        }
        tail.learn(0.5, PRIOR, true);
        let score = tail.score(40.0, PRIOR);
        let counted = (6_000.0 / RECORDS as f64).log10();
        assert!(score < counted + 0.01, "five times in five thousand, {RECORDS} kept: {score}");
        assert!(tail.score(80.0, PRIOR) > score, "more than ever is still news");
    }
}
