//! What a series does at the same time of day, day after day.
//!
//! A job that runs every night makes one window in a thousand and four hundred abnormal: too few
//! to be usual, and told every night. Two times of day, to within ten minutes, are remembered at
//! which something was told, and on how many days running. By Laplace's rule of succession what
//! came on `c` days running comes again with a probability of `(c + 1)/(c + 2)`; with `c` of at
//! least `DAYS`, a window then that is no stronger than the series' record is as surprising as
//! that. On a day without it a habit loses a day.

use super::DAY;
use crate::codec::Reader;

/// Times of day that are told apart: ten minutes.
const SLOTS: i64 = 144;
/// Slots to either side that are the same time.
const NEAR: i64 = 1;
/// Habits that are remembered; a third one takes the place of the youngest.
const HABITS: usize = 2;
/// Days running that make a habit: two may be chance.
const DAYS: u8 = 3;
/// Days that are counted: three bits.
const DAYS_MAX: u8 = 7;
/// It has come today.
const TODAY: u8 = 8;

/// One time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Habit {
    slot: u8,
    /// Days running, and whether it has come today: four bits.
    days: u8,
}

/// The habits of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Habits {
    slots: [u8; HABITS],
    /// Of the first in the lower four bits, of the second in the higher ones.
    days: u8,
}

fn slot(ts_ns: i64) -> i64 {
    ts_ns.rem_euclid(DAY) / (DAY / SLOTS)
}

impl Habit {
    fn is_near(self, slot: i64) -> bool {
        let apart = (slot - i64::from(self.slot)).rem_euclid(SLOTS);
        apart <= NEAR || apart >= SLOTS - NEAR
    }

    fn count(self) -> u8 {
        self.days & !TODAY
    }

    /// Its time of day is over.
    fn pass(&mut self) {
        let come = self.days & TODAY != 0;
        let count = self.count();
        self.days = if come { (count + 1).min(DAYS_MAX) } else { count.saturating_sub(1) };
    }
}

impl Habits {
    fn get(self) -> [Habit; HABITS] {
        let days = [self.days & 15, self.days >> 4];
        std::array::from_fn(|i| Habit { slot: self.slots[i], days: days[i] })
    }

    fn set(&mut self, habits: [Habit; HABITS]) {
        self.slots = habits.map(|h| h.slot);
        self.days = habits[0].days | habits[1].days << 4;
    }

    /// −log10 of the probability that the series is abnormal at this time, where it is a habit.
    pub(super) fn score(self, ts_ns: i64) -> Option<f64> {
        let slot = slot(ts_ns);
        let near = self.get().into_iter().filter(|h| h.is_near(slot));
        let days = near.map(Habit::count).max().filter(|days| *days >= DAYS)?;
        Some((f64::from(days + 2) / f64::from(days + 1)).log10())
    }

    /// Takes in a window and when the one before it was. What is `abnormal` at the time of a habit
    /// is part of it; what would be `told` at another time may be the beginning of one.
    pub(super) fn learn(&mut self, before_ns: i64, ts_ns: i64, abnormal: bool, told: bool) {
        let (before, now) = (slot(before_ns), slot(ts_ns));
        if !abnormal && before == now {
            return;
        }
        let mut habits = self.get();
        for habit in habits.iter_mut().filter(|h| h.is_near(before) && !h.is_near(now)) {
            habit.pass();
        }
        if abnormal {
            if let Some(habit) = habits.iter_mut().find(|h| h.days > 0 && h.is_near(now)) {
                habit.days |= TODAY;
            } else if told
                && let Some(youngest) = habits.iter_mut().min_by_key(|h| h.count())
                && youngest.count() < DAYS
            {
                *youngest = Habit { slot: now as u8, days: TODAY };
            }
        }
        self.set(habits);
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend(self.slots);
        out.push(self.days);
    }

    pub(super) fn read(from: &mut Reader) -> Option<Self> {
        let habits = Self { slots: [from.u8()?, from.u8()?], days: from.u8()? };
        habits.slots.iter().all(|slot| i64::from(*slot) < SLOTS).then_some(habits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    /// The habit's score at a quarter past three of each day, before that day's window is learnt.
    fn told(days: i64, abnormal: impl Fn(i64, i64) -> bool) -> Vec<bool> {
        let (mut habits, mut out) = (Habits::default(), Vec::new());
        for minute in 1..days * 1440 {
            let (day, at) = (minute / 1440, minute % 1440);
            let now = abnormal(day, at);
            if at == 195 {
                out.push(habits.score(minute * MINUTE).is_some());
            }
            habits.learn((minute - 1) * MINUTE, minute * MINUTE, now, now);
        }
        out
    }

    #[test]
    fn what_comes_three_days_running_is_a_habit_until_it_stays_away() {
        let nightly = |day, at| day < 6 && (193..198).contains(&(at + day % 2));
        let expect = [false, false, false, true, true, true, true, true, true, true, false];
        assert_eq!(told(11, nightly), expect);
    }

    #[test]
    fn two_days_of_four_and_other_times_are_none() {
        assert_eq!(told(9, |day, at| day % 4 < 2 && at == 195), [false; 9]);
        assert_eq!(told(6, |day, at| at == 195 + 60 * (day % 2)), [false; 6]);
    }

    #[test]
    fn a_habit_stays_when_other_times_are_abnormal_once() {
        let also = |day: i64, at: i64| at == 195 || (day > 4 && at == 300 + day * 50);
        assert!(told(12, also)[4..].iter().all(|habit| *habit));
    }
}
