//! How far the `−ln p` of a law of counts is believed, learned from one key's own past.
//!
//! It is exponential with mean 1 if the law is right. Where it is not, [`peaks over
//! threshold`](crate::peaks_over_threshold) with just this as its prior corrects it, to lower
//! scores and never to higher ones. What goes on abnormally is held against the key when it is
//! over, by its peak, not while it lasts: else its second window would be no news.

use crate::codec::{Reader, put_f32s};
use crate::peaks_over_threshold::{Prior, Tail};
use crate::verdict::SCORE_MAX;

/// Exponential with mean 1, so the 98th percentile is `ln 50`.
const LAW: Prior = Prior { threshold: 3.912, excess: 1.0, weight: 8.0 };
/// Score of an abnormal window, from which a baseline learns nothing.
const ALERT: f64 = 2.0;
/// Abnormal windows after which what they show is normal.
const PATIENCE: u16 = 60;

/// What a window is to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Usual,
    Abnormal,
    /// Abnormal for so long that it is normal from here on.
    Lasting,
}

/// What is known of one key, or of several together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Calibration {
    /// Abnormal windows in a row, roughly.
    hot: u16,
    /// The most surprising of those that go on, which the tail has not learnt yet; 0 if there are
    /// none.
    held: f32,
    tail: Tail,
}

impl Calibration {
    pub(crate) fn new() -> Self {
        Self { hot: 0, held: 0.0, tail: Tail::new(LAW) }
    }

    /// −log10 of a probability: never more than the law's, less where the key has often surprised
    /// it.
    pub(crate) fn score(&self, log_p: f64) -> f64 {
        Self::bounded(log_p, self.tail.score(log_p, LAW))
    }

    /// The same for several keys together: the records of one say little of another.
    pub(crate) fn score_of_many(&self, log_p: f64) -> f64 {
        Self::bounded(log_p, self.tail.score_by_law(log_p, LAW))
    }

    fn bounded(log_p: f64, score: f64) -> f64 {
        score.min(log_p / std::f64::consts::LN_10).min(SCORE_MAX)
    }

    /// Takes in a window of several keys together.
    pub(crate) fn learn_of_many(&mut self, log_p: f64) {
        self.tail.learn(log_p, LAW, true);
    }

    /// Takes in a window that has been scored.
    pub(crate) fn learn(&mut self, log_p: f64, score: f64) -> Course {
        if score < ALERT {
            self.rest(2);
            self.tail.learn(log_p, LAW, true);
            return Course::Usual;
        }
        self.hot = self.hot.saturating_add(1);
        self.held = self.held.max(log_p as f32);
        if self.hot < PATIENCE {
            return Course::Abnormal;
        }
        self.rest(self.hot);
        Course::Lasting
    }

    /// Forgets so many abnormal windows; teaches the tail what is over.
    pub(crate) fn rest(&mut self, windows: u16) {
        self.hot = self.hot.saturating_sub(windows);
        if self.hot == 0 && self.held > 0.0 {
            self.tail.learn(self.held.into(), LAW, true);
            self.held = 0.0;
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hot.to_le_bytes());
        put_f32s(out, &[self.held]);
        self.tail.write(out);
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let hot = from.u16()?;
        let held = from.f32().filter(|held| *held >= 0.0)?;
        Some(Self { hot, held, tail: Tail::read(from)? })
    }
}
