//! What every decision about signals may look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::CorrelateConfig;
use super::credibility::Credibility;
use super::track::Track;
use crate::model::{Nanos, Signal};
use crate::monitor::topology::Topology;

/// Services from which on the budget of false incidents grows with their number.
const BUDGET_SERVICES: f64 = 50.0;

/// How much is being watched: the number of chances that noise has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    pub services: u64,
    pub series: u64,
}

impl Watched {
    pub fn per_service(self) -> f64 {
        self.series.max(1) as f64 / self.services.max(1) as f64
    }
}

/// What a decision about a signal may look at besides the incident itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surroundings {
    pub config: CorrelateConfig,
    pub topology: Topology,
    pub watched: Watched,
    pub cadence: Cadence,
    pub credibility: Credibility,
}

impl Surroundings {
    pub fn new(config: CorrelateConfig, topology: Topology) -> Self {
        Self {
            watched: config.assumed,
            config,
            topology,
            cadence: Cadence::default(),
            credibility: Credibility::default(),
        }
    }

    /// Whether two tracks are abnormal at the same time, up to the gap.
    pub fn overlap(&self, a: &Track, b: &Track) -> bool {
        let gap = self.config.gap(a.width.max(b.width));
        a.signal.window_start - b.last_seen_at() <= gap
            && b.signal.window_start - a.last_seen_at() <= gap
    }

    /// Incidents a day that noise may open.
    pub fn budget(&self) -> f64 {
        let fifties = self.watched.services as f64 / BUDGET_SERVICES;
        self.config.false_incidents_per_day * fifties.max(1.0)
    }

    /// Time between two windows of the track's series.
    pub fn step(&self, track: &Track) -> Nanos {
        self.cadence.step(&track.signal.job, &track.signal.service, track.width)
    }

    /// Surprise of a track's run of windows, if its kind tells the truth.
    pub fn claimed(&self, track: &Track) -> f64 {
        let experience = self.credibility.experience(track, self.watched.services.max(1));
        track.surprise(self.config.credible_score.min(experience))
    }

    /// Score of one window, as far as its kind is believed.
    pub fn believed(&self, signal: &Signal) -> f64 {
        let (services, floor) = (self.watched.services.max(1), self.config.score_floor);
        let at = signal.window_end;
        let overclaim = self.credibility.overclaim(&signal.metric, at, services, floor);
        (signal.score - overclaim).clamp(0.0, self.config.credible_score)
    }

    /// The same, as far as its kind is believed.
    pub fn surprise(&self, track: &Track) -> f64 {
        let (services, floor) = (self.watched.services.max(1), self.config.score_floor);
        let (metric, at) = (&track.signal.metric, track.last_seen_at());
        let overclaim = self.credibility.overclaim(metric, at, services, floor);
        (self.claimed(track) - overclaim).max(0.0)
    }
}

/// When windows of one job end, by the pace of the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Beat {
    /// End of the last abnormal window.
    last: Nanos,
    /// Greatest common divisor of the distances between two, of which there were `seen`.
    step: Nanos,
    seen: u32,
}

impl Beat {
    fn new(signal: &Signal) -> Self {
        Self { last: signal.window_end, step: 0, seen: 0 }
    }

    /// What is less than half a `unit` apart is of one time.
    fn learn(&mut self, signal: &Signal, unit: Nanos) {
        let units = (signal.window_end - self.last + unit / 2).div_euclid(unit);
        if units > 0 {
            self.step = common_divisor(units * unit, self.step);
            self.last = signal.window_end;
            self.seen = self.seen.saturating_add(1);
        }
    }

    /// Time between two evaluations, a multiple of `unit`, once it is known. That `n` whole numbers
    /// have a divisor of `g` or more by chance has a probability of about `g^(1−n)/(n−1)`.
    fn step(&self, unit: Nanos) -> Option<Nanos> {
        if self.seen == 0 {
            return None;
        }
        let (apart, others) = (self.step as f64 / unit as f64, f64::from(self.seen - 1));
        let known = apart <= 1.0 || apart.powf(others) * others >= Self::SURE;
        known.then_some(self.step)
    }

    /// What chance would do once in so many times is none.
    const SURE: f64 = 200.0;

    /// Widths of a window that lie between two values of a series at most: minutes, of an hour. A
    /// longer pause is one in which nothing was abnormal.
    const SPARSE: i64 = 60;
}

fn common_divisor(a: Nanos, b: Nanos) -> Nanos {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The spacing of the windows of each job, and of each service within it: a multiple of the job's
/// pace, learned from the ends of those that were abnormal.
///
/// A window of ten minutes that slides every minute is over one minute, not ten, after the
/// next one could have been abnormal; windows of one minute over values that come every five
/// follow each other every five, whatever the other services do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    /// Least time between two windows of one series; those of other jobs tumble.
    paces: BTreeMap<String, Nanos>,
    jobs: BTreeMap<String, Beats>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Beats {
    all: Beat,
    services: BTreeMap<String, Beat>,
}

impl Cadence {
    /// Jobs remembered; the windows of others count as tumbling.
    const MAX_JOBS: usize = 1024;

    /// Services of a job remembered; others count as all of them together.
    const MAX_SERVICES: usize = 16_384;

    pub fn set_paces(&mut self, paces: BTreeMap<String, Nanos>) {
        self.paces = paces;
    }

    fn pace(&self, job: &str, width: Nanos) -> Nanos {
        self.paces.get(job).copied().unwrap_or(width).max(1)
    }

    pub fn learn(&mut self, signal: &Signal) {
        let unit = self.pace(&signal.job, signal.window_end - signal.window_start);
        let Some(beats) = self.jobs.get_mut(&signal.job) else {
            if self.jobs.len() < Self::MAX_JOBS {
                let all = Beat::new(signal);
                let services = BTreeMap::from([(signal.service.clone(), all.clone())]);
                self.jobs.insert(signal.job.clone(), Beats { all, services });
            }
            return;
        };
        beats.all.learn(signal, unit);
        if let Some(beat) = beats.services.get_mut(&signal.service) {
            beat.learn(signal, unit);
        } else if beats.services.len() < Self::MAX_SERVICES {
            beats.services.insert(signal.service.clone(), Beat::new(signal));
        }
    }

    /// Time between two evaluations of a series of the service by the job, whose windows are that
    /// wide. Windows may slide, or be narrower than the time between two values.
    pub fn step(&self, job: &str, service: &str, width: Nanos) -> Nanos {
        let unit = self.pace(job, width);
        let Some(beats) = self.jobs.get(job) else { return unit };
        let all = beats.all.step(unit).unwrap_or(unit);
        let own = beats.services.get(service).and_then(|beat| beat.step(all));
        own.unwrap_or(all).min(Beat::SPARSE.saturating_mul(width))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::signal;
    use super::*;
    use crate::model::{MINUTE, SECOND};

    /// What is known after abnormal windows of services at these minutes.
    fn cadence(seen: &[(&str, i64)]) -> Cadence {
        let mut cadence = Cadence::default();
        seen.iter().for_each(|(service, at)| cadence.learn(&signal(service, "cpu", *at, 3.0)));
        cadence
    }

    fn steps(seen: &[(&str, i64)], service: &str) -> i64 {
        let job = signal(service, "cpu", 0, 3.0).job;
        cadence(seen).step(&job, service, MINUTE) / MINUTE
    }

    #[test]
    fn a_service_that_is_scraped_less_often_has_a_step_of_its_own() {
        let fine = [("a", 0), ("a", 7), ("a", 12)];
        let coarse = [("b", 20), ("b", 25), ("b", 35), ("b", 60), ("b", 65)];
        let both = [&fine[..], &coarse].concat();
        assert_eq!(steps(&both, "b"), 5);
        assert_eq!(steps(&both[..5], "b"), 1, "one distance is chance, and the others are fine");
        assert_eq!((steps(&both, "a"), steps(&both, "c")), (1, 1));
        let few = [("b", 20), ("d", 25), ("d", 35), ("d", 45), ("b", 60), ("b", 80)];
        assert_eq!(steps(&few, "d"), 5, "as of all others, until more is seen of it");
    }

    #[test]
    fn series_of_one_service_need_not_have_their_windows_at_one_time() {
        let at = |second: i64| {
            let mut signal = signal("a", "cpu", 0, 3.0);
            signal.window_end = second * SECOND;
            signal.window_start = signal.window_end - MINUTE;
            signal
        };
        let mut cadence = Cadence::default();
        [30, 45, 90, 105, 165, 210, 225].map(at).iter().for_each(|s| cadence.learn(s));
        assert_eq!(cadence.step(&at(0).job, "a", MINUTE), MINUTE);
        cadence.set_paces([(at(0).job, 15 * SECOND)].into());
        [30, 45, 90].map(at).iter().for_each(|s| cadence.learn(s));
        assert_eq!(cadence.step(&at(0).job, "b", MINUTE), 15 * SECOND, "as of a job that slides");
    }

    #[test]
    fn the_rarer_the_windows_the_sooner_their_step_is_known() {
        let every = |step: i64, n: i64| (0..=n).map(|i| ("a", i * step)).collect::<Vec<_>>();
        for (step, least) in [(2, 7), (5, 4), (15, 3), (60, 3)] {
            assert_eq!(steps(&every(step, least), "a"), step);
            assert_eq!(steps(&every(step, least - 1), "a"), 1, "not yet: {step}");
        }
        assert_eq!(steps(&every(600, 9), "a"), 60);
    }
}
