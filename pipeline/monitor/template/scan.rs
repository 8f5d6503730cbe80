//! One pass over the bytes of a line: words, punctuation and values, with no regular expressions.
//!
//! A *word* is a maximal run of bytes between blanks and punctuation. A word that lexically can
//! only be data (number, address, path, identifier with digits...) is a *value*. Which letters of a
//! value are kept in the template is decided by [`super::shape`].

use super::{hash, mark, shape};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Word,
    Punct,
    Value,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub start: u32,
    pub end: u32,
    /// Word: hash of its text. Punctuation: its byte, or a constant below. Value: hash of its
    /// shape, 0 for the plain `<*>`.
    pub id: u32,
    pub kind: Kind,
    /// Blanks come before it.
    pub spaced: bool,
}

impl Token {
    pub fn text<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        &line[self.start as usize..self.end as usize]
    }

    pub fn is_punct(&self, byte: u8) -> bool {
        self.kind == Kind::Punct && self.id == u32::from(byte)
    }
}

const BLANK: u16 = 1;
pub(super) const PUNCT: u16 = 2;
pub(super) const DIGIT: u16 = 4;
pub(super) const HEX: u16 = 8;
pub(super) const ALPHA: u16 = 16;
pub(super) const DOT: u16 = 32;
pub(super) const SLASH: u16 = 64;
pub(super) const OTHER: u16 = 128;
/// Not of a byte: the word holds the mask.
pub(super) const MASKED: u16 = 256;
const BREAK: u16 = BLANK | PUNCT;

/// The mask itself is a value, so that a template parses as its own instance.
pub(super) const MASK: &[u8] = b"<*>";

/// Ids of quotes within quotes: `\"`, and `\\\"` within those.
pub(super) const ESCAPED_QUOTE: u8 = b'\\';
pub(super) const DEEPER_QUOTE: u8 = 2;

static CLASS: [u8; 256] = classes();

pub(super) fn class(byte: u8) -> u16 {
    u16::from(CLASS[byte as usize])
}

const fn classes() -> [u8; 256] {
    let mut table = [ALPHA as u8; 256]; // bytes of multi-byte UTF-8 count as letters
    let mut b = 0;
    while b < 128 {
        let class = match b as u8 {
            0..=b' ' | 0x7f => BLANK,
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' | b'A'..=b'F' => HEX,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' => ALPHA,
            b'.' => DOT,
            b'/' | b'\\' => SLASH,
            b',' | b';' | b':' | b'=' | b'|' | b'"' | b'\'' | b'`' => PUNCT,
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' => PUNCT,
            _ => OTHER,
        };
        table[b] = class as u8;
        b += 1;
    }
    table
}

pub(super) struct Scanner<'a> {
    line: &'a [u8],
    tokens: &'a mut Vec<Token>,
    tokens_max: usize,
    at: usize,
    /// Hash of everything that the template may show of this line.
    exact: u64,
    spaced: bool,
}

/// Fills `tokens` and returns a hash that is equal only for lines that look the same to the miner.
pub(super) fn scan(line: &[u8], tokens: &mut Vec<Token>, tokens_max: usize) -> u64 {
    tokens.clear();
    let mut s = Scanner { line, tokens, tokens_max, at: 0, exact: hash::SEED, spaced: false };
    s.run();
    s.exact
}

impl Scanner<'_> {
    fn run(&mut self) {
        while self.at < self.line.len() && self.tokens.len() < self.tokens_max {
            let byte = self.line[self.at];
            let class = class(byte);
            if byte == b'\n' && !self.tokens.is_empty() {
                return; // what follows the headline is detail
            }
            if class & BLANK != 0 {
                if byte == 0x1b {
                    self.escape();
                } else {
                    self.spaced = true;
                    self.at += 1;
                }
            } else if class & PUNCT == 0 || self.line[self.at..].starts_with(MASK) {
                self.word(self.at);
            } else if matches!(byte, b'<' | b'>') && self.is_bound() {
                self.word(self.at + 1);
            } else if byte == b':' && self.is_any_address() {
                self.push(self.at, self.at + 2, Kind::Value, 0);
            } else {
                self.punct(self.at + 1);
            }
        }
        if self.tokens.len() >= self.tokens_max && self.at < self.line.len() {
            let end = self.line.len();
            self.tokens.pop();
            self.push(self.at, end, Kind::Value, 0);
        }
    }

    /// Passes over a terminal escape sequence (ECMA-48 CSI). It has no width, but parts words.
    #[inline(never)]
    fn escape(&mut self) {
        let rest = &self.line[self.at..];
        let [_, b'[', body @ ..] = rest else {
            (self.spaced, self.at) = (true, self.at + 1);
            return;
        };
        let body = body.iter().take_while(|b| (0x20..0x40).contains(*b)).count();
        let ends = rest.get(2 + body).is_some_and(|b| (0x40..0x7f).contains(b));
        self.at += 2 + body + usize::from(ends);
        let word = |b: &u8| class(*b) & BREAK == 0;
        let before = self.tokens.last().is_some_and(|token| token.kind != Kind::Punct);
        self.spaced |= before && self.line.get(self.at).is_some_and(word);
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind, id: u32) {
        let spaced = std::mem::take(&mut self.spaced);
        let mark = u64::from(id) << 3 | (kind as u64) << 1 | u64::from(spaced);
        self.exact = hash::fold(self.exact ^ mark, hash::K1);
        self.tokens.push(Token { start: start as u32, end: end as u32, id, kind, spaced });
        self.at = end;
    }

    fn punct(&mut self, end: usize) {
        let byte = self.line[self.at];
        self.push(self.at, end, Kind::Punct, u32::from(byte));
    }

    /// `<5` where a value stands: a number that is only bounded is a number too. `<5>` and `<5ab>`
    /// are in brackets.
    #[inline(never)]
    fn is_bound(&self) -> bool {
        let rest = &self.line[self.at..];
        let free = self.at == 0 || class(self.line[self.at - 1]) & BREAK != 0;
        let word = |b: &&u8| class(**b) & BREAK == 0;
        matches!(rest, [b'<' | b'>', b'0'..=b'9', ..])
            && free
            && rest.get(1 + rest[1..].iter().take_while(word).count()) != Some(&b'>')
    }

    /// `::` where a value stands, alone or before a port.
    #[inline(never)]
    fn is_any_address(&self) -> bool {
        let free = self.at == 0 || class(self.line[self.at - 1]) & BREAK != 0;
        free && match &self.line[self.at..] {
            [b':', b':', rest @ ..] => match rest {
                [] => true,
                [b':', port, ..] => port.is_ascii_digit(),
                [next, ..] => class(*next) & BLANK != 0 || b"],)".contains(next),
            },
            _ => false,
        }
    }

    /// `from`: where the word goes on after a bound.
    fn word(&mut self, from: usize) {
        let (start, line) = (self.at, self.line);
        let (mut end, mut flags) = (from, 0);
        loop {
            while let Some(byte) = line.get(end)
                && class(*byte) & BREAK == 0
            {
                flags |= class(*byte);
                end += 1;
            }
            match self.bridge(start, end, flags) {
                Some((further, class)) => (end, flags) = (further, flags | class),
                None => break,
            }
        }
        if flags & DOT != 0 && flags & (DIGIT | MASKED) != 0 {
            end = self.leader(start, end, &mut flags);
        }
        if flags & SLASH != 0 {
            let escapes = self.escapes(start, end);
            end -= escapes;
            if end == start {
                // A quote within quotes is punctuation.
                let id = if escapes == 1 { ESCAPED_QUOTE } else { DEEPER_QUOTE };
                return self.push(start, end + escapes + 1, Kind::Punct, u32::from(id));
            }
        }
        self.emit(start, end, flags);
    }

    /// The backslashes that make a quote after `end` one of a text in quotes.
    #[inline(never)]
    fn escapes(&self, start: usize, end: usize) -> usize {
        if self.line.get(end) != Some(&b'"') {
            return 0;
        }
        let n = self.line[start..end].iter().rev().take_while(|b| **b == b'\\').count();
        if n % 2 == 1 { n } else { 0 }
    }

    /// Punctuation that belongs to the word: returns where the word goes on and what the bridge is
    /// made of.
    fn bridge(&self, start: usize, end: usize, flags: u16) -> Option<(usize, u16)> {
        let rest = &self.line[end..];
        let byte = *rest.first()?;
        if class(byte) & PUNCT == 0 {
            return None;
        }
        match byte {
            b'<' if rest.starts_with(MASK) => Some((end + MASK.len(), MASKED)),
            b'\'' if end > start && flags & DIGIT == 0 => {
                let letter = |b: u8| class(b) & (HEX | ALPHA) != 0;
                (letter(self.line[end - 1]) && letter(*rest.get(1)?)).then_some((end + 1, 0))
            }
            b':' if rest.starts_with(b"://") => self.scheme(start, end, flags),
            b':' if flags & !(DIGIT | HEX) == 0 => self
                .address(start, end)
                .or_else(|| self.drive(start, end))
                .or_else(|| self.qualified(start, end)),
            b':' if rest.starts_with(b"::") => self.qualified(start, end),
            b':' if rest.starts_with(b":\\") => self.drive(start, end),
            b'[' if end > start && flags & DIGIT == 0 => self.range(end),
            b'=' | b':' | b';' | b',' | b'(' | b')' | b'[' | b']' | b'|' => {
                // The query of a URL: data up to the next blank or quote.
                let rooted = flags & (SLASH | OTHER) == SLASH | OTHER && self.line[start] == b'/';
                (rooted && self.line[start..end].contains(&b'?')).then_some((end + 1, 0))
            }
            _ => None,
        }
    }

    /// `node[1-3,7]`: a range of names.
    fn range(&self, end: usize) -> Option<(usize, u16)> {
        let inner = &self.line[end + 1..];
        let length = inner.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b',')).count();
        let range = inner[..length].iter().any(|b| *b != b'-' && !b.is_ascii_digit())
            || inner[..length].iter().skip(1).any(|b| *b == b'-');
        (range && inner.get(length) == Some(&b']')).then_some((end + length + 2, DIGIT))
    }

    /// `net::http`: a name in a name space.
    #[inline(never)]
    fn qualified(&self, start: usize, end: usize) -> Option<(usize, u16)> {
        let letter = |b: &u8| class(*b) & (HEX | ALPHA) != 0;
        let begins = self.line.get(end + 2).is_some_and(letter);
        (end > start && self.line[end..].starts_with(b"::") && begins)
            .then_some((end + 2, 0))
            .filter(|_| letter(&self.line[start]))
    }

    /// `C:\`: a drive letter.
    fn drive(&self, start: usize, end: usize) -> Option<(usize, u16)> {
        (end == start + 1 && self.line[end..].starts_with(b":\\"))
            .then_some((end + 2, SLASH | PUNCT))
    }

    /// `scheme://`: a URL reaches to the next blank, quote or closing bracket.
    fn scheme(&self, start: usize, end: usize, flags: u16) -> Option<(usize, u16)> {
        if end == start || flags & (HEX | ALPHA) == 0 || flags & SLASH != 0 {
            return None;
        }
        let stop = |b: &u8| class(*b) & BLANK != 0 || b"\"'<>`)]},;".contains(b);
        let length = self.line[end..].iter().position(stop).unwrap_or(self.line.len() - end);
        Some((end + length, SLASH | DIGIT | PUNCT))
    }

    /// Groups of hexadecimal digits joined by colons: MAC and IPv6 addresses.
    fn address(&self, start: usize, end: usize) -> Option<(usize, u16)> {
        let (mut groups, mut at, mut run) = (1, end, end - start);
        if run > 4 {
            return None;
        }
        let (mut mac, mut double, mut decimal) = (run == 2, false, true);
        for b in &self.line[start..end] {
            decimal &= b.is_ascii_digit();
        }
        while self.line.get(at) == Some(&b':') {
            let from = at + 1;
            let group = self.line[from..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
            if group > 4 || (group == 0 && double) {
                break;
            }
            double |= group == 0;
            decimal &= self.line[from..from + group].iter().all(u8::is_ascii_digit);
            (mac, run, groups, at) = (mac && group == 2, group, groups + 1, from + group);
        }
        let address = (mac && groups >= 6) || groups == 8 || (double && groups >= 3 && run > 0);
        let ends = self.line.get(at).is_none_or(|b| class(*b) & (HEX | ALPHA) == 0);
        (address && ends && !(decimal && groups < 6)).then_some((at, HEX | DIGIT | PUNCT))
    }

    /// Two or more dots are a leader (`status......0`) or an ellipsis, not part of an identifier.
    #[inline(never)]
    fn leader(&mut self, start: usize, end: usize, flags: &mut u16) -> usize {
        let Some(dots) = self.line[start..end].windows(2).position(|w| w == b"..") else {
            return end;
        };
        if dots == 0 {
            let n = self.line[start..end].iter().take_while(|b| **b == b'.').count();
            self.punct(start + n);
            *flags = 0;
            return start + n;
        }
        *flags = self.line[start..start + dots].iter().fold(*flags & MASKED, |f, b| f | class(*b));
        start + dots
    }

    /// Whether a slash up to `end` is the path of a request, which stands before the version of
    /// HTTP or after the method, and no separator.
    #[inline(never)]
    fn is_requested(&self, end: usize) -> bool {
        let rest = &self.line[end..];
        let method = |before: &Token| mark::is_method(before.text(self.line));
        rest.starts_with(b" HTTP/") || (self.spaced && self.tokens.last().is_some_and(method))
    }

    /// Whether a number is the status of a request that its server failed: `HTTP/1.1" 503`,
    /// `"status": 500`, `status_code=502`. It says what happened, as a level does, and is no value.
    fn is_server_error(&self, start: usize, number: &[u8]) -> bool {
        // The statuses that HTTP has: 500 to 511.
        let failed = matches!(number, [b'5', b'0', b'0'..=b'9'] | [b'5', b'1', b'0' | b'1']);
        failed && is_status(&self.line[..start])
    }

    /// Where what ends a sentence begins: it is no part of the word or value before it.
    #[inline(never)]
    fn stop(&self, start: usize, end: usize) -> usize {
        let last = self.line[start..end].iter().rposition(|b| !is_stop(b));
        // `...` after a value is that after a word; `?` or `.` alone may stand for a value.
        let dots = self.line[start..end].starts_with(b"..");
        last.map_or(if dots { start } else { end }, |last| start + last + 1)
    }

    fn emit(&mut self, start: usize, end: usize, flags: u16) {
        if flags == 0 {
            return; // a leader was emitted in its place
        }
        let word = &self.line[start..end];
        // Most words are letters or a number and nothing else.
        if flags & !HEX == ALPHA && word.len() <= shape::WORD_BYTES_MAX {
            return self.push(start, end, Kind::Word, hash::word(word));
        }
        let ends = is_stop(&word[word.len() - 1]);
        if flags & !DOT == DIGIT && !ends && word[0] != b'.' {
            if self.is_server_error(start, word) {
                return self.push(start, end, Kind::Word, hash::word(word));
            }
            return self.push(start, end, Kind::Value, 0);
        }
        let close = if ends { self.stop(start, end) } else { end };
        if close == start {
            return self.punct(end);
        }
        let word = &self.line[start..close];
        let special = flags & (DIGIT | SLASH | MASKED) != 0
            || word.len() > shape::WORD_BYTES_MAX
            || (flags & DOT != 0 && shape::is_name_of_host(word, flags))
            || (flags == HEX && shape::is_hex_word(word));
        let shape = match special {
            _ if flags == SLASH && word == b"/" && self.is_requested(close) => {
                shape::Shape::Value(0)
            }
            true => shape::of(word, flags),
            false => shape::Shape::Constant,
        };
        match shape {
            shape::Shape::Constant => self.push(start, close, Kind::Word, hash::word(word)),
            shape::Shape::Value(id) => self.push(start, close, Kind::Value, id),
        }
        if self.at < end && self.tokens.len() < self.tokens_max {
            self.punct(end);
        }
    }
}

fn is_stop(byte: &u8) -> bool {
    matches!(byte, b'.' | b'!' | b'?')
}

/// Whether the status of a request follows.
#[inline(never)]
fn is_status(before: &[u8]) -> bool {
    let joints = before.iter().rev().take_while(|b| b"\"' :=".contains(b)).count();
    let before = &before[..before.len() - joints];
    let word = before.iter().rev().take_while(|b| !b" \t\"'{,;[(".contains(b)).count();
    let word = &before[before.len() - word..];
    let ends = |name: &&[u8]| {
        word.len() >= name.len() && word[word.len() - name.len()..].eq_ignore_ascii_case(name)
    };
    let told = word.starts_with(b"HTTP/") || STATUS_KEYS.iter().any(ends);
    // That of a process is a number like others.
    let near = &before[before.len().saturating_sub(NEAR_BYTES)..];
    let said = |text: &[u8]| near.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text));
    joints > 0 && told && !said(b"exit")
}

/// Bytes that end with the key of a status in which the words before it are looked for.
const NEAR_BYTES: usize = 24;
/// How keys end that hold such a status.
const STATUS_KEYS: [&[u8]; 5] =
    [b"status", b"status_code", b"statuscode", b"response_code", b"responsecode"];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_one};

    #[test]
    fn the_root_is_a_path_like_others() {
        check_one(
            &["\"GET / HTTP/1.1\" 200 5", "\"GET /a HTTP/1.1\" 200 7"],
            "\"GET <*> HTTP/<*>\" <*> <*>",
        );
        check_one(&["POST / took 5 ms", "POST /a took 7 ms"], "POST <*> took <*> ms");
        check("and / or", "and / or");
    }

    #[test]
    fn colours_have_no_width() {
        check(
            "\x1b[36mpath=\x1b[0m/a \x1b[1m[\x1b[32mok\x1b[0m] on\x1b[0;1moff",
            "path=<*> [ok] on off",
        );
        check_one(&["\u{feff}took 5 ms", "took 7 ms"], "took <*> ms");
    }

    #[test]
    fn the_stop_of_a_sentence_is_no_part_of_a_name() {
        check_one(
            &["the host has started web.service.", "the host has started user@1000.service."],
            "the host has started <*>.",
        );
        check_one(&["done=true.", "done=false."], "done=<*>.");
        check_one(
            &["the host stops web.service...", "the host stops user@1000.service..."],
            "the host stops <*>...",
        );
        check_one(&["zone=? of a job", "zone=5 of a job"], "zone=<*> of a job");
    }
}
