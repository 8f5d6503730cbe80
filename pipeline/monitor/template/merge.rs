//! Which templates are one message with a word in it that varies.
//!
//! Few words in one place are alternatives that an operator tells apart (opened and closed, states,
//! levels); a name, a host or a user takes any number. So a place becomes a slot once enough
//! distinct words were seen in it, and fewer suffice the more text around it is shared: `values x
//! shared words >= EVIDENCE`. Fewer suffice, too, where
//!
//! - data was seen in the same place,
//! - punctuation marks a value: quotes, `key=`, brackets, an address that the word is joined to,
//! - the words look like names of a program and not like words of a language,
//! - the words vary in other messages as well ([`super::names`]).
//!
//! None of this holds of words that say how it went ([`is_outcome`]), nor of what comes again and
//! again, where it is two names or plain words that a key has as its values: no fewer suffice.
//! Words that most templates have, as those of a header, count for nothing ([`Tree::tells`]).

use super::mark::{
    Mark, has_outcome, is_constant, is_name, is_outcome, is_outcome_of, is_server_error, mark,
};
use super::mask::{GAP, is_slot};
use super::names::Names;
use super::render::{Field, Slot, Text};
use super::tree::{Tree, is_word};

/// Distinct words x shared words that make a place a slot.
const EVIDENCE: usize = 32;
/// The same for words that are known as names.
const KNOWN_EVIDENCE: usize = 6;
/// The same for words that look like names where punctuation marks a value.
const MARKED_EVIDENCE: usize = 4;
/// The same for words that look like names.
const NAMES_EVIDENCE: usize = 12;
/// However much text is shared, fewer words may still be alternatives: the sets that people name
/// (levels, states, signals, methods) rarely have more than seven members.
const VALUES_MIN: usize = 8;
/// Shared words with which data in a place says what a word there is.
const DATA_SHARED_MIN: usize = 3;
/// Lines for each word so far, from which on words that a key has as its values are taken for an
/// enumeration: modes and reasons come again, hosts and users are soon joined by others. Of the
/// logs of `tests/formats.py` none is grouped worse for it; with 4 lines some are.
const LINES_PER_VALUE: u64 = 8;
/// Sets of differing places that one decision considers.
const SETS_MAX: usize = 16;

/// Places of a template, one bit each.
pub(super) type Places = u128;

/// Where two templates of one length differ, if only in words and slots. Templates of more parts
/// than there are bits are never compared.
pub(super) fn places(a: &[u32], b: &[u32]) -> Option<Places> {
    if a.len() > Places::BITS as usize || a.len() != b.len() {
        return None;
    }
    let mut out = 0;
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        if a != b {
            let open = |id: u32| is_word(id) || is_slot(id);
            if !(open(*a) && open(*b)) {
                return None;
            }
            out |= 1 << i;
        }
    }
    Some(out)
}

/// How many words say that the templates that share them are one message.
pub(super) fn telling(ids: impl Iterator<Item = u32>, sharing: usize, tree: &Tree) -> usize {
    ids.filter(|id| is_word(*id) && tree.tells(*id, sharing)).count()
}

fn shared_words(ids: &[u32], differing: Places) -> usize {
    ids.iter().enumerate().filter(|(i, id)| is_word(**id) && differing >> i & 1 == 0).count()
}

/// A template as far as merging looks at it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub ids: &'a [u32],
    pub fields: &'a [Field],
    /// Lines so far.
    pub count: u64,
}

/// The places that become slots and the templates that become one, given a new template.
pub(super) fn decide(
    new: View,
    others: &[(u32, View)],
    names: &Names,
    tree: &Tree,
) -> Option<(Places, Vec<u32>)> {
    let differing: Vec<(u32, View, Places)> = others
        .iter()
        .filter_map(|(slot, view)| Some((*slot, *view, places(new.ids, view.ids)?)))
        .filter(|(_, _, d)| shared_words(new.ids, *d) >= d.count_ones() as usize)
        .collect();
    let mut sets: Vec<Places> = differing.iter().map(|(_, _, d)| *d).collect();
    sets.sort_unstable_by_key(|d| (d.count_ones(), *d));
    sets.dedup();
    for set in sets.into_iter().take(SETS_MAX) {
        let members: Vec<_> = differing.iter().filter(|(_, _, d)| d & !set == 0).collect();
        let outside = (0..new.ids.len()).filter(|i| set >> i & 1 == 0).map(|i| new.ids[i]);
        let shared = telling(outside, members.len() + 1, tree);
        let varies = |place: usize| {
            let mut seen: Vec<(u32, &str)> = members
                .iter()
                .map(|(_, view, _)| view)
                .chain([&new])
                .map(|view| (view.ids[place], view.fields[place].text.constant()))
                .collect();
            seen.sort_unstable();
            seen.dedup_by_key(|(id, _)| *id);
            // A record of keys: where several vary, none of them is the outcome.
            let record = set.count_ones() > 2 && mark(new, place) == Mark::Key;
            let needed = if record { 2 } else { needed(new, place, shared, &seen, names) };
            let lines = members.iter().map(|(_, view, _)| view.count).sum::<u64>();
            let recur = lines >= LINES_PER_VALUE * members.len() as u64;
            let apart = || recur && enumerates(new, place, &seen) || tells(new, place, &seen);
            seen.len() >= needed && (seen.len() >= plain(shared) || !apart())
        };
        if (0..new.ids.len()).filter(|i| set >> i & 1 == 1).all(varies) {
            return Some((set, members.iter().map(|(slot, _, _)| *slot).collect()));
        }
    }
    None
}

/// Distinct words that make a place a slot, whatever they are.
fn plain(shared: usize) -> usize {
    VALUES_MIN.max(EVIDENCE.div_ceil(shared.max(1)))
}

/// Whether what stands in a place are two names, or plain words that a key has as its values.
fn enumerates(new: View, place: usize, seen: &[(u32, &str)]) -> bool {
    let keyed = || matches!(mark(new, place), Mark::Key | Mark::Last | Mark::Colon);
    let names = seen.iter().filter(|(_, text)| is_name(text)).count();
    let two = names == 2 && seen.len() == 2;
    !is_slot(seen[0].0) && (two || (names == 0 && keyed()))
}

/// Whether what stands in a place says how it went.
fn tells(new: View, place: usize, seen: &[(u32, &str)]) -> bool {
    let slot = is_slot(seen[0].0);
    let state = |text: &str| !slot && has_outcome(text);
    let told = |text: &str| is_outcome(text) || is_server_error(text) || state(text);
    let keyed = seen.iter().any(|(_, text)| is_text(text)) && is_outcome_of(new, place);
    keyed || seen.iter().filter(|(_, text)| told(text)).count() * 2 >= seen.len()
}

/// No slot, and no dash, which stands for data that is not there.
fn is_text(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// Distinct values that make a place a slot.
fn needed(new: View, place: usize, shared: usize, seen: &[(u32, &str)], known: &Names) -> usize {
    let shared = shared.max(1);
    let mark = mark(new, place);
    let slot = is_slot(seen[0].0);
    let absent = !seen.iter().any(|(_, text)| is_text(text));
    let names = seen.iter().filter(|(id, text)| is_slot(*id) || is_name(text)).count();
    if slot && (shared >= DATA_SHARED_MIN || absent) {
        let certain = absent || names == seen.len() || is_enclosed(new.ids, place, mark);
        return if certain { 2 } else { 3 };
    }
    // Names beside data are data.
    if slot && names == seen.len() && place > 0 {
        return 2;
    }
    let plain = plain(shared);
    // What is marked as a value and was data once, or left out, is one.
    let value = seen.iter().any(|(_, text)| !is_text(text));
    if value && matches!(mark, Mark::Key | Mark::Last | Mark::Colon | Mark::Quotes) {
        // After a colon a code may stand where a message does elsewhere.
        return if slot && mark == Mark::Colon { 3 } else { 2 };
    }
    let by_name = match mark {
        _ if names * 2 <= seen.len() => plain,
        // What a message begins with is its subject.
        Mark::None if place == 0 => 3.max(NAMES_EVIDENCE.div_ceil(shared)),
        Mark::None => 2.max(NAMES_EVIDENCE.div_ceil(shared)),
        // A state may look like a name.
        Mark::Colon => 3,
        _ => 2.max(MARKED_EVIDENCE.div_ceil(shared)),
    };
    let by_mark = match mark {
        Mark::None | Mark::Colon | Mark::Holder => plain,
        // Who writes `user=` here writes other text here, too.
        Mark::Last => return by_name.min(4),
        Mark::Joined => 4,
        Mark::Key => 3,
        Mark::Quotes => 2,
    };
    let strangers = seen.iter().filter(|(id, text)| !known.knows(*id) || is_constant(text)).count();
    let by_use = if strangers <= 1 { 3.max(KNOWN_EVIDENCE.div_ceil(shared)) } else { plain };
    plain.min(by_name).min(by_mark).min(by_use)
}

/// Punctuation before a word and after it, or before it where that marks a value.
fn is_enclosed(ids: &[u32], place: usize, mark: Mark) -> bool {
    let text = |id: &u32| is_word(*id) || is_slot(*id);
    let before = place.checked_sub(1).is_some_and(|i| !text(&ids[i]));
    before && (mark != Mark::None || ids.get(place + 1).is_none_or(|id| !text(id)))
}

/// Whether the template takes any word in all places where `ids` differs from it.
pub(super) fn covers(template: View, ids: &[u32]) -> bool {
    let open =
        |i: usize| template.ids[i] == GAP || template.fields[i].text == Text::Slot(Slot::Open);
    places(template.ids, ids)
        .is_some_and(|places| (0..ids.len()).filter(|i| places >> i & 1 == 1).all(open))
}

/// Words of `a` and `b` that are all in which the two differ: place and words.
pub(super) fn variants(a: View, b: View) -> Option<(usize, u32, u32)> {
    let differing = places(a.ids, b.ids).filter(|places| places.count_ones() == 1)?;
    let at = differing.trailing_zeros() as usize;
    Some((at, a.ids[at], b.ids[at]))
}
