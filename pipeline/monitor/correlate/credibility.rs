//! How far the claims of a kind of series are believed, learned from how often they came to
//! nothing.
//!
//! A kind is a job and a metric, over all services. Its alarm is *vain* if it waited as long as it
//! could and belonged to no incident, or if it was near one by chance only. Had a kind told the
//! truth, `n` windows of it would show `n·10^−s` vain alarms of a surprise of at least s. Where it
//! shows `k(s)` of them, k being the lower limit at 95 % of what bad luck may have added to,
//!
//! ```text
//! overclaim = max over s of log10 k(s) + s − log10(n + 10^floor),  at least 0
//! ```
//!
//! decades are subtracted from whatever it claims next: `10^floor` windows, of which an honest kind
//! spends one on a vain alarm, are its advance of trust. This is the empirical null of Efron (JASA
//! 2004), kept to its tail: what all services show without a cause is noise, whatever the model of
//! one series says. Alarms of the services of an incident are not counted, so faults do not devalue
//! their symptoms: else those of a fault that comes back would be believed less each time, and the
//! less they are believed, the more of them would be vain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::track::Track;
use super::witness;
use crate::model::Nanos;

/// Decades beyond what has been seen to which the tail of a kind is extrapolated: thirty times the
/// record. Detectors fit tails to series, and a young one claims 10⁻¹² after half an hour. On ten
/// synthetic days 1, 1.5 and 2 found 22, 30 and 36 of 99 faults at 34, 39 and 53 false incidents.
const EXTRAPOLATION: f64 = 1.5;

/// Taken off the root of a number of events, this leaves the root of the least mean that a
/// Poisson law would allow for it, at 95 %: half of 1.645 standard deviations.
const LUCK: f64 = 0.82;

/// Kinds remembered; further ones are believed as they are.
const MAX_KINDS: usize = 4096;

/// Steps of surprise per decade that are told apart, and their number.
const STEPS_PER_DECADE: f64 = 4.0;
const STEPS: usize = 64;

/// Vain alarms of one job on one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    /// Width of the job's windows.
    width: Nanos,
    /// Vain alarms by step of surprise.
    alarms: Vec<u32>,
}

impl Record {
    fn learn(&mut self, width: Nanos, surprise: f64) {
        self.width = width;
        let step = ((surprise * STEPS_PER_DECADE) as usize).min(STEPS - 1);
        if self.alarms.len() <= step {
            self.alarms.resize(step + 1, 0);
        }
        self.alarms[step] = self.alarms[step].saturating_add(1);
    }

    /// log10 of the windows that an honest job would have needed for what this one told.
    fn windows_claimed(&self) -> f64 {
        let (mut alarms, mut most) = (0.0, 0.0f64);
        for (step, count) in self.alarms.iter().enumerate().rev() {
            alarms += f64::from(*count);
            if alarms > 0.0 {
                let least = (f64::sqrt(alarms) - LUCK).powi(2);
                most = most.max(least.log10() + step as f64 / STEPS_PER_DECADE);
            }
        }
        most
    }
}

/// Vain alarms by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Credibility {
    since: Option<Nanos>,
    /// Kind → job → what it told.
    vain: BTreeMap<String, BTreeMap<String, Record>>,
}

impl Credibility {
    /// Everything is counted from the first time that anything was watched.
    pub fn begin(&mut self, at: Nanos) {
        self.since.get_or_insert(at);
    }

    /// Takes note of an alarm that belonged to nothing.
    pub fn learn(&mut self, track: &Track, surprise: f64) {
        let name = kind(&track.signal.metric);
        if !self.vain.contains_key(name) {
            if self.vain.len() >= MAX_KINDS {
                return;
            }
            self.vain.insert(name.to_owned(), BTreeMap::new());
        }
        let jobs = self.vain.entry(name.to_owned()).or_default();
        jobs.entry(track.signal.job.clone()).or_default().learn(track.width, surprise);
    }

    /// The highest score that one window of the track's kind can deserve, where `services` have
    /// such a series: what has been seen of the kind, and a little extrapolation.
    pub fn experience(&self, track: &Track, services: u64) -> f64 {
        self.windows(track.last_seen_at(), track.width, services).max(1.0).log10() + EXTRAPOLATION
    }

    /// Windows of this width that a kind has shown by `at`.
    fn windows(&self, at: Nanos, width: Nanos, services: u64) -> f64 {
        let elapsed = self.since.map_or(0, |since| at.saturating_sub(since));
        services as f64 * elapsed.max(0) as f64 / width.max(1) as f64
    }

    /// Decades by which series of the metric's kind have claimed too much by `at` to the job that
    /// believed them most, where `services` have such a series.
    pub fn overclaim(&self, metric: &str, at: Nanos, services: u64, floor: f64) -> f64 {
        let Some(jobs) = self.vain.get(kind(metric)) else { return 0.0 };
        let decades = jobs.values().map(|record| {
            let windows = self.windows(at, record.width, services);
            record.windows_claimed() - (windows + 10f64.powf(floor)).log10()
        });
        decades.fold(0.0, f64::max)
    }
}

/// The metric's name; for logs and spans what comes before that of the template or operation.
fn kind(metric: &str) -> &str {
    let (kind, _) = witness::family(metric);
    if kind == witness::METRIC { metric } else { kind }
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
        let now = 10_080 * MINUTE;
        assert!(credibility.overclaim("cpu", now, 100, 3.0) < 0.01);
        for _ in 0..99 {
            credibility.learn(&track("a", "cpu", 5), 6.0);
        }
        // A hundred of them, of which eighty-four are no bad luck.
        assert!((credibility.overclaim("cpu", now, 100, 3.0) - 84f64.log10()).abs() < 0.01);
        assert_eq!(credibility.overclaim("memory", now, 100, 3.0), 0.0);
    }

    #[test]
    fn weak_vain_alarms_cost_little() {
        let mut credibility = Credibility::default();
        credibility.begin(0);
        credibility.learn(&track("a", "cpu", 5), 3.0);
        assert_eq!(credibility.overclaim("cpu", 6 * MINUTE, 1, 3.0), 0.0);
    }
}
