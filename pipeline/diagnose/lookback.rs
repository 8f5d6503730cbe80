//! How much history a ranking wants, so that a capture can keep that much and no more.

use super::deviation;
use super::readings::MAX_BASELINE;
use super::telemetry::{Control, Period};

/// Length of the abnormal window where nothing else is said, nanoseconds.
pub const WINDOW_NS: i64 = 300_000_000_000;
/// Metrics are looked back at for a day at most: a full cycle of load.
pub const METRICS_NS_MAX: i64 = 86_400_000_000_000;
/// Logs and spans change with every release and are large.
pub const EVENTS_NS_MAX: i64 = 3_600_000_000_000;
/// Samples that a window of the default length holds at the usual minute's sampling; where
/// sampling is coarser the window grows to hold as many.
const WINDOW_SAMPLES: i64 = 5;

/// The abnormal window from `at`: `wanted` long, or longer where the metrics are so coarse that
/// it would hold fewer samples than usual.
pub fn window(at: i64, wanted: i64, sampling: i64) -> Period {
    Period { from: at, to: at + wanted.max(WINDOW_SAMPLES * sampling) }
}

/// The baseline of metrics before a window: as many samples as are read, at most a day. It is
/// long, and read by median and quartiles, so earlier incidents may stay in it: they tell how far
/// a series moves at all.
pub fn metrics(window: Period, sampling: i64) -> Period {
    let (at, sampling) = (window.from, sampling.max(1));
    let block = deviation::block(((window.to - at) / sampling).max(1) as usize);
    let wanted = sampling.saturating_mul((MAX_BASELINE * block) as i64);
    Period { from: at - wanted.min(METRICS_NS_MAX), to: at }
}

/// Events of the control per event of the window. A comparison with four controls per case is four
/// fifths as efficient as one with any number (Ury, Biometrics 1975); a longer control buys little,
/// and may hold an earlier fault or another release.
const CONTROLS: u64 = 4;

/// The baseline of logs and spans before the window: a matched control, the stretch just before
/// (same release, same load, same time of day), as long as the window, and doubled until it holds
/// [`CONTROLS`] times as many events. `count` tells the events of a period. What happened during
/// earlier `incidents` is left out, unless nothing else is left.
pub fn events(window: Period, incidents: &[Period], count: impl Fn(Period) -> u64) -> Control {
    let wanted = CONTROLS * count(window);
    let mut length = (window.to - window.from).min(EVENTS_NS_MAX);
    loop {
        let whole = Period { from: window.from - length, to: window.from };
        let oldest = window.from - EVENTS_NS_MAX;
        let control = Control::before(window.from, length, oldest, incidents);
        let control = control.unwrap_or_else(|| whole.into());
        let events: u64 = control.periods().iter().map(|period| count(*period)).sum();
        if length >= EVENTS_NS_MAX || events >= wanted {
            return control;
        }
        length = (2 * length).min(EVENTS_NS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MINUTE;

    #[test]
    fn a_control_is_a_larger_sample_than_the_window() {
        let window = Period { from: 0, to: WINDOW_NS };
        let length = |per_minute: u64| {
            let count = |p: Period| match p.to > 0 {
                true => 100,
                false => ((p.to - p.from) / MINUTE) as u64 * per_minute,
            };
            let control = events(window, &[], count);
            control.periods().iter().map(|p| (p.to - p.from) / MINUTE).sum::<i64>()
        };
        assert_eq!([length(80), length(40), length(25), length(3)], [5, 10, 20, 60]);
    }
}
