//! The first windows of a series.

use super::{CLUSTER, PRIORS, State, TAUS, TOLD, WARM_UP};
use crate::Verdict;
use crate::seasonal_knots::Knots;

/// Such windows in a row, or a quarter as many as there were, after which a series begins anew.
const PATIENCE_YOUNG: i8 = 3;

/// What a young series has shown, in the unit of the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Young {
    pub(crate) windows: u32,
    pub(crate) mean: f64,
    /// Sum of squares about the mean.
    pub(crate) squares: f64,
    /// Whether its last window was abnormal.
    pub(crate) hot: bool,
}

/// Robust standard deviations beyond which a first value is a slow start, and counts as if it were
/// so far away: what starts cold must not teach a series what its noise is.
const OUTLIER: f32 = 10.0;

/// Clips what is far from the median of all, and sorts a copy. Where more than half of them are
/// equal nothing is.
fn clip_outliers<const N: usize>(values: &mut [f32; N]) -> [f32; N] {
    let sorted = |values: &[f32; N]| {
        let mut sorted = *values;
        sorted.sort_by(f32::total_cmp);
        sorted
    };
    let median = sorted(values)[N / 2];
    let deviations = values.map(|v| (v - median).abs());
    let limit = OUTLIER * NORMAL * sorted(&deviations)[N / 2];
    if limit > 0.0 {
        *values = values.map(|v| v.clamp(median - limit, median + limit));
    }
    sorted(values)
}

/// Standard deviations of a normal law in its median absolute deviation.
const NORMAL: f32 = 1.4826;

impl State {
    /// Whether it has not shown enough to be judged by itself.
    pub(super) fn is_young(&self) -> bool {
        self.windows < WARM_UP
    }

    /// What the series has shown, as long as it is young.
    pub(crate) fn young(&self) -> Option<Young> {
        if !self.is_young() {
            return None;
        }
        let (mean, squares) = self.first_moments();
        let squares = squares * self.unit * self.unit;
        let hot = self.calm == 0;
        Some(Young { windows: self.windows, mean: self.raw(mean), squares, hot })
    }

    /// Mean and sum of squares about it of the first values, in the series' own units.
    fn first_moments(&self) -> (f64, f64) {
        let values = || (0..self.windows as usize).map(|i| self.day.get(i));
        let mean = values().sum::<f64>() / f64::from(self.windows.max(1));
        (mean, values().map(|v| (v - mean).powi(2)).sum())
    }

    /// Keeps the first values in the idle knots, then starts every estimate from them. One that
    /// others tell to be abnormal is not learnt, as later; if such go on, the series begins anew.
    pub(super) fn warm_up(&mut self, x: f64, score: f64) -> Verdict {
        let (mean, _) = self.first_moments();
        let expected = if score > 0.0 { mean } else { x };
        let direction = i8::from(x > expected) - i8::from(x < expected);
        let verdict = Verdict { score, expected: self.raw(expected), direction };
        let alert = score >= TOLD;
        self.calm = if alert { 0 } else { CLUSTER };
        self.hot = if alert { self.hot + 1 } else { (self.hot - 2).max(0) };
        if self.hot > PATIENCE_YOUNG.max((self.windows / 4) as i8) {
            (self.windows, self.hot, self.calm) = (0, 0, CLUSTER);
            self.day = Knots::new();
        }
        self.day.set(self.windows as usize, if self.calm == 0 { mean } else { x });
        self.windows += 1;
        self.previous = x as f32;
        if self.windows == WARM_UP {
            self.grow_up();
        }
        verdict
    }

    /// Starts every estimate from the first values.
    fn grow_up(&mut self) {
        let mut first: [f32; WARM_UP as usize] = std::array::from_fn(|i| self.day.get(i) as f32);
        self.day = Knots::new();
        let sorted = clip_outliers(&mut first);
        let rank = |tau: f64| sorted[(tau * (sorted.len() - 1) as f64).round() as usize];
        self.level = 0.5 * (sorted[11] + sorted[12]);
        self.quantiles = TAUS.map(|tau| rank(tau) - self.level);
        let error = first.iter().map(|v| (v - self.level).abs()).sum::<f32>() / first.len() as f32;
        self.errors = [error; 4];
        self.range = [sorted[0], sorted[sorted.len() - 1]];
        let steps = first.windows(2).map(|w| (w[1] - w[0]).abs()).sum::<f32>();
        self.step = steps / (first.len() - 1) as f32;
        self.activity_size = 0.5;
        for (i, v) in (1..).zip(first) {
            self.records.learn(i, f64::from(v - self.level), CLUSTER);
        }
        self.learn_tail_from(&first);
    }

    /// Lets the short means and tails see the warm-up, so that what is in it counts.
    fn learn_tail_from(&mut self, first: &[f32]) {
        for pass in 0..2 {
            self.short = [0.0; 2];
            for (i, v) in first.iter().enumerate().skip(1) {
                self.previous = first[i - 1];
                let window = self.compare(0, f64::from(*v), 1.0);
                if pass == 1 {
                    let s = self.statistics(&window);
                    for i in 0..2 {
                        self.tails[i].learn(s[i], PRIORS[i], true);
                    }
                }
                self.short = window.short.map(|v| v as f32);
                self.activity = window.activity as f32;
                if pass == 0 {
                    let pace = 1.0 / i as f64;
                    self.activity_mean +=
                        ((window.log_step - f64::from(self.activity_mean)) * pace) as f32;
                    for (size, short) in self.short_size.iter_mut().zip(window.short) {
                        *size += ((short.abs() - f64::from(*size)) * pace) as f32;
                    }
                }
            }
            self.activity = self.activity_mean;
        }
        self.previous = first[first.len() - 1];
    }
}
