//! How fast a service spends its error budget: the burn rate of site reliability engineering.
//!
//! Of the requests of a window a share `f` fails, usually `u`, with variance `σ²` from window to
//! window. An objective of 99.9 % leaves a budget of `B = 0.001`:
//!
//! ```text
//! l, s = means of f − u over an hour and over five minutes, nothing before the first window
//! m    = min over both of mean − NOISE · σ · √(w/2τ)       (w a window, τ the hour or minutes)
//! burn = min(m, f − u) / B,   score = 3 · burn / 14.4
//! ```
//!
//! At 14.4 an hour spends a fiftieth of the budget of thirty days, at which the source wakes
//! somebody up. Its averages are exponentially weighted here, so a state is a few numbers. That
//! requests fail is certain and not a matter of chance, so the score does not say how rare it is.
//!
//! What fails usually is learned, not set: a ratio that is broken, or of a path that has always
//! failed, spends nothing. Windows that would spend too fast are held back until one does not: if
//! it was told meanwhile, they were an outage and are forgotten, else they are how the service is,
//! say one of few requests of which now and then one fails. An outage that lasts for eight hours is
//! the new usual, until windows are near what was usual before, as many in a row as a series needs
//! before it may speak.
//!
//! Source: Beyer et al., The Site Reliability Workbook, §5 (multiwindow, multi-burn-rate alerts).

use crate::alerting;
use crate::codec::{Reader, put_f32s};
use crate::detectors::THRESHOLD;
use crate::metric_name::words;
use crate::sampling_period::follow;
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 2;
const S: f64 = 1e9;
/// Time constants of the two means, seconds.
const LONG_S: f64 = 3_600.0;
const SHORT_S: f64 = 300.0;
/// Budget: what an objective of 99.9 % leaves.
const BUDGET: f64 = 0.001;
/// Burn rate of score 3: `ALERT`.
const BURN: f64 = 14.4;
/// Standard deviations that noise may take a mean to.
const NOISE: f64 = 4.0;
/// Windows that tell what fails usually before a series may speak.
const WARM_UP: u32 = 12;
/// Windows that what is usual remembers.
const MEMORY: u32 = 1_440;
/// Score at 14.4, from which [`crate::alerting`] tells.
const ALERT: f64 = THRESHOLD;
/// Time in which all windows fail too much after which they are the new usual: a working day.
const PATIENCE: i64 = 8 * 3_600_000_000_000;
/// Longest time that one window stands for, seconds.
const PERIOD_MAX: f64 = 900.0;

/// What the values of a metric mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The share that succeeds, not the one that fails.
    success: bool,
    percent: bool,
}

/// Words of shares that succeed, of those that fail, and what makes a share of either.
const SUCCESS: [&str; 4] = ["success", "successful", "succeeded", "availability"];
const FAILURE: [&str; 9] =
    ["error", "errors", "err", "fail", "failed", "failure", "failures", "failing", "5xx"];
const SHARE: [&str; 3] = ["ratio", "share", "fraction"];
const PERCENT: [&str; 3] = ["percent", "percentage", "pct"];

impl Meaning {
    /// Plain shares of requests that fail, as numbers from 0 to 1.
    pub const FAILING: Self = Self { success: false, percent: false };

    /// Read from the words of a metric's name; `None` where it is no such share. An error rate is
    /// taken for one per second unless it is in percent.
    pub fn of(metric: &str) -> Option<Self> {
        let words = words(metric);
        let any = |of: &[&str]| words.iter().any(|word| of.contains(&word.as_str()));
        let percent = metric.contains('%') || any(&PERCENT);
        let share = percent || any(&SHARE);
        let success = any(&SUCCESS);
        let is_share = match (success, any(&FAILURE)) {
            (true, false) => share || any(&["rate", "availability"]),
            (false, true) => share,
            _ => false,
        };
        is_share.then_some(Self { success, percent })
    }

    /// The share of requests that fail, or `None` where the value is no share. A share that
    /// succeeds is in percent, too, where it is above 1.
    pub fn failing(self, value: f64) -> Option<f64> {
        let share = value / self.unit(value);
        let inside = (0.0..=1.0).contains(&share);
        inside.then_some(if self.success { 1.0 - share } else { share })
    }

    /// What all requests are in the unit of a value.
    fn unit(self, value: f64) -> f64 {
        if self.percent || (self.success && value > 1.0) { 100.0 } else { 1.0 }
    }

    /// A share of failing requests in the metric's own unit, that of `like`.
    fn value(self, failing: f64, like: f64) -> f64 {
        self.unit(like) * if self.success { 1.0 - failing } else { failing }
    }
}

/// What one window says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spending {
    /// 3 where an hour of this spends a fiftieth of the budget of thirty days.
    pub score: f64,
    /// The share of requests that fails.
    pub failing: f64,
    /// What is usual, in the unit of the value.
    pub expected: f64,
    /// Whether that is less than the value.
    pub up: bool,
}

/// The state of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    meaning: Meaning,
    /// Start of the last window, nanoseconds; `i64::MIN` before the first.
    last_ts: i64,
    /// Inferred distance of windows, seconds.
    period_s: f32,
    now: Usual,
    /// What was usual before an outage that lasted so long that it is usual now; no windows if
    /// there was none. And the latest windows in a row that were near it.
    before: Usual,
    near: u8,
    long: f32,
    short: f32,
    held: Held,
}

/// What fails usually: the mean share and its variance, of so many windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usual {
    windows: u32,
    share: f32,
    variance: f32,
}

impl Usual {
    /// From sums over `n` windows: plain means at first, later as far as they remember.
    fn learn(&mut self, n: u32, sum: f64, squares: f64) {
        self.windows = self.windows.saturating_add(n).min(MEMORY);
        let (n, all) = (f64::from(n), f64::from(self.windows));
        let usual = f64::from(self.share);
        let square = (squares - 2.0 * usual * sum + n * usual * usual).max(0.0);
        self.share = (usual + (sum - n * usual) / all).clamp(0.0, 1.0) as f32;
        let variance = f64::from(self.variance);
        self.variance = (variance + (square - n * variance) / all).max(0.0) as f32;
    }

    /// Whether it may speak, and a window of which this share fails would spend too fast.
    fn exceeded(&self, failing: f64) -> bool {
        self.windows >= WARM_UP && failing - f64::from(self.share) >= BUDGET * BURN
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.windows.to_le_bytes());
        put_f32s(out, &[self.share, self.variance]);
    }

    fn read(from: &mut Reader) -> Option<Self> {
        let windows = from.u32()?;
        let [share, variance] = from.f32s()?;
        let sound = (0.0..=1.0).contains(&share) && variance >= 0.0;
        sound.then_some(Self { windows, share, variance })
    }
}

/// The latest windows in a row that fail too much, not learned yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Held {
    /// How many, and the start of the first.
    windows: u32,
    since: i64,
    told: bool,
    /// Sums of the failing shares and of their squares.
    sum: f32,
    squares: f32,
}

impl State {
    /// A series without history.
    pub fn new(meaning: Meaning) -> Self {
        Self {
            meaning,
            last_ts: i64::MIN,
            period_s: 0.0,
            now: Usual::default(),
            before: Usual::default(),
            near: 0,
            long: 0.0,
            short: 0.0,
            held: Held::default(),
        }
    }

    /// Takes in the window that starts at `ts_ns` and is `width_ns` long. `None`, and nothing
    /// changes, where the value is no share or the window not later than the last.
    pub fn step(&mut self, ts_ns: i64, width_ns: i64, value: f64) -> Option<Spending> {
        let failing = self.meaning.failing(value)?;
        if ts_ns <= self.last_ts {
            return None;
        }
        let (passed, window) = if self.last_ts == i64::MIN {
            (0.0, width_ns as f64 / S)
        } else {
            let passed = ts_ns.saturating_sub(self.last_ts) as f64 / S;
            self.period_s = follow(self.period_s.into(), passed) as f32;
            (passed, passed.min(self.period_s.into()))
        };
        let window = window.min(PERIOD_MAX);
        self.last_ts = ts_ns;
        self.recover(failing);
        if self.now.windows == 0 {
            self.now.share = failing as f32;
        }
        let usual = f64::from(self.now.share);
        let excess = failing - usual;
        let sigma = f64::from(self.now.variance).sqrt();
        let average = |mean: &mut f32, tau: f64| {
            let decayed = f64::from(*mean) * (-passed / tau).exp();
            let now = decayed - excess * (-window / tau).exp_m1();
            *mean = now as f32;
            now - NOISE * sigma * (window / (2.0 * tau)).sqrt()
        };
        let beyond =
            average(&mut self.long, LONG_S).min(average(&mut self.short, SHORT_S)).max(0.0);
        let score = match self.now.windows < WARM_UP {
            true => 0.0,
            false => (ALERT * beyond.min(excess).max(0.0) / BUDGET / BURN).min(SCORE_MAX),
        };
        if self.now.exceeded(failing) {
            self.hold(ts_ns, failing, score);
        } else {
            self.release();
            self.now.learn(1, failing, failing * failing);
        }
        let expected = self.meaning.value(usual, value);
        Some(Spending { score, failing, expected, up: expected < value })
    }

    fn hold(&mut self, ts_ns: i64, failing: f64, score: f64) {
        let held = &mut self.held;
        if held.windows == 0 {
            held.since = ts_ns;
        }
        held.windows = held.windows.saturating_add(1);
        let lasts = held.windows >= alerting::K;
        let enough = if lasts { ALERT } else { alerting::single(ALERT, self.period_s.into()) };
        held.told |= score >= enough;
        held.sum += failing as f32;
        held.squares += (failing * failing) as f32;
        if held.windows >= WARM_UP && ts_ns.saturating_sub(held.since) >= PATIENCE {
            self.accept();
        }
    }

    /// What is held back is no outage but how the service is, as long as it stays so.
    fn accept(&mut self) {
        let held = std::mem::take(&mut self.held);
        // What has been usual for less than its memory says less than what was so before it.
        if self.before.windows == 0 || self.now.windows >= MEMORY {
            self.before = self.now;
        }
        let share = held.sum / held.windows as f32;
        self.now = Usual { windows: 0, share, variance: 0.0 };
        self.now.learn(held.windows, held.sum.into(), held.squares.into());
        (self.near, self.long, self.short) = (0, 0.0, 0.0);
    }

    /// What was usual before a long outage is so again when windows come back near it and stay.
    fn recover(&mut self, failing: f64) {
        if self.before.windows == 0 || self.before.exceeded(failing) {
            self.near = 0;
            return;
        }
        self.near += 1;
        if u32::from(self.near) >= WARM_UP {
            self.now = std::mem::take(&mut self.before);
            (self.near, self.long, self.short) = (0, 0.0, 0.0);
            self.held = Held::default();
        }
    }

    /// Learns what was held back, unless it was an outage.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        if held.windows > 0 && !held.told {
            self.now.learn(held.windows, held.sum.into(), held.squares.into());
        }
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(u8::from(self.meaning.success) | u8::from(self.meaning.percent) << 1);
        out.extend_from_slice(&self.last_ts.to_le_bytes());
        self.now.write(out);
        self.before.write(out);
        out.push(self.near);
        put_f32s(out, &[self.period_s, self.long, self.short]);
        out.extend_from_slice(&self.held.windows.to_le_bytes());
        out.extend_from_slice(&self.held.since.to_le_bytes());
        out.push(u8::from(self.held.told));
        put_f32s(out, &[self.held.sum, self.held.squares]);
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let meaning = from.u8().filter(|bits| *bits < 4)?;
        let meaning = Meaning { success: meaning & 1 != 0, percent: meaning & 2 != 0 };
        let last_ts = from.i64()?;
        let (now, before) = (Usual::read(&mut from)?, Usual::read(&mut from)?);
        let near = from.u8().filter(|near| u32::from(*near) < WARM_UP)?;
        let [period_s, long, short] = from.f32s()?;
        let (windows, since) = (from.u32()?, from.i64()?);
        let told = from.u8().filter(|told| *told < 2)? == 1;
        let [sum, squares] = from.f32s()?;
        from.end()?;
        let held = Held { windows, since, told, sum, squares };
        let state = Self { meaning, last_ts, period_s, now, before, near, long, short, held };
        (period_s >= 0.0).then_some(state)
    }
}

#[cfg(test)]
mod tests;
