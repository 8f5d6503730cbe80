//! Which templates are one message with text of any length in it: a reason, a list, a command.
//!
//! Two templates that begin and end alike differ in a span. As with single words ([`super::merge`])
//! the span becomes a slot once enough of it were seen; fewer suffice where punctuation marks it as
//! a value.

use std::ops::Range;

use super::mask::{GAP, SLOT, is_slot};
use super::merge::{Places, View, is_message, is_name, telling};
use super::render::{Field, Slot, Text, Word};
use super::shape::Piece;
use super::tree::{Tree, is_word};

/// Distinct spans, and words around them, that make a slot of text that nothing marks.
const SPANS_MIN: usize = 5;
const SPANS_EVIDENCE: usize = 24;
const SHARED_MIN: usize = 3;
/// Pieces that a slot shows of a span.
const SHOWN_MAX: usize = 16;
/// Words in which a line may differ from a template whose gaps it takes over.
const DIFFERING_MAX: usize = 2;
/// Words before a colon that introduce a text.
const CLAUSE_MIN: usize = 2;
/// Lines of a text, in the mean, that may be any.
const LINES_PER_TEXT_MAX: u64 = 2;
/// Parts by which a span is widened.
const WIDER_MAX: usize = 4;
/// Frames that one decision considers.
const FRAMES_MAX: usize = 16;

/// Parts before and after the span.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Frame {
    pub head: usize,
    pub tail: usize,
}

impl Frame {
    /// The span of a template of so many parts.
    pub fn span(self, parts: usize) -> Range<usize> {
        self.head..parts - self.tail
    }
}

/// The frame of the span in which two templates differ; neither span is empty. Data at its ends
/// belongs to it: values that follow one another are one.
pub(super) fn frame(a: View, b: View) -> Option<Frame> {
    let (m, n) = (a.ids.len(), b.ids.len());
    let least = m.min(n);
    if m.max(n) > Places::BITS as usize {
        return None;
    }
    let mut head = (0..least).take_while(|i| alike(a, *i, b, *i)).count();
    let mut tail = (1..=least - head).take_while(|i| alike(a, m - i, b, n - i)).count();
    while head > 0 && (is_slot(a.ids[head - 1]) || is_slot(b.ids[head - 1])) {
        head -= 1;
    }
    while tail > 0 && (is_slot(a.ids[m - tail]) || is_slot(b.ids[n - tail])) {
        tail -= 1;
    }
    (head + tail < least).then_some(Frame { head, tail })
}

/// The same, or names or data both. What a message begins with is its subject.
fn alike(a: View, i: usize, b: View, j: usize) -> bool {
    let value = |v: View, i: usize| is_slot(v.ids[i]) || is_name(v.fields[i].text.constant());
    a.ids[i] == b.ids[j] || (i > 0 && j > 0 && value(a, i) && value(b, j))
}

/// What marks a span as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    None,
    /// After a key or a colon, up to the end of the line: the value may be any text.
    Last,
    /// After a colon, or between brackets.
    Closed,
    Quotes,
    /// After a key, up to a delimiter.
    Key,
}

/// Whether parts hold a key and its value, outside of brackets.
fn keyed(ids: &[u32]) -> bool {
    let mut depth = 0_usize;
    ids.iter().filter_map(|id| u8::try_from(*id).ok()).any(|b| {
        depth += usize::from(b"([{".contains(&b));
        depth = depth.saturating_sub(usize::from(b")]}".contains(&b)));
        b == b'=' && depth == 0
    })
}

fn punct(ids: &[u32], at: usize) -> Option<u8> {
    ids.get(at).and_then(|id| u8::try_from(*id).ok()).filter(|b| *b > 1)
}

/// Widens a frame's span to the punctuation that marks it as a value, where that is near.
fn marked(ids: &[u32], frame: Frame) -> (Mark, Frame) {
    let end = ids.len() - frame.tail;
    for head in (frame.head.saturating_sub(WIDER_MAX)..=frame.head).rev() {
        let Some(open) = head.checked_sub(1).and_then(|i| punct(ids, i)) else {
            continue;
        };
        let closes: &[u8] = match open {
            b'(' => b")",
            b'[' => b"]",
            b'{' => b"}",
            b'"' | b'\'' | b'`' => &[open],
            b'=' => b",;:)]}|\"'>",
            b':' => b",;)]}|\"'>",
            _ => continue,
        };
        let close = (end..ids.len().min(end + WIDER_MAX + 1))
            .find(|at| punct(ids, *at).is_some_and(|b| closes.contains(&b)));
        let mark = match (close, open) {
            (Some(_), b'=') => Mark::Key,
            (Some(_), b'"' | b'\'' | b'`') => Mark::Quotes,
            (Some(_), _) => Mark::Closed,
            (None, b'=' | b':') if end + WIDER_MAX >= ids.len() && !keyed(&ids[end..]) => {
                Mark::Last
            }
            (None, _) => continue,
        };
        if is_message(ids, head) {
            break;
        }
        return (mark, Frame { head, tail: ids.len() - close.unwrap_or(ids.len()) });
    }
    (Mark::None, frame)
}

/// The frame whose span becomes a slot, and the templates that become one, given a new template.
pub(super) fn decide(new: View, others: &[(u32, View)], tree: &Tree) -> Option<(Frame, Vec<u32>)> {
    let framed: Vec<(u32, View, Frame)> =
        others.iter().filter_map(|(slot, view)| Some((*slot, *view, frame(new, *view)?))).collect();
    let mut frames: Vec<(Mark, Frame)> =
        framed.iter().map(|(_, _, f)| marked(new.ids, *f)).collect();
    frames.sort_unstable_by_key(|(_, f)| (usize::MAX - f.head - f.tail, f.head));
    frames.dedup();
    for (mark, frame) in frames.into_iter().take(FRAMES_MAX) {
        let fits = |f: &Frame| f.head >= frame.head && f.tail >= frame.tail;
        let members: Vec<_> = framed.iter().filter(|(_, _, f)| fits(f)).collect();
        let span = |view: &View| frame.span(view.ids.len());
        let spans = || [&new].into_iter().chain(members.iter().map(|(_, view, _)| view));
        // Spans of one length differ in words, which are not for here unless they are quoted.
        let lengths = spans().any(|view| view.ids.len() != new.ids.len());
        let text = || spans().all(|v| span(v).all(|i| is_word(v.ids[i])));
        if !(lengths || (mark == Mark::Quotes && span(&new).len() > 1 && text())) {
            continue;
        }
        // Any text is rare; what comes again and again is a message after its writer's name.
        let texts = || spans().filter(|view| !span(view).any(|i| view.ids[i] == GAP));
        let lines: u64 = texts().map(|view| view.count).sum();
        if mark == Mark::Last && lines > LINES_PER_TEXT_MAX * texts().count() as u64 {
            continue;
        }
        if [Mark::Key, Mark::Last].contains(&mark)
            && spans().any(|view| keyed(&view.ids[span(view)]))
        {
            continue;
        }
        if !spans().all(|view| balanced(&view.ids[span(view)])) {
            continue;
        }
        let data = spans().any(|v| span(v).len() == 1 && v.ids[frame.head] <= GAP);
        let values = || {
            spans()
                .all(|v| span(v).all(|i| v.ids[i] <= GAP || is_name(v.fields[i].text.constant())))
        };
        let end = new.ids.len() - frame.tail;
        let same = |i: &usize| {
            let at = |view: &View| if *i < end { *i } else { view.ids.len() + i - new.ids.len() };
            spans().all(|view| view.ids[at(view)] == new.ids[*i])
        };
        let outside = (0..frame.head).chain(end..new.ids.len()).filter(same);
        let shared = telling(outside.map(|i| new.ids[i]), members.len() + 1, tree);
        let needed = match mark {
            Mark::Key if shared > 0 => 2,
            _ if shared < SHARED_MIN => continue,
            _ if data && values() => 2,
            Mark::Closed | Mark::Quotes | Mark::Last if data => 2,
            Mark::Closed if punct(new.ids, frame.head - 1) == Some(b'(') => 4,
            Mark::Closed | Mark::Quotes => 3,
            Mark::Last if punct(new.ids, frame.head - 1) == Some(b'=') => 3,
            Mark::Last if clause(new, frame.head - 1) < CLAUSE_MIN => continue,
            Mark::Last => SPANS_MIN.max(SPANS_EVIDENCE.div_ceil(shared)),
            Mark::Key | Mark::None => continue,
        };
        // Texts that begin alike are messages of their own after a common head.
        let mut begins: Vec<u32> = spans().map(|view| view.ids[frame.head]).collect();
        begins.sort_unstable();
        begins.dedup();
        let colon = mark == Mark::Last && punct(new.ids, frame.head - 1) == Some(b':');
        let seen = if colon && !data { begins.len() } else { members.len() + 1 };
        if seen >= needed {
            return Some((frame, members.iter().map(|(slot, _, _)| *slot).collect()));
        }
    }
    None
}

/// Words between the punctuation before and the colon. One is who writes, not what of.
fn clause(new: View, colon: usize) -> usize {
    let text = |i: &usize| is_slot(new.ids[*i]) || is_word(new.ids[*i]);
    let word = |i: &usize| new.fields[*i].text.constant().bytes().any(|b| b.is_ascii_lowercase());
    (0..colon).rev().take_while(text).filter(word).count()
}

/// Whether brackets and quotes close where they open.
fn balanced(span: &[u32]) -> bool {
    let mut open = Vec::new();
    for id in span {
        match u8::try_from(*id).unwrap_or(0) {
            b'(' => open.push(b')'),
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            quote @ (b'"' | b'`') if open.last() != Some(&quote) => open.push(quote),
            close @ (b')' | b']' | b'}' | b'"' | b'`') if open.pop() != Some(close) => {
                return false;
            }
            _ => {}
        }
    }
    open.is_empty()
}

/// Makes a slot of the span.
pub(super) fn open(ids: &mut Vec<u32>, span: Range<usize>) {
    ids.splice(span, [GAP]);
}

pub(super) fn open_fields(fields: &mut Vec<Field>, span: Range<usize>) {
    let (spaced, slot) = (fields[span.start].spaced, summary(&fields[span.clone()]));
    fields.splice(span, [Field { spaced, text: Text::Slot(slot) }]);
}

/// What a slot shows of a span: how its values are joined, if it holds no text.
fn summary(span: &[Field]) -> Slot {
    let mut pieces = Vec::new();
    for (i, field) in span.iter().enumerate() {
        if field.spaced && i > 0 {
            pieces.push(Piece::Delimiter(b' '));
        }
        match &field.text {
            Text::Constant(text)
                if text.len() == 1 && !text.as_bytes()[0].is_ascii_alphanumeric() =>
            {
                pieces.push(Piece::Delimiter(text.as_bytes()[0]));
            }
            Text::Constant(_) => return Slot::Any,
            Text::Slot(Slot::Open | Slot::Any) => pieces.push(Piece::Mask),
            Text::Slot(Slot::Words(words)) => {
                for word in words {
                    pieces.extend(word.joint.bytes().map(Piece::Delimiter));
                    pieces.extend(word.pieces.iter().cloned());
                }
            }
        }
    }
    let literal = pieces.iter().any(|piece| matches!(piece, Piece::Literal(_)));
    if pieces.len() > SHOWN_MAX || literal {
        return Slot::Any;
    }
    Slot::Words(vec![Word { joint: "".into(), pieces }])
}

/// Whether a span holds values only.
pub(super) fn is_values(span: &[u32]) -> bool {
    span.iter().all(|id| !is_word(*id))
}

/// The spans of `ids` that lie in the gaps of `pattern`, and in how many words they differ
/// elsewhere; nothing if they differ in more than words.
pub(super) fn align(pattern: View, ids: &[u32]) -> Option<(Vec<Range<usize>>, usize)> {
    if !pattern.ids.contains(&GAP) {
        return None;
    }
    let fits = |i: usize, id: u32| {
        let own = pattern.ids[i];
        let word = is_word(own) || pattern.fields[i].text == Text::Slot(Slot::Open);
        if own == id {
            Some(0)
        } else if own == SLOT && word && (is_word(id) || id == SLOT) {
            Some(0)
        } else {
            (word && is_word(id)).then_some(1)
        }
    };
    let (mut spans, mut differing) = (Vec::new(), 0);
    let (mut i, mut at) = (0, 0);
    while i < pattern.ids.len() {
        if pattern.ids[i] != GAP {
            differing += fits(i, *ids.get(at)?)?;
            (i, at) = (i + 1, at + 1);
            continue;
        }
        let rest = &pattern.ids[i + 1..];
        let fixed = rest.iter().position(|id| *id == GAP).unwrap_or(rest.len());
        let last = fixed == rest.len();
        // The last gap ends where the end of the template begins, others as soon as they can.
        let end = if last {
            ids.len().checked_sub(fixed).filter(|end| *end > at)?
        } else {
            (at + 1..ids.len()).find(|end| ids[*end..].starts_with(&rest[..fixed]))?
        };
        spans.push(at..end);
        (i, at) = (i + 1, end);
    }
    (at == ids.len() && differing <= DIFFERING_MAX).then_some((spans, differing))
}
