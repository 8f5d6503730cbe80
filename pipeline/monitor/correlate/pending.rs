//! Abnormal series that belong to no incident yet, and the rule by which one opens.
//!
//! A series waits for as long as it is abnormal and one gap more. One of which a job made a signal
//! opens an incident as its anchor
//! - at once, if its job calls it critical (`critical_opens`), or
//! - when noise would show a candidate like it, with the independent series that turned abnormal
//!   around it, less often than a tenth of the budget; see [`super::surprise`]. On synthetic
//!   systems this rule finds little that [`super::unrest`] does not, and brings half of all false
//!   incidents; but it is what sees a burst of many series at once.
//!
//! Several signals in one neighbourhood, one series that lasts and, where few series are watched,
//! one overwhelming signal all pass by the same rule. No single window of one series is believed
//! beyond `credible_score`: in a large system a lone spike needs a companion or has to last. What
//! one witness says several times counts once, by its strongest; see [`super::witness`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::CorrelateConfig;
use super::relation::Region;
use super::surprise::ln_false_per_day;
use super::surroundings::Surroundings;
use super::track::{SeriesKey, Track};
use super::witness::witnesses;
use crate::model::{DAY, Nanos, Severity};

/// Share of the budget of false incidents that this rule may use.
const BURSTS: f64 = 0.1;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    #[serde(with = "super::entries")]
    tracks: BTreeMap<SeriesKey, Track>,
}

impl Pending {
    pub fn get(&self, key: &SeriesKey) -> Option<&Track> {
        self.tracks.get(key)
    }

    pub fn get_mut(&mut self, key: &SeriesKey) -> Option<&mut Track> {
        self.tracks.get_mut(key)
    }

    pub fn keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.tracks.keys()
    }

    pub fn take(&mut self, key: &SeriesKey) -> Option<Track> {
        self.tracks.remove(key)
    }

    /// Adds a series; returns the least surprising one if that is one too many.
    pub fn insert(&mut self, key: SeriesKey, track: Track, max: usize) -> Option<Track> {
        self.tracks.insert(key, track);
        if self.tracks.len() <= max {
            return None;
        }
        let weakest = self.tracks.iter().min_by(|a, b| {
            a.1.signal.score.total_cmp(&b.1.signal.score).then_with(|| a.0.cmp(b.0))
        });
        let key = weakest.map(|(key, _)| key.clone())?;
        self.tracks.remove(&key)
    }

    /// When the next series has waited long enough.
    pub fn next_expiry(&self, config: &CorrelateConfig) -> Option<Nanos> {
        self.tracks.values().map(|track| expires_at(track, config)).min()
    }

    /// Removes the series whose wait has ended by `now`.
    pub fn expire(&mut self, now: Nanos, config: &CorrelateConfig) -> Vec<Track> {
        let over = self.tracks.extract_if(.., |_, track| expires_at(track, config) <= now);
        over.map(|(_, track)| track).collect()
    }

    /// The strongest series that may open an incident now.
    pub fn opening(&self, around: &Surroundings) -> Option<SeriesKey> {
        let mut candidates: Vec<(&SeriesKey, &Track)> = self.tracks.iter().collect();
        candidates.sort_by(|a, b| {
            b.1.signal.score.total_cmp(&a.1.signal.score).then_with(|| a.0.cmp(b.0))
        });
        let announced = candidates.into_iter().filter(|(_, track)| track.announced);
        let found = { announced }.find(|(_, track)| self.opens(track, around));
        found.map(|(key, _)| key.clone())
    }

    fn opens(&self, anchor: &Track, around: &Surroundings) -> bool {
        if around.config.critical_opens && anchor.signal.severity == Severity::Critical {
            return true;
        }
        let config = &around.config;
        let windows_per_day =
            around.watched.series.max(1) as f64 * DAY as f64 / anchor.width as f64;
        let mut companions = self.companions(anchor, around);
        ln_false_per_day(
            windows_per_day,
            around.surprise(anchor),
            config.score_floor,
            &mut companions,
        ) <= (BURSTS * around.budget()).ln()
    }

    /// ln of the number expected by chance, for each independent witness around the anchor.
    fn companions(&self, anchor: &Track, around: &Surroundings) -> Vec<f64> {
        let region = Region::of([anchor].into_iter(), &around.topology);
        let near = self.tracks.values().filter(|track| {
            track.announced
                && track.signal.cluster == anchor.signal.cluster
                && around.overlap(anchor, track)
        });
        let expected = |witness: Vec<&Track>| {
            if witness.iter().any(|track| std::ptr::eq(*track, anchor)) {
                return None;
            }
            let gap = |track: &Track| around.config.gap(track.width.max(anchor.width));
            let links = witness.iter().filter_map(|track| region.link(track, gap(track), around));
            links.map(|link| link.ln_expected).min_by(f64::total_cmp)
        };
        witnesses(near).into_iter().filter_map(expected).collect()
    }
}

fn expires_at(track: &Track, config: &CorrelateConfig) -> Nanos {
    track.last_seen_at().saturating_add(config.gap(track.width)).saturating_add(1)
}
