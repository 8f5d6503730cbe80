//! What an operator may set about incidents. The defaults need no tuning.

use serde::{Deserialize, Serialize};

use super::surroundings::Watched;
use crate::model::{MINUTE, Nanos};
use crate::monitor::interval_text;
use crate::monitor::notify::NotifyConfig;

/// Times are the least that apply; where windows are long, three of them count instead, so that
/// nothing depends on the sampling period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelateConfig {
    /// Abnormal windows this far apart still overlap in time.
    #[serde(with = "interval_text")]
    pub open_within: Nanos,
    /// For this long after it opened, every related onset is taken for its spreading; a later one
    /// may be a fault of its own.
    #[serde(with = "interval_text")]
    pub growth: Nanos,
    /// An incident ends when nothing in it was abnormal for this long; for twice as long if the
    /// one before had ended too early, up to sixteen times.
    #[serde(with = "interval_text")]
    pub resolve_after: Nanos,
    /// Incidents a day that noise may open; as many for every 50 services where more are watched.
    pub false_incidents_per_day: f64,
    /// A series is tied to an incident if chance puts fewer than this many like it there.
    pub coincidence: f64,
    /// The least score at which jobs raise signals.
    pub score_floor: f64,
    /// The highest score that one window is believed. No detector has learned from as many
    /// windows as 10 to a larger power: six is two years of minutes.
    pub credible_score: f64,
    /// Whether a critical signal opens an incident by itself.
    pub critical_opens: bool,
    /// Series and services watched, until the monitor is told.
    pub assumed: Watched,
    pub max_open_incidents: usize,
    pub max_series_per_incident: usize,
    /// Series that wait for an incident.
    pub max_pending: usize,
    /// Signals held back between two watermarks.
    pub max_buffered: usize,
    pub notify: NotifyConfig,
}

impl Default for CorrelateConfig {
    fn default() -> Self {
        Self {
            open_within: 3 * MINUTE,
            growth: 5 * MINUTE,
            resolve_after: 2 * MINUTE,
            false_incidents_per_day: 1.0,
            coincidence: 0.05,
            score_floor: 3.0,
            credible_score: 6.0,
            critical_opens: true,
            assumed: Watched { services: 50, series: 1000 },
            max_open_incidents: 256,
            max_series_per_incident: 256,
            max_pending: 512,
            max_buffered: 65_536,
            notify: NotifyConfig::default(),
        }
    }
}

/// Windows of a series that make up each of the times above where they are long.
const WINDOWS: i64 = 3;

impl CorrelateConfig {
    pub fn gap(&self, width: Nanos) -> Nanos {
        self.open_within.max(WINDOWS.saturating_mul(width))
    }

    pub fn growth(&self, width: Nanos) -> Nanos {
        self.growth.max(WINDOWS.saturating_mul(width))
    }

    /// `step` is the time between two windows of the series.
    pub fn hold(&self, step: Nanos) -> Nanos {
        self.resolve_after.max(WINDOWS.saturating_mul(step))
    }

    /// Says which key is wrong, why, and what to write.
    pub fn check(&self) -> Result<(), String> {
        let positive = |name: &str, value: f64| {
            (value > 0.0 && value.is_finite())
                .then_some(())
                .ok_or_else(|| format!("`{name}` is {value}; write a number above 0"))
        };
        positive("false_incidents_per_day", self.false_incidents_per_day)?;
        positive("coincidence", self.coincidence)?;
        positive("score_floor", self.score_floor)?;
        positive("credible_score", self.credible_score)?;
        if self.credible_score < self.score_floor {
            return Err("`credible_score` is below `score_floor`; write a larger one".into());
        }
        positive("assumed.services", self.assumed.services as f64)?;
        positive("assumed.series", self.assumed.series as f64)?;
        positive("max_open_incidents", self.max_open_incidents as f64)?;
        positive("max_series_per_incident", self.max_series_per_incident as f64)?;
        positive("max_pending", self.max_pending as f64)?;
        positive("max_buffered", self.max_buffered as f64)?;
        self.notify.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_fail_later_is_refused() {
        CorrelateConfig::default().check().unwrap();
        for (toml, word) in [
            ("credible_score = nan", "credible_score"),
            ("credible_score = inf", "credible_score"),
            ("credible_score = 2.0", "score_floor"),
            ("coincidence = nan", "coincidence"),
            ("notify.group_by = [\"clutser\"]", "clutser"),
            ("notify.group_by = [\"...\", \"services\"]", "services"),
            ("notify.inhibit_rules = [{ equal = [\"zone\"] }]", "zone"),
            ("notify.inhibit_rules = [{ source_matchers = [\"sverity=critical\"] }]", "sverity"),
        ] {
            let config: CorrelateConfig = toml::from_str(toml).unwrap();
            let problem = config.check().unwrap_err();
            assert!(problem.contains(word), "{toml}: {problem}");
        }
        let all: CorrelateConfig = toml::from_str("notify.group_by = [\"...\"]").unwrap();
        all.check().unwrap();
    }
}
