//! Who has fallen silent: names that come in every window, or every so many, and are missing now.
//!
//! Time is counted in a name's own turns: the usual distance of the windows in which it is there.
//! Of each it is learned how often it goes missing, `a = (runs + ½)/(turns + ½/ā)`, and how often
//! it then stays so, `c = (longer + 1)/(missed + 2)`: Jeffreys' rule of succession, its prior drawn
//! to how often the others of the group do, `ā = (their runs + ½)/(their turns + 1)`, as one of
//! which little is known is most likely like them; and Laplace's. A run of `k` turns without it has
//! the probability `p = a·c^(k−1)`, and the score is `−log10 p`: it grows while the silence lasts,
//! and stays small for who comes and goes.
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

const VERSION: u8 = 7;
/// Turns before a name may be missed.
const WARM_UP: f32 = 12.0;
/// Turns that the others' habit is worth at most beside its own.
const OTHERS_MAX: f32 = 1_000.0;
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
    /// Inferred windows from one turn to the next; 0 while unknown. The last two distances.
    period: f32,
    apart: [u16; 2],
    /// Windows for which it has been away, and the start of the first.
    away: u16,
    since: i64,
    /// −log10 of the probability that it went missing, as known when it did.
    begins: f32,
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
            apart: [0; 2],
            away: 0,
            since: first,
            begins: 0.0,
            first,
            asleep: [i64::MIN; 2],
            sleeps: Sleeps::default(),
        }
    }

    /// It is not there in the window that starts at `start`; `all` are the runs and turns of its
    /// group.
    fn miss(&mut self, start: i64, all: (f32, f32)) {
        if self.away == 0 {
            self.since = start;
            let (runs, turns) = (all.0 - self.runs, all.1 - self.turns);
            let others = (0.5 * (turns + 1.0) / (runs + 0.5)).clamp(1.0, OTHERS_MAX);
            self.begins = -((self.runs + 0.5) / (self.turns + others)).log10();
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
            self.follow(self.away.saturating_add(1));
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

    /// It is there after so many windows. Three times the same is no chance but another pace: who
    /// reports every five minutes from now on would be missed for hours else.
    fn follow(&mut self, apart: u16) {
        let steady = self.apart == [apart; 2];
        self.period =
            if steady { apart.into() } else { follow(self.period.into(), apart.into()) as f32 };
        self.apart = [self.apart[1], apart];
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
        let begins = f64::from(self.begins);
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
        let sum = |all: (f32, f32), known: &Known| (all.0 + known.runs, all.1 + known.turns);
        let all = self.known.values().fold((0.0, 0.0), sum);
        for (name, known) in &mut self.known {
            if !there.contains_key(name.as_str()) {
                known.miss(start_ns, all);
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
            let Known { turns, runs, missed, longer, rows, period, begins, .. } = *known;
            put_f32s(out, &[turns, runs, missed, longer, rows, period, begins]);
            for time in [known.since, known.first].iter().chain(&known.asleep) {
                out.extend_from_slice(&time.to_le_bytes());
            }
            let Sleeps { block, odd, longest } = known.sleeps;
            for count in [known.away, block].iter().chain(&known.apart).chain(&odd).chain(&longest)
            {
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
            let [turns, runs, missed, longer, rows, period, begins] = from.f32s()?;
            let (since, first, asleep) = (from.i64()?, from.i64()?, [from.i64()?, from.i64()?]);
            let (away, block) = (from.u16()?, from.u16()?);
            let apart = [from.u16()?, from.u16()?];
            let (odd, longest) = ([from.u16()?, from.u16()?], [from.u16()?, from.u16()?]);
            let sleeps = Sleeps { block, odd, longest };
            let counts =
                Known { turns, runs, missed, longer, rows, period, apart, ..Known::new(first) };
            let of = Known { away, since, begins, asleep, sleeps, ..counts };
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
mod tests;
