//! The text of a template, as specific as the lines that it has seen allow.

use super::mask::{self, GAP, Part};
use super::scan::{Kind, Token};
use super::shape::{self, Piece};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub spaced: bool,
    pub text: Text,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Text {
    Constant(Box<str>),
    Slot(Slot),
}

impl Text {
    /// The word; nothing of a slot.
    pub fn constant(&self) -> &str {
        match self {
            Text::Constant(text) => text,
            Text::Slot(_) => "",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// Any word: enough distinct words were seen here.
    Open,
    /// The lines differ in more than single pieces.
    Any,
    Words(Vec<Word>),
}

/// A value, and the joint that comes before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Word {
    pub joint: Box<str>,
    pub pieces: Vec<Piece>,
}

pub(super) fn fields(line: &[u8], tokens: &[Token]) -> (Vec<u32>, Vec<Field>) {
    let (mut ids, mut fields, mut blank) = (Vec::new(), Vec::new(), None);
    mask::fold(line, tokens, |part| {
        ids.push(mask::id(tokens, part));
        let (first, text) = match part {
            Part::Constant(i) => {
                (i, Text::Constant(String::from_utf8_lossy(tokens[i].text(line)).into()))
            }
            Part::Slot(from, to) => (from, Text::Slot(slot(line, &tokens[from..to]))),
        };
        let spaced = tokens.get(first).is_some_and(|token| token.spaced);
        let spaced = match part {
            // The blank after `key:` is that of the value, though it is left out.
            Part::Slot(from, to) if from == to => {
                blank = (spaced && tokens[from - 1].is_punct(b':')).then_some(from);
                blank.is_some()
            }
            _ => spaced && blank != Some(first),
        };
        fields.push(Field { spaced, text });
    });
    (ids, fields)
}

fn slot(line: &[u8], tokens: &[Token]) -> Slot {
    let mut words = Vec::new();
    let mut joint = String::new();
    for (i, token) in tokens.iter().enumerate() {
        if token.spaced && i > 0 {
            joint.push(' ');
        }
        let text = token.text(line);
        match token.kind {
            Kind::Punct => {
                joint.push(token.id as u8 as char);
                if token.is_punct(b'(') && tokens.get(i + 1).is_some_and(|t| t.is_punct(b')')) {
                    words.push(Word {
                        joint: std::mem::take(&mut joint).into(),
                        pieces: Vec::new(),
                    });
                }
            }
            kind => {
                let pieces = match kind {
                    // Also the rest of a line that was too long to scan.
                    Kind::Value if token.id == 0 => vec![Piece::Mask],
                    Kind::Value => shape::pieces(text),
                    _ => vec![Piece::Literal(String::from_utf8_lossy(text).into())],
                };
                words.push(Word { joint: std::mem::take(&mut joint).into(), pieces });
            }
        }
    }
    if !joint.is_empty() {
        words.push(Word { joint: joint.into(), pieces: Vec::new() });
    }
    Slot::Words(words)
}

impl Slot {
    /// Widens `self` to cover `other`; says whether it changed.
    pub fn widen(&mut self, other: &Slot) -> bool {
        if self == other {
            return false;
        }
        match (&mut *self, other) {
            (Slot::Any | Slot::Open, _) => return false,
            (Slot::Words(mine), Slot::Words(theirs)) if alike(mine, theirs) => {
                return mine
                    .iter_mut()
                    .zip(theirs)
                    .fold(false, |changed, (m, t)| m.widen(t) | changed);
            }
            _ => {}
        }
        *self = Slot::Any;
        true
    }

    /// Nothing literal is left that another line could contradict.
    fn is_general(&self) -> bool {
        match self {
            Slot::Any | Slot::Open => true,
            Slot::Words(words) => {
                words.len() == 1 && words.iter().all(|w| w.pieces == [Piece::Mask])
            }
        }
    }
}

/// As many values, joined in the same way.
fn alike(mine: &[Word], theirs: &[Word]) -> bool {
    mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(m, t)| m.joint == t.joint)
}

impl Word {
    fn widen(&mut self, other: &Word) -> bool {
        if self.pieces == other.pieces || self.pieces == [Piece::Mask] {
            return false;
        }
        let (mine, theirs) = (names(&self.pieces), names(&other.pieces));
        let pieces = if mine.len() == theirs.len() {
            // Names that differ in letters are one value each, however their parts are joined.
            let common = |(mine, theirs): (&&[Piece], &&[Piece])| match mine == theirs {
                true => mine.to_vec(),
                false => vec![Piece::Mask],
            };
            mine.iter().zip(&theirs).flat_map(common).collect()
        } else {
            vec![Piece::Mask]
        };
        let pieces = if pieces.contains(&Piece::Mask) { pieces } else { vec![Piece::Mask] };
        let changed = pieces != self.pieces;
        self.pieces = pieces;
        changed
    }
}

/// Names, and each delimiter that is no part of one.
fn names(pieces: &[Piece]) -> Vec<&[Piece]> {
    let apart = |piece: &Piece| matches!(piece, Piece::Delimiter(b) if !b"-_.".contains(b));
    pieces.chunk_by(|a, b| !apart(a) && !apart(b)).collect()
}

/// Widens the fields of a template to cover those of a line of its form. A line that only shows the
/// same text may have other fields: nothing to widen.
pub(super) fn widen(mine: &mut [Field], theirs: &[Field]) {
    if mine.len() != theirs.len() {
        return;
    }
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        if let (Text::Slot(mine), Text::Slot(theirs)) = (&mut mine.text, &theirs.text) {
            mine.widen(theirs);
        }
    }
}

/// Takes any word in some place.
pub(super) fn is_open(ids: &[u32], fields: &[Field]) -> bool {
    ids.contains(&GAP) || fields.iter().any(|f| f.text == Text::Slot(Slot::Open))
}

pub(super) fn is_general(fields: &[Field]) -> bool {
    fields.iter().all(|f| match &f.text {
        Text::Constant(_) => true,
        Text::Slot(slot) => slot.is_general(),
    })
}

pub(super) fn text(fields: &[Field]) -> String {
    let mut out = String::new();
    for field in fields {
        if field.spaced && !out.is_empty() {
            out.push(' ');
        }
        match &field.text {
            Text::Constant(text) => out.push_str(text),
            Text::Slot(Slot::Any | Slot::Open) => out.push_str("<*>"),
            Text::Slot(Slot::Words(words)) => words.iter().for_each(|w| word(w, &mut out)),
        }
    }
    out
}

fn word(word: &Word, out: &mut String) {
    out.push_str(&word.joint);
    let start = out.len();
    for piece in &word.pieces {
        match piece {
            // Masks joined by dots, or by nothing, are one mask.
            Piece::Mask if out[start..].ends_with("<*>") => {}
            Piece::Mask if out[start..].ends_with("<*>.") => {
                out.pop();
            }
            Piece::Mask => out.push_str("<*>"),
            Piece::Literal(text) => out.push_str(text),
            Piece::Delimiter(b) => out.push(*b as char),
        }
    }
}
