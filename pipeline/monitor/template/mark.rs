//! What punctuation and looks say about a word: that it is a value, or a name.

use super::hash;
use super::mask::is_slot;
use super::merge::View;
use super::tree::is_word;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    None,
    /// `key: word`
    Colon,
    /// `10.0.0.1/word` or `(word)`
    Joined,
    /// `word[12]`
    Holder,
    /// `key=word`, and what follows may belong to the value too.
    Last,
    /// `key=word,` or `key="word"`: a name, or one of two outcomes.
    Key,
    Quotes,
}

/// How the word in a place is marked.
pub(super) fn mark(new: View, place: usize) -> Mark {
    let punct = |i: usize| {
        let id = new.ids.get(i).filter(|id| !is_word(**id) && !is_slot(**id))?;
        u8::try_from(*id).ok()
    };
    let slot = |i: usize| new.ids.get(i).is_some_and(|id| is_slot(*id));
    let joined = |i: usize| new.fields.get(i).is_some_and(|field| !field.spaced);
    let (before, after) = (place.checked_sub(1).and_then(punct), punct(place + 1));
    match before {
        Some(b'=' | b':' | b'"') if is_message(new.ids, place) => Mark::None,
        Some(b'=') => {
            let key_follows = punct(place + 2) == Some(b'=');
            let closed = after.is_some_and(|b| b",;)]}|\"'>".contains(&b));
            if closed || key_follows { Mark::Key } else { Mark::Last }
        }
        Some(quote @ (b'"' | b'\'' | b'`')) if [Some(quote), Some(b'\'')].contains(&after) => {
            let keyed = place > 1 && matches!(punct(place - 2), Some(b'=' | b':'));
            if keyed { Mark::Key } else { Mark::Quotes }
        }
        Some(b':') if !joined(place) => match after {
            Some(b',' | b';' | b')' | b']' | b'}') => Mark::Key,
            _ => Mark::Colon,
        },
        Some(_) if joined(place) && place > 1 && slot(place - 2) => Mark::Joined,
        Some(b'(') if after == Some(b')') => Mark::Joined,
        Some(b'[') if after == Some(b']') => Mark::Joined,
        Some(b'{') if after == Some(b'}') => Mark::Joined,
        _ => {
            let holds = matches!(after, Some(b'[' | b'(')) && slot(place + 2);
            let unspaced = joined(place + 1) && joined(place + 2);
            if holds && unspaced { Mark::Holder } else { Mark::None }
        }
    }
}

/// Whether what begins at a place is what the line calls its message: that is text, not a value.
pub(super) fn is_message(ids: &[u32], at: usize) -> bool {
    const KEYS: [&str; 4] = ["msg", "message", "log", "event"];
    let mut before = ids[..at].iter().rev().skip_while(|id| **id == u32::from(b'"'));
    let joins = before.next().is_some_and(|id| [u32::from(b'='), u32::from(b':')].contains(id));
    let key = before.find(|id| **id != u32::from(b'"'));
    joins && key.is_some_and(|id| KEYS.iter().any(|key| *id == hash::word(key.as_bytes())))
}

/// A word of a program, not of a language: dotted, hyphenated, or with capitals inside. Constants
/// (`NOT_READY`) are alternatives that a program tells apart.
pub(super) fn is_name(word: &str) -> bool {
    let bytes = word.as_bytes();
    let joined = matches!(bytes, [b'#' | b'@' | b'$', _, ..])
        || bytes.iter().skip(1).any(|b| b"._-@/$~#:".contains(b));
    let camel = bytes.windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase());
    (joined || camel) && !is_constant(word)
}

/// In capitals, or no word at all.
pub(super) fn is_constant(word: &str) -> bool {
    !word.bytes().any(|b| b.is_ascii_lowercase())
}
