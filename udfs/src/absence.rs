//! Who has fallen silent: names that come in every window, or every so many, and are missing now.
//!
//! Time is counted in a name's own turns: the usual distance of the windows in which it is there.
//! Of each it is learned how often it goes missing, `a = (runs + ½)/(turns + 1)`, and how often it
//! then stays so, `c = (longer + 1)/(missed + 2)`: the rules of succession of Jeffreys and of
//! Laplace. A run of `k` turns without it has the probability `p = a·c^(k−1)`, and the score is
//! `−log10 p`: it grows while the silence lasts, and stays small for who comes and goes.
//! It is told once, when it is certain enough and has lasted.
//!
//! Where more than half of the steady ones who were there a window ago are missing at once, the
//! collector has failed and not they: such a window is left out. If that lasts, those who are there
//! are the new normal. A name that is missing for `PATIENCE` turns after that was certain is no
//! longer missed.
//!
//! A run of `PATIENCE` turns is a sleep: it counts as a run, and its turns do not count. If a name
//! goes missing at an hour of the day at which it fell asleep up to eight days ago, that is its
//! habit: a pause every night or over the weekend is news once. The last two such hours are known.
//! An outage of an hour makes no habit, but for that hour of the day. Who has slept `SLEEPS` times
//! at other hours within a block of eight days or the one before, as a batch job does or what is
//! scaled to zero, sleeps at any hour. Such a name is missed when its longest sleep of that time is
//! over by half, and so is who sleeps at its hours, once it is known for a block.

use std::collections::BTreeMap;

use crate::codec::{Reader, put_f32s};
use crate::sampling_period::follow;
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 5;
/// Turns before a name may be missed.
const WARM_UP: f32 = 12.0;
/// Turns that a name remembers.
const MEMORY: f32 = 4_096.0;
/// Missing turns that are a sleep: an hour of who is there every minute.
const PATIENCE: u16 = 60;
/// Missing windows after which a name is forgotten: two weeks of minutes.
const FORGOTTEN: u16 = 20_160;
/// Days after which a habit that was not kept is forgotten, and of a block.
const HABIT_DAYS: i64 = 8;
const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// Sleeps at no hour of habit that make a habit of sleeping.
const SLEEPS: u16 = 3;
/// Multiple of the longest sleep after which a sleeper is missed.
const OVERSLEPT: f32 = 1.5;
/// Windows in a row that may be left out.
const LEFT_OUT: u8 = 5;
/// Turns per run without it that a steady name has at least.
const STEADY: f32 = 20.0;
/// Windows between turns below which a name is there in every window.
const EVERY: f32 = 1.5;
/// Missing turns, and score, from which an absence is told.
const LASTS: u16 = 3;
const CERTAIN: f64 = 4.0;
/// Names told apart; further ones are left out until others are forgotten.
pub const NAMES_MAX: usize = 16_384;
/// Bytes of a name that count.
const NAME_BYTES_MAX: usize = 1_024;

/// What is known of one name.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    /// Turns since it was first there, runs without it, turns without it, and those of them that
    /// were not the first of their run.
    turns: f32,
    runs: f32,
    missed: f32,
    longer: f32,
    /// Rows per window while it is there.
    rows: f32,
    /// Inferred windows from one turn to the next; 0 while unknown.
    period: f32,
    /// Windows for which it has been away, and the start of the first.
    away: u16,
    since: i64,
    /// Start of the first window in which it was there.
    first: i64,
    /// When it fell asleep, nanoseconds, `i64::MIN` if never: the last time, and the last time at
    /// another hour.
    asleep: [i64; 2],
    sleeps: Sleeps,
}

/// The sleeps of one name, in this block of days since it was first there and in the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sleeps {
    block: u16,
    /// How many there were at no hour of habit.
    odd: [u16; 2],
    /// Windows of the longest.
    longest: [u16; 2],
}

impl Sleeps {
    /// A sleep of so many windows is over.
    fn learn(&mut self, odd: bool, windows: u16) {
        self.odd[0] = self.odd[0].saturating_add(odd.into());
        self.longest[0] = self.longest[0].max(windows);
    }

    /// It is there in block number `block`.
    fn pass(&mut self, block: u16) {
        for _ in 0..block.saturating_sub(self.block).min(2) {
            (self.odd, self.longest) = ([0, self.odd[0]], [0, self.longest[0]]);
        }
        self.block = self.block.max(block);
    }

    fn any_hour(&self) -> bool {
        self.odd[0].saturating_add(self.odd[1]) >= SLEEPS
    }

    /// Windows that a sleep may last.
    fn limit(&self) -> u16 {
        (OVERSLEPT * f32::from(self.longest[0].max(self.longest[1]))) as u16
    }
}

impl Known {
    fn new(first: i64) -> Self {
        Self {
            turns: 0.0,
            runs: 0.0,
            missed: 0.0,
            longer: 0.0,
            rows: 0.0,
            period: 0.0,
            away: 0,
            since: first,
            first,
            asleep: [i64::MIN; 2],
            sleeps: Sleeps::default(),
        }
    }

    /// It is not there in the window that starts at `start`.
    fn miss(&mut self, start: i64) {
        if self.away == 0 {
            self.since = start;
        }
        self.away = self.away.saturating_add(1);
    }

    /// It is there in the window that starts at `start`.
    fn learn(&mut self, start: i64, rows: f64) {
        let missing = self.missing(self.away);
        self.sleeps.pass(self.block(start));
        if missing >= PATIENCE {
            self.wake();
        } else if missing > 0 {
            let missing = f32::from(missing);
            self.runs += 1.0;
            self.missed += missing;
            self.longer += missing - 1.0;
            self.turns += missing;
        }
        if self.turns > 0.0 {
            self.period = follow(self.period.into(), f64::from(self.away) + 1.0) as f32;
        }
        self.away = 0;
        self.turns += 1.0;
        if self.turns > MEMORY {
            let Self { turns, runs, missed, longer, .. } = self;
            for count in [turns, runs, missed, longer] {
                *count *= 0.5;
            }
        }
        self.rows += (rows as f32 - self.rows) / self.turns.min(60.0);
    }

    /// A sleep is over.
    fn wake(&mut self) {
        self.runs += 1.0;
        self.sleeps.learn(!self.has_habit(), self.away);
        let other = usize::from(is_habit(self.asleep[0], self.since));
        self.asleep = [self.since, self.asleep[other]];
    }

    /// Blocks of days since it was first there.
    fn block(&self, start: i64) -> u16 {
        let blocks = start.saturating_sub(self.first) / (HABIT_DAYS * DAY);
        u16::try_from(blocks.max(0)).unwrap_or(u16::MAX)
    }

    /// Turns missed in so many windows, where a quarter of a turn is no delay. Half of a window is
    /// rounding, as there are whole ones only.
    fn missing(&self, away: u16) -> u16 {
        if self.period <= 0.0 {
            return 0;
        }
        ((f32::from(away) + 0.5) / self.period.max(1.0) - 0.25) as u16
    }

    /// Turns missed in so many windows that its habits do not explain.
    fn unexcused(&self, away: u16) -> u16 {
        let habit = away > 0 && self.has_habit();
        if habit && self.block(self.since) == 0 {
            return 0;
        }
        let sleeper = habit || self.sleeps.any_hour();
        let excused = if sleeper { self.sleeps.limit() } else { 0 };
        self.missing(away.saturating_sub(excused))
    }

    /// Score of an absence of so many windows.
    fn score(&self, away: u16) -> f64 {
        let missing = self.unexcused(away);
        if missing == 0 || self.turns < WARM_UP {
            return 0.0;
        }
        let begins = -(f64::from(self.runs + 0.5) / f64::from(self.turns + 1.0)).log10();
        let goes_on = -(f64::from(self.longer + 1.0) / f64::from(self.missed + 2.0)).log10();
        let certain = ((CERTAIN - begins) / goes_on).max(0.0);
        if f64::from(missing) >= certain + f64::from(PATIENCE) {
            return 0.0;
        }
        (begins + f64::from(missing - 1) * goes_on).clamp(0.0, SCORE_MAX)
    }

    fn has_habit(&self) -> bool {
        self.asleep.iter().any(|asleep| is_habit(*asleep, self.since))
    }

    fn is_certain(&self, away: u16) -> bool {
        self.unexcused(away) >= LASTS && self.score(away) >= CERTAIN
    }

    fn is_steady(&self) -> bool {
        self.turns >= WARM_UP && self.period < EVERY && self.runs * STEADY <= self.turns
    }
}

/// Going missing at `since` is what it did at `asleep`: some days later at the same hour.
fn is_habit(asleep: i64, since: i64) -> bool {
    let days = since.saturating_sub(asleep);
    (1..=HABIT_DAYS * DAY).contains(&days) && (days + HOUR).rem_euclid(DAY) <= 2 * HOUR
}

/// A name that is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Absent {
    pub name: String,
    /// −log10 of the probability that it is missing for so long.
    pub score: f64,
    /// Rows per window that it used to have.
    pub expected: f64,
    /// It became certain in this window.
    pub fresh: bool,
}

/// The state of one group of names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    known: BTreeMap<String, Known>,
    /// Windows just left out.
    left_out: u8,
}

impl State {
    /// Takes in who is there in the window that starts at `start_ns`, with its rows; returns who is
    /// missing, the most surprising first.
    pub fn step(&mut self, start_ns: i64, there: &BTreeMap<&str, f64>) -> Vec<Absent> {
        let present = |name: &String| there.contains_key(name.as_str());
        let lately = self.known.iter().filter(|(_, known)| known.away == 0 && known.is_steady());
        let (gone, stayed) = lately.fold((0, 0), |(gone, stayed), (name, _)| {
            if present(name) { (gone, stayed + 1) } else { (gone + 1, stayed) }
        });
        if gone > stayed && self.left_out < LEFT_OUT {
            self.left_out += 1;
            return Vec::new();
        }
        self.left_out = 0;
        if gone > stayed {
            let seldom = |known: &Known| known.period >= EVERY;
            self.known.retain(|name, known| there.contains_key(name.as_str()) || seldom(known));
        }
        for (name, known) in &mut self.known {
            if !there.contains_key(name.as_str()) {
                known.miss(start_ns);
            }
        }
        self.known.retain(|_, known| known.away < FORGOTTEN);
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, known| known.missing(known.away) < PATIENCE);
        }
        for (name, rows) in there {
            let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
            if let Some(known) = self.known.get_mut(name) {
                known.learn(start_ns, *rows);
            } else if self.known.len() < NAMES_MAX {
                let mut known = Known::new(start_ns);
                known.learn(start_ns, *rows);
                self.known.insert(name.to_owned(), known);
            }
        }
        let missing = self.known.iter().map(|(name, known)| (name, known, known.score(known.away)));
        let mut absent: Vec<Absent> = missing
            .filter(|(_, _, score)| *score > 0.0)
            .map(|(name, known, score)| Absent {
                name: name.clone(),
                score,
                expected: f64::from(known.rows),
                fresh: known.is_certain(known.away) && !known.is_certain(known.away - 1),
            })
            .collect();
        // There may be fewer rows to tell them on: what is told once comes before what goes on.
        let order = |a: &Absent, b: &Absent| {
            let fresh_first = b.fresh.cmp(&a.fresh);
            fresh_first.then(b.score.total_cmp(&a.score)).then_with(|| a.name.cmp(&b.name))
        };
        absent.sort_by(order);
        absent
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(self.left_out);
        out.extend_from_slice(&(self.known.len() as u16).to_le_bytes());
        for (name, known) in &self.known {
            put_text(out, name);
            let Known { turns, runs, missed, longer, rows, period, .. } = *known;
            put_f32s(out, &[turns, runs, missed, longer, rows, period]);
            for time in [known.since, known.first].iter().chain(&known.asleep) {
                out.extend_from_slice(&time.to_le_bytes());
            }
            let Sleeps { block, odd, longest } = known.sleeps;
            for count in [known.away, block].iter().chain(&odd).chain(&longest) {
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let left_out = from.u8()?;
        let mut known = BTreeMap::new();
        for _ in 0..from.u16()? {
            let name = from.text()?.to_owned();
            let [turns, runs, missed, longer, rows, period] = from.f32s()?;
            let (since, first, asleep) = (from.i64()?, from.i64()?, [from.i64()?, from.i64()?]);
            let (away, block) = (from.u16()?, from.u16()?);
            let (odd, longest) = ([from.u16()?, from.u16()?], [from.u16()?, from.u16()?]);
            let sleeps = Sleeps { block, odd, longest };
            let counts = Known { turns, runs, missed, longer, rows, period, ..Known::new(first) };
            let of = Known { away, since, asleep, sleeps, ..counts };
            known.insert(name, of);
        }
        from.end()?;
        Some(Self { known, left_out })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
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
        fn told(
            &mut self,
            minutes: i64,
            names: impl Fn(i64) -> &'static [&'static str],
        ) -> Vec<i64> {
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
    fn a_pause_every_night_is_news_once_and_no_excuse_for_another_hour() {
        let mut group = Group::default();
        let asleep = |minute: i64| minute % 1_440 >= 720;
        let told = group.told(6 * 1_440, |m| if asleep(m) { &ALL[1..] } else { &ALL });
        assert_eq!(told, [723], "the first night only");
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
}
