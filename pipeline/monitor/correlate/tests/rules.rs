//! One test per rule of opening, joining, merging and closing.

use super::*;

fn of(topology: Topology, inputs: &[Input], until: i64) -> Vec<Output> {
    run(&mut Correlator::new(config(), topology), inputs, until)
}

fn one(service: &str, metric: &str, minute: i64, score: f64) -> Input {
    Input::Signal(signal(service, metric, minute, score))
}

/// Names no metric of two services the same, which would relate them by itself.
fn own_metrics(mut inputs: Vec<Input>) -> Vec<Input> {
    for input in &mut inputs {
        if let Input::Signal(s) | Input::Ongoing(s) = input {
            s.metric = format!("{}_{}", s.service, s.metric);
        }
    }
    inputs
}

#[test]
fn a_weak_signal_alone_opens_nothing_and_is_settled_in_none() {
    let outputs = of(shop(), &[one("cart", "cpu", 5, 4.0)], 30);
    let id = signal("cart", "cpu", 5, 4.0).id;
    assert_eq!(outputs, [Output::Settled { signal_id: id, incident_id: None }]);
}

#[test]
fn an_overwhelming_signal_opens_at_once_where_few_series_are_watched() {
    let watched = Watched { services: 1, series: 1 };
    let alone = CorrelateConfig { assumed: watched, ..config() };
    let signal = [one("cart", "cpu", 5, 12.0)];
    let mut lonely = Correlator::new(alone, shop());
    lonely.around.credibility.begin(-60 * DAY);
    let outputs = run(&mut lonely, &signal, 5);
    assert_eq!(opened(&outputs)[0].opened_at, 5 * MINUTE);
    // Among a thousand series, one window of one of them is not believed that much.
    assert!(opened(&of(shop(), &signal, 9)).is_empty());
    let credulous = CorrelateConfig { credible_score: 30.0, ..config() };
    let mut old = Correlator::new(credulous, shop());
    old.around.credibility.begin(-2000 * DAY);
    assert_eq!(opened(&run(&mut old, &signal, 5)).len(), 1);
}

#[test]
fn a_critical_signal_opens_at_once_unless_told_otherwise() {
    let critical = Signal { severity: Severity::Critical, ..signal("cart", "cpu", 5, 3.0) };
    let inputs = [Input::Signal(critical)];
    assert_eq!(opened(&of(shop(), &inputs, 9))[0].severity, Severity::Critical);
    let config = CorrelateConfig { critical_opens: false, ..config() };
    let outputs = run(&mut Correlator::new(config, shop()), &inputs, 9);
    assert!(opened(&outputs).is_empty());
}

#[test]
fn a_critical_signal_of_a_service_in_an_incident_joins_it_however_late() {
    let late = |service, metric| {
        let signal = signal(service, metric, 25, 4.0);
        let (severity, instance) = (Severity::Critical, "other".to_owned());
        Input::Signal(Signal { severity, instance, ..signal })
    };
    // Few services with many series: that a metric is the same is less likely by chance.
    let few = Watched { services: 3, series: 90 };
    for (service, metric, assumed, incidents) in [
        ("cart", "failing", config().assumed, 1),
        ("cart", "errors", few, 1),
        ("relay", "failing", config().assumed, 2),
    ] {
        let mut inputs = fault("cart", 10..40);
        inputs.push(late(service, metric));
        let config = CorrelateConfig { assumed, ..config() };
        let outputs = run(&mut Correlator::new(config, shop()), &inputs, 60);
        assert_eq!(opened(&outputs).len(), incidents, "{service} {metric}");
        let first = closed(&outputs).into_iter().find(|i| i.opened_at < 20 * MINUTE).unwrap();
        assert_eq!(first.severity == Severity::Critical, incidents == 1, "{service}");
    }
}

#[test]
fn independent_witnesses_open_what_none_of_them_would_alone() {
    let services = ["cart", "front", "db"];
    let inputs = services.map(|service| one(service, "latency", 5, 6.0));
    for input in &inputs {
        assert!(opened(&of(shop(), std::slice::from_ref(input), 9)).is_empty());
    }
    let outputs = of(shop(), &inputs, 9);
    assert_eq!(opened(&outputs).len(), 1);
    assert_eq!(opened(&outputs)[0].services, ["cart", "db", "front"]);
}

#[test]
fn replicas_and_detectors_of_one_metric_are_one_witness() {
    let replica = |i: usize| {
        let signal = signal("cart", "latency", 5, 6.0);
        Signal { id: i.to_string(), instance: i.to_string(), job: format!("job{i}"), ..signal }
    };
    let inputs: Vec<Input> = (0..8).map(|i| Input::Signal(replica(i))).collect();
    assert!(opened(&of(shop(), &inputs, 9)).is_empty());
}

#[test]
fn a_fault_that_comes_back_opens_on_less() {
    let windows = |from: i64, score: f64, kinds: [&str; 2]| -> Vec<Input> {
        let window = |minute| kinds.map(|kind| Input::Ongoing(signal("cart", kind, minute, score)));
        (from..from + 8).flat_map(window).collect()
    };
    let (errors, others) = (["errors", "log:mix"], ["cpu", "span:mix"]);
    let again = windows(60, 2.95, errors);
    assert!(opened(&of(shop(), &again, 90)).is_empty());
    let after = |kinds| [windows(5, 6.0, kinds), again.clone()].concat();
    assert_eq!(opened(&of(shop(), &after(others), 90)).len(), 1, "another fault");
    let outputs = of(shop(), &after(errors), 90);
    let both = opened(&outputs);
    assert_eq!(both.len(), 2);
    assert!(both[1].opened_at > 60 * MINUTE && both[1].opened_at < 68 * MINUTE);
}

#[test]
fn a_weak_series_that_lasts_opens_in_the_end() {
    let mut lasting = vec![one("a", "disk", 5, 3.0)];
    lasting.extend((6..40).map(|m| Input::Ongoing(signal("a", "disk", m, 3.0))));
    let outputs = of(shop(), &lasting, 40);
    let minute = opened(&outputs)[0].opened_at / MINUTE;
    assert!((10..30).contains(&minute), "{minute}");
}

/// Windows of which no job made a signal, `step` minutes apart.
fn murmurs(metrics: &[&str], minutes: impl Iterator<Item = i64> + Clone, score: f64) -> Vec<Input> {
    let at = |minute| {
        metrics.iter().map(move |metric| Input::Ongoing(signal("cart", metric, minute, score)))
    };
    minutes.flat_map(at).collect()
}

#[test]
fn windows_that_are_no_signals_open_together_by_lasting_and_the_first_becomes_one() {
    let outputs = of(shop(), &murmurs(&["cpu", "latency"], 5..11, 5.0), 30);
    let incident = opened(&outputs)[0];
    assert_eq!((opened(&outputs).len(), incident.opened_at), (1, 7 * MINUTE));
    assert_eq!(incident.signals.len(), 2);
    let raised: Vec<_> = { outputs.iter() }
        .filter_map(|output| match output {
            Output::Raised { incident_id, signal } => Some((incident_id, signal.window_end)),
            _ => None,
        })
        .collect();
    assert!(matches!(raised[..], [(id, end)] if *id == incident.id && end <= 7 * MINUTE));
    assert_eq!(closed(&outputs).len(), 1);
    for (metrics, minutes) in [(vec!["cpu", "latency"], 5..7), (vec!["cpu"], 5..9)] {
        assert!(opened(&of(shop(), &murmurs(&metrics, minutes, 5.0), 30)).is_empty());
    }
}

#[test]
fn a_fault_in_values_that_come_every_five_minutes_is_one_incident() {
    let mut inputs = murmurs(&["disk"], (5..60).step_by(5), 2.0);
    inputs.extend(murmurs(&["cpu", "latency"], (60..120).step_by(5), 6.0));
    let outputs = of(shop(), &inputs, 200);
    assert_eq!((opened(&outputs).len(), closed(&outputs).len()), (1, 1));
    assert!(opened(&outputs)[0].opened_at <= 70 * MINUTE);
}

#[test]
fn weak_windows_do_not_keep_an_incident_open() {
    let mut inputs = fault("cart", 5..10);
    inputs.extend(murmurs(&["cpu"], 10..30, 2.5));
    assert_eq!(closed(&of(shop(), &inputs, 40))[0].closed_at, Some(12 * MINUTE));
}

#[test]
fn a_fault_is_one_incident_from_first_to_last_window() {
    let mut inputs = fault("cart", 5..10);
    inputs.extend(fault("front", 6..12));
    let outputs = of(shop(), &inputs, 30);
    assert_eq!((opened(&outputs).len(), closed(&outputs).len()), (1, 1));
    let incident = closed(&outputs)[0];
    assert_eq!(incident.started_at, 4 * MINUTE);
    assert_eq!(incident.last_seen_at, 11 * MINUTE);
    // Three windows of a minute each are longer than the two minutes that apply at least.
    assert_eq!(incident.closed_at, Some(14 * MINUTE));
    assert_eq!(incident.signals.len(), 6);
    assert_eq!(incident.id, opened(&outputs)[0].id);
}

#[test]
fn a_lasting_incident_stays_open() {
    let outputs = of(shop(), &fault("cart", 5..300), 299);
    assert_eq!((opened(&outputs).len(), closed(&outputs).len()), (1, 0));
}

#[test]
fn faults_minutes_apart_are_two_incidents_if_the_first_recovered() {
    let mut inputs = fault("cart", 5..9);
    inputs.extend(fault("front", 14..18));
    let outputs = of(shop(), &inputs, 40);
    assert_eq!((opened(&outputs).len(), closed(&outputs).len()), (2, 2));
}

#[test]
fn a_burst_after_the_incident_has_grown_up_is_an_incident_of_its_own() {
    for (minute, incidents) in [(8, 1), (15, 2)] {
        for service in ["front", "db", "mail"] {
            // cart is abnormal all the time.
            let mut inputs = fault("cart", 5..30);
            inputs.extend(fault(service, minute..minute + 5));
            let found = opened(&of(shop(), &inputs, 25)).len();
            assert_eq!(found, incidents, "{service} {minute}");
        }
    }
}

#[test]
fn a_series_that_recovered_and_fails_again_late_is_a_new_onset() {
    let mut inputs = fault("cart", 5..9);
    let settled = signal("cart", "memory", 5, 12.0);
    inputs.extend((5..40).map(|m| Input::Ongoing(Signal { ..signal("cart", "memory", m, 12.0) })));
    inputs.push(Input::Signal(settled));
    inputs.extend(fault("cart", 20..24));
    let outputs = of(shop(), &inputs, 30);
    let times: Vec<Nanos> = opened(&outputs).iter().map(|i| i.opened_at / MINUTE).collect();
    assert_eq!(times, [5, 20]);
}

#[test]
fn what_young_detectors_claim_is_believed_as_far_as_they_have_seen() {
    let trio = ["cart", "front", "db"].map(|s| one(s, "network", 30, 6.0));
    let mut young = Correlator::new(config(), shop());
    young.around.credibility.begin(0);
    assert!(opened(&run(&mut young, &trio, 35)).is_empty());
    assert_eq!(opened(&of(shop(), &trio, 35)).len(), 1);
}

#[test]
fn a_kind_that_cries_in_vain_is_believed_less() {
    let trio = |minute: i64| ["cart", "front", "db"].map(|s| one(s, "network", minute, 6.0));
    let fresh = opened(&of(shop(), &trio(400), 405)).len();
    let mut inputs: Vec<Input> = trio(400).into();
    inputs.extend((1..40).map(|i| one(&format!("s{i}"), "network", 10 * i - i % 2, 6.0)));
    let weary = opened(&of(shop(), &inputs, 405)).len();
    assert_eq!((fresh, weary), (1, 0));
}

/// Chance explains them, but they are of the service that fails.
#[test]
fn symptoms_of_an_incident_are_not_alarms_in_vain() {
    let overclaim = |beside: &str| {
        let faults = (1..20).flat_map(|i| {
            let weak = one(beside, "network", 30 * i + 1, 3.0);
            fault("cart", 30 * i..30 * i + 3).into_iter().chain([weak])
        });
        let mut correlator = Correlator::new(config(), shop());
        let outputs = run(&mut correlator, &faults.collect::<Vec<_>>(), 620);
        assert_eq!(opened(&outputs).len(), 19);
        correlator.around.credibility.overclaim("network", 620 * MINUTE, 1, 0.0)
    };
    assert_eq!(overclaim("cart"), 0.0);
    assert!(overclaim("front") > 0.0, "a service that nothing else speaks of");
}

#[test]
fn a_weak_late_onset_becomes_context_when_its_wait_is_over() {
    let mut inputs = fault("cart", 5..30);
    inputs.push(one("db", "disk", 15, 4.0));
    let outputs = of(shop(), &inputs, 29);
    let incident_id = Some(opened(&outputs)[0].id.clone());
    let signal_id = signal("db", "disk", 15, 4.0).id;
    assert!(outputs.contains(&Output::Settled { signal_id, incident_id }));
}

/// Windows of a minute, of which only every fifth has a sample.
#[test]
fn an_incident_of_coarse_samples_waits_for_the_next_one() {
    let samples = |first: i64| fault("cart", first..first + 1);
    let inputs: Vec<Input> = [5, 10, 15, 20].into_iter().flat_map(samples).collect();
    assert!(closed(&of(shop(), &inputs[..samples(5).len()], 9)).len() == 1, "over at once");
    let mut correlator = Correlator::new(config(), shop());
    let first = run(&mut correlator, &inputs[..samples(5).len()], 5);
    let incident_id = opened(&first)[0].id.clone();
    correlator.step(Input::Sampled { incident_id, step: 5 * MINUTE });
    let outputs = run(&mut correlator, &inputs[samples(5).len()..], 60);
    assert!(opened(&outputs).is_empty());
    let closed_at = closed(&outputs)[0].closed_at;
    assert_eq!(closed_at, Some(20 * MINUTE + config().hold(5 * MINUTE)));
}

#[test]
fn what_comes_back_again_and_again_opens_few_incidents() {
    // Neither more regular than a minute nor told apart by it.
    let about = |minutes: i64| -> Vec<Input> {
        let onsets = (0..24).map(|i| 5 + minutes * i + i % 2);
        onsets.flat_map(|onset| fault("cart", onset..onset + 1)).collect()
    };
    let flapping = of(shop(), &about(5), 180);
    assert_eq!(opened(&flapping).len(), 2, "the second is patient enough");
    assert_eq!(closed(&flapping).len(), 2);
    assert_eq!(opened(&of(shop(), &about(12), 400)).len(), 24, "calm for long in between");
}

#[test]
fn clusters_do_not_mix() {
    let elsewhere = |input: Input| match input {
        Input::Signal(s) => {
            let (id, cluster) = (format!("other {}", s.id), "other".to_owned());
            Input::Signal(Signal { id, cluster, ..s })
        }
        other => other,
    };
    let mut inputs = fault("cart", 5..6);
    inputs.extend(fault("cart", 5..6).into_iter().map(elsewhere));
    let outputs = of(shop(), &inputs, 9);
    assert_eq!(opened(&outputs).len(), 2);
}

#[test]
fn a_bridge_between_fresh_incidents_merges_them_and_the_earliest_survives() {
    let mut inputs = fault("db", 5..9);
    inputs.extend(fault("relay", 6..9));
    inputs = own_metrics(inputs);
    let apart = of(shop(), &inputs, 30);
    assert_eq!(opened(&apart).len(), 2);
    inputs.push(one("front", "latency", 7, 12.0));
    let merged = of(shop(), &inputs, 30);
    let first = opened(&merged)[0].id.clone();
    let merges: Vec<&Output> =
        merged.iter().filter(|o| matches!(o, Output::Merged { .. })).collect();
    let [Output::Merged { survivor, incident, .. }] = merges[..] else { panic!("{merges:?}") };
    assert_eq!(*survivor, first);
    assert_eq!(incident.id, opened(&merged)[1].id);
    assert_eq!(closed(&merged).len(), 1);
    assert_eq!(closed(&merged)[0].services, ["db", "front", "relay"]);
}

#[test]
fn without_a_graph_only_a_common_onset_or_metric_links_services() {
    for (minute, incidents) in [(5, 1), (6, 1), (7, 2)] {
        let mut inputs = fault("a", 5..8);
        inputs.extend(own_metrics(fault("b", minute..minute + 3)));
        assert_eq!(opened(&of(Topology::default(), &inputs, 20)).len(), incidents, "{minute}");
    }
    let mut inputs = fault("a", 5..8);
    inputs.extend(fault("b", 7..10));
    assert_eq!(opened(&of(Topology::default(), &inputs, 20)).len(), 1);
}

#[test]
fn learned_edges_count_from_their_time_on() {
    let edges = |at: i64| Input::Edges { at: at * MINUTE, edges: vec![("a".into(), "b".into())] };
    for (at, incidents) in [(6, 1), (8, 2)] {
        let mut inputs = fault("a", 5..8);
        inputs.extend(own_metrics(fault("b", 7..8)));
        inputs.push(edges(at));
        assert_eq!(opened(&of(Topology::default(), &inputs, 9)).len(), incidents, "{at}");
    }
}

#[test]
fn noise_beside_an_incident_is_listed_but_does_not_keep_it_open() {
    let mut inputs = fault("cart", 5..8);
    inputs.extend((8..30).step_by(2).map(|m| one("front", &format!("m{m}"), m, 3.0)));
    let outputs = of(shop(), &inputs, 40);
    assert_eq!(closed(&outputs)[0].closed_at, Some(10 * MINUTE));
    assert!(closed(&outputs)[0].services.contains(&"front".to_owned()));
}

#[test]
fn a_sliding_window_resolves_by_its_slide() {
    // Windows of 30 minutes, one a minute, abnormal in 20 of them.
    let wide = |minute: i64| {
        [("cpu", 2.0), ("latency", 9.0)].map(|(metric, observed)| {
            let window_start = (minute - 30) * MINUTE;
            let s = signal("cart", metric, minute, 14.0);
            Input::Signal(Signal { window_start, observed, ..s })
        })
    };
    let inputs: Vec<Input> = (40..60).flat_map(wide).collect();
    let mut correlator = Correlator::new(config(), shop());
    correlator.set_paces([("level".to_owned(), MINUTE)].into());
    let outputs = run(&mut correlator, &inputs, 200);
    assert_eq!(closed(&outputs)[0].closed_at, Some(62 * MINUTE));
}

#[test]
fn bounds_hold_and_what_is_left_out_is_counted() {
    let config = CorrelateConfig {
        max_open_incidents: 2,
        max_series_per_incident: 3,
        max_pending: 4,
        max_buffered: 40,
        ..config()
    };
    let mut correlator = Correlator::new(config, Topology::default());
    let names: Vec<String> = (0..100).map(|i| format!("s{i}")).collect();
    let inputs: Vec<Input> = names.iter().map(|s| one(s, s, 5, 12.0)).collect();
    let outputs = run(&mut correlator, &inputs, 30);
    assert!(opened(&outputs).len() <= 2);
    assert!(closed(&outputs).iter().all(|incident| incident.signals.len() <= 3));
    let counts = correlator.counts();
    assert_eq!((counts.received, counts.rejected, counts.settled), (100, 60, 40));
}

#[test]
fn nonsense_is_rejected_and_counted() {
    let mut correlator = Correlator::new(config(), shop());
    let backwards = Signal { window_start: 9 * MINUTE, ..signal("a", "cpu", 5, 12.0) };
    let inputs = [one("a", "cpu", 5, f64::NAN), Input::Signal(backwards)];
    let nowhere = |o: &Output| matches!(o, Output::Settled { incident_id: None, .. });
    let outputs = run(&mut correlator, &inputs, 9);
    assert!(outputs.len() == 2 && outputs.iter().all(nowhere), "{outputs:?}");
    assert_eq!(correlator.counts().rejected, 2);
}

#[test]
fn an_incident_is_notified_after_the_group_wait_and_again_when_it_is_over() {
    let outputs = of(shop(), &fault("cart", 5..8), 40);
    let sent: Vec<(Nanos, bool)> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Notify(sent) => Some((sent.at, sent.is_resolved())),
            _ => None,
        })
        .collect();
    let first = 5 * MINUTE + MINUTE / 2;
    assert_eq!(sent, [(first, false), (first + 5 * MINUTE, true)]);
}

#[test]
fn the_shipped_defaults_are_valid_and_unknown_keys_are_not() {
    config().check().unwrap();
    let read = |text: &str| serde_json::from_str::<CorrelateConfig>(text);
    assert_eq!(read("{\"open_within\":\"3m\"}").unwrap(), config());
    for bad in ["{\"open_withn\":\"3m\"}", "{\"open_within\":3}", "{\"open_within\":\"0s\"}"] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let zero = CorrelateConfig { false_incidents_per_day: 0.0, ..config() };
    assert!(zero.check().unwrap_err().contains("false_incidents_per_day"));
}
