//! How far the claims of a kind of series are believed, learned from how often they came to
//! nothing.
//!
//! A kind is a job and a metric, over all services. Its alarm is *vain* if it waited as long as it
//! could and belonged to no incident. Had a kind told the truth, `n` windows of it would show
//! `n·10^−s` vain alarms of a surprise of at least s. Where it shows `k(s)` of them,
//!
//! ```text
//! overclaim = max over s of log10 k(s) + s − log10(n + 10^floor),  at least 0
//! ```
//!
//! decades are subtracted from whatever it claims next: `10^floor` windows, of which an honest kind
//! spends one on a vain alarm, are its advance of trust. This is the empirical null of Efron (JASA
//! 2004), kept to its tail: what all services show without a cause is noise, whatever the model of
//! one series says. Alarms within incidents are not counted, so faults do not devalue their
//! symptoms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::track::Track;
use crate::model::Nanos;

/// Kinds remembered; further ones are believed as they are.
const MAX_KINDS: usize = 4096;

/// Steps of surprise per decade that are told apart, and their number.
const STEPS_PER_DECADE: f64 = 4.0;
const STEPS: usize = 64;

/// Vain alarms by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Credibility {
    since: Option<Nanos>,
    /// Job → metric → vain alarms by step of surprise.
    vain: BTreeMap<String, BTreeMap<String, Vec<u32>>>,
    kinds: usize,
}

impl Credibility {
    /// Everything is counted from the first thing seen on.
    pub fn begin(&mut self, at: Nanos) {
        self.since.get_or_insert(at);
    }

    /// Takes note of an alarm that belonged to nothing.
    pub fn learn(&mut self, track: &Track, surprise: f64) {
        let kinds = self.vain.entry(track.signal.job.clone()).or_default();
        if !kinds.contains_key(&track.signal.metric) {
            if self.kinds >= MAX_KINDS {
                return;
            }
            self.kinds += 1;
        }
        let counts = kinds.entry(track.signal.metric.clone()).or_default();
        let step = ((surprise * STEPS_PER_DECADE) as usize).min(STEPS - 1);
        if counts.len() <= step {
            counts.resize(step + 1, 0);
        }
        counts[step] = counts[step].saturating_add(1);
    }

    /// Decades by which series of the track's kind have claimed too much, where `services` have
    /// such a series.
    pub fn overclaim(&self, track: &Track, services: u64, floor: f64) -> f64 {
        let (job, metric) = (&track.signal.job, &track.signal.metric);
        let Some(counts) = self.vain.get(job).and_then(|kinds| kinds.get(metric)) else {
            return 0.0;
        };
        let elapsed = self.since.map_or(0, |since| track.last_seen_at().saturating_sub(since));
        let windows = services as f64 * elapsed.max(0) as f64 / track.width as f64;
        let (mut alarms, mut most) = (0.0, 0.0f64);
        for (step, count) in counts.iter().enumerate().rev() {
            alarms += f64::from(*count);
            if alarms > 0.0 {
                most = most.max(f64::log10(alarms) + step as f64 / STEPS_PER_DECADE);
            }
        }
        (most - (windows + 10f64.powf(floor)).log10()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::signal;
    use super::*;
    use crate::model::MINUTE;

    fn track(service: &str, metric: &str, minute: i64) -> Track {
        Track::new(signal(service, metric, minute, 6.0), true)
    }

    #[test]
    fn who_cries_as_often_as_promised_is_believed() {
        let mut credibility = Credibility::default();
        credibility.begin(0);
        // A hundred services for a week: a million windows, one vain alarm of six decades.
        credibility.learn(&track("a", "cpu", 5), 6.0);
        let now = track("b", "cpu", 10_080);
        assert!(credibility.overclaim(&now, 100, 3.0) < 0.01);
        for _ in 0..99 {
            credibility.learn(&track("a", "cpu", 5), 6.0);
        }
        assert!((credibility.overclaim(&now, 100, 3.0) - 2.0).abs() < 0.01);
        assert_eq!(credibility.overclaim(&track("b", "memory", 10_080), 100, 3.0), 0.0);
    }

    #[test]
    fn weak_vain_alarms_cost_little() {
        let mut credibility = Credibility::default();
        credibility.begin(0);
        credibility.learn(&track("a", "cpu", 5), 3.0);
        assert_eq!(credibility.overclaim(&track("b", "cpu", 6), 1, 3.0), 0.0);
        let width = track("b", "cpu", 6).width;
        assert_eq!(width, MINUTE);
    }
}
