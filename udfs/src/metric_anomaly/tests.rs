use super::*;
use crate::noise::{FAMILIES, Family, Noise};

const MINUTE: i64 = 60 * SECOND;

/// Scores of a series with windows `period` apart, some time after 1970.
fn scores(period: i64, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut state = State::new();
    let score = |(i, v)| state.step(1_600_000_000 * SECOND + i as i64 * period, v).score;
    values.into_iter().enumerate().map(score).collect()
}

fn noise(family: Family, seed: u64, n: usize) -> Vec<f64> {
    let mut noise = Noise::new(family, seed);
    (0..n).map(|_| 50.0 + noise.next()).collect()
}

fn share(scores: &[f64], at_least: f64) -> f64 {
    scores.iter().filter(|s| **s >= at_least).count() as f64 / scores.len() as f64
}

#[test]
fn stationary_noise_of_any_family_alarms_once_in_a_thousand() {
    for family in FAMILIES {
        let (mut young, mut old) = (0.0, 0.0);
        for seed in 0..16 {
            let s = scores(MINUTE, noise(family, seed, 4_000));
            assert!(s.iter().all(|s| s.is_finite() && *s >= 0.0));
            young += share(&s[..1_000], 3.0) / 16.0;
            old += share(&s[1_000..], 3.0) / 16.0;
        }
        assert!(old < 3e-3, "{family:?}: {old}");
        // Rare bursts cannot be known before they have been seen a few times.
        let limit = if family == Family::Bursty { 2e-2 } else { 5e-3 };
        assert!(young < limit, "{family:?} when young: {young}");
    }
}

#[test]
fn a_fault_after_half_an_hour_of_history_is_seen() {
    let mut seen = 0;
    for seed in 0..50 {
        let mut x = noise(Family::Normal, seed, 50);
        x[40..].iter_mut().for_each(|v| *v += 10.0);
        let s = scores(MINUTE, x);
        assert!(s[..24].iter().all(|s| *s == 0.0), "silent while warming up");
        seen += usize::from(s[40..43].iter().all(|s| *s >= 3.0));
    }
    assert!(seen >= 45, "{seen} of 50");
}

#[test]
fn one_in_five_hundred_is_much_where_one_in_ten_thousand_is_usual() {
    for history in [240, 1_500] {
        let mut x: Vec<f64> = noise(Family::Normal, 3, history + 5)
            .iter()
            .map(|v| 0.9999 + 3e-5 * (v - 50.0))
            .collect();
        x[history..].iter_mut().for_each(|v| *v -= 0.0019);
        let s = scores(MINUTE, x);
        assert!(s[history] >= 4.0, "{history}: {}", s[history]);
    }
}

#[test]
fn the_highest_burst_of_an_idle_series_is_news_and_the_next_like_the_others_is_not() {
    for unit in [1e-3, 1.0, 1e9] {
        let burst = |i: usize| [50.0, 41.0, 62.0, 47.0, 55.0, 38.0, 59.0][i / 40 % 7];
        let at = |i: usize| unit * if i % 40 == 39 { burst(i) } else { 0.0 };
        let mut x: Vec<f64> = (0..1_600).map(at).collect();
        x[1_559] = 2.5 * 62.0 * unit;
        let s = scores(MINUTE, x);
        assert!(s[1_559] >= 3.5, "{unit}: {}", s[1_559]);
        assert!(s[1_599] < 2.0, "{unit}: {}", s[1_599]);
    }
}

#[test]
fn rounding_is_no_change() {
    let mut x = vec![0.0046; 400];
    x[60] = 0.004_600_000_000_000_001;
    let s = scores(MINUTE, x);
    let high: Vec<usize> = (0..s.len()).filter(|i| s[*i] >= FREEZE).collect();
    assert!(high.is_empty(), "{high:?}");
}

#[test]
fn scale_does_not_matter() {
    for family in [Family::Normal, Family::RarePoisson, Family::Ar1] {
        let mut x = noise(family, 3, 1_500);
        x[900..920].iter_mut().for_each(|v| *v += 9.0);
        let base = scores(MINUTE, x.iter().copied());
        for factor in [1024.0, 2f64.powi(-200)] {
            assert_eq!(base, scores(MINUTE, x.iter().map(|v| v * factor)), "exact: {factor}");
        }
        for factor in [3.7, 1e-6, 1e12] {
            for (a, b) in base.iter().zip(scores(MINUTE, x.iter().map(|v| v * factor))) {
                assert!((a - b).abs() < 0.05, "{factor}: {a} {b}");
            }
        }
    }
}

#[test]
fn the_sampling_period_does_not_matter_without_seasons() {
    let mut x = noise(Family::Normal, 8, 1_000);
    x[700..710].iter_mut().for_each(|v| *v -= 12.0);
    for period in [10 * SECOND, MINUTE, 5 * MINUTE, 60 * MINUTE] {
        let s = scores(period, x.iter().copied());
        assert!(s[700..705].iter().all(|s| *s >= 3.0), "{period}: {:?}", &s[700..705]);
    }
}

#[test]
fn a_level_shift_is_one_episode_and_then_normal() {
    for seed in 0..10 {
        let mut x = noise(Family::Normal, seed, 2_000);
        x[1_000..].iter_mut().for_each(|v| *v += 10.0);
        let s = scores(MINUTE, x);
        assert!(share(&s[1_000..1_040], 3.0) > 0.9);
        assert!(share(&s[1_150..], 3.0) < 0.005, "{seed}: {}", share(&s[1_150..], 3.0));
    }
}

#[test]
fn a_slow_start_does_not_blind_a_series() {
    for factor in [10.0, 100.0] {
        let mut x = noise(Family::Normal, 5, 2_000);
        x[..3].iter_mut().for_each(|v| *v *= factor);
        x[1_000..1_010].iter_mut().for_each(|v| *v += 20.0);
        let s = scores(MINUTE, x);
        assert!(s[1_004..1_010].iter().all(|s| *s >= 3.0), "{factor}: {:?}", &s[1_000..1_010]);
    }
}

#[test]
fn what_comes_every_night_falls_silent_and_worse_does_not() {
    let (night, days) = (1_440, 16);
    let mut x = noise(Family::Normal, 9, days * night);
    for day in 1..days {
        let at = day * night + 180 + day * 7 % 5;
        x[at..at + 3].iter_mut().for_each(|v| *v += 60.0);
    }
    x[15 * night + 180..15 * night + 190].iter_mut().for_each(|v| *v += 3_000.0);
    x[14 * night + 700] += 60.0;
    let s = scores(MINUTE, x);
    let most = |from: usize| s[from..from + 15].iter().copied().fold(0.0, f64::max);
    assert!(most(night + 178) >= 4.0, "the first");
    for day in 5..15 {
        assert!(most(day * night + 178) < FREEZE, "{day}: {}", most(day * night + 178));
    }
    assert!(most(14 * night + 695) >= 3.0, "at another time: {}", most(14 * night + 695));
    assert!(most(15 * night + 178) >= 3.0, "much more: {}", most(15 * night + 178));
}

#[test]
fn a_daily_wave_is_learnt_and_its_absence_seen() {
    let mut rng = Noise::new(Family::Normal, 1);
    let wave = |i: usize| (i as f64 / 288.0 * std::f64::consts::TAU).sin();
    let mut x: Vec<f64> = (0..288 * 8).map(|i| 100.0 + 20.0 * wave(i) + rng.next()).collect();
    let (night, at) = (100.0 - 20.0, 288 * 7 + 60);
    x[at..at + 5].iter_mut().for_each(|v| *v = night + rng.next());
    let s = scores(5 * MINUTE, x);
    assert!(s[at..at + 5].iter().all(|s| *s >= 3.0), "{:?}", &s[at..at + 5]);
    assert!(share(&s[288 * 3..at], 3.0) < 5e-3);
}

#[test]
fn a_daily_pattern_with_sharp_edges_hides_no_fault() {
    for seed in 0..6 {
        let mut rng = Noise::new(Family::Normal, seed);
        let busy = |i: usize| (108..216).contains(&(i % 288));
        let value = |i: usize, noise: f64| if busy(i) { 80.0 } else { 20.0 } + 3.0 * noise;
        let mut x: Vec<f64> = (0..288 * 12).map(|i| value(i, rng.next())).collect();
        let at = 288 * 10 + 150;
        x[at..at + 24].iter_mut().for_each(|v| *v = 20.0 + 3.0 * rng.next());
        let s = scores(5 * MINUTE, x);
        assert!(share(&s[at..at + 24], 3.0) > 0.3, "{seed}: {:?}", &s[at..at + 24]);
        assert!(share(&s[288 * 4..at], 3.0) < 3e-3, "{seed}");
    }
}

#[test]
fn a_lasting_shift_is_seen_in_heavy_tailed_noise() {
    for family in [Family::StudentT3, Family::LogNormal] {
        let mut seen = 0;
        for seed in 0..20 {
            let mut x = noise(family, seed, 3_020);
            x[3_000..].iter_mut().for_each(|v| *v += 5.0);
            seen += usize::from(scores(MINUTE, x)[3_000..].iter().any(|s| *s >= 3.5));
        }
        assert!(seen >= 17, "{family:?}: {seen} of 20");
    }
}

#[test]
fn spikes_that_keep_coming_fall_silent() {
    let mut rng = crate::noise::Rng(5);
    let spike = |_| if rng.uniform() < 0.01 { 5.0 + 20.0 * rng.uniform() } else { 3.0 };
    let s = scores(MINUTE, (0..4_000).map(spike).collect::<Vec<_>>());
    assert!(share(&s[2_000..], 3.0) <= 1e-3, "{}", share(&s[2_000..], 3.0));
}

#[test]
fn a_flat_line_is_seen_only_where_values_used_to_vary() {
    let mut x = noise(Family::Normal, 2, 600);
    let last = x[499];
    x[500..].fill(last);
    let s = scores(MINUTE, x);
    assert!(s[520..560].iter().any(|s| *s >= 3.0), "{:?}", &s[500..560]);
    assert!(scores(MINUTE, vec![7.0; 2_000]).iter().all(|s| *s == 0.0));
    let mut constant = vec![3.0; 400];
    constant[300..].fill(2.0);
    assert!(scores(MINUTE, constant)[300..303].iter().all(|s| *s >= 3.0), "a lost replica");
}

#[test]
fn says_what_it_expected_and_which_way_it_went() {
    let mut state = State::new();
    for (i, v) in noise(Family::Normal, 4, 300).into_iter().enumerate() {
        state.step(i as i64 * MINUTE, v);
    }
    let up = state.clone().step(300 * MINUTE, 70.0);
    assert!((up.expected - 50.0).abs() < 1.0 && up.direction == 1, "{up:?}");
    assert_eq!(state.step(300 * MINUTE, 30.0).direction, -1);
}

#[test]
fn nonsense_gaps_and_disorder_are_harmless() {
    let mut state = State::new();
    for (i, v) in noise(Family::Normal, 6, 200).into_iter().enumerate() {
        state.step(i as i64 * MINUTE, v);
    }
    let before = state.clone();
    for v in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let verdict = state.step(200 * MINUTE, v);
        assert!(verdict.score == 0.0 && verdict.expected.is_finite());
        assert_eq!(state, before);
    }
    let after_gap = state.clone().step(200 * MINUTE + DAY, 50.0);
    assert!(after_gap.score < 3.0, "{after_gap:?}");
    for (ts, v) in [(i64::MAX, f64::MAX), (i64::MIN, f64::MIN), (0, 1e-320), (0, -0.0)] {
        let verdict = state.step(ts, v);
        assert!(verdict.score.is_finite() && verdict.expected.is_finite());
    }
    let huge = [f64::MAX, f64::MIN].into_iter().cycle().take(100);
    assert!(scores(MINUTE, huge).iter().all(|s| s.is_finite()));
}

#[test]
fn a_restored_state_goes_on_as_if_nothing_had_happened() {
    let x = noise(Family::StudentT3, 9, 400);
    for cut in [0, 10, 24, 200] {
        let mut whole = State::new();
        for (i, v) in x[..cut].iter().enumerate() {
            whole.step(i as i64 * MINUTE, *v);
        }
        let mut bytes = Vec::new();
        whole.write(&mut bytes);
        let mut restored = State::read(&bytes).unwrap();
        for (i, v) in x.iter().enumerate().skip(cut) {
            let ts = i as i64 * MINUTE;
            assert_eq!(whole.step(ts, *v), restored.step(ts, *v));
        }
        assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
        bytes[0] ^= 0x40;
        assert_eq!(State::read(&bytes), None, "another version");
    }
}

#[test]
fn a_state_is_small() {
    assert_eq!(size_of::<State>(), 296, "docs/results.md says so; 300 is the most");
}
