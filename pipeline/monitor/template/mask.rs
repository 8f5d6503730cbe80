//! From tokens to the parts of a template: values and what joins them become one slot, so that
//! lists, addresses and quantities of any length are one message type.

use super::hash;
use super::scan::{ESCAPED_QUOTE, Kind, Token};

/// Id of a slot among the ids of a template; punctuation is its byte and words are above 255.
pub(super) const SLOT: u32 = 0;
/// Id of a slot that holds any number of words; of templates only, no line has it.
pub(super) const GAP: u32 = 1;

/// Holds a value or any number of them.
pub(super) fn is_slot(id: u32) -> bool {
    id == SLOT || id == GAP
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Index of a word or punctuation token.
    Constant(usize),
    /// Range of the tokens of a slot; empty for a value that is left out (`user=`, `()`).
    Slot(usize, usize),
}

/// Calls `emit` for every part, in order.
pub(super) fn fold(line: &[u8], tokens: &[Token], mut emit: impl FnMut(Part)) {
    let mut slot: Option<(usize, usize)> = None;
    let mut at = 0;
    while at < tokens.len() {
        if is_value(line, tokens, at, slot) {
            slot = Some((slot.map_or(at, |s| s.0), at + 1));
            at += 1;
            continue;
        }
        if let Some((from, to)) = slot
            && to == at
            && let Some(end) = restated(line, tokens, at)
        {
            slot = Some((from, end));
            at = end;
            continue;
        }
        if slot.is_some() && is_joint(&tokens[at]) {
            at += 1;
            continue;
        }
        flush(&mut slot, at, &mut emit);
        emit(Part::Constant(at));
        at += 1;
        if is_left_out(tokens, at) {
            slot = Some((at, at));
        }
    }
    flush(&mut slot, at, &mut emit);
}

/// Ends the open slot; the joints after its last value are punctuation after all.
fn flush(slot: &mut Option<(usize, usize)>, at: usize, emit: &mut impl FnMut(Part)) {
    if let Some((from, to)) = slot.take() {
        emit(Part::Slot(from, to));
        (to..at).for_each(|i| emit(Part::Constant(i)));
    }
}

pub(super) fn key(line: &[u8], tokens: &[Token]) -> u64 {
    let mut h = hash::SEED;
    fold(line, tokens, |part| h = step(h, id(tokens, part)));
    h
}

/// The key of a template is the chain of its ids.
pub(super) fn step(h: u64, id: u32) -> u64 {
    hash::fold(h ^ u64::from(id), hash::K1)
}

pub(super) fn id(tokens: &[Token], part: Part) -> u32 {
    match part {
        Part::Constant(i) => tokens[i].id,
        Part::Slot(..) => SLOT,
    }
}

/// End of brackets that say a value once more: `18846 bytes (18.4 KB)`, `10.0.0.1
/// (db.example.com)`.
fn restated(line: &[u8], tokens: &[Token], open: usize) -> Option<usize> {
    if !tokens[open].is_punct(b'(') || !tokens[open].spaced {
        return None;
    }
    let mut at = open + 1;
    while at < tokens.len() && is_value(line, tokens, at, Some((open, at))) {
        at += 1;
    }
    tokens.get(at).filter(|t| t.is_punct(b')')).map(|_| at + 1)
}

fn is_joint(token: &Token) -> bool {
    token.kind == Kind::Punct && b",:;|".iter().any(|b| token.is_punct(*b))
}

/// `key=` with nothing after it, `key: ` before a comma, or brackets and quotes around nothing.
fn is_left_out(tokens: &[Token], at: usize) -> bool {
    let before = &tokens[at - 1];
    let next = tokens.get(at);
    if before.kind != Kind::Punct {
        return false;
    }
    match before.id as u8 {
        b'=' => next.is_none_or(|next| {
            let key_follows = || tokens.get(at + 1).is_some_and(|t| t.is_punct(b'=') && !t.spaced);
            let ends = next.kind == Kind::Punct && b",;)]}>".iter().any(|b| next.is_punct(*b));
            ends || (next.kind == Kind::Word && next.spaced && key_follows())
        }),
        b':' => {
            let key = at > 1 && tokens[at - 2].kind == Kind::Word && !before.spaced;
            let ends: &[u8] = if key { b",;)]" } else { b")]" };
            next.is_some_and(|t| ends.iter().any(|b| t.is_punct(*b)))
        }
        quote @ (b'"' | b'\'' | ESCAPED_QUOTE) => {
            let opens = at == 1 || tokens[at - 2].kind == Kind::Punct || before.spaced;
            opens && next.is_some_and(|t| t.is_punct(quote) && !t.spaced)
        }
        b'(' => next.is_some_and(|t| t.is_punct(b')')),
        b'[' => next.is_some_and(|t| t.is_punct(b']')),
        b'<' => next.is_some_and(|t| t.is_punct(b'>')),
        b'{' => next.is_some_and(|t| t.is_punct(b'}')),
        _ => false,
    }
}

fn is_value(line: &[u8], tokens: &[Token], at: usize, slot: Option<(usize, usize)>) -> bool {
    let token = &tokens[at];
    match token.kind {
        Kind::Punct => false,
        Kind::Value => true,
        Kind::Word => {
            let text = token.text(line);
            let after_value = slot.is_some_and(|s| s.1 == at);
            is_literal(text)
                || (after_value && token.spaced && is_unit(text))
                || (is_calendar(text) && beside_value(line, tokens, at, after_value))
        }
    }
}

/// Truth values and the absence of a value, as programming languages write them.
fn is_literal(text: &[u8]) -> bool {
    const LITERALS: [&[u8]; 6] = [b"true", b"false", b"null", b"nil", b"NaN", b"undefined"];
    const CAPITALS: [&[u8]; 6] = [b"True", b"False", b"NULL", b"None", b"TRUE", b"FALSE"];
    (3..=9).contains(&text.len()) && (LITERALS.contains(&text) || CAPITALS.contains(&text))
}

/// Units that a program chooses by magnitude: bytes and time.
fn is_unit(text: &[u8]) -> bool {
    const UNITS: [&[u8]; 34] = [
        b"B", b"KB", b"kB", b"MB", b"GB", b"TB", b"PB", b"KiB", b"MiB", b"GiB", b"TiB", b"bytes",
        b"byte", b"ns", b"us", b"ms", b"s", b"sec", b"secs", b"min", b"mins", b"hr", b"hrs",
        b"second", b"seconds", b"minute", b"minutes", b"hour", b"hours", b"day", b"days", b"AM",
        b"PM", b"UTC",
    ];
    text.len() <= 7 && UNITS.contains(&text)
}

/// Names of days and months.
fn is_calendar(text: &[u8]) -> bool {
    const NAMES: [&[u8]; 19] = [
        b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun", b"Jan", b"Feb", b"Mar", b"Apr",
        b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    ];
    text.len() == 3 && text[0].is_ascii_uppercase() && NAMES.contains(&text)
}

/// A date is a number and names of its parts.
fn beside_value(line: &[u8], tokens: &[Token], at: usize, after_value: bool) -> bool {
    let is_name = |t: &Token| t.kind == Kind::Word && is_calendar(t.text(line));
    after_value
        || match tokens.get(at + 1) {
            Some(next) if next.kind == Kind::Value => true,
            Some(next) if is_name(next) || next.is_punct(b',') => {
                tokens.get(at + 2).is_some_and(|t| t.kind == Kind::Value || is_name(t))
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_one};

    #[test]
    fn a_key_may_have_no_value_before_the_next() {
        check_one(
            &["reset, server: , request 1", "reset, server: 10.1.1.1, request 1"],
            "reset, server: <*>, request <*>",
        );
        check("the rest :, of it", "the rest :, of it");
    }
}
