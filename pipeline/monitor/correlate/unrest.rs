//! What the series of one service say together, over several windows.
//!
//! A fault that no single window proves shows itself by lasting and by more than one symptom. All
//! windows with a score s of at least 2 count, whether or not their job made a signal of them. For
//! each series, with d the windows since the last one that counted,
//!
//! ```text
//! run     e = ρ^d · e + min(s, credible) − 1.5         (ρ = 0.7; 0 where the direction changed)
//! unrest  J = the two largest e of a service at one moment, of different kinds, added
//! ```
//!
//! The first is Page's cumulative sum of log-likelihood ratios: a window ten times rarer than one
//! in thirty adds a decade; it forgets, so that what lasts hours is no stronger than what lasts
//! minutes. The second is the rank truncated product of p-values: it asks for two symptoms and
//! does not add up what one change does to many metrics. All replicas of a metric are one kind, as
//! are all log lines and all spans of a service.
//!
//! Neither law is known where series depend on each other, so the rate of vain J was measured: on
//! 24 synthetic systems of 5 to 40 services, a day of 50 services shows one service of at least
//! `ONE_A_DAY`, and ten times as many for each `DECADE` less. A service opens an incident where
//! that makes fewer than the budget allows: with a budget of one a day, six synthetic systems
//! without faults opened 14 in 13.8 days. Where samples are an hour apart that many are noise with
//! next to no unrest at all; it can then be no rarer than its windows alone are, of which each
//! series shows `10^−s` that are at least as strong, and the larger number counts. Series that cry
//! in vain are discounted before they are added, see [`super::credibility`].
//!
//! A single series has to show a window that a job would tell: one symptom that no window proves is
//! no incident. A third of NAB's false episodes were such, and two of its 57 faults; no incident of
//! Nezha changes with it.
//!
//! A service of which only logs or only spans are known has one kind. So the strongest runs of two
//! services count together as well, if both have shown such a window and one calls the other, or,
//! where the graph knows neither, if both began at the same moment. There are as many more chances
//! for such a pair as the service has neighbours, or as a third of the services: to begin together
//! is about so much rarer than to overlap.
//!
//! A kind that was part of an earlier incident of the service counts `KNOWN` more: that a fault of
//! two such kinds comes back is taken to be ten times as likely as a new one, see [`super::known`].
//! Of 240 synthetic faults that come back, 221 were found instead of 168, at no more false
//! incidents.
//!
//! Sources: E. S. Page, Biometrika 41 (1954); F. Dudbridge and B. P. C. Koeleman, Genetic
//! Epidemiology 25 (2003).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::surroundings::{Surroundings, Watched};
use super::track::{SeriesKey, Track};
use super::witness::family;
use crate::model::{DAY, MINUTE, Nanos, Signal};
use crate::monitor::topology::Topology;

/// Least score of a window that counts: one in a hundred.
const FLOOR: f64 = 2.0;

/// Score that says neither yes nor no.
const USUAL: f64 = 1.5;

/// What is left of a run after one window that does not count.
const MEMORY: f64 = 0.7;

/// Kinds of series that are added.
const KINDS: usize = 2;

/// Unrest that a day of fifty services with windows of a minute shows once without a fault.
const ONE_A_DAY: f64 = 13.0;

/// Unrest by which ten times fewer get there.
const DECADE: f64 = 5.0;

/// Added to what a kind counts that is known: a decade for two of them.
const KNOWN: f64 = DECADE / 2.0;

/// Services to which that refers.
const SERVICES: f64 = 50.0;

/// Runs that overlap with one, for each that begins at its moment.
const TOGETHER: u64 = 3;

/// Windows without anything after which a run is over.
const PAUSE: f64 = 3.0;

/// Runs followed at most; further ones are left out until others end.
const MAX_RUNS: usize = 65_536;

/// Consecutive abnormal windows of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    evidence: f64,
    /// End of the first window.
    onset_at: Nanos,
    /// End of the last window, and the time between two.
    until: Nanos,
    step: Nanos,
    /// The strongest window so far.
    signal: Signal,
    /// A job made a signal of one of its windows.
    announced: bool,
    /// One of its windows was a signal, or could have been.
    told: bool,
    /// It has opened or joined an incident.
    spent: bool,
}

/// How a window of a series is heard.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Its score, as far as it is believed.
    pub score: f64,
    /// Time to the next window of the series.
    pub step: Nanos,
    /// A job made a signal of it.
    pub announced: bool,
    /// Or its score is one that jobs make signals of.
    pub told: bool,
}

/// A series that makes a service restless, as a track.
pub struct Restless {
    pub key: SeriesKey,
    pub track: Track,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unrest {
    #[serde(with = "super::entries")]
    runs: BTreeMap<SeriesKey, Run>,
}

impl Unrest {
    /// Takes in a window of a series.
    pub fn feed(&mut self, signal: &Signal, heard: Heard) {
        let Heard { score, step, .. } = heard;
        if score < FLOOR {
            return;
        }
        let key = SeriesKey::of(signal);
        let gain = score - USUAL;
        let Some(run) = self.runs.get_mut(&key) else {
            if self.runs.len() < MAX_RUNS {
                self.runs.insert(key, Run::new(signal, heard));
            }
            return;
        };
        let pause = (signal.window_end - run.until) as f64 / step.max(1) as f64;
        let turned = signal.direction != run.signal.direction;
        if pause > PAUSE || turned {
            *run = Run::new(signal, heard);
            return;
        }
        if signal.window_start >= run.until {
            run.evidence = run.evidence * MEMORY.powf(pause) + gain;
            run.until = signal.window_end;
            run.step = step;
        } else {
            run.evidence = run.evidence.max(gain);
            run.until = run.until.max(signal.window_end);
        }
        run.announced |= heard.announced;
        run.told |= heard.told;
        if signal.score > run.signal.score {
            run.signal.clone_from(signal);
        }
    }

    /// The series belongs to an incident for as long as its run lasts.
    pub fn spend(&mut self, key: &SeriesKey) {
        if let Some(run) = self.runs.get_mut(key) {
            run.spent = true;
        }
    }

    /// The service, or the two, at which noise alone would be as restless as at `at` least often,
    /// and less often than the budget allows: the strongest series, best first.
    pub fn opening(
        &mut self,
        at: Nanos,
        around: &Surroundings,
        known: impl Fn(&SeriesKey) -> bool,
    ) -> Option<Vec<Restless>> {
        self.runs.retain(|_, run| (at - run.until) as f64 <= PAUSE * run.step as f64);
        let places = self.places(at, known);
        let heard = |voices: &&Vec<Voice>| voices.len() == KINDS || voices.iter().any(is_told);
        let alone = places.values().filter(heard).map(|voices| (1.0, voices.clone()));
        let pairs = places.keys().filter_map(|place| pair(place, &places, around));
        let restless = alone.chain(pairs).map(|(chances, voices)| {
            let expected = chances * false_per_day(&voices, around.watched);
            (expected, voices)
        });
        let (expected, voices) = restless.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let found = |voice: Voice| Restless { key: voice.key.clone(), track: voice.run.track() };
        (expected <= around.budget()).then(|| voices.into_iter().map(found).collect())
    }

    /// The strongest runs at `at` of each service, of different kinds, best first.
    fn places(&self, at: Nanos, known: impl Fn(&SeriesKey) -> bool) -> Places<'_> {
        let mut places = Places::new();
        for (key, run) in &self.runs {
            if !run.spent && at - run.until < run.step {
                let weight = run.evidence + if known(key) { KNOWN } else { 0.0 };
                let place = (key.cluster.as_str(), key.service.as_str());
                places.entry(place).or_default().push(Voice { weight, key, run });
            }
        }
        for voices in places.values_mut() {
            voices.sort_by(Voice::order);
            let mut kinds = BTreeSet::new();
            voices.retain(|v| kinds.insert(family(&v.key.metric)) && kinds.len() <= KINDS);
        }
        places
    }
}

/// A run that counts now, and how much.
#[derive(Clone, Copy)]
struct Voice<'a> {
    weight: f64,
    key: &'a SeriesKey,
    run: &'a Run,
}

impl Voice<'_> {
    /// The strongest first.
    fn order(a: &Self, b: &Self) -> Ordering {
        b.weight.total_cmp(&a.weight).then_with(|| a.key.cmp(b.key))
    }
}

fn is_told(voice: &Voice) -> bool {
    voice.run.told
}

/// By cluster and service.
type Places<'a> = BTreeMap<(&'a str, &'a str), Vec<Voice<'a>>>;

/// The strongest run of a service and that of a weaker neighbour, and how many neighbours it has.
fn pair<'a>(
    place: &(&str, &str),
    places: &Places<'a>,
    around: &Surroundings,
) -> Option<(f64, Vec<Voice<'a>>)> {
    let (cluster, service) = *place;
    let graph: &Topology = &around.topology;
    let own = places[place].iter().find(|voice| is_told(voice))?;
    let near: BTreeSet<&str> = graph.callers(service).chain(graph.callees(service)).collect();
    let mapped = graph.knows(service);
    let chances = if mapped { near.len() as u64 } else { around.watched.services / TOGETHER };
    let others = places.iter().filter(|((elsewhere, other), _)| {
        let related = if mapped { near.contains(other) } else { !graph.knows(other) };
        *elsewhere == cluster && *other != service && related
    });
    let told = others.filter_map(|(_, voices)| voices.iter().find(|voice| is_told(voice)));
    let apart = |voice: &Voice| (voice.run.onset_at - own.run.onset_at).abs();
    let together = told.filter(|voice| mapped || apart(voice) <= own.run.step);
    let best = together.min_by(|a, b| Voice::order(a, b))?;
    Voice::order(own, best).is_lt().then(|| (chances.max(1) as f64, vec![*own, *best]))
}

impl Run {
    fn new(signal: &Signal, heard: Heard) -> Self {
        let Heard { score, step, announced, told } = heard;
        let (signal, until) = (signal.clone(), signal.window_end);
        let evidence = score - USUAL;
        Self { evidence, onset_at: until, until, step, signal, announced, told, spent: false }
    }

    fn track(&self) -> Track {
        let mut track = Track::begun(self.signal.clone(), self.onset_at, self.until, self.step);
        track.announced = self.announced;
        track.restless = true;
        track
    }
}

/// Incidents a day that services with runs like these would open by noise.
fn false_per_day(voices: &[Voice], watched: Watched) -> f64 {
    let unrest: f64 = voices.iter().map(|voice| voice.weight).sum();
    let step = voices.iter().map(|voice| voice.run.step).min().unwrap_or(MINUTE).max(1);
    let places = watched.services.max(1) as f64 / SERVICES * MINUTE as f64 / step as f64;
    let windows = watched.series.max(1) as f64 * DAY as f64 / step as f64;
    let alone = windows * 10f64.powf(-(unrest + USUAL));
    alone.max(places * 10f64.powf((ONE_A_DAY - unrest) / DECADE))
}

#[cfg(test)]
mod tests {
    use super::super::config::CorrelateConfig;
    use super::super::samples::signal;
    use super::*;

    /// Fifty services, and `budget` false incidents a day.
    fn around(budget: f64, calls: &[(&str, &str)]) -> Surroundings {
        let config = CorrelateConfig { false_incidents_per_day: budget, ..Default::default() };
        let watched = Watched { services: 50, series: 50 };
        let graph = Topology::of_static(calls.iter().copied());
        Surroundings { watched, ..Surroundings::new(config, graph) }
    }

    /// Whether an incident opens at this minute with any budget.
    fn opens(unrest: &Unrest, minute: i64) -> bool {
        unrest.clone().opening(minute * MINUTE, &around(1e9, &[]), |_| false).is_some()
    }

    /// The unrest at which the service would open at this moment, by bisection over budgets.
    fn expected(unrest: &Unrest, minute: i64) -> f64 {
        expected_among(unrest, minute, &[])
    }

    fn expected_among(unrest: &Unrest, minute: i64, calls: &[(&str, &str)]) -> f64 {
        let (mut low, mut high) = (-9.0, 9.0);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            let around = around(10f64.powf(middle), calls);
            let opens = unrest.clone().opening(minute * MINUTE, &around, |_| false).is_some();
            if opens { high = middle } else { low = middle }
        }
        ONE_A_DAY - DECADE * high
    }

    fn fed(windows: &[(&str, &str, i64, f64)]) -> Unrest {
        let mut unrest = Unrest::default();
        for (metric, direction, minute, score) in windows {
            let one =
                Signal { direction: (*direction).into(), ..signal("a", metric, *minute, *score) };
            unrest.feed(&one, heard(*score, MINUTE));
        }
        unrest
    }

    /// No signal, but of a score that is one from 3 on.
    fn heard(score: f64, step: Nanos) -> Heard {
        Heard { score, step, announced: false, told: score >= 3.0 }
    }

    #[test]
    fn windows_of_a_series_add_up_and_fade() {
        let run = [("cpu", "up", 1, 5.0), ("cpu", "up", 2, 5.0), ("cpu", "up", 4, 3.0)];
        assert!((expected(&fed(&run[..1]), 1) - 3.5).abs() < 1e-6);
        assert!((expected(&fed(&run[..2]), 2) - (0.7 * 3.5 + 3.5)).abs() < 1e-6);
        assert!((expected(&fed(&run), 4) - (0.49 * 5.95 + 1.5)).abs() < 1e-6);
        assert!(!opens(&fed(&run), 5), "calm now");
        let turned = [("cpu", "up", 1, 5.0), ("cpu", "down", 2, 5.0)];
        assert!((expected(&fed(&turned), 2) - 3.5).abs() < 1e-6);
    }

    #[test]
    fn an_hour_that_is_a_little_unusual_opens_nothing_where_many_are_watched() {
        const HOUR: i64 = 60 * MINUTE;
        let opens = |score: f64, series: u64| {
            let mut unrest = Unrest::default();
            unrest.feed(&signal("a", "cpu", 60, score), heard(score, HOUR));
            let watched = Watched { services: 10, series };
            let around = Surroundings { watched, ..around(1.0, &[]) };
            unrest.opening(HOUR, &around, |_| false).is_some()
        };
        assert!(opens(3.0, 10) && !opens(3.0, 100), "ten series, a hundred");
        assert!(opens(4.0, 100));
    }

    #[test]
    fn the_two_strongest_kinds_count() {
        let kinds = [("cpu", "up", 1, 5.0), ("log:1", "up", 1, 4.0), ("log:2", "up", 1, 4.5)];
        assert!((expected(&fed(&kinds), 1) - (3.5 + 3.0)).abs() < 1e-6);
        let more = [&kinds[..], &[("memory", "up", 1, 4.0)]].concat();
        assert!((expected(&fed(&more), 1) - (3.5 + 3.0)).abs() < 1e-6);
        assert!(!opens(&fed(&[("cpu", "up", 1, 1.9)]), 1));
    }

    #[test]
    fn one_series_must_show_a_window_that_is_told() {
        let opened = |windows: &[(&str, &str, i64, f64)]| {
            let now = windows.iter().map(|w| w.2).max().unwrap();
            opens(&fed(windows), now)
        };
        let run = [1, 2, 3].map(|minute| ("cpu", "up", minute, 2.9));
        assert!(!opened(&run));
        assert!(opened(&[&run[..], &[("cpu", "up", 4, 3.0), ("cpu", "up", 5, 2.9)]].concat()));
        assert!(opened(&[&run[..], &[("memory", "up", 3, 2.1)]].concat()));
        assert!(!opened(&[&run[..], &[("cpu", "down", 3, 2.9)]].concat()), "the same turned round");
    }

    #[test]
    fn what_belongs_to_an_incident_opens_no_other() {
        let mut unrest = fed(&[("cpu", "up", 1, 6.0)]);
        let opened = unrest.opening(MINUTE, &around(1e9, &[]), |_| false).unwrap();
        unrest.spend(&opened[0].key);
        assert!(!opens(&unrest, 1));
        unrest.feed(&signal("a", "cpu", 2, 6.0), heard(6.0, MINUTE));
        assert!(!opens(&unrest, 2), "the same run");
        unrest.feed(&signal("a", "cpu", 9, 6.0), heard(6.0, MINUTE));
        assert!(opens(&unrest, 9), "a new one");
    }

    #[test]
    fn two_services_with_one_kind_each_count_together_if_they_are_neighbours() {
        let pair = |minutes: [i64; 2], scores: [f64; 2]| {
            let mut unrest = Unrest::default();
            for (service, at, score) in [("a", 0, scores[0]), ("b", 1, scores[1])] {
                for minute in minutes[at]..=4 {
                    let one = signal(service, "span:get:p95", minute, score);
                    unrest.feed(&one, heard(score, MINUTE));
                }
            }
            unrest
        };
        let (same, later) = (pair([4, 4], [6.0, 5.0]), pair([2, 4], [6.0, 5.0]));
        let calls = [("a", "b"), ("a", "c")];
        let both = |neighbours: f64| 4.5 + 3.5 - DECADE * neighbours.log10();
        let alone = |unrest: &Unrest| expected_among(unrest, 4, &[("a", "c"), ("b", "d")]);
        assert!((alone(&same) - 4.5).abs() < 1e-6);
        assert!((expected_among(&same, 4, &calls) - both(2.0)).abs() < 1e-6);
        assert!((alone(&later) - (0.49 * 4.5 + 0.7 * 4.5 + 4.5)).abs() < 1e-6);
        let strong = 0.49 * 4.5 + 0.7 * 4.5 + 4.5 + 3.5 - DECADE * 2f64.log10();
        assert!((expected_among(&later, 4, &calls) - strong).abs() < 1e-6);
        assert!((expected(&later, 4) - alone(&later)).abs() < 1e-6, "unknown, and not together");
        let weak = pair([4, 4], [6.0, 2.9]);
        assert!((expected_among(&weak, 4, &calls) - 4.5).abs() < 1e-6, "not told");
        // Of three services, none of which the graph knows, the other one is the only chance.
        let opens = |unrest: &Unrest, budget: f64| {
            let watched = Watched { services: 3, series: 3 };
            let around = Surroundings { watched, ..around(budget, &[]) };
            unrest.clone().opening(4 * MINUTE, &around, |_| false).is_some_and(|s| s.len() == 2)
        };
        let enough = 3.0 / SERVICES * 10f64.powf((ONE_A_DAY - 8.0) / DECADE);
        assert!(opens(&same, 1.01 * enough) && !opens(&same, 0.99 * enough));
        assert!(!opens(&later, 1e9), "not together");
    }
}
