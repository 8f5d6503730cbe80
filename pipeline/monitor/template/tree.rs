//! Candidates for a new template: a tree of fixed depth, token count, then the first or the last
//! word; and, of any length, the first two words or the last two. Those with a gap are found by one
//! word, too.

use super::hash;
use super::mask::GAP;

/// Candidates that one look-up takes from a leaf.
const CANDIDATES_MAX: usize = 128;

/// The same where lengths differ: those of one message come soon after one another.
const RELATIVES_MAX: usize = 32;
/// Fewer templates do not show what is in all of them.
const OTHERS_MIN: usize = 4;

#[derive(Default)]
pub(super) struct Tree {
    /// Sorted, so that look-ups do not depend on the order of insertion.
    leaves: hash::Map<Vec<u32>>,
    templates: usize,
    /// In how many templates a word is.
    words: hash::Map<usize>,
}

impl Tree {
    /// `open`: the template takes any word in some place. Such templates have leaves of their own,
    /// so that no number of others can hide them.
    pub fn insert(&mut self, ids: &[u32], open: bool, slot: u32) {
        for leaf in places(ids, open) {
            let slots = self.leaves.entry(leaf).or_default();
            if let Err(at) = slots.binary_search(&slot) {
                slots.insert(at, slot);
            }
        }
        self.templates += 1;
        words(ids).for_each(|word| *self.words.entry(word).or_default() += 1);
    }

    pub fn remove(&mut self, ids: &[u32], open: bool, slot: u32) {
        for leaf in places(ids, open) {
            if let Some(slots) = self.leaves.get_mut(&leaf) {
                slots.retain(|s| *s != slot);
                if slots.is_empty() {
                    self.leaves.remove(&leaf);
                }
            }
        }
        self.templates -= 1;
        for word in words(ids) {
            match self.words.get_mut(&word) {
                Some(templates) if *templates > 1 => *templates -= 1,
                _ => _ = self.words.remove(&word),
            }
        }
    }

    /// Whether a word that so many templates share says that they are one message: most others do
    /// not have it, as they have the words of a header.
    pub fn tells(&self, word: u32, sharing: usize) -> bool {
        let others = self.templates.saturating_sub(sharing);
        let having = self.words.get(&u64::from(word)).map_or(0, |n| n.saturating_sub(sharing));
        others < OTHERS_MIN || having * 2 < others
    }

    /// Templates of the same length that share the first or the last word.
    pub fn candidates(&self, ids: &[u32]) -> Vec<u32> {
        let leaves = [false, true].into_iter().flat_map(|open| leaves(ids, open));
        self.slots(leaves.flatten(), CANDIDATES_MAX)
    }

    /// Templates of any length that begin or end with the same two words.
    pub fn relatives(&self, ids: &[u32]) -> Vec<u32> {
        let leaves = [false, true].into_iter().flat_map(|gap| ends(ids, gap));
        self.slots(leaves.flatten(), RELATIVES_MAX)
    }

    /// Those that have a gap; one word suffices, as there may be a slot in place of the other.
    pub fn gapped(&self, ids: &[u32]) -> Vec<u32> {
        let words = [0, 1].into_iter().flat_map(|skipped| tips(ids, skipped));
        self.slots(ends(ids, true).into_iter().chain(words).flatten(), RELATIVES_MAX)
    }

    fn slots(&self, leaves: impl Iterator<Item = u64>, most: usize) -> Vec<u32> {
        let mut found = Vec::new();
        for leaf in leaves {
            let slots = self.leaves.get(&leaf).map_or(&[][..], Vec::as_slice);
            found.extend(slots.iter().rev().take(most));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

pub(super) fn is_word(id: u32) -> bool {
    id > 255
}

/// The words of a template, each once.
fn words(ids: &[u32]) -> impl Iterator<Item = u64> {
    let mut words: Vec<u32> = ids.iter().copied().filter(|id| is_word(*id)).collect();
    words.sort_unstable();
    words.dedup();
    words.into_iter().map(u64::from)
}

/// All leaves of a template.
fn places(ids: &[u32], open: bool) -> impl Iterator<Item = u64> {
    let gap = ids.contains(&GAP);
    let tips = if gap { tips(ids, 0) } else { [None; 2] };
    leaves(ids, open).into_iter().chain(ends(ids, gap)).chain(tips).flatten()
}

/// The first word and the last, after so many others.
fn tips(ids: &[u32], skipped: usize) -> [Option<u64>; 2] {
    let leaf = |id: &u32, end: u64| hash::fold(u64::from(*id) ^ hash::K1, hash::SEED ^ end);
    let first = ids.iter().filter(|id| is_word(**id)).nth(skipped);
    let last = ids.iter().rev().filter(|id| is_word(**id)).nth(skipped);
    [first.map(|id| leaf(id, 0)), last.map(|id| leaf(id, 1))]
}

/// The first two words and the last two, if a template has them.
fn ends(ids: &[u32], gap: bool) -> [Option<u64>; 2] {
    let leaf = |one: Option<&u32>, two: Option<&u32>, end: u64| {
        let place = u64::from(*one?) << 32 | u64::from(*two?);
        Some(hash::fold(place ^ hash::SEED, hash::K1 ^ end ^ u64::from(gap) << 1))
    };
    let mut words = ids.iter().filter(|id| is_word(**id));
    let mut back = ids.iter().rev().filter(|id| is_word(**id));
    [leaf(words.next(), words.next(), 0), leaf(back.next(), back.next(), 1)]
}

fn leaves(ids: &[u32], open: bool) -> [Option<u64>; 2] {
    let leaf = |id: &u32, end: u64| {
        let place = u64::from(*id) << 32 | (ids.len() as u64) << 2 | u64::from(open) << 1 | end;
        hash::fold(place ^ hash::K1, hash::SEED)
    };
    let first = ids.iter().find(|id| is_word(**id));
    let last = ids.iter().rev().find(|id| is_word(**id));
    [first.map(|id| leaf(id, 0)), last.map(|id| leaf(id, 1))]
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Miner};

    #[test]
    fn a_line_of_a_template_with_slots_at_both_ends_is_one_of_its_lines() {
        let mut miner = Miner::new(Limits::default());
        let names = ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian", "joy"];
        let causes = ["idle", "no answer", "bye", "it was not seen again", "full"];
        for (i, name) in names.iter().cycle().take(50).enumerate() {
            let cause = causes[i / 10];
            miner.add(format!("peer {name} is not part of the ring any more ({cause})").as_bytes());
        }
        let text = "peer <*> is not part of the ring any more (<*>)";
        let union = miner.templates().find(|t| t.1 == text).unwrap().0;
        for line in [
            "peer kim is not part of the ring any more (it left on its own)",
            "peer lee is not part of the ring any more (quota of the day was used)",
        ] {
            let id = miner.add(line.as_bytes());
            assert_eq!(miner.resolve(id), union, "{line}");
        }
    }
}
