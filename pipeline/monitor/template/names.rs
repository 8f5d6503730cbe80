//! Words that are known as names: they vary in places of messages that have nothing else in common.
//!
//! A user, a table or a volume is written by many messages, a state by those of one kind. So a few
//! words that vary in one place are values if they vary in other places too.

use super::hash;
use super::merge::View;
use super::tree::is_word;

/// Different surroundings in which a word varies, two of them; 0 stands for none.
type Places = [u32; 2];

#[derive(Default)]
pub(super) struct Names {
    words: hash::Map<Places>,
}

impl Names {
    /// Takes a word that varies in the place `at` of a template. Of more words than `most` all are
    /// forgotten.
    pub fn note(&mut self, word: u32, view: View, at: usize, most: usize) {
        if !is_word(word) {
            return;
        }
        if self.words.len() >= most {
            self.words.clear();
        }
        let place = surroundings(view.ids, at);
        let known = self.words.entry(u64::from(word)).or_default();
        if known[0] == 0 {
            known[0] = place;
        } else if known[0] != place && known[1] == 0 {
            known[1] = place;
        }
    }

    pub fn knows(&self, word: u32) -> bool {
        self.words.get(&u64::from(word)).is_some_and(|known| known[1] != 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, Places)> {
        let mut all: Vec<(u32, Places)> =
            self.words.iter().map(|(word, known)| (*word as u32, *known)).collect();
        all.sort_unstable();
        all.into_iter()
    }

    pub fn restore(&mut self, word: u32, known: Places) {
        self.words.insert(u64::from(word), known);
    }
}

/// The words beside it: messages of one kind have them in common.
fn surroundings(ids: &[u32], at: usize) -> u32 {
    let word = |mut side: std::slice::Iter<u32>, back: bool| {
        let found =
            if back { side.rfind(|id| is_word(**id)) } else { side.find(|id| is_word(**id)) };
        u64::from(found.copied().unwrap_or(0))
    };
    let (before, after) = (word(ids[..at].iter(), true), word(ids[at + 1..].iter(), false));
    (hash::fold(before << 32 | after, hash::K1) >> 32) as u32 | 1
}
