//! Tail probability of a non-negative statistic by peaks over threshold, in constant memory.
//!
//! Pickands–Balkema–de Haan: above a high threshold `t`, excesses follow a generalised Pareto law,
//! so `P(S > s) = rate · (1 + γ (s − t) / σ)^(−1/γ)` (SPOT: Siffer et al., KDD 2017). Here
//! - `t` follows the `LEVEL` quantile by stochastic approximation, and `rate` measures how often
//!   it is really exceeded, so an error of the one is made good by the other;
//! - `σ` and `γ` come from exponentially weighted moments of the excesses. The moment estimator is
//!   `γ = (1 − m²/v)/2`; it is shrunk to 0 while excesses are few and never taken below 0, because
//!   a finite end point learnt from a sample would claim certainty;
//! - the uncertainty of `σ` is kept: for exponential excesses with a gamma prior the predictive
//!   law is a Pareto law with `γ = 1/ν`, `ν` the number of excesses plus that of the prior. It is
//!   added to `γ`. A young series therefore has wide tails;
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
const EXCESSES: f64 = 200.0;
/// Windows that `rate` and `t` remember: the same span of time.
const WINDOWS: f64 = EXCESSES / LEVEL;
/// Weight of the prior, in windows, on `rate`.
const PRIOR_WINDOWS: f64 = 100.0;
/// Excesses at which the moment estimate of `γ` counts half; its standard error is about `1/√n`
/// there.
const SHAPE_EXCESSES: f64 = 25.0;
/// Heaviest shape: above 1/2 the variance, and with it the moment estimator, does not exist.
const SHAPE_MAX: f64 = 0.5;

/// Probability of an alarm. A value beyond this quantile is learnt as if it were the quantile, as
/// long as alarms come no more often than they should.
const CLIP: f64 = 1e-3;
/// Least factor that too few alarms give: a series may gain half a decade by its calm, no more.
const OVERRUN_MIN: f64 = 0.3;

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
    /// Excesses seen, up to `EXCESSES`.
    excesses: f32,
    /// Windows seen, up to `WINDOWS`.
    windows: f32,
    /// How often a score of at least `−log10 CLIP` really came.
    alarms: f32,
}

impl Tail {
    pub(crate) fn new(prior: Prior) -> Self {
        Self {
            threshold: prior.threshold as f32,
            rate: LEVEL as f32,
            excess: prior.excess as f32,
            square: (2.0 * prior.excess * prior.excess) as f32,
            excesses: 0.0,
            windows: 0.0,
            alarms: CLIP as f32,
        }
    }

    /// `(γ, σ)` of the excess law.
    fn shape_scale(&self, prior: Prior) -> (f64, f64) {
        let n = f64::from(self.excesses);
        let mean = f64::from(self.excess);
        let variance = (f64::from(self.square) - mean * mean).max(1e-12 * mean * mean);
        let moment = 0.5 * (1.0 - mean * mean / variance);
        let learnt = moment.clamp(0.0, SHAPE_MAX) * n / (n + SHAPE_EXCESSES);
        let unsure = 1.0 / (n + prior.weight);
        ((learnt + unsure).min(SHAPE_MAX), mean * (1.0 - learnt))
    }

    /// −log10 of the probability of at least `s`. Below the threshold, where no tail law holds, it
    /// rises linearly from 0 so that scores stay ordered.
    pub(crate) fn score(&self, s: f64, prior: Prior) -> f64 {
        let t = f64::from(self.threshold);
        let at_threshold = -f64::from(self.rate).max(1e-6).log10();
        if s <= t {
            return if t > 0.0 { at_threshold * (s / t).max(0.0) } else { 0.0 };
        }
        let (shape, scale) = self.shape_scale(prior);
        let decades = (shape * (s - t) / scale).ln_1p() / shape / std::f64::consts::LN_10;
        (at_threshold + decades - self.overrun().log10()).clamp(0.0, SCORE_MAX)
    }

    /// The value that is exceeded with probability `p`, at least the threshold.
    fn quantile(&self, p: f64, prior: Prior) -> f64 {
        let (shape, scale) = self.shape_scale(prior);
        let ratio = (f64::from(self.rate) / p).max(1.0);
        f64::from(self.threshold) + scale / shape * (ratio.powf(shape) - 1.0)
    }

    /// How many times more often than it should an alarm came.
    fn overrun(&self) -> f64 {
        (f64::from(self.alarms) / CLIP).max(OVERRUN_MIN)
    }

    /// Learns from one window. A value beyond the `CLIP` quantile counts as that quantile, so that
    /// one outage does not make the next one look ordinary; if alarms overrun, as the quantile of
    /// a probability that many times smaller, so that what keeps coming back does. `fresh` is
    /// false within an alarm that has begun before: excesses are learnt once per cluster, as the
    /// theory wants them independent.
    pub(crate) fn learn(&mut self, s: f64, prior: Prior, fresh: bool) {
        let t = f64::from(self.threshold);
        let over = s > t;
        let f = self.overrun().max(1.0);
        let alarm = over && s > self.quantile(CLIP, prior);
        let s = if over { s.min(self.quantile(CLIP / f, prior)) } else { s };
        self.windows = (f64::from(self.windows) + 1.0).min(WINDOWS) as f32;
        let pace = 1.0 / (f64::from(self.windows) + PRIOR_WINDOWS).min(WINDOWS);
        let alarm = f64::from(u8::from(alarm));
        self.alarms +=
            ((alarm - f64::from(self.alarms)) / (f64::from(self.windows) + 1.0 / CLIP)) as f32;
        let hit = f64::from(u8::from(over));
        self.rate += ((hit - f64::from(self.rate)) * pace) as f32;
        let mean = f64::from(self.excess);
        if over && fresh {
            let y = s - t;
            self.excesses = (f64::from(self.excesses) + 1.0).min(EXCESSES) as f32;
            let pace = 1.0 / (f64::from(self.excesses) + prior.weight).min(EXCESSES);
            self.excess += ((y - mean) * pace) as f32;
            self.square += ((y * y - f64::from(self.square)) * pace) as f32;
        }
        // Robbins–Monro: the density at the threshold of an exponential tail is LEVEL/σ, so this
        // is Newton's step with gain `pace`.
        self.threshold = (t + mean / LEVEL * pace * (hit - LEVEL)).max(0.0) as f32;
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let s = self;
        put_f32s(out, &[s.threshold, s.rate, s.excess, s.square, s.excesses, s.windows, s.alarms]);
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let [threshold, rate, excess, square, excesses, windows, alarms] = from.f32s()?;
        let sound = excess > 0.0 && square > 0.0 && (0.0..=1.0).contains(&rate);
        sound.then_some(Self { threshold, rate, excess, square, excesses, windows, alarms })
    }
}
