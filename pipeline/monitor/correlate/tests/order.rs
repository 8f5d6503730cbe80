//! The result depends on what happened and when, on nothing else.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SERVICES: [&str; 7] = ["front", "cart", "db", "mail", "relay", "far", "unknown"];

/// Two hours with bursts of signals, so that incidents open, merge and close.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let input = (0..SERVICES.len(), 0..4u8, 0..8i64, 0..5i64, 3.0..15.0f64, 0..6u8);
    prop::collection::vec(input, 0..60).prop_map(|raw| {
        let mut seen = BTreeSet::new();
        let each = raw.into_iter().filter_map(|(service, metric, burst, minute, score, kind)| {
            let minute = 3 + burst * 13 + minute;
            let series = (service, metric, minute);
            let signal = signal(SERVICES[service], &format!("m{metric}"), minute, score);
            seen.insert(series).then_some(match kind {
                0 => Input::Ongoing(signal),
                1 => Input::Edges {
                    at: signal.window_end,
                    edges: vec![(signal.service, SERVICES[metric as usize].to_owned())],
                },
                _ => Input::Signal(signal),
            })
        });
        each.collect()
    })
}

fn feed(correlator: &mut Correlator, inputs: &[Input], watermarks: &[i64]) -> Vec<Output> {
    let at = |input: &Input| match input {
        Input::Signal(signal) | Input::Ongoing(signal) => signal.window_end,
        Input::Edges { at, .. } => *at,
        _ => 0,
    };
    let mut outputs = Vec::new();
    let mut from = Nanos::MIN;
    for minute in watermarks {
        let to = minute * MINUTE;
        for input in inputs.iter().filter(|input| (from + 1..=to).contains(&at(input))) {
            outputs.extend(correlator.step(input.clone()));
        }
        outputs.extend(correlator.step(Input::Watermark(to)));
        from = to;
    }
    outputs
}

const END: i64 = 140;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_and_watermarks_do_not_matter(
        (inputs, shuffled) in inputs().prop_flat_map(|i| (Just(i.clone()), Just(i).prop_shuffle())),
        mut cuts in prop::collection::btree_set(0..END, 0..20),
    ) {
        let every: Vec<i64> = (0..=END).collect();
        let expect = feed(&mut Correlator::new(config(), shop()), &inputs, &every);
        cuts.insert(END);
        let cuts: Vec<i64> = cuts.into_iter().collect();
        let found = feed(&mut Correlator::new(config(), shop()), &shuffled, &cuts);
        prop_assert_eq!(expect, found);
    }

    #[test]
    fn a_restored_checkpoint_goes_on_as_if_nothing_had_happened(
        inputs in inputs(), stop in 0..END,
    ) {
        let mut whole = Correlator::new(config(), shop());
        let before: Vec<i64> = (0..=stop).collect();
        let after: Vec<i64> = (stop + 1..=END).collect();
        feed(&mut whole, &inputs, &before);
        // Also what is buffered must survive.
        let early = inputs.len() / 2;
        let rest: Vec<Input> = inputs.iter().filter(|i| match i {
            Input::Signal(s) | Input::Ongoing(s) => s.window_end > stop * MINUTE,
            _ => false,
        }).cloned().collect();
        let (now, later) = rest.split_at(early.min(rest.len()));
        for input in now {
            whole.step(input.clone());
        }
        let bytes = serde_json::to_vec(&whole).unwrap();
        let mut restored: Correlator = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&restored, &whole);
        let expect = feed(&mut whole, later, &after);
        prop_assert_eq!(expect, feed(&mut restored, later, &after));
    }

    #[test]
    fn no_signal_and_no_incident_is_lost_or_twice(inputs in inputs()) {
        let mut correlator = Correlator::new(config(), shop());
        // A series that is seldom heard waits long.
        let every: Vec<i64> = (0..=3 * END).collect();
        let outputs = feed(&mut correlator, &inputs, &every);
        let signals: BTreeSet<&str> = inputs.iter().filter_map(|input| match input {
            Input::Signal(signal) => Some(signal.id.as_str()),
            _ => None,
        }).collect();
        let mut settled = BTreeMap::new();
        let mut alive = BTreeSet::new();
        let mut ended = BTreeSet::new();
        for output in &outputs {
            match output {
                Output::Opened(incident) => {
                    prop_assert!(!ended.contains(&incident.id));
                    prop_assert!(alive.insert(incident.id.clone()));
                }
                Output::Grew { incident_id, .. } => prop_assert!(alive.contains(incident_id)),
                Output::Merged { incident, survivor, .. } => {
                    prop_assert!(alive.contains(survivor) && alive.remove(&incident.id));
                    ended.insert(incident.id.clone());
                }
                Output::Closed { incident, .. } => {
                    prop_assert!(alive.remove(&incident.id));
                    ended.insert(incident.id.clone());
                    let last = incident.last_seen_at;
                    prop_assert!(incident.closed_at.is_some_and(|at| at >= last + 2 * MINUTE));
                }
                Output::Settled { signal_id, incident_id } => {
                    prop_assert!(settled.insert(signal_id.as_str(), incident_id).is_none());
                }
                Output::Raised { incident_id, signal } => {
                    let open = !ended.contains(incident_id);
                    prop_assert!(open && !signals.contains(signal.id.as_str()));
                }
                Output::Notify(_) => {}
            }
        }
        prop_assert!(alive.is_empty());
        prop_assert_eq!(settled.keys().copied().collect::<BTreeSet<_>>(), signals);
        prop_assert_eq!(correlator.counts().settled, correlator.counts().received);
    }
}

#[test]
fn merging_is_associative_and_commutative() {
    let topology = shop();
    let around = Surroundings::new(config(), topology.clone());
    let incident = |service: &str, metric: &str, minute: i64, score: f64| {
        let track = track::Track::new(signal(service, metric, minute, score), true);
        OpenIncident::open(format!("{service}{minute}"), track, minute * MINUTE, 0, &topology)
    };
    let parts = [
        incident("cart", "cpu", 5, 9.0),
        incident("cart", "cpu", 6, 12.0),
        incident("db", "disk", 4, 8.0),
    ];
    let merged = |order: [usize; 3]| {
        let mut all = parts[order[0]].clone();
        all.merge(parts[order[1]].clone(), &around);
        all.merge(parts[order[2]].clone(), &around);
        let view = all.view(None);
        (view.services, view.started_at, view.last_seen_at, view.severity, view.signals.len())
    };
    let mut nested = parts[1].clone();
    nested.merge(parts[2].clone(), &around);
    let mut right = parts[0].clone();
    right.merge(nested, &around);
    let mut left = parts[0].clone();
    left.merge(parts[1].clone(), &around);
    left.merge(parts[2].clone(), &around);
    assert_eq!(left, right);
    assert_eq!(merged([0, 1, 2]), merged([2, 1, 0]));
    assert_eq!(merged([0, 1, 2]), merged([1, 2, 0]));
}
