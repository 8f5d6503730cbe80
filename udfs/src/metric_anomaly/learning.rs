//! How the state of a series takes in a window that has been scored.

use super::{
    ADOPTED, CLIP, CLUSTER, CYCLES, DAY, DAY_KNOTS, FREEZE, MEMORY, PATIENCE, PRIORS, RANGE_MEMORY,
    SECOND, SHORT, State, TAUS, WARM_UP, WEEK_KNOTS, WIDEN, Window, X_MAX, width,
};
use crate::peaks_over_threshold::Tail;
use crate::records::Records;

/// Mean errors that no outer quantile of a law without outliers is away from its middle: Laplace's
/// has 2.3.
const FAR: f64 = 2.5;

impl State {
    pub(super) fn learn(&mut self, w: &Window, s: [f64; 2], score: f64) {
        let alert = score >= FREEZE;
        self.windows = self.windows.saturating_add(1);
        let limit = if w.scale > 0.0 { 10.0 * w.scale } else { X_MAX };
        let r = w.residual.clamp(-limit, limit);
        let step = (w.x - f64::from(self.previous)).abs().min(limit);
        self.short = w.short.map(|v| v as f32);
        self.activity = w.activity as f32;
        self.previous = w.x as f32;
        self.hot = match self.hot {
            relearning if relearning < 0 => relearning + 1,
            hot if alert => hot + 1,
            hot => (hot - 2).max(0),
        };
        let fresh = self.calm >= CLUSTER;
        if alert {
            self.calm = 0;
            if self.hot <= 1 {
                self.recent = 0.0;
            }
            let pace = 1.0 / f64::from(self.hot.clamp(1, SHORT as i8));
            self.recent += ((w.residual - f64::from(self.recent)) * pace) as f32;
        } else {
            self.calm = (self.calm + 1).min(CLUSTER);
        }
        for ((tail, s), prior) in self.tails.iter_mut().zip(s).zip(PRIORS) {
            tail.learn(s, prior, fresh);
        }
        self.records.learn(self.windows, w.residual, CLUSTER);
        let patience = (self.windows / 4).min(PATIENCE as u32) as i8;
        if self.hot >= patience {
            self.settle(w);
            return;
        }
        if alert && self.hot > 0 {
            return;
        }
        self.learn_baseline(w, r, step);
        if w.gate >= ADOPTED && !self.traits.is_daily() {
            self.traits.adopt_day();
            self.tails = PRIORS.map(Tail::new);
            self.records = Records::new();
        }
    }

    fn learn_baseline(&mut self, w: &Window, r: f64, step: f64) {
        let n = f64::from(self.windows);
        let pace = (1.0 / n).max(1.0 / MEMORY);
        let clipped = if w.scale > 0.0 { r.clamp(-CLIP * w.scale, CLIP * w.scale) } else { r };
        self.level += (pace * clipped) as f32;
        self.step += (pace * (step - f64::from(self.step))) as f32;
        for (size, short) in self.short_size.iter_mut().zip(w.short) {
            *size += (pace * (short.abs() - f64::from(*size))) as f32;
        }
        let away = (w.activity - f64::from(self.activity_mean)).abs();
        self.activity_mean += (pace * (w.log_step - f64::from(self.activity_mean))) as f32;
        self.activity_size += (pace * (away - f64::from(self.activity_size))) as f32;
        self.learn_seasons(w);
        let gain = (2.5 / n).max(0.02);
        for (q, tau) in self.quantiles.iter_mut().zip(TAUS) {
            let at = f64::from(*q);
            let step = tau - f64::from(u8::from(r < at));
            // A quantile that is too far out has only the size of its own error to come back by.
            let size = if step * at < 0.0 { w.error.max(at.abs() / FAR) } else { w.error };
            *q += (gain * 1.25 * size * step) as f32;
        }
        widen(&mut self.range, w.x);
    }

    fn learn_seasons(&mut self, w: &Window) {
        let day_s = DAY as f64 / SECOND as f64;
        let per_day = day_s / f64::from(self.period_s).max(1e-3);
        let plain = w.x - f64::from(self.level);
        let daily = plain - w.day;
        let weekly = daily - w.week;
        let limit = if w.scale > 0.0 { 10.0 * w.scale } else { X_MAX };
        let n = f64::from(self.windows);
        let missed = [(plain, 1.0), (daily, 1.0), (daily, 7.0), (weekly, 7.0)];
        for (error, (r, cycle)) in self.errors.iter_mut().zip(missed) {
            let pace = (1.0 / n).max(1.0 / (per_day * cycle).clamp(50.0, 20_000.0));
            *error += (pace * (r.abs().min(limit) - f64::from(*error))) as f32;
        }
        let clip = |r: f64| {
            if w.scale > 0.0 { r.clamp(-CLIP * w.scale, CLIP * w.scale) } else { r }
        };
        let pace = |days: f64, knots: usize| {
            let cycles = f64::from(self.observed_s) / day_s / days;
            let visits = per_day * days / knots as f64;
            (2.0 / (visits.max(1.0) * (cycles.min(CYCLES) + 1.0))).min(0.5)
        };
        let (day, week) = (pace(1.0, DAY_KNOTS), pace(7.0, WEEK_KNOTS));
        self.day.nudge(self.last_ts, day * clip(daily));
        self.week.nudge(self.last_ts, week * clip(daily - w.week));
    }

    /// Takes a lasting change as the new normal.
    fn settle(&mut self, w: &Window) {
        self.level += self.recent;
        self.short = [0.0; 2];
        self.activity = self.activity_mean;
        self.hot = -(WARM_UP as i8);
        self.windows = WARM_UP;
        let x = w.x as f32;
        self.range = [self.range[0].min(x), self.range[1].max(x)];
    }
}

/// Lets a range take in `v`, and forget slowly.
fn widen(range: &mut [f32; 2], v: f64) {
    let shrink = width(*range) / (2.0 * RANGE_MEMORY);
    let [low, high] = range.map(f64::from);
    let towards = |edge: f64| edge + WIDEN * (v - edge);
    let low = if v < low { towards(low) } else { low + shrink };
    let high = if v > high { towards(high) } else { high - shrink };
    *range = [low as f32, high as f32];
}
