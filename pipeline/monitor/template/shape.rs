//! What is kept of a value: `node-17` shows as `node-<*>`, `10.0.0.1` and `blk_8123` as `<*>`.
//!
//! Letters stay literal until a second line shows other letters in their place. The rules of
//! rendering are those of Khan et al., "Guidelines for assessing the accuracy of log message
//! template identification techniques" (ICSE 2022): a piece between delimiters that holds a
//! variable is a variable, variables joined by dots are one variable, and a path is one variable.

use super::hash;
use super::scan::{ALPHA, DIGIT, DOT, HEX, MASK, MASKED, OTHER, PUNCT, SLASH, class};

/// A name may carry a version digit or two (`ipv4`, `log4j2`); more digits make an identifier.
const NAME_DIGITS_MAX: usize = 2;
/// A word longer than this is data (a blob, a key, a token), whatever it is made of.
pub(super) const WORD_BYTES_MAX: usize = 64;
/// The shortest run of hexadecimal digits that is read as such.
const HEX_BYTES_MIN: usize = 4;

pub(super) enum Shape {
    Constant,
    /// Hash of the literal pieces; 0 when nothing but the mask remains.
    Value(u32),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Mask,
    Literal(Box<str>),
    Delimiter(u8),
}

#[derive(Clone, Copy)]
enum Part {
    Mask,
    Literal(usize, usize),
    Delimiter(u8),
}

/// A long word of hexadecimal digits is a hash or an address even if it holds letters only.
pub(super) fn is_hex_word(word: &[u8]) -> bool {
    word.len() >= 8 && word.iter().all(u8::is_ascii_hexdigit)
}

/// Shape of a word of the classes `flags`.
pub(super) fn of(word: &[u8], flags: u16) -> Shape {
    if flags & (DIGIT | MASKED) == 0 && !is_whole(word, flags) {
        return Shape::Constant;
    }
    let (mut h, mut parts, mut letters) = (hash::SEED, 0, false);
    walk(word, flags, |part| {
        parts += 1;
        let id = match part {
            Part::Mask => 1,
            Part::Delimiter(b) => u64::from(b) + 2,
            Part::Literal(from, to) => {
                letters = true;
                hash::bytes(&word[from..to])
            }
        };
        h = hash::fold(h ^ id, hash::K1);
    });
    Shape::Value(if parts == 1 && !letters { 0 } else { (h >> 32) as u32 | 1 })
}

pub(super) fn pieces(word: &[u8]) -> Vec<Piece> {
    let mut out = Vec::new();
    walk(word, flags(word), |part| {
        out.push(match part {
            Part::Mask => Piece::Mask,
            Part::Delimiter(b) => Piece::Delimiter(b),
            Part::Literal(from, to) => {
                Piece::Literal(String::from_utf8_lossy(&word[from..to]).into())
            }
        });
    });
    out
}

/// The classes of a word, as the scanner finds them.
fn flags(word: &[u8]) -> u16 {
    let masked = if word.windows(3).any(|w| w == MASK) { MASKED } else { 0 };
    word.iter().fold(masked, |flags, b| flags | class(*b))
}

/// Data as a whole, whatever its pieces.
fn is_whole(word: &[u8], flags: u16) -> bool {
    word.len() > WORD_BYTES_MAX
        || (flags & SLASH != 0 && is_path(word, flags))
        || (flags & (DOT | SLASH) == DOT && is_host(word))
        || (flags & !(DIGIT | HEX) == 0 && is_hex_word(word))
        || (flags & PUNCT != 0 && is_address(word))
        || (flags & OTHER != 0 && (is_uuid(word) || is_hyphenated_mac(word) || is_mailbox(word)))
}

/// An absolute path, or a relative one: at least two separators, or one that joins dotted names.
fn is_path(word: &[u8], flags: u16) -> bool {
    let slashes = word.iter().filter(|b| **b == b'/').count();
    let relative = [&b"./"[..], b"../", b"~/"].iter().any(|p| word.starts_with(p));
    let rooted = word.len() > 1 && (word[0] == b'/' || relative);
    let windows = slashes == 0
        && (word[1..].starts_with(b":\\") || word.iter().filter(|b| **b == b'\\').count() >= 2);
    // Names with dots joined by a slash: an image, an import, a component.
    let named = slashes == 1 && flags & (DOT | DIGIT) == DOT;
    (rooted || slashes >= 2 || windows || named) && (rooted || flags & (ALPHA | HEX) != 0)
}

/// A host name, as good as an address: labels joined by dots, the last a generic top-level domain
/// or, after at least two others, one of the two-letter country codes.
fn is_host(word: &[u8]) -> bool {
    const GENERIC: [&[u8]; 9] =
        [b"com", b"net", b"org", b"edu", b"gov", b"mil", b"arpa", b"local", b"internal"];
    let label =
        |l: &[u8]| !l.is_empty() && l.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    let Some(dot) = word.iter().rposition(|b| *b == b'.') else {
        return false;
    };
    let (names, top) = (&word[..dot], &word[dot + 1..]);
    let country = top.len() == 2 && top.iter().all(u8::is_ascii_lowercase) && names.contains(&b'.');
    (country || GENERIC.contains(&top)) && names.split(|b| *b == b'.').all(label)
}

/// A host or a mailbox on one. Out of line: the loop over plain words has to stay small.
#[inline(never)]
pub(super) fn is_name_of_host(word: &[u8], flags: u16) -> bool {
    if flags & OTHER == 0 { is_host(word) } else { is_host(word) || is_mailbox(word) }
}

/// Groups of hexadecimal digits that the scanner joined over colons.
fn is_address(word: &[u8]) -> bool {
    word.contains(&b':') && word.iter().all(|b| *b == b':' || b.is_ascii_hexdigit())
}

/// Six pairs of hexadecimal digits.
fn is_hyphenated_mac(word: &[u8]) -> bool {
    word.len() == 17
        && word.iter().enumerate().all(|(i, b)| match i % 3 {
            2 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// `name@host`, where the host is written with a domain.
fn is_mailbox(word: &[u8]) -> bool {
    let Some(at) = word.iter().position(|b| *b == b'@') else {
        return false;
    };
    let (name, host) = (&word[..at], &word[at + 1..]);
    let top = host.rsplit(|b| *b == b'.').next().unwrap_or_default();
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._+-=".contains(b);
    !name.is_empty()
        && name.iter().all(fits)
        && host.iter().all(|b| b.is_ascii_alphanumeric() || b".-".contains(b))
        && top.len() + 1 < host.len()
        && top.len() >= 2
        && top.iter().all(u8::is_ascii_lowercase)
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(word: &[u8]) -> bool {
    word.len() == 36
        && word.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn walk(word: &[u8], flags: u16, mut emit: impl FnMut(Part)) {
    if flags & SLASH != 0
        && flags & PUNCT != 0
        && let Some(scheme) = word.windows(3).position(|w| w == b"://")
    {
        emit(Part::Literal(0, scheme));
        b"://".iter().for_each(|b| emit(Part::Delimiter(*b)));
        emit(Part::Mask);
        // An address and its port are two values, with a path they are one.
        let rest = &word[scheme + 3..];
        if rest.contains(&b':') && !rest.iter().any(|b| b"/?@".contains(b)) {
            emit(Part::Delimiter(b':'));
            emit(Part::Mask);
        }
        return;
    }
    if is_whole(word, flags) {
        return emit(Part::Mask);
    }
    let mut at = 0;
    let mut masked = false; // the last part was a mask
    let mut dot = false; // a dot after it waits for what follows
    while at < word.len() {
        let sign = at == 0 && matches!(word, [b'-' | b'+', b'0'..=b'9', ..]);
        let (end, mask) = piece(word, at + usize::from(sign), flags);
        if end > at {
            let mask = mask || sign;
            if dot && !mask {
                emit(Part::Delimiter(b'.'));
            }
            // Masks joined by a dot are one mask.
            if !(dot && mask) {
                emit(if mask { Part::Mask } else { Part::Literal(at, end) });
            }
            (at, masked, dot) = (end, mask, false);
            continue;
        }
        if dot {
            emit(Part::Delimiter(b'.'));
        }
        dot = masked && word[at] == b'.';
        if !dot {
            emit(Part::Delimiter(word[at]));
        }
        (at, masked) = (at + 1, false);
    }
    if dot {
        emit(Part::Delimiter(b'.'));
    }
}

/// End of the piece that starts at `from`, and whether it is data. Everything but letters and
/// digits delimits.
fn piece(word: &[u8], from: usize, flags: u16) -> (usize, bool) {
    let (mut at, mut digits, mut classes, mut mask) = (from, 0, 0, false);
    while at < word.len() {
        let class = class(word[at]);
        if class & (DIGIT | HEX | ALPHA) == 0 {
            if flags & MASKED == 0 || !word[at..].starts_with(MASK) {
                break;
            }
            (at, mask) = (at + MASK.len(), true);
            continue;
        }
        digits += usize::from(class == DIGIT);
        classes |= class;
        at += 1;
    }
    let piece = &word[from..at];
    let hex = classes & ALPHA == 0 && piece.len() >= HEX_BYTES_MIN && digits > 0;
    (at, mask || hex || digits > NAME_DIGITS_MAX || (digits > 0 && starts_as_number(piece)))
}

/// A digit, or the letter of a version (`v2.1`).
fn starts_as_number(piece: &[u8]) -> bool {
    match piece {
        [b'0'..=b'9', ..] => true,
        [b'v' | b'V', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
