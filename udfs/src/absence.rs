//! Who has fallen silent: names that come in every window, or nearly, and are missing now.
//!
//! Of each name it is learned how often it goes missing, `a = (runs + ½)/(windows + 1)`, and how
//! often it then stays so, `c = (longer + 1)/(missed + 2)`: the rules of succession of Jeffreys and
//! of Laplace. A run of `k` windows without it has the probability `p = a·c^(k−1)`, and the score
//! is `−log10 p`: it grows while the silence lasts, and stays small for who comes and goes.
//! It is told once, when it is certain enough and has lasted.
//!
//! Where more than half of the steady ones who were there a window ago are missing at once, the
//! collector has failed and not they: such a window is left out. If that lasts, those who are there
//! are the new normal. A name that is missing for `PATIENCE` windows is asleep: no longer missed.
//! If it goes missing again at an hour of the day at which it fell asleep up to eight days ago,
//! that is its habit and not told: a pause every night or over the weekend is news once. An outage
//! of an hour makes no habit, but for that hour of the day. The last two such hours are known.

use std::collections::BTreeMap;

use crate::codec::{Reader, put_f32s};
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 4;
/// Windows before a name may be missed.
const WARM_UP: f32 = 12.0;
/// Windows that a name remembers.
const MEMORY: f32 = 4_096.0;
/// Missing windows after which a name is asleep: an hour at one-minute windows; and after which it
/// is forgotten: a week.
const PATIENCE: u16 = 60;
const FORGOTTEN: u16 = 10_080;
/// Days after which a habit that was not kept is forgotten.
const HABIT_DAYS: i64 = 8;
const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// Windows in a row that may be left out.
const LEFT_OUT: u8 = 5;
/// Windows per run without it that a steady name has at least.
const STEADY: f32 = 20.0;
/// Missing windows, and score, from which an absence is told.
const LASTS: u16 = 3;
const CERTAIN: f64 = 4.0;
/// Names told apart; further ones are left out until others are forgotten.
pub const NAMES_MAX: usize = 16_384;
/// Bytes of a name that count.
const NAME_BYTES_MAX: usize = 1_024;

/// What is known of one name.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    /// Windows since it was first there, runs without it, windows without it, and those of them
    /// that were not the first of their run.
    windows: f32,
    runs: f32,
    missed: f32,
    longer: f32,
    /// Rows per window while it is there.
    rows: f32,
    /// Windows for which it has been missing, and the start of the first.
    missing: u16,
    since: i64,
    /// When it fell asleep, nanoseconds, `i64::MIN` if never: the last time, and the last time at
    /// another hour. Windows asleep are not counted.
    asleep: [i64; 2],
}

impl Known {
    const NEW: Self = Self {
        windows: 0.0,
        runs: 0.0,
        missed: 0.0,
        longer: 0.0,
        rows: 0.0,
        missing: 0,
        since: 0,
        asleep: [i64::MIN; 2],
    };

    /// It is not there in the window that starts at `start`.
    fn miss(&mut self, start: i64) {
        if self.missing == 0 {
            self.since = start;
        }
        self.missing = self.missing.saturating_add(1);
    }

    fn learn(&mut self, rows: f64) {
        if self.missing > 0 {
            let missing = f32::from(self.missing);
            self.runs += 1.0;
            if self.missing < PATIENCE {
                self.missed += missing;
                self.longer += missing - 1.0;
                self.windows += missing;
            } else {
                let other = usize::from(is_habit(self.asleep[0], self.since));
                self.asleep = [self.since, self.asleep[other]];
            }
            self.missing = 0;
        }
        self.windows += 1.0;
        if self.windows > MEMORY {
            let Self { windows, runs, missed, longer, .. } = self;
            for count in [windows, runs, missed, longer] {
                *count *= 0.5;
            }
        }
        self.rows += (rows as f32 - self.rows) / self.windows.min(60.0);
    }

    /// Score of an absence of so many windows.
    fn score(&self, missing: u16) -> f64 {
        let young = self.windows < WARM_UP;
        if missing == 0 || missing >= PATIENCE || young || self.has_habit() {
            return 0.0;
        }
        let begins = f64::from(self.runs + 0.5) / f64::from(self.windows + 1.0);
        let goes_on = f64::from(self.longer + 1.0) / f64::from(self.missed + 2.0);
        let run = begins.log10() + f64::from(missing - 1) * goes_on.log10();
        (-run).clamp(0.0, SCORE_MAX)
    }

    fn has_habit(&self) -> bool {
        self.asleep.iter().any(|asleep| is_habit(*asleep, self.since))
    }

    fn is_certain(&self, missing: u16) -> bool {
        missing >= LASTS && self.score(missing) >= CERTAIN
    }

    fn is_steady(&self) -> bool {
        self.windows >= WARM_UP && self.runs * STEADY <= self.windows
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
        let lately = self.known.iter().filter(|(_, known)| known.missing == 0 && known.is_steady());
        let (gone, stayed) = lately.fold((0, 0), |(gone, stayed), (name, _)| {
            if present(name) { (gone, stayed + 1) } else { (gone + 1, stayed) }
        });
        if gone > stayed && self.left_out < LEFT_OUT {
            self.left_out += 1;
            return Vec::new();
        }
        self.left_out = 0;
        if gone > stayed {
            self.known.retain(|name, _| there.contains_key(name.as_str()));
        }
        for (name, known) in &mut self.known {
            if !there.contains_key(name.as_str()) {
                known.miss(start_ns);
            }
        }
        self.known.retain(|_, known| known.missing < FORGOTTEN);
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, known| known.missing < PATIENCE);
        }
        for (name, rows) in there {
            let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
            if let Some(known) = self.known.get_mut(name) {
                known.learn(*rows);
            } else if self.known.len() < NAMES_MAX {
                let mut known = Known::NEW;
                known.learn(*rows);
                self.known.insert(name.to_owned(), known);
            }
        }
        let missing =
            self.known.iter().map(|(name, known)| (name, known, known.score(known.missing)));
        let mut absent: Vec<Absent> = missing
            .filter(|(_, _, score)| *score > 0.0)
            .map(|(name, known, score)| Absent {
                name: name.clone(),
                score,
                expected: f64::from(known.rows),
                fresh: known.is_certain(known.missing) && !known.is_certain(known.missing - 1),
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
            let Known { windows, runs, missed, longer, rows, missing, since, asleep } = *known;
            put_f32s(out, &[windows, runs, missed, longer, rows]);
            out.extend_from_slice(&missing.to_le_bytes());
            for time in [since].iter().chain(&asleep) {
                out.extend_from_slice(&time.to_le_bytes());
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
            let [windows, runs, missed, longer, rows] = from.f32s()?;
            let (missing, since) = (from.u16()?, from.i64()?);
            let asleep = [from.i64()?, from.i64()?];
            let of = Known { windows, runs, missed, longer, rows, missing, since, asleep };
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
