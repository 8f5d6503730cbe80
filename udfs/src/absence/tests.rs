use super::*;
use crate::noise::Rng;

const ALL: [&str; 5] = ["cart", "api", "db", "web", "ads"];

fn there<'a>(names: &[&'a str]) -> BTreeMap<&'a str, f64> {
    names.iter().map(|name| (*name, 24.0)).collect()
}

const MINUTE: i64 = 60_000_000_000;

/// A group and the minute that it is at.
#[derive(Default)]
struct Group {
    state: State,
    minute: i64,
}

impl Group {
    fn step(&mut self, names: &[&str]) -> Vec<Absent> {
        self.minute += 1;
        self.state.step(self.minute * MINUTE, &there(names))
    }

    /// Minutes, of so many, in which an absence is told.
    fn told(&mut self, minutes: i64, names: impl Fn(i64) -> &'static [&'static str]) -> Vec<i64> {
        let fresh = |minute: &i64| self.step(names(*minute)).iter().any(|absent| absent.fresh);
        (0..minutes).filter(fresh).collect()
    }
}

fn after(windows: usize) -> Group {
    let mut group = Group::default();
    for _ in 0..windows {
        assert!(group.step(&ALL).is_empty());
    }
    group
}

#[test]
fn who_falls_silent_is_named_ever_more_surely_until_forgotten() {
    let mut state = after(240);
    let scores: Vec<Vec<Absent>> = (0..70).map(|_| state.step(&ALL[1..])).collect();
    assert_eq!((scores[0][0].name.as_str(), scores[0][0].expected), ("cart", 24.0));
    let score = |i: usize| scores[i].first().map_or(0.0, |absent| absent.score);
    assert!(score(0) > 2.0 && score(2) > 3.0 && score(9) > score(2));
    assert!(score(69) == 0.0, "taken away on purpose");
}

#[test]
fn who_reports_less_often_from_now_on_is_missed_a_few_times_only() {
    let mut group = after(3_000);
    let told = group.told(300, |minute| if minute % 5 == 4 { &ALL } else { &ALL[1..] });
    assert!(!told.is_empty() && told.iter().all(|minute| *minute < 20), "{told:?}");
    let silent = group.told(60, |_| &ALL[1..]);
    assert_eq!(silent.len(), 1, "and missed when it is silent: {silent:?}");
}

#[test]
fn who_is_missing_anew_comes_before_who_is_missing_still() {
    let mut group = after(240);
    for _ in 0..20 {
        group.step(&ALL[1..]);
    }
    let told: Vec<Vec<Absent>> = (0..20).map(|_| group.step(&ALL[2..])).collect();
    let fresh = told.iter().find(|absent| absent.iter().any(|a| a.fresh)).unwrap();
    assert_eq!((fresh[0].name.as_str(), fresh[1].name.as_str()), ("api", "cart"));
}

#[test]
fn a_collector_that_fails_accuses_nobody() {
    let mut state = after(240);
    assert!(state.step(&ALL[..2]).is_empty());
    assert!(state.step(&ALL[..2]).is_empty());
    assert!(state.step(&ALL).is_empty());
    assert_eq!(state.step(&ALL[..3]).len(), 2);
}

#[test]
fn an_absence_is_told_once_when_it_has_lasted() {
    assert_eq!(after(4_000).told(8, |_| &ALL[1..]), [2]);
}

#[test]
fn who_is_young_is_missed_the_sooner_the_steadier_the_others_are() {
    let late = |others: &[bool]| {
        let mut group = Group::default();
        let names = |minute: usize| {
            let there =
                others.iter().map(|steady| *steady || !minute.is_multiple_of(5)).chain([true; 8]);
            let names =
                ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].into_iter().zip(there);
            names.filter_map(|(name, there)| there.then_some(name)).collect::<Vec<_>>()
        };
        (0..20).for_each(|minute| drop(group.step(&names(minute))));
        let told = |minute: &usize| {
            let there: Vec<&str> = names(*minute).into_iter().filter(|name| *name != "k").collect();
            group.step(&there).iter().any(|absent| absent.fresh)
        };
        let at: Vec<usize> = (20..60).filter(told).collect();
        assert_eq!(at.len(), 1, "once");
        at[0] - 20
    };
    assert_eq!((late(&[true; 3]), late(&[false; 3])), (5, 8));
}

#[test]
fn a_pause_every_night_is_news_once_and_no_excuse_for_another_hour() {
    let mut group = Group::default();
    let asleep = |minute: i64| minute % 1_440 >= 720;
    let told = group.told(6 * 1_440, |m| if asleep(m) { &ALL[1..] } else { &ALL });
    assert_eq!(told, [722], "the first night only");
    let at_noon = |minute| asleep(minute) || (400..500).contains(&minute);
    let told = group.told(1_440, |m| if at_noon(m) { &ALL[1..] } else { &ALL });
    assert!(
        told.len() == 1 && (402..408).contains(&told[0]),
        "the outage, not the night: {told:?}"
    );
}

#[test]
fn an_outage_of_hours_does_not_hide_the_next() {
    let mut group = after(1_000);
    let down = |minute| (100..300).contains(&minute) || (900..1_000).contains(&minute);
    let told = group.told(1_200, |m| if down(m) { &ALL[1..] } else { &ALL });
    assert_eq!(told.len(), 2, "{told:?}");
}

/// Minutes in which an absence of `cart` is told, of so many days and where `is_there` says.
fn told(days: i64, is_there: impl Fn(i64) -> bool) -> Vec<i64> {
    Group::default().told(days * 1_440, |m| if is_there(m) { &ALL } else { &ALL[1..] })
}

/// Minutes in which it works: for 30 to 200 minutes, and then not for 70 to 400.
fn scaled_to_zero(seed: u64, minutes: usize) -> Vec<bool> {
    let (mut rng, mut there) = (Rng(seed), Vec::new());
    while there.len() < minutes {
        there.resize(there.len() + 30 + rng.below(170) as usize, true);
        there.resize(there.len() + 70 + rng.below(330) as usize, false);
    }
    there
}

#[test]
fn who_sleeps_at_any_hour_is_news_a_few_times_and_missed_when_it_oversleeps() {
    const STOPS: i64 = 25 * 1_440;
    for (every, works) in [(180, 20), (250, 40), (360, 30), (480, 60), (100, 20)] {
        let told = told(27, |m| m % every < works && m < STOPS);
        assert!(told.len() <= 5, "every {every} min: {told:?}");
        let last = told.last().copied().unwrap_or_default();
        assert!((STOPS..STOPS + 2 * every).contains(&last), "every {every} min: {told:?}");
    }
    for seed in 0..20 {
        let there = scaled_to_zero(seed, 25 * 1_440);
        let told = told(27, |m| there.get(m as usize) == Some(&true));
        let before = told.iter().filter(|minute| **minute < STOPS - 400).count();
        assert!(before <= 6 && told.last() > Some(&(STOPS - 400)), "seed {seed}: {told:?}");
    }
}

#[test]
fn who_slept_weeks_ago_is_missed_at_once() {
    const STOPS: i64 = 30 * 1_440;
    let told = told(31, |m| (m > 1_440 || m % 300 < 200) && m < STOPS);
    let [.., last] = told[..] else { panic!("never told") };
    assert!(told.len() <= 5 && (STOPS..STOPS + 10).contains(&last), "{told:?}");
}

#[test]
fn who_pauses_at_its_hours_is_missed_when_it_does_not_come_back() {
    const STOPS: i64 = 28 * 1_440;
    let office = |m: i64| m / 1_440 % 7 < 5 && (480..1_080).contains(&(m % 1_440));
    let nightly = |m: i64| (120..150).contains(&(m % 1_440));
    let weekly = |m: i64| m / 1_440 % 7 == 6 && (120..240).contains(&(m % 1_440));
    let check = |name: &str, is_there: &dyn Fn(i64) -> bool, within: i64| {
        let told = told(42, |m| is_there(m) && m < STOPS);
        assert_eq!(told.len(), 2, "{name}: the first pause and the end: {told:?}");
        assert!((STOPS..STOPS + within * 1_440).contains(&told[1]), "{name}: {told:?}");
    };
    check("office", &office, 3);
    check("nightly", &nightly, 1);
    check("weekly", &weekly, 11);
}

#[test]
fn who_reports_seldom_is_missed_after_a_few_of_its_turns() {
    for (every, turns) in [(1, 3), (2, 4), (5, 5), (10, 6), (15, 6), (30, 7), (60, 8)] {
        let told = told(6, |m| m % every == 0 && m < 4 * 1_440);
        let [told] = told[..] else { panic!("every {every} min: {told:?}") };
        let after = told - 4 * 1_440;
        assert!((0..turns * every).contains(&after), "every {every} min: {after} min");
    }
}

#[test]
fn who_reports_seldom_may_be_early_or_late_or_miss_a_turn() {
    for every in [5, 15, 60] {
        let mut rng = Rng(every as u64);
        let mut there = vec![false; 14 * 1_440];
        for turn in 1..14 * 1_440 / every {
            let at = turn * every + rng.below(every as u64 / 3) as i64 - every / 6;
            there[at as usize] = rng.below(50) > 0;
        }
        let told = told(13, |m| there[m as usize]);
        assert!(told.is_empty(), "every {every} min: {told:?}");
    }
}

#[test]
fn who_often_pauses_for_less_than_a_sleep_is_missed_in_the_end() {
    const STOPS: i64 = 10 * 1_440;
    let told = told(11, |m| m % 110 < 80 && m < STOPS);
    let [.., last] = told[..] else { panic!("never told") };
    assert!(told.len() <= 3 && (STOPS..STOPS + 360).contains(&last), "{told:?}");
}

#[test]
fn where_most_report_seldom_and_at_once_no_window_is_left_out() {
    let mut group = Group::default();
    let all_then = |m: i64| if m % 15 == 0 { &ALL[..] } else { &ALL[4..] };
    let without = |m: i64| if m % 15 == 0 { &ALL[1..] } else { &ALL[4..] };
    let told = group.told(5 * 1_440, |m| if m < 5_760 { all_then(m) } else { without(m) });
    assert!(told.len() == 1 && (5_760..5_850).contains(&told[0]), "{told:?}");
}

#[test]
fn what_most_have_changed_to_is_normal_soon() {
    let mut state = after(240);
    for _ in 0..260 {
        assert!(state.step(&["a", "b", "c", "web", "ads"]).is_empty());
    }
    let told = state.step(&["a", "b", "c", "web"]);
    assert_eq!(told[0].name, "ads");
}

#[test]
fn who_comes_and_goes_is_not_missed() {
    let (mut state, mut rng, mut claims) = (Group::default(), Rng(7), 0);
    let mut away = 0;
    for i in 0..20_000 {
        away = if away > 0 { away - 1 } else { (rng.below(60) == 0) as u64 * rng.below(20) };
        let names: Vec<&str> = ALL.iter().skip(usize::from(away > 0)).copied().collect();
        let worst = state.step(&names).first().map_or(0.0, |absent| absent.score);
        claims += i32::from(i >= 2_000 && worst >= 3.0);
    }
    assert!(claims <= 60, "{claims} of 18,000 windows");
}

#[test]
fn states_survive_bytes() {
    let mut group = after(30);
    group.step(&ALL[1..]);
    let state = group.state;
    let mut bytes = Vec::new();
    state.write(&mut bytes);
    assert_eq!(State::read(&bytes).as_ref(), Some(&state));
    assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
    assert_eq!(State::read(&[]), None);
}
