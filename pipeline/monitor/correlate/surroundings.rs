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
        self.cadence.step(&track.signal.job, track.width)
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

/// When windows of one job end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Beat {
    /// End of the last abnormal window.
    last: Nanos,
    /// Greatest common divisor of the distances between two, of which there were `seen`.
    step: Nanos,
    seen: u32,
}

fn common_divisor(a: Nanos, b: Nanos) -> Nanos {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The spacing of each job's windows, learned from the ends of those that were abnormal.
///
/// A window of ten minutes that slides every minute is over one minute, not ten, after the
/// next one could have been abnormal; windows of one minute over values that come every five
/// follow each other every five.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    jobs: BTreeMap<String, Beat>,
}

impl Cadence {
    /// Distances after which they have no common divisor by chance: one in 200 for this many
    /// whole numbers, 1 − 1/ζ(8).
    const SURE: u32 = 8;

    /// Widths of a window that lie between two values of a series at most: a longer pause is one
    /// in which nothing was abnormal.
    const SPARSE: i64 = 5;

    /// Jobs remembered; the windows of others count as tumbling.
    const MAX_JOBS: usize = 1024;

    pub fn learn(&mut self, signal: &Signal) {
        if let Some(beat) = self.jobs.get_mut(&signal.job) {
            let distance = signal.window_end - beat.last;
            if distance > 0 {
                beat.step = common_divisor(distance, beat.step);
                beat.last = signal.window_end;
                beat.seen = beat.seen.saturating_add(1);
            }
        } else if self.jobs.len() < Self::MAX_JOBS {
            let beat = Beat { last: signal.window_end, step: 0, seen: 0 };
            self.jobs.insert(signal.job.clone(), beat);
        }
    }

    /// Time between two evaluations of a series of the job, whose windows are that wide. Windows
    /// may slide, or be narrower than the time between two values.
    pub fn step(&self, job: &str, width: Nanos) -> Nanos {
        match self.jobs.get(job) {
            Some(beat) if beat.seen >= Self::SURE => beat.step.min(Self::SPARSE * width),
            Some(beat) if beat.seen > 0 => beat.step.min(width),
            _ => width,
        }
    }
}
