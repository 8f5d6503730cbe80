//! Which of a series' overlapping windows is the next to judge.
//!
//! A window that tumbles waits for the end of its minute, however early in it a series had its
//! sample. Of windows that hop by less than their width, those that are due make the windows of
//! a series with a sample per width end soon after its samples instead. A window is due if
//! - it overlaps the one before nowhere, or
//! - it holds a sample at least a width later than the newest of the one before;
//!
//! and if the series is new, or was away for more than two widths, the first is that
//! - ends at a multiple of the width, or
//! - had nothing in its last quarter.
//!
//! So no sample is in two windows that are due, and none is in no such window. Series with a
//! sample in each quarter have the windows that tumble, all at the same time; one of a sample per
//! width, which comes late or early once, is back at its own pace with the next.

use crate::codec::Reader;

const VERSION: u8 = 1;

/// The last window of one series that was due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Its end and its newest sample; `i64::MIN` before the first.
    end: i64,
    newest: i64,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// A series without windows.
    pub fn new() -> Self {
        Self { end: i64::MIN, newest: i64::MIN }
    }

    /// Whether the window from `start`, `width` nanoseconds wide, is due; its newest sample is of
    /// `newest`.
    pub fn step(&mut self, start: i64, width: i64, newest: i64) -> bool {
        let end = start.saturating_add(width);
        let since = newest.saturating_sub(self.newest);
        let due = match since > width.saturating_mul(2) {
            true => start.rem_euclid(width.max(1)) == 0 || end.saturating_sub(newest) > width / 4,
            false => start >= self.end || since >= width,
        };
        if due {
            *self = Self { end, newest };
        }
        due
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&self.newest.to_le_bytes());
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let state = Self { end: from.i64()?, newest: from.i64()? };
        from.end()?;
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: i64 = 60;
    const SLIDE: i64 = 15;

    /// The ends of the windows that are due of these samples, and the samples in each.
    fn due(samples: &[i64]) -> Vec<(i64, Vec<i64>)> {
        let mut state = State::new();
        let last = samples.iter().max().unwrap() + WIDTH;
        let mut windows = Vec::new();
        for end in (0..=last).step_by(SLIDE as usize) {
            let inside = |s: &&i64| (end - WIDTH..end).contains(*s);
            let held: Vec<i64> = samples.iter().filter(inside).copied().collect();
            let Some(newest) = held.iter().max() else { continue };
            if state.step(end - WIDTH, WIDTH, *newest) {
                windows.push((end, held));
            }
        }
        windows
    }

    #[test]
    fn one_sample_a_minute_makes_one_window_soon_after_it() {
        let windows = due(&[19, 79, 139, 200]);
        let ends: Vec<i64> = windows.iter().map(|w| w.0).collect();
        assert_eq!(ends, [45, 90, 150, 210]);
    }

    #[test]
    fn who_came_late_once_is_back_at_its_pace() {
        let ends: Vec<i64> = due(&[19, 125, 139, 199, 259]).iter().map(|w| w.0).collect();
        assert_eq!(ends, [45, 135, 195, 210, 270]);
    }

    #[test]
    fn dense_series_have_the_windows_that_tumble() {
        let dense: Vec<i64> = (0..20).chain(40..60).map(|i| 7 + 15 * i).collect();
        let ends: Vec<i64> = due(&dense).iter().map(|w| w.0).collect();
        assert_eq!(ends, [60, 120, 180, 240, 300, 660, 720, 780, 840, 900]);
    }

    #[test]
    fn every_sample_is_in_one_window_that_is_due() {
        let mut seed = 7_u64;
        for pace in [5, 13, 15, 25, 30, 40, 50, 59, 60, 61, 75, 90, 119, 120, 300] {
            let mut at = 0;
            let samples: Vec<i64> = (0..500)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    at += 1 + (pace + (seed >> 60) as i64 - 8).max(0);
                    at
                })
                .collect();
            let windows = due(&samples);
            let held: Vec<i64> = windows.iter().flat_map(|w| w.1.clone()).collect();
            assert_eq!(held, samples, "every {pace}");
        }
    }

    #[test]
    fn survives_bytes() {
        let mut state = State::new();
        state.step(0, WIDTH, 7);
        let mut bytes = Vec::new();
        state.write(&mut bytes);
        assert_eq!(State::read(&bytes), Some(state));
        assert_eq!(State::read(&bytes[..9]), None);
    }
}
