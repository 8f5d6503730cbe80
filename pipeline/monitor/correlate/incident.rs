//! One open incident: which series it holds, which of them bind it, and when it is over.
//!
//! A series that joins is *binding* if chance does not explain why it is abnormal here and now,
//! and *context* otherwise. Both are listed. Only binding series extend the incident's region,
//! keep it open and tie incidents together: noise near an incident must not spread or prolong it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::config::CorrelateConfig;
use super::known::Known;
use super::relation::{Link, Region};
use super::surroundings::Surroundings;
use super::track::{SeriesKey, Track};
use crate::model::{Incident, IncidentState, MINUTE, Nanos, Severity, Signal};
use crate::monitor::topology::Topology;

/// Windows that a series may miss and still count as abnormal without interruption.
const MISSED_WINDOWS: i64 = 2;

/// Longest time between samples that is waited for: three of them are one and a half of an hour.
const SAMPLING_MAX: Nanos = 30 * MINUTE;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenIncident {
    pub id: String,
    pub cluster: String,
    /// Service of the signal that opened it.
    pub service: String,
    pub opened_at: Nanos,
    #[serde(with = "super::entries")]
    tracks: BTreeMap<SeriesKey, Track>,
    region: Region,
    /// Signals that belong to it, also of series that were too many to keep.
    signals: u64,
    severity: Severity,
    /// Time between two samples of its series, as far as known.
    sampling: Nanos,
    /// How often its wait is doubled, see [`super::known`].
    patience: u8,
    /// What is known of its cause, for those who are told of it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl OpenIncident {
    pub fn open(
        id: String,
        mut anchor: Track,
        at: Nanos,
        patience: u8,
        topology: &Topology,
    ) -> Self {
        anchor.binding = true;
        Self {
            id,
            cluster: anchor.signal.cluster.clone(),
            service: anchor.signal.service.clone(),
            opened_at: at,
            severity: anchor.signal.severity,
            region: Region::of([&anchor].into_iter(), topology),
            tracks: BTreeMap::from([(SeriesKey::of(&anchor.signal), anchor)]),
            signals: 0,
            sampling: 0,
            patience,
            annotations: BTreeMap::new(),
        }
    }

    /// Its highest window, as a signal, if no job has made one of any.
    pub fn raise(&mut self) -> Option<Signal> {
        if self.signals > 0 {
            return None;
        }
        self.signals = 1;
        let windows = self.tracks.values().map(|track| &track.signal);
        windows.max_by(|a, b| a.score.total_cmp(&b.score).then_with(|| b.id.cmp(&a.id))).cloned()
    }

    pub fn severity(&self) -> Severity {
        self.severity
    }

    pub fn signal_count(&self) -> u64 {
        self.signals
    }

    /// Takes note of signals that belong to it.
    pub fn count(&mut self, signals: usize) {
        self.signals += signals as u64;
    }

    /// Whether `next` goes on with a series of this incident. One that had recovered and turns
    /// abnormal again after the incident has grown up is a new onset, unless it is known to come
    /// and go.
    pub fn continues(&self, key: &SeriesKey, next: &Signal, around: &Surroundings) -> bool {
        let Some(track) = self.tracks.get(key) else { return false };
        let missed = MISSED_WINDOWS * self.step(track, around);
        let recovers = if self.patience > 0 { self.hold(track, around) } else { missed };
        next.window_start - track.last_seen_at() <= recovers
            || next.window_end - self.opened_at <= around.config.growth(track.width)
    }

    /// Whether windows that are no signals keep this series of it going.
    pub fn goes_on_with(&self, key: &SeriesKey) -> bool {
        self.tracks.get(key).is_some_and(|track| track.restless)
    }

    /// Lists a series as context; one that it held before it had recovered stays as it was.
    pub fn list(&mut self, key: SeriesKey, track: Track, around: &Surroundings) {
        if let Some(kept) = self.tracks.get_mut(&key) {
            kept.extend(&track.signal);
        } else {
            self.join(key, track, None, around);
        }
    }

    /// How `track` is related to the binding series of this incident.
    pub fn link(&self, track: &Track, around: &Surroundings) -> Option<Link> {
        self.region.link(track, around.config.gap(track.width), around)
    }

    /// Whether `track` turned abnormal after the incident had grown up.
    pub fn is_late(&self, track: &Track, config: &CorrelateConfig) -> bool {
        track.onset_at - self.opened_at > config.growth(track.width)
    }

    /// Adds a series, as context without a link; false if there was no room for it.
    pub fn join(
        &mut self,
        key: SeriesKey,
        mut track: Track,
        link: Option<Link>,
        around: &Surroundings,
    ) -> bool {
        self.severity = self.severity.max(track.signal.severity);
        track.binding = link.is_some_and(|link| is_binding(link, &around.config));
        if self.tracks.len() >= around.config.max_series_per_incident && !self.make_room(&track) {
            return false;
        }
        let binding = track.binding;
        self.tracks.insert(key, track);
        if binding {
            self.redraw(&around.topology);
        }
        true
    }

    /// A binding series takes the place of the least surprising context.
    fn make_room(&mut self, track: &Track) -> bool {
        let weakest = self.tracks.iter().filter(|(_, kept)| !kept.binding).min_by(|a, b| {
            a.1.signal.score.total_cmp(&b.1.signal.score).then_with(|| a.0.cmp(b.0))
        });
        match weakest.map(|(key, _)| key.clone()) {
            Some(key) if track.binding => self.tracks.remove(&key).is_some(),
            _ => false,
        }
    }

    /// Takes in another window of a series that it holds; returns whether the peak rose.
    pub fn extend(&mut self, key: &SeriesKey, next: &Signal, around: &Surroundings) -> bool {
        let Some(track) = self.tracks.get_mut(key) else { return false };
        let rose = track.extend(next);
        self.severity = self.severity.max(track.signal.severity);
        if track.binding {
            self.region.cover(track);
        } else {
            self.promote(key, around);
        }
        rose
    }

    /// Context that has become too surprising for chance binds from now on.
    fn promote(&mut self, key: &SeriesKey, around: &Surroundings) {
        let Some(track) = self.tracks.get(key) else { return };
        let link = self.link(track, around);
        if link.is_some_and(|link| is_binding(link, &around.config)) {
            if let Some(track) = self.tracks.get_mut(key) {
                track.binding = true;
            }
            self.redraw(&around.topology);
        }
    }

    /// Folds another incident of the cluster into this one, which keeps its identity.
    pub fn merge(&mut self, other: Self, around: &Surroundings) {
        for (key, track) in other.tracks {
            match self.tracks.get_mut(&key) {
                Some(kept) => {
                    kept.extend(&track.signal);
                    kept.binding |= track.binding;
                }
                None => {
                    self.tracks.insert(key, track);
                }
            }
        }
        self.severity = self.severity.max(other.severity);
        self.signals += other.signals;
        self.sampling = self.sampling.max(other.sampling);
        self.patience = self.patience.max(other.patience);
        while self.tracks.len() > around.config.max_series_per_incident {
            let weakest = self.tracks.iter().min_by(|a, b| {
                (a.1.binding.cmp(&b.1.binding))
                    .then_with(|| a.1.signal.score.total_cmp(&b.1.signal.score))
                    .then_with(|| a.0.cmp(b.0))
            });
            let Some(key) = weakest.map(|(key, _)| key.clone()) else { break };
            self.tracks.remove(&key);
        }
        self.redraw(&around.topology);
    }

    /// Draws the region again after a binding series or the graph has changed.
    pub fn redraw(&mut self, topology: &Topology) {
        self.region = Region::of(self.binding(), topology);
    }

    /// When it is over, unless something abnormal is seen before.
    pub fn ends_at(&self, around: &Surroundings) -> Nanos {
        let held = self.binding().map(|track| self.held_until(track, around));
        held.max().unwrap_or(self.opened_at)
    }

    /// Samples of its series are so far apart: what is not seen for less is not over.
    pub fn sampled(&mut self, step: Nanos) {
        self.sampling = self.sampling.max(step.min(SAMPLING_MAX));
    }

    fn step(&self, track: &Track, around: &Surroundings) -> Nanos {
        around.step(track).max(self.sampling)
    }

    fn held_until(&self, track: &Track, around: &Surroundings) -> Nanos {
        track.last_seen_at().saturating_add(self.hold(track, around))
    }

    fn hold(&self, track: &Track, around: &Surroundings) -> Nanos {
        around.config.hold(self.step(track, around)).saturating_mul(1 << self.patience)
    }

    /// Tells what is known of its binding series from its end on.
    pub fn teach(&self, known: &mut Known, at: Nanos, around: &Surroundings) {
        for (key, track) in self.tracks.iter().filter(|(_, track)| track.binding) {
            known.learn(key, at, self.hold(track, around), self.patience);
        }
    }

    /// Series that chance explains, of services of which nothing binds: what else the services of
    /// the incident show are its symptoms, as far as anyone can tell.
    pub fn bystanders(&self) -> impl Iterator<Item = &Track> {
        self.tracks.values().filter(|t| !t.binding && !self.region.holds(&t.signal.service))
    }

    /// Series that chance does not explain.
    pub fn binding_keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.tracks.iter().filter(|(_, track)| track.binding).map(|(key, _)| key)
    }

    fn binding(&self) -> impl Iterator<Item = &Track> + Clone {
        self.tracks.values().filter(|track| track.binding)
    }

    /// The noun that other agents see.
    pub fn view(&self, closed_at: Option<Nanos>) -> Incident {
        let mut signals: Vec<Signal> = self.tracks.values().map(|t| t.signal.clone()).collect();
        signals
            .sort_by(|a, b| (a.window_start, &a.job, &a.id).cmp(&(b.window_start, &b.job, &b.id)));
        let services: BTreeSet<&String> = signals.iter().map(|s| &s.service).collect();
        Incident {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            state: if closed_at.is_some() { IncidentState::Closed } else { IncidentState::Open },
            severity: self.severity,
            opened_at: self.opened_at,
            started_at: self.binding().map(Track::began_at).min().unwrap_or(self.opened_at),
            last_seen_at: self.binding().map(Track::last_seen_at).max().unwrap_or(self.opened_at),
            closed_at,
            services: services.into_iter().cloned().collect(),
            signals,
        }
    }
}

/// Whether chance would put less than `coincidence` such series in this relation.
pub fn is_binding(link: Link, config: &CorrelateConfig) -> bool {
    link.ln_expected <= config.coincidence.ln()
}
