//! What is surprising of counts whose series is still young, judged by all that are as young.
//!
//! A count has a law before anything is known of it but its mean: Poisson's, and what it is wider
//! than that is much the same for all that one job counts. So series that are there from the
//! beginning pool their dispersion. With `n` windows of mean `μ` and own dispersion `φ` a count is
//! negative binomial with
//!
//! ```text
//! variance = μ · (1 + 1/n) · (PRIOR · φ_all · (1 + 2/√W) + n · φ)/(PRIOR + n)
//! ```
//!
//! where `φ_all` is the mean squared Pearson residual of the `W` windows of all. How far its `−ln
//! p` is to be believed is learned from all of them together by [`peaks over
//! threshold`](crate::peaks_over_threshold), and the score is never above the law's own. A series
//! that has shown nothing but zeros is judged by the [events](crate::rare_events) of all such. As
//! long as none is known, the size of the first is taken to be Pareto, `1/(1 + count)`: that of one
//! event whose mean is as much as one.
//!
//! What is told counts as one event of the usual size, and what goes on is not learnt. Of what is
//! told at one moment only the most surprising is: a fault shows in many series, and if all taught
//! what is usual, its second minute would be.
//!
//! A series that begins later is new, and silent while it is young: a line never seen before is for
//! another job to tell of.
//!
//! All rows of a moment are scored before any is learnt from, and learnt from in the order of their
//! numbers, so their order does not matter.
//!
//! Source: Gelman et al., Bayesian Data Analysis, §5 (partial pooling).

use crate::calibration::Calibration;
use crate::codec::{Reader, put_f32s};
use crate::count_anomaly::{RESIDUAL_MAX, TOLD, WARM_UP, Young};
use crate::negative_binomial::log_tail;
use crate::rare_events::RareEvents;
use crate::stateful::Shared;
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 1;
/// Windows that a series must have shown.
const LEAST: u16 = 4;
/// Windows of all young series before any may speak.
const ENOUGH: f32 = 20.0;
/// Windows that the dispersion of all is worth beside those of the series itself.
const PRIOR: f64 = 4.0;
/// Windows that are remembered.
const MEMORY: f32 = 2_000.0;

/// One row of a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) young: Young,
    pub(crate) count: f64,
}

/// What is known of all that are or were young.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct YoungCounts {
    /// Moments seen, up to the last at which a series can have been there from the beginning.
    moments: u16,
    /// Windows of series that have shown events, as far as they are remembered, and the mean of
    /// their squared Pearson residuals.
    windows: f32,
    dispersion: f32,
    calibration: Calibration,
    /// Of series that have shown nothing but zeros.
    events: RareEvents,
}

impl Default for YoungCounts {
    fn default() -> Self {
        let (calibration, events) = (Calibration::new(), RareEvents::NEW);
        Self { moments: 0, windows: 0.0, dispersion: 1.0, calibration, events }
    }
}

/// What is learnt from one row.
#[derive(Clone, Copy)]
enum Lesson {
    /// Of a series without events so far: their number.
    Event { count: f64 },
    /// Squared Pearson residual, and `−ln p` of one that may speak.
    Count { square: f64, log_p: Option<f64> },
}

impl YoungCounts {
    /// Scores the counts of young series at one moment, then learns from them: −log10 of their
    /// probability.
    pub(crate) fn moment(&mut self, rows: &[Row]) -> Vec<f64> {
        self.moments = (self.moments + 1).min(2 * WARM_UP);
        let looked: Vec<Option<Lesson>> = rows.iter().map(|row| self.look(row)).collect();
        let scores = looked.iter().zip(rows).map(|(lesson, row)| self.score(lesson.as_ref(), row));
        let scores: Vec<f64> = scores.collect();
        let news = looked.into_iter().zip(rows).zip(&scores).filter(|((_, row), _)| !row.young.hot);
        let (mut told, mut lessons) = (Vec::new(), Vec::new());
        for ((lesson, _), score) in news {
            let Some(lesson) = lesson else { continue };
            if *score >= TOLD { told.push((*score, lesson)) } else { lessons.push(lesson) }
        }
        let strongest = told
            .into_iter()
            .max_by(|(s, a), (t, b)| s.total_cmp(t).then_with(|| Lesson::order(a, b)));
        lessons.extend(strongest.map(|(_, lesson)| self.tamed(lesson)));
        lessons.sort_by(Lesson::order);
        lessons.into_iter().for_each(|lesson| self.learn(lesson));
        scores
    }

    fn look(&self, row: &Row) -> Option<Lesson> {
        let Young { windows, mean, dispersion, .. } = row.young;
        let late = self.moments.saturating_sub(windows + 1) >= WARM_UP;
        if late || windows == 0 {
            return None;
        }
        if mean == 0.0 {
            return Some(Lesson::Event { count: row.count });
        }
        let n = f64::from(windows);
        let square = (row.count - mean).powi(2) / mean.max(0.5) / (1.0 + 1.0 / n);
        let log_p = (windows >= LEAST).then(|| {
            let unsure = 1.0 + 2.0 / f64::from(self.windows).max(1.0).sqrt();
            let all = f64::from(self.dispersion) * unsure;
            let dispersion = (PRIOR * all + n * dispersion) / (PRIOR + n);
            log_tail(row.count, mean, dispersion * mean * (1.0 + 1.0 / n))
        });
        Some(Lesson::Count { square, log_p })
    }

    fn score(&self, lesson: Option<&Lesson>, row: &Row) -> f64 {
        match lesson {
            None => 0.0,
            Some(Lesson::Event { .. }) if row.young.windows < LEAST => 0.0,
            Some(Lesson::Event { count }) => {
                let size = if self.events.happen() { 0.0 } else { (1.0 + count).log10() };
                let score = self.events.score(*count, row.young.windows.into());
                (score + size).min(SCORE_MAX)
            }
            Some(Lesson::Count { log_p, .. }) => {
                let log_p = log_p.filter(|_| self.windows >= ENOUGH);
                log_p.map_or(0.0, |log_p| self.calibration.score_of_many(log_p))
            }
        }
    }

    /// What is learnt of a row that is told.
    fn tamed(&self, lesson: Lesson) -> Lesson {
        match lesson {
            Lesson::Event { count } => {
                Lesson::Event { count: count.min(self.events.size().max(1.0)) }
            }
            lesson => lesson,
        }
    }

    fn learn(&mut self, lesson: Lesson) {
        match lesson {
            Lesson::Event { count } => self.events.learn(count),
            Lesson::Count { square, log_p } => {
                self.windows = (self.windows + 1.0).min(MEMORY);
                let dispersion = f64::from(self.dispersion);
                let away = square.min(RESIDUAL_MAX * dispersion) - dispersion;
                let learnt = dispersion + away / f64::from(self.windows);
                self.dispersion = learnt.max(1.0) as f32;
                if let Some(log_p) = log_p {
                    self.calibration.learn_of_many(log_p);
                }
            }
        }
    }
}

impl Shared for YoungCounts {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.moments.to_le_bytes());
        put_f32s(out, &[self.windows, self.dispersion]);
        self.calibration.write(out);
        self.events.write(out);
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut from = Reader::new(bytes, VERSION)?;
        let moments = from.u16()?;
        let [windows, dispersion] = from.f32s()?;
        let calibration = Calibration::read(&mut from)?;
        let events = RareEvents::read(&mut from)?;
        let sound = windows >= 0.0 && dispersion >= 1.0;
        sound.then(|| (Self { moments, windows, dispersion, calibration, events }, from.rest()))
    }
}

impl Lesson {
    /// An order that does not depend on that of the rows.
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        let place = |lesson: &Self| match *lesson {
            Self::Event { count } => (0, count, 0.0),
            Self::Count { square, log_p } => (1, square, log_p.unwrap_or(-1.0)),
        };
        let (a, b) = (place(a), place(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count_anomaly::State;
    use crate::noise::Rng;

    const MINUTE: i64 = 60_000_000_000;

    /// Scores of all series in each of twelve minutes, as the function gives them.
    fn watched(mut counts: impl FnMut(usize, i64) -> f64, series: usize) -> Vec<Vec<f64>> {
        let (mut states, mut young) = (vec![State::new(); series], YoungCounts::default());
        let mut minute = |at: i64| -> Vec<f64> {
            let counts: Vec<f64> = (0..series).map(|i| counts(i, at)).collect();
            let asked = states.iter_mut().zip(&counts).map(|(state, count)| {
                assert!(state.pass(at * MINUTE, MINUTE, *count, 60.0));
                Row { young: state.young(60.0).unwrap(), count: *count }
            });
            let rows: Vec<Row> = asked.collect();
            let scores = young.moment(&rows);
            for ((state, count), score) in states.iter_mut().zip(counts).zip(&scores) {
                state.judge(60.0, count, *score);
            }
            scores
        };
        (0..12).map(&mut minute).collect()
    }

    #[test]
    fn a_fault_that_shows_in_many_counts_is_told_while_it_lasts() {
        let mut rng = Rng(3);
        let many = watched(|i, at| rng.poisson(if i < 6 && at >= 8 { 60.0 } else { 4.0 }), 12);
        for (at, scores) in many.iter().enumerate() {
            let told = scores[..6].iter().filter(|score| **score >= 3.0).count();
            assert!(
                told == if (8..11).contains(&at) { 6 } else { 0 } || at > 10,
                "{at}: {scores:?}"
            );
        }
    }

    #[test]
    fn calm_counts_rarely_alarm_and_a_flood_or_silence_among_them_does() {
        let (mut alarms, mut windows, mut found) = (0, 0, 0);
        for seed in 0..40 {
            let mut rng = Rng(seed);
            let calm = watched(|i, _| rng.poisson([2.0, 20.0, 60.0][i % 3]), 12);
            windows += calm.concat().len();
            alarms += calm.concat().iter().filter(|s| **s >= 3.0).count();
            let mut rng = Rng(seed);
            let faulty = watched(
                |i, at| match (i, at >= 8) {
                    (1, true) => rng.poisson(80.0),
                    (2, true) => rng.poisson(2.0),
                    _ => rng.poisson([2.0, 20.0, 60.0][i % 3]),
                },
                12,
            );
            found += [1, 2].iter().filter(|i| faulty[8][**i] >= 3.0).count();
            assert!((9..12).all(|at| faulty[at][2] >= 3.0), "seed {seed}: {faulty:?}");
        }
        assert!(alarms * 1_000 <= 2 * windows, "{alarms} of {windows}");
        assert!(found >= 72, "{found} of 80");
    }

    #[test]
    fn errors_where_nobody_had_any_are_told_as_long_as_they_last() {
        let scores = watched(|i, at| if i == 0 && at >= 9 { 30.0 } else { 0.0 }, 10);
        for (at, row) in scores.iter().enumerate() {
            assert_eq!(row[0] >= 3.0, at >= 9, "{at}: {row:?}");
            assert!(row[1..].iter().all(|score| *score == 0.0));
        }
        assert!((scores[11][0] - scores[10][0]).abs() < 0.1, "what goes on is not learnt");
        // One error alone is little, and many are where others have as many now and then.
        let one = watched(|i, at| f64::from(u8::from(i == 0 && at == 9)), 10);
        assert!(one[9][0] < 3.0, "{}", one[9][0]);
        let rare = |i: usize, at: i64| if (i as i64 + 3 * at) % 11 == 0 { 30.0 } else { 0.0 };
        let usual = watched(rare, 40);
        assert!(usual[9].iter().all(|score| *score < 3.0), "{:?}", usual[9]);
    }

    #[test]
    fn who_comes_later_is_silent() {
        let mut young = YoungCounts::default();
        let row = |windows: u16, count: f64| Row {
            young: Young { windows, mean: 10.0, dispersion: 1.0, hot: false },
            count,
        };
        for windows in 0..11 {
            young.moment(&vec![row(windows, 10.0); 20]);
        }
        assert!(young.moment(&[row(11, 90.0)])[0] > 3.0, "who was there may speak");
        (0..12).for_each(|_| drop(young.moment(&[])));
        assert_eq!(young.moment(&[row(5, 90.0)]), [0.0]);
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_a_restored_state_goes_on() {
        let (mut forth, mut back, mut rng) =
            (YoungCounts::default(), YoungCounts::default(), Rng(3));
        for windows in 0..12 {
            let mut row = |i: usize| {
                let mean = if i.is_multiple_of(3) { 0.0 } else { 5.0 };
                let young = Young { windows, mean, dispersion: 1.5, hot: i.is_multiple_of(7) };
                Row { young, count: rng.poisson(mean + 0.1) }
            };
            let mut rows: Vec<Row> = (0..30).map(&mut row).collect();
            let scores = forth.moment(&rows);
            rows.reverse();
            let mut reversed = back.moment(&rows);
            reversed.reverse();
            assert_eq!(scores, reversed);
            let mut bytes = Vec::new();
            forth.write(&mut bytes);
            assert!(YoungCounts::read(&bytes[..bytes.len() - 1]).is_none());
            forth = YoungCounts::read(&bytes).unwrap().0;
            assert_eq!(forth, back);
        }
    }
}
