//! From scores to signals: control of the false alarms of one series over time.
//!
//! A window is *hot* if its score reaches the threshold. An episode starts when
//! - `K` of the last `N` windows are hot (a score of moderate size must last), or
//! - one window's score is such that chance brings it to a series once in `SPAN_S`: scores are
//!   decades of improbability per window, so `threshold + log10(SPAN_S / (1,000 periods))`. At a
//!   threshold of 3 that is 4.5 for one-minute windows, 3.8 for five minutes, 3 for half an hour
//!   and more; so nothing is gained by waiting.
//!
//! A window of the episode emits a signal if it is *news*: its score exceeds the peak if the
//! episode starts with it, and `HIGHER` times the peak later. The peak is the highest score told,
//! and halves every `HALF_LIFE` windows; it is the refractory period, longer after a stronger
//! alarm. An episode ends (the series has recovered) after `N` windows that are not hot. Windows
//! that are missing count as not hot.

use crate::codec::{Reader, put_f32s};
use crate::sampling_period;

const VERSION: u8 = 1;
/// Windows looked back at.
pub const N: u32 = 5;
/// Hot windows among them that start an episode: the majority.
pub const K: u32 = 3;
/// Time, in seconds, in which chance may start one episode of a series by a single window: three
/// weeks.
pub const SPAN_S: f64 = 21.0 * 86_400.0;
/// Multiple of the peak that is news.
pub const HIGHER: f64 = 1.3;
/// Windows in which the peak halves: four hours of one-minute windows. What comes back within a
/// shift, and no stronger, is known to whoever is on call.
pub const HALF_LIFE: f64 = 240.0;
/// Highest peak kept, in thresholds, so that no alarm mutes a series for longer than about two
/// half-lives.
pub const PEAK_MAX: f64 = 3.0;

/// Score at which one window is enough, of windows `period_s` seconds apart; they count as minutes
/// until that is known.
pub(crate) fn single(threshold: f64, period_s: f64) -> f64 {
    let period = if period_s > 0.0 { period_s } else { 60.0 };
    threshold + ((SPAN_S / period).log10() - 3.0).max(0.0)
}

/// The state of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Start of the last window; `i64::MIN` before the first.
    last_ts: i64,
    /// Inferred distance of windows, seconds.
    period_s: f32,
    peak: f32,
    /// Bit i: was the window i steps ago hot?
    hot: u8,
    active: bool,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A series without history.
    pub fn new() -> Self {
        Self { last_ts: i64::MIN, period_s: 0.0, peak: 0.0, hot: 0, active: false }
    }

    /// Whether an episode is going on.
    pub fn active(&self) -> bool {
        self.active
    }

    /// Takes the score of the window that starts at `ts_ns`; true means: emit a signal for it. NaN
    /// counts as 0. `threshold` is positive and may differ from call to call.
    pub fn step(&mut self, ts_ns: i64, score: f64, threshold: f64) -> bool {
        let passed = self.advance(ts_ns);
        self.peak *= (-passed / HALF_LIFE).exp2() as f32;
        let kept = if passed < f64::from(N) { self.hot << passed as u32 } else { 0 };
        let hot = score >= threshold;
        self.hot = (kept | u8::from(hot)) & ((1 << N) - 1);
        if self.hot == 0 || passed > f64::from(N) {
            self.active = false;
        }
        let going_on = self.active;
        let lasts = hot && self.hot.count_ones() >= K;
        self.active |= lasts || score >= single(threshold, self.period_s.into());
        let bar = if going_on { HIGHER } else { 1.0 };
        let size = score.min(PEAK_MAX * threshold);
        let news = self.active && hot && size > bar * f64::from(self.peak);
        if news {
            self.peak = size as f32;
        }
        news
    }

    /// Windows that passed since the last one, at least 1.
    fn advance(&mut self, ts_ns: i64) -> f64 {
        let last = self.last_ts;
        self.last_ts = last.max(ts_ns);
        if last == i64::MIN || ts_ns <= last {
            return 1.0;
        }
        let delta = ts_ns.saturating_sub(last) as f64 * 1e-9;
        self.period_s = sampling_period::follow(f64::from(self.period_s), delta) as f32;
        (delta / f64::from(self.period_s)).round().max(1.0)
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.last_ts.to_le_bytes());
        put_f32s(out, &[self.period_s, self.peak]);
        out.push(self.hot);
        out.push(u8::from(self.active));
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let last_ts = from.i64()?;
        let [period_s, peak] = from.f32s()?;
        let hot = from.u8()?;
        let active = match from.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        from.end()?;
        Some(Self { last_ts, period_s, peak, hot, active })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    /// The windows at which these scores, a minute apart, emit a signal at threshold 3.
    fn emitted(scores: &[f64]) -> Vec<usize> {
        let mut state = State::new();
        let mut hits = Vec::new();
        for (i, s) in scores.iter().enumerate() {
            if state.step(i as i64 * MINUTE, *s, 3.0) {
                hits.push(i);
            }
        }
        hits
    }

    #[test]
    fn moderate_scores_must_last_and_overwhelming_ones_need_not() {
        assert_eq!(emitted(&[0.0, 3.5, 0.0, 3.5, 0.0, 0.0, 3.5, 0.0]), [0usize; 0]);
        assert_eq!(emitted(&[0.0, 3.5, 0.0, 3.5, 3.5, 3.5]), [4]);
        assert_eq!(emitted(&[0.0, 4.6, 0.0]), [1]);
        assert_eq!(emitted(&[f64::NAN, f64::INFINITY, f64::NAN]), [1]);
    }

    #[test]
    fn an_episode_tells_only_higher_peaks() {
        assert_eq!(emitted(&[5.0, 5.0, 6.0, 7.0, 8.0, 6.0]), [0, 3]);
    }

    #[test]
    fn refractory_period_then_news_again() {
        let mut scores = vec![0.0; 200];
        scores[0] = 6.0;
        scores[10] = 5.0;
        scores[100] = 6.0;
        assert_eq!(emitted(&scores), [0, 100]);
        scores[10] = 9.0;
        assert_eq!(emitted(&scores)[..2], [0, 10]);
        scores[10] = 0.0;
        scores[60] = 4.9;
        scores[100] = 0.0;
        assert_eq!(emitted(&scores), [0], "weaker within hours is the same again");
    }

    #[test]
    fn an_endless_overwhelming_episode_does_not_flood() {
        let told = emitted(&vec![30.0; 600]);
        assert!(told.len() <= 30, "{}", told.len());
    }

    #[test]
    fn one_window_is_enough_where_windows_are_long() {
        let hits = |period: i64| {
            let mut state = State::new();
            (0..20)
                .filter(|i| state.step(i * period, [0.0, 3.9][usize::from(*i == 9)], 3.0))
                .count()
        };
        assert_eq!(hits(MINUTE), 0);
        assert_eq!(hits(5 * MINUTE), 1);
    }

    #[test]
    fn recovers_after_quiet_windows_or_a_gap() {
        let mut state = State::new();
        for i in 0..10 {
            state.step(i * MINUTE, 0.0, 3.0);
        }
        assert!(state.step(10 * MINUTE, 9.0, 3.0) && state.active());
        let mut gap = state.clone();
        gap.step(200 * MINUTE, 0.0, 3.0);
        assert!(!gap.active());
        for i in 11..15 {
            state.step(i * MINUTE, 0.0, 3.0);
            assert!(state.active());
        }
        state.step(15 * MINUTE, 0.0, 3.0);
        assert!(!state.active());
    }

    #[test]
    fn disorder_is_harmless_and_states_survive_bytes() {
        let mut state = State::new();
        for ts in [i64::MAX, i64::MIN, 0, 5, 5] {
            state.step(ts, 9.0, 3.0);
        }
        let mut bytes = Vec::new();
        state.write(&mut bytes);
        assert_eq!(State::read(&bytes).as_ref(), Some(&state));
        assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(State::read(&[]), None);
    }
}
