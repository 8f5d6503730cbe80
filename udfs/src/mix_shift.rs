//! Change of a mix: which of a service's log templates, or operations, make up its lines.
//!
//! The share of each kind is what is looked at, never the number of lines: traffic that doubles, a
//! sample rate or a gap in collection change no share. Of `n` lines a kind of share `q` has `μ =
//! n·q`, with variance `φ·μ·(1 − q)·(1 + n/N)`: `φ ≥ 1` is the kind's dispersion (lines come in
//! bundles), learned as the mean squared Pearson residual and raised by its own uncertainty, `N`
//! the lines that taught `q`. A negative binomial law with these two moments gives a tail, both
//! sides of it. Kinds never seen are one kind together, so a service that always finds new words
//! has a large share of them. A kind that is missing has a count of zero.
//!
//! The window's `−ln p` is that of its most surprising kind, less `ln K` for the choice among `K`
//! (Bonferroni), and is [calibrated](crate::calibration) against the service's own past.

use std::collections::BTreeMap;

use crate::Verdict;
use crate::calibration::{Calibration, Course};
use crate::codec::{Reader, put_f32s};
use crate::negative_binomial::log_tail;

const VERSION: u8 = 3;
/// Windows with lines before a service may speak.
const WARM_UP: u16 = 12;
/// Windows that shares and dispersions remember.
const MEMORY: f64 = 400.0;
/// Kinds told apart; the one not seen for longest makes room and is new when it comes again.
pub const KINDS_MAX: usize = 256;
/// Squared Pearson residual beyond which it is clipped: five standard deviations.
const RESIDUAL_MAX: f64 = 25.0;

/// What is known of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    /// Mean lines per window.
    lines: f32,
    dispersion: f32,
    /// Windows since it is known, up to `MEMORY`.
    age: f32,
    /// Windows since it was last seen.
    unseen: f32,
}

impl Kind {
    const NEW: Self = Self { lines: 0.0, dispersion: 1.0, age: 0.0, unseen: 0.0 };
}

/// The state of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    windows: u16,
    /// Mean lines per window of all kinds.
    lines: f32,
    novel: Kind,
    kinds: BTreeMap<u64, Kind>,
    calibration: Calibration,
}

/// What one window says about the mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    pub verdict: Verdict,
    /// Lines of the kind that moved most.
    pub observed: f64,
    /// That kind; `None` for those never seen.
    pub kind: Option<u64>,
}

impl Shift {
    const SILENT: Self = Self {
        verdict: Verdict { score: 0.0, expected: 0.0, direction: 0 },
        observed: 0.0,
        kind: None,
    };
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A service never seen.
    pub fn new() -> Self {
        Self {
            windows: 0,
            lines: 0.0,
            novel: Kind::NEW,
            kinds: BTreeMap::new(),
            calibration: Calibration::new(),
        }
    }

    /// Whether the kind has been seen and not been forgotten.
    pub fn knows(&self, kind: u64) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// Scores one window's lines per kind, then learns from them. Counts that are not positive and
    /// finite say nothing; a kind named twice counts with the sum.
    pub fn step(&mut self, counts: &[(u64, f64)]) -> Shift {
        let mut now: BTreeMap<u64, f64> = BTreeMap::new();
        for (kind, count) in counts {
            if count.is_finite() && *count > 0.0 {
                *now.entry(*kind).or_default() += count.min(1e12);
            }
        }
        let total: f64 = now.values().sum();
        if total <= 0.0 {
            return Shift::SILENT;
        }
        if self.windows < WARM_UP {
            self.learn(&now, total);
            return Shift::SILENT;
        }
        let (log_p, mut shift) = self.surprise(&now, total);
        let score = self.calibration.score(log_p);
        let course = self.calibration.learn(log_p, score);
        if course == Course::Lasting {
            self.begin_anew();
        }
        if course != Course::Abnormal {
            self.learn(&now, total);
        }
        shift.verdict.score = score;
        if score <= 0.0 {
            shift.verdict.direction = 0;
        }
        shift
    }

    /// Takes a lasting change as the new normal: shares are learnt from the present mix alone, as
    /// in the beginning, and how rare a surprise is too. How much shares vary is known; to learn
    /// either from the change would make the next one look ordinary.
    fn begin_anew(&mut self) {
        (self.windows, self.lines) = (0, 0.0);
        self.calibration = Calibration::new();
    }

    /// Lines that taught the shares.
    fn taught(&self) -> f64 {
        f64::from(self.lines) * f64::from(self.windows).min(MEMORY)
    }

    /// Expected lines of a kind among `total`, and their variance but for the dispersion.
    fn moments(&self, kind: &Kind, total: f64) -> (f64, f64) {
        let taught = self.taught().max(1.0);
        // Half a line of prior knowledge (Jeffreys) keeps a share of zero from being certain.
        let base = f64::from(kind.lines) * f64::from(self.windows).min(MEMORY) + 0.5;
        let share = (base / (taught + 1.0)).min(1.0);
        let mean = total * share;
        (mean, mean * (1.0 - share).max(0.0) * (1.0 + total / taught))
    }

    /// `−ln p` of the window and the kind that moved most.
    fn surprise(&self, now: &BTreeMap<u64, f64>, total: f64) -> (f64, Shift) {
        let unsure = |age: f32| 1.0 + 2.0 / f64::from(age).max(1.0).sqrt();
        let (mut most, mut shift) = (0.0, Shift::SILENT);
        let mut look = |id: Option<u64>, kind: &Kind, count: f64| {
            let (mean, spread) = self.moments(kind, total);
            let variance = f64::from(kind.dispersion) * unsure(kind.age) * spread;
            let log_p = log_tail(count, mean, variance);
            if log_p > most {
                most = log_p;
                let direction = i8::from(count > mean) - i8::from(count < mean);
                let verdict = Verdict { score: 0.0, expected: mean, direction };
                shift = Shift { verdict, observed: count, kind: id };
            }
        };
        for (id, kind) in &self.kinds {
            look(Some(*id), kind, now.get(id).copied().unwrap_or(0.0));
        }
        look(None, &self.novel, self.unknown(now));
        let choices = (self.kinds.len() + 1) as f64;
        ((most - choices.ln()).max(0.0), shift)
    }

    fn unknown(&self, now: &BTreeMap<u64, f64>) -> f64 {
        now.iter().filter(|(id, _)| !self.kinds.contains_key(id)).map(|(_, count)| count).sum()
    }

    fn learn(&mut self, now: &BTreeMap<u64, f64>, total: f64) {
        let unknown = self.unknown(now);
        let before = self.clone();
        let teach = |kind: &mut Kind, count: f64, windows: u16| {
            if windows > 0 {
                let (mean, spread) = before.moments(kind, total);
                let dispersion = f64::from(kind.dispersion);
                let residual =
                    ((count - mean).powi(2) / spread.max(0.5)).min(RESIDUAL_MAX * dispersion);
                let pace = 1.0 / (f64::from(kind.age) + 1.0).min(MEMORY);
                kind.dispersion = (dispersion + pace * (residual - dispersion)).max(1.0) as f32;
            }
            let pace = 1.0 / (f64::from(windows) + 1.0).min(MEMORY);
            kind.lines += (pace * (count - f64::from(kind.lines))) as f32;
            kind.age = (f64::from(kind.age) + 1.0).min(MEMORY) as f32;
            kind.unseen = if count > 0.0 { 0.0 } else { kind.unseen + 1.0 };
        };
        for (id, kind) in &mut self.kinds {
            teach(kind, now.get(id).copied().unwrap_or(0.0), before.windows);
        }
        teach(&mut self.novel, unknown, before.windows);
        for (id, count) in now {
            if !before.kinds.contains_key(id) {
                self.make_room();
                let lines = (count / (f64::from(before.windows) + 1.0).min(MEMORY)) as f32;
                self.kinds.insert(*id, Kind { lines, age: 1.0, ..Kind::NEW });
            }
        }
        self.windows = self.windows.saturating_add(1);
        let pace = 1.0 / f64::from(self.windows).min(MEMORY);
        self.lines += (pace * (total - f64::from(self.lines))) as f32;
    }

    fn make_room(&mut self) {
        if self.kinds.len() < KINDS_MAX {
            return;
        }
        let oldest = self.kinds.iter().max_by(|a, b| {
            a.1.unseen.total_cmp(&b.1.unseen).then_with(|| b.1.lines.total_cmp(&a.1.lines))
        });
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.kinds.remove(&id);
        }
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.windows.to_le_bytes());
        let put = |out: &mut Vec<u8>, kind: &Kind| {
            put_f32s(out, &[kind.lines, kind.dispersion, kind.age, kind.unseen]);
        };
        put_f32s(out, &[self.lines]);
        put(out, &self.novel);
        self.calibration.write(out);
        out.extend_from_slice(&(self.kinds.len() as u16).to_le_bytes());
        for (id, kind) in &self.kinds {
            out.extend_from_slice(&(*id as i64).to_le_bytes());
            put(out, kind);
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let windows = from.u16()?;
        let lines = from.f32()?;
        let kind = |from: &mut Reader| {
            let [lines, dispersion, age, unseen] = from.f32s()?;
            (lines >= 0.0 && dispersion >= 1.0).then_some(Kind { lines, dispersion, age, unseen })
        };
        let novel = kind(&mut from)?;
        let calibration = Calibration::read(&mut from)?;
        let count = from.u16()?;
        let mut kinds = BTreeMap::new();
        for _ in 0..count {
            let id = from.i64()? as u64;
            kinds.insert(id, kind(&mut from)?);
        }
        from.end()?;
        Some(Self { windows, lines, novel, kinds, calibration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    /// A window of requests, each of which writes the lines 1 and 2, one in ten the line 3.
    fn window(rng: &mut Rng, requests: f64) -> Vec<(u64, f64)> {
        let requests = rng.poisson(requests);
        let rare = rng.poisson(requests / 10.0);
        vec![(1, requests), (2, requests), (3, rare)]
    }

    fn trained(seed: u64) -> (State, Rng) {
        let (mut state, mut rng) = (State::new(), Rng(seed));
        for _ in 0..60 {
            let counts = window(&mut rng, 40.0);
            state.step(&counts);
        }
        (state, rng)
    }

    #[test]
    fn what_takes_the_place_of_something_is_seen_whatever_the_traffic() {
        for requests in [30.0, 40.0, 400.0] {
            let (mut state, _) = trained(1);
            let usual = [(1, requests), (2, requests), (3, requests / 10.0)];
            assert!(state.clone().step(&usual).verdict.score < 1.0, "{requests}");
            let missing = state.clone().step(&[(1, requests), (3, requests / 10.0)]);
            assert!(missing.verdict.score > 3.0, "{requests} {missing:?}");
            if requests < 100.0 {
                continue; // a handful of new lines is no surprise yet
            }
            let half = [(1, requests), (2, requests / 2.0), (9, requests / 2.0)];
            assert!(state.clone().step(&half).verdict.score > 3.0, "{requests}");
            let new = state.step(&[usual[0], usual[1], usual[2], (9, requests / 2.0)]);
            assert!(new.verdict.score > 3.0, "{requests} {new:?}");
            assert_eq!((new.kind, new.verdict.direction), (None, 1));
        }
    }

    #[test]
    fn the_kind_that_vanished_is_named() {
        let (mut state, _) = trained(2);
        let shift = state.step(&[(1, 80.0)]);
        assert_eq!((shift.kind, shift.observed, shift.verdict.direction), (Some(2), 0.0, -1));
    }

    #[test]
    fn steady_and_talkative_services_rarely_alarm() {
        let (mut steady, mut talkative) = (0, 0);
        for seed in 0..20 {
            let (mut state, mut rng) = trained(seed);
            for _ in 0..500 {
                let traffic = 10.0 + 60.0 * rng.uniform();
                let counts = window(&mut rng, traffic);
                steady += i32::from(state.step(&counts).verdict.score >= 3.0);
            }
            let mut state = State::new();
            for _ in 0..500 {
                let new = rng.bits();
                let counts = [(1, rng.poisson(30.0)), (new, rng.poisson(2.0))];
                talkative += i32::from(state.step(&counts).verdict.score >= 3.0);
            }
        }
        assert!(steady <= 20 && talkative <= 20, "{steady} {talkative} of 10000");
    }

    #[test]
    fn a_new_mix_becomes_normal() {
        let (mut state, mut rng) = trained(4);
        let mut late = 0;
        for i in 0..300 {
            let score = state.step(&[(1, rng.poisson(20.0)), (7, rng.poisson(20.0))]).verdict.score;
            late += i32::from(i > 150 && score >= 3.0);
        }
        assert!(late <= 2, "{late}");
    }

    #[test]
    fn what_goes_on_stays_as_surprising_as_it_began() {
        let (mut state, _) = trained(5);
        let usual = |state: &mut State| state.step(&[(1, 40.0), (2, 40.0), (3, 4.0)]).verdict.score;
        let failing =
            |state: &mut State| state.step(&[(1, 40.0), (2, 5.0), (9, 35.0)]).verdict.score;
        let first = failing(&mut state);
        assert!(first >= 3.0, "{first}");
        for i in 0..20 {
            let score = failing(&mut state);
            assert!(score > first - 0.1, "{i}: {score}");
        }
        (0..30).for_each(|_| assert!(usual(&mut state) < 1.0));
        assert!(failing(&mut state) < first - 0.5, "that is known");
    }

    #[test]
    fn a_change_that_lasts_hides_no_later_one() {
        let (mut state, mut rng) = (State::new(), Rng(4));
        let mut mixed = |state: &mut State, windows: usize, share: f64| -> f64 {
            let mut step = || {
                let counts =
                    [(1, rng.poisson(100.0 * (1.0 - share))), (2, rng.poisson(100.0 * share))];
                state.step(&counts).verdict.score
            };
            (0..windows).map(|_| step()).fold(0.0, f64::max)
        };
        mixed(&mut state, 600, 0.1);
        let first = mixed(&mut state, 5, 0.4);
        assert!(first >= 3.0, "{first}");
        mixed(&mut state, 415, 0.4);
        let later = mixed(&mut state, 5, 0.8);
        assert!(later >= 3.0, "{later}");
    }

    #[test]
    fn nonsense_is_ignored_room_is_bounded_and_states_survive_bytes() {
        let (mut state, mut rng) = trained(3);
        let before = state.clone();
        assert_eq!(state.step(&[(1, f64::NAN), (2, -3.0)]), Shift::SILENT);
        assert_eq!(state.step(&[]), Shift::SILENT);
        assert_eq!(state, before);
        for _ in 0..2 * KINDS_MAX {
            state.step(&[(rng.bits(), 1.0)]);
        }
        assert!(state.kinds.len() <= KINDS_MAX);
        let mut bytes = Vec::new();
        state.write(&mut bytes);
        assert_eq!(State::read(&bytes), Some(state));
        assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
    }
}
