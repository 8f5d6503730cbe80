//! Which templates are one message with text of any length in it: a reason, a list, a command.
//!
//! Two templates that begin and end alike differ in a span. As with single words ([`super::merge`])
//! the span becomes a slot once enough of it were seen; fewer suffice where punctuation marks it as
//! a value.

use std::ops::Range;

use super::mark::{is_message, is_name, is_outcome};
use super::mask::{GAP, SLOT, is_slot};
use super::merge::{Places, View, telling};
use super::render::{Field, Slot, Text, Word};
use super::scan::ESCAPED_QUOTE;
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
const QUOTES: [u8; 4] = [b'"', b'\'', b'`', ESCAPED_QUOTE];
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

/// Punctuation outside of brackets; 0 stands for a word.
fn outside(ids: &[u32]) -> impl Iterator<Item = u8> {
    let mut depth = 0_usize;
    ids.iter().map(|id| u8::try_from(*id).unwrap_or(0)).filter(move |b| {
        depth += usize::from(b"([{".contains(b));
        depth = depth.saturating_sub(usize::from(b")]}".contains(b)));
        depth == 0
    })
}

/// Whether parts hold a key and its value, outside of brackets: `key=` or `"key":`.
fn keyed(ids: &[u32]) -> bool {
    let mut quoted = false;
    outside(ids).any(|b| {
        let joins = b == b'=' || (b == b':' && quoted);
        quoted = b == b'"' || b == ESCAPED_QUOTE;
        joins
    })
}

/// Places of the keys of a record as people write it: `Key: value. Next key: value`. The last word
/// of a key has a capital.
fn keys(view: View<'_>, span: Range<usize>) -> impl Iterator<Item = usize> {
    span.filter(move |at| {
        let spaced = |i: usize| view.fields.get(i).is_some_and(|field| field.spaced);
        let name = view.fields[*at].text.constant();
        let capital = name.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
        capital && punct(view.ids, at + 1) == Some(b':') && !spaced(at + 1) && spaced(at + 2)
    })
}

/// Whether the next key follows, after the stop of a sentence or at once.
fn begins_with_key(view: View, at: usize) -> bool {
    let key = keys(view, at..view.ids.len()).next();
    let mut between = key.into_iter().flat_map(|key| at..key);
    key.is_some()
        && between.all(|i| is_word(view.ids[i]) || (i == at && punct(view.ids, i) == Some(b'.')))
}

/// Whether spans are of several values, as all hold the same key.
fn share_key(views: &[View], frame: Frame) -> bool {
    let within = |view: &View| -> Vec<u32> {
        keys(*view, frame.span(view.ids.len())).map(|at| view.ids[at]).collect()
    };
    let mut shared = within(&views[0]);
    for view in &views[1..] {
        if !shared.is_empty() {
            let own = within(view);
            shared.retain(|key| own.contains(key));
        }
    }
    !shared.is_empty()
}

/// Whether parts hold the key of a line's message.
fn holds_message(ids: &[u32], span: Range<usize>) -> bool {
    let joint = |at: usize| matches!(punct(ids, at), Some(b'=' | b':'));
    span.filter(|at| joint(*at)).any(|at| is_message(ids, at + 1))
}

/// Whether a quote that is open goes on at a place.
fn is_within(ids: &[u32], at: usize, quote: u8) -> bool {
    ids[..at].iter().filter(|id| **id == u32::from(quote)).count() % 2 == 1
}

fn punct(ids: &[u32], at: usize) -> Option<u8> {
    ids.get(at).and_then(|id| u8::try_from(*id).ok()).filter(|b| *b > 1)
}

/// Widens a frame's span to the punctuation that marks it as a value of both templates, where that
/// is near.
fn marked(new: View, other: View, frame: Frame) -> (Mark, Frame) {
    let ids = new.ids;
    let end = ids.len() - frame.tail;
    for head in (frame.head.saturating_sub(WIDER_MAX)..=frame.head).rev() {
        let Some(open) = head.checked_sub(1).and_then(|i| punct(ids, i)) else {
            continue;
        };
        let closes: &[u8] = match open {
            b'(' => b")",
            b'[' => b"]",
            b'{' => b"}",
            b'"' | b'\'' | b'`' | ESCAPED_QUOTE => &[open],
            b'=' => b",;:)]}|\"'>",
            b':' => b",;)]}|\"'>",
            _ => continue,
        };
        let closes = |b| closes.contains(&b) && (!QUOTES.contains(&b) || is_within(ids, head, b));
        let close = (end..ids.len().min(end + WIDER_MAX + 1))
            .find(|at| punct(ids, *at).is_some_and(closes));
        let mark = match (close, open) {
            (Some(_), b'=') => Mark::Key,
            (Some(_), _) if QUOTES.contains(&open) => Mark::Quotes,
            (Some(_), _) => Mark::Closed,
            (None, b':') if begins_with_key(new, end) => Mark::Closed,
            (None, b'=' | b':') if end + WIDER_MAX >= ids.len() && !keyed(&ids[end..]) => {
                Mark::Last
            }
            (None, _) => continue,
        };
        if is_message(ids, head) {
            break;
        }
        let last = if mark == Mark::Last { ids.len() } else { end };
        let wider = Frame { head, tail: ids.len() - close.unwrap_or(last) };
        let one = [new, other].iter().all(|view| is_one_value(*view, mark, wider));
        if one && !share_key(&[new, other], wider) {
            return (mark, wider);
        }
    }
    (Mark::None, frame)
}

/// Whether a span is one value: it does not go on past the quotes or the key that it begins in, and
/// holds no message.
fn is_one_value(view: View, mark: Mark, frame: Frame) -> bool {
    let span = frame.span(view.ids.len());
    let ids = &view.ids[span.clone()];
    let opens = frame.head.checked_sub(1).and_then(|at| punct(view.ids, at));
    let quoted = mark == Mark::Quotes;
    let keys = match mark {
        Mark::Key | Mark::Last => true,
        Mark::Closed => frame.head == 1 || opens == Some(b':'),
        Mark::Quotes | Mark::None => false,
    };
    let leaves = |quote: &u8| {
        let own = quoted && opens == Some(*quote);
        match is_within(view.ids, frame.head, *quote) {
            false => own,
            true => (own || *quote != b'\'') && outside(ids).any(|b| b == *quote),
        }
    };
    let several = (keys && keyed(ids)) || QUOTES.iter().any(leaves);
    balanced(ids) && !several && !holds_message(view.ids, span)
}

/// The frame whose span becomes a slot, and the templates that become one, given a new template.
pub(super) fn decide(new: View, others: &[(u32, View)], tree: &Tree) -> Option<(Frame, Vec<u32>)> {
    let framed: Vec<(u32, View, Frame)> =
        others.iter().filter_map(|(slot, view)| Some((*slot, *view, frame(new, *view)?))).collect();
    let mut frames: Vec<(Mark, Frame)> =
        framed.iter().map(|(_, view, f)| marked(new, *view, *f)).collect();
    frames.sort_unstable_by_key(|(_, f)| (usize::MAX - f.head - f.tail, f.head));
    frames.dedup();
    for (mark, frame) in frames.into_iter().take(FRAMES_MAX) {
        if is_told(new, frame) {
            continue;
        }
        let fits = |f: &Frame| f.head >= frame.head && f.tail >= frame.tail;
        let takes = |(_, view, f): &&(u32, View, Frame)| fits(f) && !is_told(*view, frame);
        let members: Vec<_> = framed.iter().filter(takes).collect();
        if members.is_empty() {
            continue;
        }
        let views = [new].into_iter().chain(members.iter().map(|(_, view, _)| *view)).collect();
        let spans = Spans { mark, frame, views };
        if spans.are_comparable() && spans.needed(tree).is_some_and(|n| spans.distinct() >= n) {
            return Some((frame, members.iter().map(|(slot, _, _)| *slot).collect()));
        }
    }
    None
}

/// Whether the span is a word that says how it went, and no text.
fn is_told(view: View, frame: Frame) -> bool {
    let span = frame.span(view.ids.len());
    span.len() == 1 && is_outcome(view.fields[span.start].text.constant())
}

/// What templates hold between one head and one tail.
struct Spans<'a> {
    mark: Mark,
    frame: Frame,
    /// The new template first.
    views: Vec<View<'a>>,
}

impl Spans<'_> {
    fn ids(&self) -> impl Iterator<Item = &[u32]> {
        self.views.iter().map(|view| &view.ids[self.frame.span(view.ids.len())])
    }

    /// What stands before the span.
    fn opens(&self) -> Option<u8> {
        punct(self.views[0].ids, self.frame.head.checked_sub(1)?)
    }

    fn are_comparable(&self) -> bool {
        let parts = self.views[0].ids.len();
        let lengths = self.views.iter().any(|view| view.ids.len() != parts);
        // Spans of one length differ in words, which are not for here unless they are quoted.
        let quoted = self.mark == Mark::Quotes
            && self.ids().all(|span| span.len() > 1 && span.iter().all(|id| is_word(*id)));
        (lengths || quoted)
            && self.views.iter().all(|view| is_one_value(*view, self.mark, self.frame))
            && !share_key(&self.views, self.frame)
            && (self.mark != Mark::Last || self.are_rare())
    }

    /// Any text is rare; what comes again and again is a message after its writer's name.
    fn are_rare(&self) -> bool {
        let texts = self.views.iter().zip(self.ids()).filter(|(_, span)| !span.contains(&GAP));
        let counts: Vec<u64> = texts.map(|(view, _)| view.count).collect();
        counts.iter().sum::<u64>() <= LINES_PER_TEXT_MAX * counts.len() as u64
    }

    /// Words around the span that all have.
    fn around(&self) -> Vec<u32> {
        let new = self.views[0].ids;
        let end = new.len() - self.frame.tail;
        let same = |i: &usize| {
            let at = |ids: &[u32]| if *i < end { *i } else { ids.len() + i - new.len() };
            self.views.iter().all(|view| view.ids[at(view.ids)] == new[*i])
        };
        let outside = (0..self.frame.head).chain(end..new.len()).filter(same);
        outside.map(|i| new[i]).filter(|id| is_word(*id)).collect()
    }

    /// One of them is a value and nothing else.
    fn has_data(&self) -> bool {
        self.ids().any(|span| matches!(span, [id] if is_slot(*id)))
    }

    /// Nothing but values and names.
    fn are_values(&self) -> bool {
        self.views.iter().all(|view| {
            let name = |i: usize| is_name(view.fields[i].text.constant());
            self.frame.span(view.ids.len()).all(|i| is_slot(view.ids[i]) || name(i))
        })
    }

    /// Distinct spans that make a slot; nothing if no number does.
    fn needed(&self, tree: &Tree) -> Option<usize> {
        let around = self.around();
        // Words that say that the templates are one message.
        let shared = telling(around.iter().copied(), self.views.len(), tree);
        if self.mark == Mark::Key && shared > 0 {
            return Some(2);
        }
        // What is data in one line and text in another is no message, whatever all lines share.
        if self.mark == Mark::Quotes && self.has_data() && around.len() >= SHARED_MIN {
            return Some(2);
        }
        let follows = self.mark == Mark::Last && self.opens() == Some(b':');
        let introduced = || clause(self.views[0], self.frame.head - 1) >= CLAUSE_MIN;
        if shared < SHARED_MIN {
            // A message that has become most of the templates makes its own words common.
            let many = follows && around.len() >= SHARED_MIN && introduced();
            return many.then_some(SPANS_EVIDENCE);
        }
        let data = self.has_data();
        match (self.mark, self.opens()) {
            _ if data && self.are_values() => Some(2),
            (Mark::None | Mark::Key, _) => None,
            _ if data => Some(2),
            (Mark::Closed, Some(b'(')) => Some(4),
            (Mark::Closed | Mark::Quotes, _) | (Mark::Last, Some(b'=')) => Some(3),
            (Mark::Last, _) => introduced().then(|| SPANS_MIN.max(SPANS_EVIDENCE.div_ceil(shared))),
        }
    }

    /// How many there are. Texts that begin alike are messages of their own after a common head.
    fn distinct(&self) -> usize {
        if self.mark != Mark::Last || self.opens() == Some(b'=') || self.has_data() {
            return self.views.len();
        }
        let mut begins: Vec<u32> = self.ids().map(|span| span[0]).collect();
        begins.sort_unstable();
        begins.dedup();
        begins.len()
    }
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
            quote @ (b'"' | b'`' | ESCAPED_QUOTE) if open.last() != Some(&quote) => {
                open.push(quote)
            }
            close @ (b')' | b']' | b'}' | b'"' | b'`' | ESCAPED_QUOTE)
                if open.pop() != Some(close) =>
            {
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
        let open = own == SLOT && pattern.fields[i].text == Text::Slot(Slot::Open);
        if own == id || (open && (is_word(id) || id == SLOT)) {
            Some(0)
        } else {
            (is_word(own) && is_word(id)).then_some(1)
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

#[cfg(test)]
mod tests;
