//! Which templates are one message with a word in it that varies.
//!
//! Few words in one place are alternatives that an operator tells apart (opened and closed, states,
//! levels); a name, a host or a user takes any number. So a place becomes a slot once enough
//! distinct words were seen in it, and fewer suffice the more text around it is shared: `values x
//! shared words >= EVIDENCE`.

use super::mask::SLOT;
use super::tree::is_word;

/// Distinct words x shared words that make a place a slot.
const EVIDENCE: usize = 32;
/// However much text is shared, fewer words may still be alternatives: the sets that people name
/// (levels, states, signals, methods) rarely have more than seven members.
const VALUES_MIN: usize = 8;
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
            let open = |id: u32| is_word(id) || id == SLOT;
            if !(open(*a) && open(*b)) {
                return None;
            }
            out |= 1 << i;
        }
    }
    Some(out)
}

fn shared_words(ids: &[u32], differing: Places) -> usize {
    ids.iter().enumerate().filter(|(i, id)| is_word(**id) && differing >> i & 1 == 0).count()
}

/// The places that become slots and the templates that become one, given a new template.
pub(super) fn decide(new: &[u32], others: &[(u32, &[u32])]) -> Option<(Places, Vec<u32>)> {
    let differing: Vec<(u32, &[u32], Places)> = others
        .iter()
        .filter_map(|(slot, ids)| Some((*slot, *ids, places(new, ids)?)))
        .filter(|(_, _, d)| shared_words(new, *d) >= d.count_ones() as usize)
        .collect();
    let mut sets: Vec<Places> = differing.iter().map(|(_, _, d)| *d).collect();
    sets.sort_unstable_by_key(|d| (d.count_ones(), *d));
    sets.dedup();
    for set in sets.into_iter().take(SETS_MAX) {
        let members: Vec<_> = differing.iter().filter(|(_, _, d)| d & !set == 0).collect();
        let needed = VALUES_MIN.max(EVIDENCE.div_ceil(shared_words(new, set).max(1)));
        let varies = |place: usize| {
            let mut ids: Vec<u32> = members.iter().map(|(_, ids, _)| ids[place]).collect();
            ids.push(new[place]);
            ids.sort_unstable();
            ids.dedup();
            ids.len() >= needed
        };
        if (0..new.len()).filter(|i| set >> i & 1 == 1).all(varies) {
            return Some((set, members.iter().map(|(slot, _, _)| *slot).collect()));
        }
    }
    None
}
