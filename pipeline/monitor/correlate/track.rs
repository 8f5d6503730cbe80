//! One series of one job for as long as it stays abnormal: repeated signals become one.

use serde::{Deserialize, Serialize};

use crate::model::{Nanos, SECOND, Signal};

/// Scores above this carry no further meaning: 10^−300 is where a probability in `f64` ends.
pub const MAX_SCORE: f64 = 300.0;

/// Signal ids that one waiting series remembers until it is known where they belong.
pub const MAX_UNSETTLED: usize = 64;

/// Chance that an abnormal window is followed by another one of the same series by noise alone.
///
/// Neighbouring windows are not independent; one half claims nothing either way.
const CONTINUATION: f64 = 0.5;

/// What makes two signals the same alert at different times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    pub cluster: String,
    pub service: String,
    pub instance: String,
    pub metric: String,
    pub job: String,
}

impl SeriesKey {
    pub fn of(signal: &Signal) -> Self {
        Self {
            cluster: signal.cluster.clone(),
            service: signal.service.clone(),
            instance: signal.instance.clone(),
            metric: signal.metric.clone(),
            job: signal.job.clone(),
        }
    }

    /// Cluster and service.
    pub fn place(&self) -> (String, String) {
        (self.cluster.clone(), self.service.clone())
    }
}

/// A series that is, or lately was, abnormal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Id of the first signal, values of the strongest, window from the first start to the last
    /// end.
    pub signal: Signal,
    /// When the first signal became known: the onset as seen from outside.
    pub onset_at: Nanos,
    /// Width of a window, or the time between two where that is more; at least one second.
    pub width: Nanos,
    /// Abnormal windows that share no data.
    windows: u32,
    /// End of the last window counted in `windows`.
    counted_until: Nanos,
    /// A job made a signal of one of its windows.
    pub announced: bool,
    /// It opened an incident by windows of which some are no signals: such go on with it.
    pub restless: bool,
    /// Ids of signals of which nobody has been told yet where they belong.
    pub unsettled: Vec<String>,
    /// More than chance connects it with its incident; see
    /// [`OpenIncident`](super::incident::OpenIncident).
    pub binding: bool,
}

impl Track {
    /// `announced` is false for a series that only goes on being abnormal, without a new signal.
    pub fn new(mut signal: Signal, announced: bool) -> Self {
        signal.score = signal.score.clamp(0.0, MAX_SCORE);
        Self {
            onset_at: signal.window_end,
            width: (signal.window_end - signal.window_start).max(SECOND),
            windows: 1,
            counted_until: signal.window_end,
            announced,
            restless: false,
            unsettled: if announced { vec![signal.id.clone()] } else { Vec::new() },
            binding: false,
            signal,
        }
    }

    /// A series whose run of windows, `step` apart, lasts until now and was told to nobody.
    pub fn begun(mut signal: Signal, onset_at: Nanos, until: Nanos, step: Nanos) -> Self {
        let width = signal.window_end - signal.window_start;
        signal.window_start = signal.window_start.min(onset_at - width);
        signal.window_end = signal.window_end.max(until);
        let counted_until = signal.window_end;
        Self { onset_at, width: width.max(step), counted_until, ..Self::new(signal, false) }
    }

    /// Takes in another abnormal window of the series; returns whether the peak rose.
    pub fn extend(&mut self, next: &Signal) -> bool {
        if next.window_start >= self.counted_until {
            self.windows = self.windows.saturating_add(1);
            self.counted_until = next.window_end;
        }
        let kept = &mut self.signal;
        kept.window_start = kept.window_start.min(next.window_start);
        kept.window_end = kept.window_end.max(next.window_end);
        kept.severity = kept.severity.max(next.severity);
        let rose = next.score > kept.score;
        if rose {
            kept.score = next.score.min(MAX_SCORE);
            kept.observed = next.observed;
            kept.expected = next.expected;
            kept.direction.clone_from(&next.direction);
            kept.predicted = next.predicted;
            kept.detail.clone_from(&next.detail);
        }
        rose
    }

    /// Surprise of the whole run of windows: the peak, as far as one window is believed, and what
    /// its persistence adds.
    pub fn surprise(&self, credible: f64) -> f64 {
        let persistence = -CONTINUATION.log10() * f64::from(self.windows - 1);
        (self.signal.score.min(credible) + persistence).min(MAX_SCORE)
    }

    /// When it turned abnormal. A forecast looks at hours that were as usual; what it foretells
    /// begins when it is known.
    pub fn began_at(&self) -> Nanos {
        if self.signal.predicted { self.onset_at } else { self.signal.window_start }
    }

    pub fn last_seen_at(&self) -> Nanos {
        self.signal.window_end
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::signal;
    use super::*;
    use crate::model::MINUTE;

    #[test]
    fn repeats_keep_the_first_id_and_the_highest_peak() {
        let mut track = Track::new(signal("a", "cpu", 1, 4.0), true);
        assert!(track.extend(&signal("a", "cpu", 2, 6.0)));
        assert!(!track.extend(&signal("a", "cpu", 3, 5.0)));
        assert_eq!(track.signal.id, signal("a", "cpu", 1, 4.0).id);
        assert_eq!(track.signal.score, 6.0);
        assert_eq!((track.signal.window_start, track.signal.window_end), (0, 3 * MINUTE));
        assert_eq!(track.onset_at, MINUTE);
    }

    #[test]
    fn a_forecast_begins_when_it_is_known() {
        let mut signal = signal("a", "disk", 240, 4.0);
        signal.window_start = 0;
        let track = Track::new(signal.clone(), true);
        assert_eq!(track.began_at(), 0);
        signal.predicted = true;
        assert_eq!(Track::new(signal, true).began_at(), 240 * MINUTE);
    }

    #[test]
    fn only_windows_that_share_no_data_add_persistence() {
        let mut track = Track::new(signal("a", "cpu", 1, 4.0), true);
        let once = track.surprise(6.0);
        track.extend(&signal("a", "cpu", 1, 4.0));
        assert_eq!(track.surprise(6.0), once);
        track.extend(&signal("a", "cpu", 2, 4.0));
        assert!((track.surprise(6.0) - once - 2f64.log10()).abs() < 1e-12);
    }
}
