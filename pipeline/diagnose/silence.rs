//! Instances that stop reporting while the rest of the system goes on: crashed, or cut off.
//!
//! What a series owes is its own rate of samples in the baseline. Scrapes fail now and then, so a
//! sample that is missing is taken as one chance in ten, and surprises of samples that are missing
//! in a row add up.

use std::collections::BTreeMap;

use super::deviation::strength;
use super::evidence::{Evidence, Finding, Lane};
use super::telemetry::{Counts, Period, Series, Telemetry};

/// Fewest samples of baseline that show how often a series is sampled.
const MIN_SAMPLES: usize = 5;
/// Share of the samples that may fail to come.
const LATE: f64 = 0.5;
/// Most missing samples that are counted.
const SURPRISE_MAX: f64 = 12.0;

/// An instance that reports less than it used to.
pub struct Silence {
    pub service: usize,
    pub instance: String,
    /// Samples per series in the window.
    pub observed: f64,
    pub expected: f64,
    /// 0..1, less the part that instances which began to report in the window make up for.
    pub severity: f64,
}

/// Samples per series of one instance in the window; what began in the window owes nothing.
#[derive(Default)]
struct Reports {
    owed: Vec<(f64, f64)>,
    fresh: f64,
}

/// Instances without half of their samples whose logs and spans have stopped too, where there are
/// any. None where half of all instances are silent: then what collects the metrics has failed.
pub fn read(t: &Telemetry, services: &BTreeMap<&str, usize>) -> Vec<Silence> {
    let mut out = unsampled(&t.series, services, t.baseline, t.window);
    if !out.is_empty() {
        let alive = alive(t);
        out.retain(|s| {
            !alive.iter().any(|(v, i)| services.get(v) == Some(&s.service) && *i == s.instance)
        });
    }
    out
}

/// Service and instance of those that write logs or spans as usual: at least half as many as the
/// system's as a whole let expect.
fn alive(t: &Telemetry) -> Vec<(&str, &str)> {
    let mut events: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
    let lines = t.templates.iter().map(|l| (&l.service, &l.instance, l.baseline, l.window));
    let spans = t.spans.operations.iter();
    let spans = spans.map(|o| (&o.service, &o.instance, o.baseline.count, o.window.count));
    let mut all = Counts::default();
    for (service, instance, before, now) in lines.chain(spans) {
        for counts in [&mut all, events.entry((service, instance)).or_default()] {
            counts.baseline += before;
            counts.window += now;
        }
    }
    let usual = |c: &Counts| {
        c.window > 0
            && c.window as f64 * all.baseline as f64 >= LATE * c.baseline as f64 * all.window as f64
    };
    events.into_iter().filter(|(_, c)| usual(c)).map(|(key, _)| key).collect()
}

fn unsampled(
    series: &[Series],
    services: &BTreeMap<&str, usize>,
    baseline: Period,
    window: Period,
) -> Vec<Silence> {
    let mut instances: BTreeMap<(usize, &str), Reports> = BTreeMap::new();
    for s in series {
        let Some(&v) = services.get(s.service.as_str()) else { continue };
        let at = |ts: i64| s.points.partition_point(|p| p.0 < ts);
        let (from, split, to) = (at(baseline.from), at(window.from), at(window.to));
        let seen = (to - split) as f64;
        let reports = instances.entry((v, &s.instance)).or_default();
        match rate(&s.points[from..split], window) {
            Some(rate) => reports.owed.push((seen, rate)),
            None if from == split => reports.fresh = reports.fresh.max(seen),
            None => {}
        }
    }
    let fresh = |v: usize| -> f64 {
        let of = instances.iter().filter(|((w, _), r)| *w == v && r.owed.is_empty());
        of.map(|(_, r)| r.fresh).sum()
    };
    let reporting = instances.values().filter(|r| !r.owed.is_empty()).count();
    let mut out: Vec<Silence> = instances
        .iter()
        .filter_map(|((v, instance), r)| {
            let mut owed = r.owed.clone();
            owed.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
            let (observed, expected) = *owed.get(owed.len() / 2)?;
            let missing = expected - observed - fresh(*v);
            let silent = observed < LATE * expected && missing >= 1.0;
            silent.then(|| Silence {
                service: *v,
                instance: (*instance).to_owned(),
                observed,
                expected,
                severity: strength(missing.min(SURPRISE_MAX), services.len()),
            })
        })
        .collect();
    if 2 * out.len() > reporting {
        out.clear();
    }
    out
}

/// Samples that the window should hold, by the rate of the baseline; `None` where there are too
/// few to tell or where they had ended before.
fn rate(points: &[(i64, f64)], window: Period) -> Option<f64> {
    let (first, last) = (points.first()?.0, points.last()?.0);
    let length = window.to - window.from;
    if points.len() < MIN_SAMPLES || window.from - last > length {
        return None;
    }
    let step = (last - first) as f64 / (points.len() - 1) as f64;
    (step > 0.0).then(|| length as f64 / step)
}

impl Silence {
    pub fn finding(&self, service: &str, strength: f64) -> Finding {
        Finding {
            service: self.service,
            lane: Lane::Severity,
            strength,
            evidence: Evidence::Silence {
                service: service.to_owned(),
                instance: self.instance.clone(),
                observed: self.observed,
                expected: self.expected,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 60_000_000_000;

    fn series(service: &str, instance: &str, samples: std::ops::Range<i64>) -> Series {
        Series {
            service: service.to_owned(),
            instance: instance.to_owned(),
            metric: "cpu".to_owned(),
            labels: String::new(),
            is_rate: false,
            told: 0.0,
            points: samples.map(|i| (i * STEP, 1.0)).collect(),
        }
    }

    fn silent(series: &[Series]) -> Vec<String> {
        let services = BTreeMap::from([("api", 0), ("db", 1)]);
        let split = 60 * STEP;
        let window = Period { from: split, to: split + 5 * STEP };
        let found = unsampled(series, &services, Period { from: 0, to: split }, window);
        found.into_iter().filter(|s| s.severity > 0.3).map(|s| s.instance).collect()
    }

    #[test]
    fn who_stops_reporting_is_found() {
        let rest = [series("api", "api-0", 0..65), series("api", "api-1", 0..65)];
        let [a, b] = rest;
        assert_eq!(silent(&[a.clone(), b.clone(), series("db", "db-0", 0..60)]), ["db-0"]);
        assert!(silent(&[a.clone(), b.clone(), series("db", "db-0", 0..40)]).is_empty());
        let moved = [series("db", "db-0", 0..60), series("db", "db-1", 60..65)];
        let [old, new] = moved;
        assert!(silent(&[a, b, old, new]).is_empty());
    }

    #[test]
    fn a_pause_of_all_is_nobodys() {
        assert!(silent(&[series("api", "api-0", 0..60), series("db", "db-0", 0..60)]).is_empty());
    }
}
