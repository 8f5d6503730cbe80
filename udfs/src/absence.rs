//! Who has fallen silent: names that come in every window, or nearly, and are missing now.
//!
//! Of each name it is learned how often it goes missing, `a = (runs + ½)/(windows + 1)`, and how
//! often it then stays so, `c = (longer + 1)/(missed + 2)`: the rules of succession of Jeffreys and
//! of Laplace. A run of `k` windows without it has the probability `p = a·c^(k−1)`, and the score
//! is `−log10 p`: it grows while the silence lasts, and stays small for who comes and goes.
//!
//! Where more than half of those who were there a window ago are missing at once, the collector has
//! failed and not they: such a window is left out. A name that is missing for `PATIENCE` windows
//! has been taken away on purpose, and is forgotten.

use std::collections::BTreeMap;

use crate::codec::{Reader, put_f32s};
use crate::verdict::SCORE_MAX;

const VERSION: u8 = 1;
/// Windows before a name may be missed.
const WARM_UP: f32 = 12.0;
/// Windows that a name remembers.
const MEMORY: f32 = 4_096.0;
/// Missing windows after which a name is forgotten: an hour at one-minute windows.
const PATIENCE: u16 = 60;
/// Names told apart; further ones are left out until others are forgotten.
pub const NAMES_MAX: usize = 16_384;
/// Bytes of a name that count.
const NAME_BYTES_MAX: usize = 1_024;

/// What is known of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Known {
    /// Windows since it was first there, runs without it, windows without it, and those of them
    /// that were not the first of their run.
    windows: f32,
    runs: f32,
    missed: f32,
    longer: f32,
    /// Rows per window while it is there.
    rows: f32,
    /// Windows for which it has been missing.
    missing: u16,
}

impl Known {
    fn learn(&mut self, rows: f64) {
        if self.missing > 0 {
            let missing = f32::from(self.missing);
            self.runs += 1.0;
            self.missed += missing;
            self.longer += missing - 1.0;
            self.windows += missing;
            self.missing = 0;
        }
        self.windows += 1.0;
        if self.windows > MEMORY {
            for count in [&mut self.windows, &mut self.runs, &mut self.missed, &mut self.longer] {
                *count *= 0.5;
            }
        }
        self.rows += (rows as f32 - self.rows) / self.windows.min(60.0);
    }

    fn score(&self) -> f64 {
        if self.missing == 0 || self.windows < WARM_UP {
            return 0.0;
        }
        let begins = f64::from(self.runs + 0.5) / f64::from(self.windows + 1.0);
        let goes_on = f64::from(self.longer + 1.0) / f64::from(self.missed + 2.0);
        let run = begins.log10() + f64::from(self.missing - 1) * goes_on.log10();
        (-run).clamp(0.0, SCORE_MAX)
    }
}

/// A name that is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Absent {
    pub name: String,
    /// −log10 of the probability that it is missing for so long.
    pub score: f64,
    /// Rows per window that it used to have.
    pub expected: f64,
}

/// The state of one group of names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    known: BTreeMap<String, Known>,
}

impl State {
    /// Takes in who is there in one window, with its rows; returns who is missing, the most
    /// surprising first.
    pub fn step(&mut self, there: &BTreeMap<&str, f64>) -> Vec<Absent> {
        let present = |name: &String| there.contains_key(name.as_str());
        let lately = self.known.iter().filter(|(_, known)| known.missing == 0);
        let (gone, stayed) = lately.fold((0, 0), |(gone, stayed), (name, _)| {
            if present(name) { (gone, stayed + 1) } else { (gone + 1, stayed) }
        });
        if gone > stayed {
            return Vec::new();
        }
        for (name, known) in &mut self.known {
            if !there.contains_key(name.as_str()) {
                known.missing = known.missing.saturating_add(1);
            }
        }
        self.known.retain(|_, known| known.missing < PATIENCE);
        for (name, rows) in there {
            let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
            if let Some(known) = self.known.get_mut(name) {
                known.learn(*rows);
            } else if self.known.len() < NAMES_MAX {
                let mut known = Known::default();
                known.learn(*rows);
                self.known.insert(name.to_owned(), known);
            }
        }
        let missing = self.known.iter().map(|(name, known)| (name, known, known.score()));
        let mut absent: Vec<Absent> = missing
            .filter(|(_, _, score)| *score > 0.0)
            .map(|(name, known, score)| Absent {
                name: name.clone(),
                score,
                expected: f64::from(known.rows),
            })
            .collect();
        absent.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
        absent
    }

    /// Appends the state to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&(self.known.len() as u16).to_le_bytes());
        for (name, known) in &self.known {
            put_text(out, name);
            put_f32s(out, &[known.windows, known.runs, known.missed, known.longer, known.rows]);
            out.extend_from_slice(&known.missing.to_le_bytes());
        }
    }

    /// What `write` wrote, or `None` if the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let mut known = BTreeMap::new();
        for _ in 0..from.u16()? {
            let name = from.text()?.to_owned();
            let [windows, runs, missed, longer, rows] = from.f32s()?;
            let missing = from.u16()?;
            known.insert(name, Known { windows, runs, missed, longer, rows, missing });
        }
        from.end()?;
        Some(Self { known })
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

    fn after(windows: usize) -> State {
        let mut state = State::default();
        for _ in 0..windows {
            assert!(state.step(&there(&ALL)).is_empty());
        }
        state
    }

    #[test]
    fn who_falls_silent_is_named_ever_more_surely_until_forgotten() {
        let mut state = after(240);
        let scores: Vec<Vec<Absent>> = (0..70).map(|_| state.step(&there(&ALL[1..]))).collect();
        assert_eq!((scores[0][0].name.as_str(), scores[0][0].expected), ("cart", 24.0));
        let score = |i: usize| scores[i].first().map_or(0.0, |absent| absent.score);
        assert!(score(0) > 2.0 && score(2) > 3.0 && score(9) > score(2));
        assert!(score(69) == 0.0, "taken away on purpose");
    }

    #[test]
    fn a_collector_that_fails_accuses_nobody() {
        let mut state = after(240);
        assert!(state.step(&there(&ALL[..2])).is_empty());
        assert!(state.step(&there(&ALL[..2])).is_empty());
        assert!(state.step(&there(&ALL)).is_empty());
        assert_eq!(state.step(&there(&ALL[..3])).len(), 2);
    }

    #[test]
    fn who_comes_and_goes_is_not_missed() {
        let (mut state, mut rng, mut claims) = (State::default(), Rng(7), 0);
        let mut away = 0;
        for i in 0..20_000 {
            away = if away > 0 { away - 1 } else { (rng.below(60) == 0) as u64 * rng.below(20) };
            let names: Vec<&str> = ALL.iter().skip(usize::from(away > 0)).copied().collect();
            let worst = state.step(&there(&names)).first().map_or(0.0, |absent| absent.score);
            claims += i32::from(i >= 2_000 && worst >= 3.0);
        }
        assert!(claims <= 60, "{claims} of 18,000 windows");
    }

    #[test]
    fn states_survive_bytes() {
        let mut state = after(30);
        state.step(&there(&ALL[1..]));
        let mut bytes = Vec::new();
        state.write(&mut bytes);
        assert_eq!(State::read(&bytes).as_ref(), Some(&state));
        assert_eq!(State::read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(State::read(&[]), None);
    }
}
