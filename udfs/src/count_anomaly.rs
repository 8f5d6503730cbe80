//! Anomaly score of counts per window: log lines of a template, errors, restarts.
//!
//! The rate follows a gamma–Poisson model with forgetting: `n` effective windows of a mean `λ` per
//! second make the rate uncertain by the variance `λ/n`. The dispersion `φ` is the exponentially
//! weighted mean of the squared Pearson residual, never below 1. A window with mean `μ = λ ·
//! width` then has variance `φ·μ·(1 + 1/n)` and is [negative binomial](crate::negative_binomial)
//! with these two moments. `φ` is raised by its own uncertainty, the factor `1 + 2/√n`, so that
//! the law never degenerates to Poisson's. How far its `−ln p` is believed is
//! [learned](crate::calibration).
//!
//! A window without rows is a count of zero. Nobody reports it, so it is inferred from the gap
//! before the next window and learnt in closed form.
//!
//! Where counts follow something else that is counted, as lines follow traffic, an exposure says
//! how much of that there was: the rate is then one per second and unit of it (the offset of a
//! Poisson regression).
//!
//! Until it has shown `WARM_UP` windows a series is judged by what others were like that are as
//! young ([`young_counts`](crate::young_counts)). A window that this way reaches `TOLD` is not
//! learnt, unless as many have been as the series is old: then it begins anew.
//!
//! Source: Gelman et al., Bayesian Data Analysis, §2.6 (gamma–Poisson predictive law).

use crate::Verdict;
use crate::calibration::{Calibration, Course};
use crate::codec::{Reader, put_f32s};
use crate::negative_binomial::log_tail;

const VERSION: u8 = 4;
/// Windows before a key is judged by itself.
pub(crate) const WARM_UP: u16 = 12;
/// Score of a young key that would be told.
pub(crate) const TOLD: f64 = 3.0;
/// Windows that rate and dispersion remember.
const MEMORY: f64 = 400.0;
/// Such windows of a young key, at least, after which it begins anew.
const PATIENCE_YOUNG: u16 = 3;
/// Squared Pearson residual beyond which it is clipped: five standard deviations.
pub(crate) const RESIDUAL_MAX: f64 = 25.0;
/// Larger counts are taken for this one: no window holds more events.
const COUNT_MAX: f64 = 1e15;
/// Least and largest exposure that is one.
const EXPOSURES: (f64, f64) = (1e-12, 1e12);
/// Seconds in a nanosecond.
pub(crate) const SECONDS: f64 = 1e-9;

/// What a young key has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Young {
    pub(crate) windows: u16,
    /// Expected events of the present window.
    pub(crate) mean: f64,
    /// Variance over mean.
    pub(crate) dispersion: f64,
    /// Whether its last window was abnormal.
    pub(crate) hot: bool,
}

/// The state of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    last_ts: i64,
    /// Windows seen, up to `MEMORY`; 0 before the first.
    windows: f32,
    /// Events per second, and unit of exposure.
    rate: f32,
    /// Variance over mean.
    dispersion: f32,
    /// Rate of the recent, alerting or not: where to settle.
    recent: f32,
    /// Windows in a row that were told while it is young.
    told: u16,
    calibration: Calibration,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A key never seen.
    pub fn new() -> Self {
        Self {
            last_ts: 0,
            windows: 0.0,
            rate: 0.0,
            dispersion: 1.0,
            recent: 0.0,
            told: 0,
            calibration: Calibration::new(),
        }
    }

    /// Scores the count of the window `[ts_ns, ts_ns + width_ns)`, then learns from it and from
    /// the empty windows before it. A count that is negative or not finite, and a width that is
    /// not positive, are ignored.
    pub fn step(&mut self, ts_ns: i64, width_ns: i64, count: f64) -> Verdict {
        let seconds = width_ns as f64 * SECONDS;
        if !self.pass(ts_ns, width_ns, count, seconds) {
            return Verdict::silent(self.mean(seconds.max(0.0)));
        }
        self.judge(seconds, count, 0.0)
    }

    /// Time has come to the window; learns from the empty ones before it. False where it cannot be
    /// judged: its count says nothing, which changes nothing, or its exposure is not known.
    pub(crate) fn pass(&mut self, ts_ns: i64, width_ns: i64, count: f64, exposure: f64) -> bool {
        if !(width_ns > 0 && count.is_finite() && count >= 0.0) {
            return false;
        }
        if self.windows == 0.0 {
            self.last_ts = ts_ns;
        } else {
            let gap = ts_ns.saturating_sub(self.last_ts) as f64 / width_ns as f64;
            self.last_ts = self.last_ts.max(ts_ns);
            self.learn_zeros((gap.round() - 1.0).max(0.0));
        }
        (EXPOSURES.0..=EXPOSURES.1).contains(&exposure)
    }

    /// What the key has shown, as long as it is young.
    pub(crate) fn young(&self, exposure: f64) -> Option<Young> {
        let windows = self.windows as u16;
        (windows < WARM_UP).then(|| Young {
            windows,
            mean: self.mean(exposure),
            dispersion: self.dispersion.into(),
            hot: self.told > 0,
        })
    }

    /// Scores the count of a window with this exposure, in seconds or seconds times units, then
    /// learns from it. `others` is what those that are as young tell of a young key.
    pub(crate) fn judge(&mut self, exposure: f64, count: f64, others: f64) -> Verdict {
        let count = count.min(COUNT_MAX);
        let mean = self.mean(exposure);
        let direction = i8::from(count > mean) - i8::from(count < mean);
        if self.windows < f32::from(WARM_UP) {
            let verdict = Verdict { score: others, expected: mean, direction };
            return self.warm_up(exposure, count, verdict);
        }
        let log_p = self.surprise(exposure, count);
        let score = self.calibration.score(log_p);
        self.follow(exposure, count, log_p, score);
        Verdict { score, expected: mean, direction: if score > 0.0 { direction } else { 0 } }
    }

    fn mean(&self, exposure: f64) -> f64 {
        f64::from(self.rate) * exposure
    }

    fn warm_up(&mut self, exposure: f64, count: f64, verdict: Verdict) -> Verdict {
        self.told = if verdict.score >= TOLD { self.told + 1 } else { 0 };
        if f32::from(self.told) > self.windows.max(f32::from(PATIENCE_YOUNG)) {
            *self = Self { last_ts: self.last_ts, ..Self::new() };
        }
        let first = self.windows == 0.0;
        if self.told == 0 {
            self.learn(exposure, count);
        }
        match verdict.score > 0.0 {
            true => verdict,
            false => Verdict::silent(if first { count } else { verdict.expected }),
        }
    }

    /// `−ln p` under the negative binomial law.
    fn surprise(&self, exposure: f64, count: f64) -> f64 {
        let n = f64::from(self.windows);
        // Half an event of prior knowledge (Jeffreys) keeps a rate of zero from being certain.
        let mean = self.mean(exposure) + 0.5 / n;
        let dispersion = f64::from(self.dispersion).max(1.0) * (1.0 + 2.0 / n.sqrt());
        let variance = dispersion * mean * (1.0 + 1.0 / n);
        log_tail(count, mean, variance)
    }

    fn follow(&mut self, exposure: f64, count: f64, log_p: f64, score: f64) {
        let recent = f64::from(self.recent);
        self.recent = (recent + (count / exposure - recent) / 16.0) as f32;
        match self.calibration.learn(log_p, score) {
            Course::Usual => self.learn(exposure, count),
            Course::Abnormal => {}
            Course::Lasting => {
                self.rate = self.recent;
                self.windows = WARM_UP.into();
            }
        }
    }

    fn learn(&mut self, exposure: f64, count: f64) {
        self.windows = (f64::from(self.windows) + 1.0).min(MEMORY) as f32;
        let pace = 1.0 / f64::from(self.windows);
        let mean = self.mean(exposure);
        if f64::from(self.windows) > 1.0 {
            let residual = ((count - mean).powi(2) / mean.max(0.5))
                .min(RESIDUAL_MAX * f64::from(self.dispersion));
            let dispersion = f64::from(self.dispersion);
            self.dispersion = (dispersion + pace * (residual - dispersion)).max(1.0) as f32;
        }
        self.rate =
            (f64::from(self.rate) + pace * (count / exposure - f64::from(self.rate))) as f32;
        if self.windows <= f32::from(WARM_UP) {
            self.recent = self.rate;
        }
    }

    /// Learns from `missing` empty windows at once: a mean with forgetting that sees only zeros.
    fn learn_zeros(&mut self, missing: f64) {
        if missing <= 0.0 {
            return;
        }
        let n = f64::from(self.windows);
        let filling = missing.min(MEMORY - n);
        let keep = n / (n + filling) * (1.0 - 1.0 / MEMORY).powf(missing - filling);
        self.rate = (f64::from(self.rate) * keep) as f32;
        self.dispersion = (f64::from(self.dispersion) * keep).max(1.0) as f32;
        self.recent = (f64::from(self.recent) * (15.0f64 / 16.0).powf(missing)) as f32;
        self.windows = (n + filling) as f32;
        self.calibration.rest(missing.min(100.0) as u16);
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.last_ts.to_le_bytes());
        out.extend_from_slice(&self.told.to_le_bytes());
        put_f32s(out, &[self.windows, self.rate, self.dispersion, self.recent]);
        self.calibration.write(out);
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let (last_ts, told) = (from.i64()?, from.u16()?);
        let [windows, rate, dispersion, recent] = from.f32s()?;
        let calibration = Calibration::read(&mut from)?;
        from.end()?;
        let sound = windows >= 0.0 && rate >= 0.0 && dispersion >= 1.0;
        sound.then_some(Self { last_ts, windows, rate, dispersion, recent, told, calibration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    const MINUTE: i64 = 60_000_000_000;

    /// Share of windows with a score of 3 or more, once what differs from the model has been
    /// learnt.
    fn alarm_rate(mut count: impl FnMut(&mut Rng) -> f64) -> f64 {
        let (mut alarms, mut windows) = (0.0, 0.0);
        for seed in 0..20 {
            let (mut rng, mut state) = (Rng(seed), State::new());
            for i in 0..2_000 {
                let k = count(&mut rng);
                let alarm = state.step(i * MINUTE, MINUTE, k).score >= 3.0;
                alarms += f64::from(u8::from(alarm && i >= 400));
                windows += f64::from(u8::from(i >= 400));
            }
        }
        alarms / windows
    }

    #[test]
    fn stationary_counts_rarely_alarm() {
        assert!(alarm_rate(|r| r.poisson(0.05)) < 2e-3);
        assert!(alarm_rate(|r| r.poisson(3.0)) < 2e-3);
        assert!(alarm_rate(|r| r.poisson(500.0)) < 2e-3);
        assert!(alarm_rate(|r| r.poisson(1e7)) < 2e-3);
        assert!(alarm_rate(|r| (1.0 * r.normal()).exp() * 20.0) < 2e-3);
        assert!(alarm_rate(|r| if r.uniform() < 0.03 { r.poisson(30.0) } else { 0.0 }) < 2e-3);
    }

    #[test]
    fn bursts_and_silence_are_seen_soon() {
        let (mut rng, mut state) = (Rng(5), State::new());
        for i in 0..60 {
            state.step(i * MINUTE, MINUTE, rng.poisson(30.0));
        }
        let burst = state.clone().step(60 * MINUTE, MINUTE, 90.0);
        assert!(burst.score > 3.0 && burst.direction == 1, "{burst:?}");
        assert!((20.0..40.0).contains(&burst.expected));
        let silence = state.step(60 * MINUTE, MINUTE, 0.0);
        assert!(silence.score > 3.0 && silence.direction == -1, "{silence:?}");
    }

    #[test]
    fn a_first_error_after_an_hour_of_none_is_news_and_ten_more_so() {
        let mut state = State::new();
        for i in 0..60 {
            state.step(i * MINUTE, MINUTE, 0.0);
        }
        let one = state.clone().step(60 * MINUTE, MINUTE, 1.0).score;
        let ten = state.step(60 * MINUTE, MINUTE, 10.0).score;
        assert!(one > 0.5 && one < 3.0 && ten > 3.0, "{one} {ten}");
    }

    #[test]
    fn what_goes_on_stays_as_surprising_as_it_began_and_is_remembered_when_it_is_over() {
        let mut state = State::new();
        let mut score = |i: i64, count: f64| state.step(i * MINUTE, MINUTE, count).score;
        (0..30).for_each(|i| assert_eq!(score(i, 0.0), 0.0));
        let first = score(30, 10.0);
        for i in 31..50 {
            assert!(score(i, 10.0) > first - 0.1, "{i}");
        }
        (50..80).for_each(|i| assert!(score(i, 0.0) < 1.0));
        assert!(score(80, 10.0) < first - 0.5, "that is known");
    }

    #[test]
    fn counts_that_follow_their_exposure_are_no_news_and_others_are() {
        let (mut rng, mut state) = (Rng(6), State::new());
        let mut score = |i: i64, units: f64, mean: f64| {
            let count = rng.poisson(mean);
            assert!(state.pass(i * MINUTE, MINUTE, count, 60.0 * units));
            state.judge(60.0 * units, count, 0.0).score
        };
        for i in 0..60 {
            let units = if i % 20 < 10 { 10.0 } else { 40.0 };
            assert!(score(i, units, 2.0 * units) < 3.0, "{i}");
        }
        assert!(score(60, 200.0, 400.0) < 2.0);
        assert!(score(61, 40.0, 10.0) > 3.0);
        for (i, exposure) in (62..).zip([0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300]) {
            let before = state.rate;
            assert!(!state.pass(i * MINUTE, MINUTE, 9.0, exposure));
            assert_eq!(state.rate, before, "a window that is not known is not empty");
        }
        assert!(state.pass(68 * MINUTE, MINUTE, 9.0, 60.0) && state.rate > 0.0);
    }

    #[test]
    fn a_young_key_says_what_others_tell_and_does_not_learn_that_until_it_lasts() {
        let mut state = State::new();
        let mut step = |i: i64, count: f64, others: f64| {
            assert!(state.pass(i * MINUTE, MINUTE, count, 60.0));
            let verdict = state.judge(60.0, count, others);
            (verdict, state.young(60.0))
        };
        for i in 0..6 {
            let verdict = step(i, 4.0, 0.0).0;
            assert!(verdict.score == 0.0 && (verdict.expected - 4.0).abs() < 1e-4, "{verdict:?}");
        }
        for i in 6..12 {
            let (verdict, young) = step(i, 90.0, 5.0);
            assert_eq!((verdict.score, verdict.direction), (5.0, 1), "{i}");
            let young = young.unwrap();
            assert!(young.hot && young.windows == 6 && (young.mean - 4.0).abs() < 1e-4);
        }
        let young = step(12, 90.0, 5.0).1.unwrap();
        assert!(!young.hot && young.windows == 1 && (young.mean - 90.0).abs() < 1e-3, "{young:?}");
    }

    #[test]
    fn missing_windows_are_zeros() {
        let (mut told, mut inferred) = (State::new(), State::new());
        for i in 0..600i64 {
            let k = if i % 7 == 0 { 4.0 } else { 0.0 };
            told.step(i * MINUTE, MINUTE, k);
            if k > 0.0 {
                inferred.step(i * MINUTE, MINUTE, k);
            }
        }
        assert!((told.rate / inferred.rate - 1.0).abs() < 0.1);
        let far = i64::MAX / 2;
        inferred.step(far, MINUTE, 1.0);
        assert!(inferred.rate.is_finite());
    }

    #[test]
    fn a_lasting_change_becomes_normal() {
        let (mut rng, mut state) = (Rng(1), State::new());
        let mut late = 0;
        for i in 0..600 {
            let mean = if i < 200 { 5.0 } else { 80.0 };
            let score = state.step(i * MINUTE, MINUTE, rng.poisson(mean)).score;
            late += i32::from(i > 320 && score >= 3.0);
        }
        assert!(late <= 2, "{late}");
    }

    #[test]
    fn nonsense_is_ignored_and_states_survive_bytes() {
        let mut state = State::new();
        for (i, k) in [3.0, f64::NAN, -1.0, f64::INFINITY, 2.0, f64::MAX].into_iter().enumerate() {
            assert_eq!(state.step(i as i64 * MINUTE, MINUTE, k).score, 0.0);
        }
        assert_eq!(state.step(0, 0, 1.0).score, 0.0);
        let mut bytes = Vec::new();
        state.write(&mut bytes);
        assert_eq!(State::read(&bytes).as_ref(), Some(&state));
        assert_eq!(State::read(&bytes[1..]), None);
        assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
    }
}
