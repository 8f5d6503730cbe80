use super::*;
use crate::noise::Rng;

const MINUTE: i64 = 60_000_000_000;

/// Scores of one-minute windows of failing shares.
fn scores(failing: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut state = State::new(Meaning::FAILING);
    let step = |(i, f)| state.step(i * MINUTE, MINUTE, f).unwrap().score;
    (0..).zip(failing).map(step).collect()
}

fn told(scores: &[f64]) -> usize {
    scores.iter().filter(|score| **score >= 3.0).count()
}

#[test]
fn half_of_the_requests_failing_is_told_at_once_and_a_twentieth_in_a_quarter_of_an_hour() {
    for (share, first) in [(0.84, 2), (0.5, 2), (0.05, 21)] {
        let scores = scores((0..90).map(|i| if i < 60 { 0.0 } else { share }));
        assert_eq!(scores.iter().position(|s| *s >= 3.0), Some(60 + first - 1), "{share}");
    }
    let brief = scores((0..90).map(|i| if i == 60 { 0.5 } else { 0.0 }));
    assert_eq!(told(&brief), 0, "half of one minute is little of the hour");
}

#[test]
fn it_ends_with_the_failures() {
    let scores = scores((0..120).map(|i| if (60..70).contains(&i) { 0.5 } else { 0.0 }));
    let last = scores.iter().rposition(|s| *s >= 3.0).unwrap();
    assert_eq!(last, 69);
}

#[test]
fn a_little_after_an_outage_is_no_outage() {
    let failing = |i| match i {
        60..80 => 0.5,
        110 => 0.03,
        _ => 0.0,
    };
    let scores = scores((0..120).map(failing));
    assert!(told(&scores[60..80]) >= 18 && told(&scores[80..]) == 0);
}

#[test]
fn what_always_fails_spends_nothing_and_a_new_usual_is_learned() {
    assert_eq!(told(&scores([1.0; 300])), 0);
    let step = scores((0..1_000).map(|i| if i < 100 { 0.0 } else { 0.3 }));
    assert!(told(&step[..600]) > 470 && told(&step[600..]) == 0, "after eight hours");
}

#[test]
fn an_outage_of_hours_goes_on_until_it_is_over_and_hides_none_after_it() {
    let day = |i: i64| i % 1_440;
    for (minutes, share) in [(60, 0.5), (150, 0.5), (150, 0.3), (470, 0.5), (600, 0.5)] {
        let scores = scores((0..4 * 1_440).map(|i| match (i / 1_440, day(i)) {
            (1, minute) if minute < minutes => share,
            (1, 700..760) | (2.., 0..60) => 0.05,
            _ => 0.0005 + 0.0003 * (i % 2) as f64,
        }));
        let outage = minutes.min(480) as usize;
        assert!(told(&scores[1_440..][..outage]) >= outage - 3, "{minutes} of {share}");
        let later = [1_440 + 700, 2 * 1_440, 3 * 1_440].map(|at| told(&scores[at..][..60]));
        assert!(later.iter().all(|told| *told >= 30), "{minutes} of {share}: {later:?}");
        assert_eq!(told(&scores[1_440 + 610..][..90]), 0);
    }
}

#[test]
fn a_new_usual_is_not_given_up_for_a_few_good_windows() {
    let (mut noise, requests) = (Rng(3), 40);
    let scores = scores((0..6_000).map(|i| {
        let fails = i >= 1_000 && !(3_000..3_010).contains(&i);
        let failed = (0..requests).filter(|_| fails && noise.uniform() < 0.3).count();
        failed as f64 / f64::from(requests)
    }));
    assert!(told(&scores[1_000..1_500]) > 450);
    assert_eq!(told(&scores[1_500..]), 0, "three in ten fail as they have for eight hours");
}

/// Shares of few requests: a window of two of which one in twenty fails is 0, a half or all.
#[test]
fn few_requests_are_no_outage() {
    for (requests, rate) in [(1, 0.02), (2, 0.05), (5, 0.1), (50, 0.01)] {
        let mut noise = Rng(11);
        let share = |_| {
            let failed = (0..requests).filter(|_| noise.uniform() < rate).count();
            failed as f64 / f64::from(requests)
        };
        let mut alert = alerting::State::new();
        let scores = (0..).zip(scores((0..20_000).map(share)));
        let told = scores.filter(|(i, s)| alert.step(i * MINUTE, *s, ALERT)).count();
        assert!(told <= 3, "{told} times in two weeks of {requests} requests a minute");
    }
}

#[test]
fn names_are_read_by_their_words() {
    let success = |percent| Some(Meaning { success: true, percent });
    let failure = |percent| Some(Meaning { success: false, percent });
    for (name, meaning) in [
        ("FrontSuccessRate(%)", success(true)),
        ("http_request_success_ratio", success(false)),
        ("availability", success(false)),
        ("job:request_errors:ratio_5m", failure(false)),
        ("error_ratio", failure(false)),
        ("errorPercent", failure(true)),
        ("http_5xx_percentage", failure(true)),
        ("error_rate", None),
        ("http_requests_failed_total", None),
        ("memory_available_percent", None),
        ("success_total", None),
        ("success_minus_error_ratio", None),
    ] {
        assert_eq!(Meaning::of(name), meaning, "{name}");
    }
}

#[test]
fn values_are_shares_or_nothing() {
    let of = |name, value| Meaning::of(name).unwrap().failing(value);
    assert_eq!(of("success_rate", 0.75), Some(0.25));
    assert_eq!(of("success_rate", 75.0), Some(0.25));
    assert_eq!(of("error_ratio", 0.25), Some(0.25));
    for (name, value) in [
        ("error_ratio", 1.5),
        ("success_rate", 101.0),
        ("success_rate", f64::NAN),
        ("error_ratio", -0.1),
    ] {
        assert_eq!(of(name, value), None, "{name} {value}");
    }
}

#[test]
fn what_is_usual_is_told_in_the_unit_of_the_metric() {
    let mut state = State::new(Meaning::of("success_rate").unwrap());
    for i in 0..30 {
        state.step(i * MINUTE, MINUTE, 100.0);
    }
    let spent = state.step(30 * MINUTE, MINUTE, 20.0).unwrap();
    assert_eq!((spent.failing, spent.expected, spent.up), (0.8, 100.0, false));
}

#[test]
fn coarse_samples_stand_for_as_much_time() {
    let mut state = State::new(Meaning::FAILING);
    let mut score = 0.0;
    for i in 0..40 {
        let failing = if i < 38 { 0.0 } else { 0.1 };
        score = state.step(5 * i * MINUTE, MINUTE, failing).unwrap().score;
    }
    assert!(score >= 3.0, "ten minutes at a tenth: {score}");
}

#[test]
fn survives_bytes_and_disorder() {
    let mut state = State::new(Meaning::of("success_rate(%)").unwrap());
    assert_eq!(State::read(&bytes(&state)), Some(state.clone()));
    for i in 0..50 {
        state.step(i * MINUTE, MINUTE, 100.0 - f64::from(i as i32 % 3));
    }
    for i in 50..600 {
        state.step(i * MINUTE, MINUTE, 60.0);
    }
    state.step(600 * MINUTE, MINUTE, 99.0);
    assert!(state.before.windows > 0 && state.near == 1);
    let before = state.clone();
    assert_eq!(state.step(49 * MINUTE, MINUTE, 10.0), None);
    assert_eq!(state.step(700 * MINUTE, MINUTE, f64::NAN), None);
    assert_eq!(state, before);
    let written = bytes(&state);
    assert_eq!(State::read(&written), Some(state));
    assert_eq!(State::read(&written[1..]), None);
    assert_eq!(State::read(&[]), None);
}

fn bytes(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    state.write(&mut out);
    out
}
