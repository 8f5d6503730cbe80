//! Who is an independent witness, and who only repeats another.
//!
//! One witness is what one service says in its logs, or in its spans, or in metrics that changed by
//! the same factor at the same time: a usage and its share of a limit, three quantiles of one
//! latency, the two ends of a call are one measurement told several times. Names are not looked at:
//! with `r = ln(observed/expected)`, metrics of one service are *echoes* if their `r` differ by at
//! most a tenth. Replicas and jobs that look at the same metric are one witness in any case.

use std::collections::BTreeMap;

use super::track::Track;

/// Share by which the logarithms of two changes may differ and still be one change.
const ECHO: f64 = 0.1;

/// Logarithm of the largest change told apart; from or to nothing is such a one.
const CHANGE_MAX: f64 = 50.0;

/// The tracks, divided by witness.
pub fn witnesses<'a>(tracks: impl Iterator<Item = &'a Track>) -> Vec<Vec<&'a Track>> {
    let mut families: BTreeMap<(&str, &str, &str), Vec<&Track>> = BTreeMap::new();
    for track in tracks {
        let (kind, name) = family(&track.signal.metric);
        families.entry((&track.signal.service, kind, name)).or_default().push(track);
    }
    let mut witnesses = Vec::new();
    let mut metrics: BTreeMap<&str, Vec<(f64, Vec<&Track>)>> = BTreeMap::new();
    for ((service, kind, _), members) in families {
        if kind == METRIC {
            metrics.entry(service).or_default().push((change(&members), members));
        } else {
            witnesses.push(members);
        }
    }
    for mut told in metrics.into_values() {
        told.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut first = None;
        for (r, members) in told {
            let echo = first.is_some_and(|f: f64| (r - f).abs() <= ECHO * r.abs().max(f.abs()));
            match witnesses.last_mut().filter(|_| echo) {
                Some(witness) => witness.extend(members),
                None => {
                    first = Some(r);
                    witnesses.push(members);
                }
            }
        }
    }
    witnesses
}

pub const METRIC: &str = "metric";

/// Kind of telemetry, and what of it counts as one: all templates of a service, all operations.
pub fn family(metric: &str) -> (&str, &str) {
    match metric.split_once(':') {
        Some((kind @ ("log" | "span" | "samples"), _)) => (kind, ""),
        _ => (METRIC, metric),
    }
}

/// The change that the strongest of the tracks tells.
fn change(tracks: &[&Track]) -> f64 {
    let strongest = tracks
        .iter()
        .map(|t| &t.signal)
        .max_by(|a, b| a.score.total_cmp(&b.score).then(b.id.cmp(&a.id)));
    let Some(signal) = strongest else { return 0.0 };
    let r =
        (signal.observed.abs().ln() - signal.expected.abs().ln()).clamp(-CHANGE_MAX, CHANGE_MAX);
    if r.is_nan() { 0.0 } else { r }
}

#[cfg(test)]
mod tests {
    use super::super::samples::signal;
    use super::*;

    fn track(service: &str, metric: &str, observed: f64, expected: f64) -> Track {
        let signal = signal(service, metric, 5, 6.0);
        Track::new(crate::model::Signal { observed, expected, ..signal }, true)
    }

    #[test]
    fn one_change_told_in_several_units_is_one_witness() {
        let tracks = [
            track("a", "cpu", 0.8, 0.01),
            track("a", "cpu share", 80.0, 1.0),
            track("a", "memory", 42.0, 33.0),
            track("a", "errors", 5.0, 0.0),
            track("a", "log:17", 5.0, 1.0),
            track("a", "log:18", 900.0, 1.0),
            track("a", "span:GET:p95", 80.0, 1.0),
            track("b", "cpu", 0.8, 0.01),
            track("b", "cpu", 7.0, 6.0),
        ];
        let mut sizes: Vec<usize> = witnesses(tracks.iter()).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, 2, 2, 2]);
    }
}
