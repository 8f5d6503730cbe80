//! Whether a series belongs near others, and how much of that chance alone would do.
//!
//! A series is related to a region, which is one series or a whole incident, if their abnormal
//! windows overlap in time (within a gap) and it
//! - is of a service of the region,
//! - is at most two hops from one, or
//! - has the metric or log template of one of the region's series.
//!
//! Where the graph does not know the service, the only other link is an onset in the same
//! window. Every relation has a number of windows that could have stood in it; times 10^−score
//! it is the number of such series expected by chance, on which all decisions rest.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::LN_10;

use serde::{Deserialize, Serialize};

use super::surroundings::Surroundings;
use super::track::Track;
use crate::model::Nanos;
use crate::monitor::topology::Topology;

/// Relations that a series may have: of the same service, one hop, two hops, the same metric. An
/// onset in the same window replaces the hops where these are unknown.
const RELATIONS: f64 = 4.0;

/// Windows before and after an onset in which another one is the same moment, and that itself.
const SAME_MOMENT_WINDOWS: f64 = 3.0;

/// From the strongest relation to the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    Service,
    Hops(u8),
    Metric,
    Onset,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub relation: Relation,
    /// ln of the number of series as surprising as this one that chance puts in this relation.
    pub ln_expected: f64,
}

/// Where and when a set of series is abnormal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    started_at: Nanos,
    last_seen_at: Nanos,
    /// Every service within reach, by hops; zero for the region's own.
    reach: BTreeMap<String, u8>,
    metrics: BTreeSet<String>,
    onsets: BTreeSet<Nanos>,
    /// Whether the graph knows at least one of its services.
    mapped: bool,
}

impl Region {
    pub fn of<'a>(tracks: impl Iterator<Item = &'a Track> + Clone, topology: &Topology) -> Self {
        let services: BTreeSet<&str> = tracks.clone().map(|t| t.signal.service.as_str()).collect();
        Self {
            started_at: tracks.clone().map(|t| t.signal.window_start).min().unwrap_or(Nanos::MAX),
            last_seen_at: tracks.clone().map(Track::last_seen_at).max().unwrap_or(Nanos::MIN),
            mapped: services.iter().any(|service| topology.knows(service)),
            reach: topology.reach(services),
            metrics: tracks.clone().map(|t| t.signal.metric.clone()).collect(),
            onsets: tracks.map(|t| t.onset_at).collect(),
        }
    }

    /// Whether the service is one of the region's own.
    pub fn holds(&self, service: &str) -> bool {
        self.reach.get(service) == Some(&0)
    }

    /// Widens the time covered to that of a track already inside.
    pub fn cover(&mut self, track: &Track) {
        self.started_at = self.started_at.min(track.signal.window_start);
        self.last_seen_at = self.last_seen_at.max(track.last_seen_at());
    }

    /// The nearest relation of `track` to this region, if there is any. What chance expects is of
    /// the one that it makes least often.
    pub fn link(&self, track: &Track, gap: Nanos, around: &Surroundings) -> Option<Link> {
        let watched = around.watched;
        let signal = &track.signal;
        let after = signal.window_start.saturating_sub(self.last_seen_at);
        let before = self.started_at.saturating_sub(signal.window_end);
        if after.max(before) > gap {
            return None;
        }
        let span = self.last_seen_at.saturating_sub(self.started_at).saturating_add(2 * gap) as f64;
        let windows = span / track.width as f64 + 1.0;
        let per_service = watched.per_service();
        let hops = self.reach.get(&signal.service).copied();
        let mut relations: Vec<(Relation, f64)> = Vec::new();
        let mut offer = |relation, chances: f64| relations.push((relation, chances));
        if let Some(hops) = hops {
            let near = self.reach.values().filter(|h| **h <= hops).count() as f64;
            let relation = if hops == 0 { Relation::Service } else { Relation::Hops(hops) };
            offer(relation, near * per_service * windows);
        }
        if self.metrics.contains(&signal.metric) {
            let alike = watched.services.max(1) as f64 * self.metrics.len() as f64;
            offer(Relation::Metric, alike * windows);
        }
        let unmapped = !self.mapped || !around.topology.knows(&signal.service);
        if unmapped && hops.is_none() && self.shares_onset(track) {
            let moments = self.onsets.len() as f64 * SAME_MOMENT_WINDOWS;
            offer(Relation::Onset, watched.series.max(1) as f64 * moments);
        }
        let chances = relations.iter().map(|(_, chances)| *chances).fold(f64::INFINITY, f64::min);
        Some(Link {
            relation: relations.iter().map(|(relation, _)| *relation).min()?,
            ln_expected: (RELATIONS * chances).ln() - around.surprise(track) * LN_10,
        })
    }

    fn shares_onset(&self, track: &Track) -> bool {
        let from = track.onset_at.saturating_sub(track.width);
        let to = track.onset_at.saturating_add(track.width);
        self.onsets.range(from..=to).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::CorrelateConfig;
    use super::super::samples::signal;
    use super::*;
    use crate::model::MINUTE;

    fn relation(topology: &Topology, a: (&str, &str, i64), b: (&str, &str, i64)) -> Option<Link> {
        let at = |(service, metric, minute)| Track::new(signal(service, metric, minute, 5.0), true);
        let around = Surroundings::new(CorrelateConfig::default(), topology.clone());
        Region::of([at(a)].iter(), topology).link(&at(b), 3 * MINUTE, &around)
    }

    #[test]
    fn each_relation() {
        let chain = Topology::of_static([("a", "b"), ("b", "c"), ("c", "d")]);
        let unknown = Topology::default();
        for (topology, service, metric, minute, expect) in [
            (&chain, "a", "memory", 10, Some(Relation::Service)),
            (&chain, "b", "memory", 10, Some(Relation::Hops(1))),
            (&chain, "c", "memory", 10, Some(Relation::Hops(2))),
            (&chain, "d", "memory", 10, None),
            (&chain, "d", "cpu", 10, Some(Relation::Metric)),
            (&chain, "b", "memory", 14, Some(Relation::Hops(1))),
            (&chain, "b", "memory", 15, None),
            (&chain, "stranger", "memory", 11, Some(Relation::Onset)),
            (&chain, "stranger", "memory", 12, None),
            (&unknown, "b", "memory", 11, Some(Relation::Onset)),
            (&unknown, "b", "memory", 12, None),
            (&unknown, "a", "memory", 12, Some(Relation::Service)),
        ] {
            let found = relation(topology, ("a", "cpu", 10), (service, metric, minute));
            assert_eq!(found.map(|l| l.relation), expect, "{service} {metric} {minute}");
        }
    }

    #[test]
    fn the_nearer_the_less_chance_explains() {
        let chain = Topology::of_static([("a", "b"), ("b", "c"), ("b", "e"), ("e", "f")]);
        let expected = |service| {
            relation(&chain, ("a", "cpu", 10), (service, "memory", 10)).map(|l| l.ln_expected)
        };
        assert!(expected("a") < expected("b"));
        assert!(expected("b") < expected("c"));
    }
}
