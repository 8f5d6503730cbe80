//! Lines of text files in bounded memory, however long the lines are.

use std::io::{self, Read};

/// Longest line that is held as it is; also the size of one read.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Of a longer JSON line, every string keeps this many bytes.
const STRING_BYTES_MAX: usize = super::escape::BODY_BYTES_MAX;
/// Of a line that is given up, this much is kept to show it.
const HEAD_BYTES: usize = super::dead::DEAD_TEXT_BYTES_MAX;

/// What to do with a line longer than [`LINE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLines {
    /// Give it up without holding it.
    Skip,
    /// Cut its JSON strings while reading; give it up only if it is still too long.
    CutStrings,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Without the line end.
    pub text: &'a [u8],
    /// Bytes cut out of strings.
    pub cut: u64,
    /// Only the beginning is here.
    pub too_long: bool,
}

pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes from `start` that are known to hold no line end.
    searched: usize,
    mode: LongLines,
    long: Option<LongLine>,
    /// The long line that was handed out last; dropped with the next call.
    done: Option<LongLine>,
    delivered: u64,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R, mode: LongLines) -> Self {
        Self {
            input,
            buffer: vec![0; LINE_BYTES_MAX],
            start: 0,
            end: 0,
            searched: 0,
            mode,
            long: None,
            done: None,
            delivered: 0,
        }
    }

    pub fn input(&self) -> &R {
        &self.input
    }

    /// Reads the first block, so that an input that cannot be read shows it early. False if empty.
    pub fn probe(&mut self) -> io::Result<bool> {
        Ok(self.end > self.start || self.read()?)
    }

    /// Bytes up to the end of the last line handed out.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The next complete line; `None` if the input holds no further line end now. It may be called
    /// again after the input has grown.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.done = None;
        loop {
            if let Some(at) = newline(&self.buffer[self.start + self.searched..self.end]) {
                let len = self.searched + at;
                return Ok(Some(self.take(len, 1)));
            }
            self.searched = self.end - self.start;
            if self.searched == self.buffer.len() {
                self.absorb();
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// What is left when the input has ended without a line end.
    pub fn rest(&mut self) -> Option<Line<'_>> {
        self.done = None;
        let len = self.end - self.start;
        (len > 0 || self.long.is_some()).then(|| self.take(len, 0))
    }

    fn take(&mut self, len: usize, newline: usize) -> Line<'_> {
        let from = self.start;
        self.start += len + newline;
        self.searched = 0;
        self.delivered += (len + newline) as u64;
        if let Some(mut long) = self.long.take() {
            self.delivered += long.length;
            long.push(&self.buffer[from..from + len]);
            let long = self.done.insert(long);
            let text = long.kept.strip_suffix(b"\r").unwrap_or(&long.kept);
            return Line { text, cut: long.cut, too_long: long.too_long };
        }
        let text = &self.buffer[from..from + len];
        Line { text: text.strip_suffix(b"\r").unwrap_or(text), cut: 0, too_long: false }
    }

    /// Moves a buffer full of one line into the long line, which keeps only its share.
    fn absorb(&mut self) {
        let long = self.long.get_or_insert_with(|| LongLine::new(self.mode));
        long.push(&self.buffer[self.start..self.end]);
        long.length += (self.end - self.start) as u64;
        (self.start, self.end, self.searched) = (0, 0, 0);
    }

    fn read(&mut self) -> io::Result<bool> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// A line too long to be held, reduced while it is read.
struct LongLine {
    kept: Vec<u8>,
    cut: u64,
    too_long: bool,
    /// Bytes that came through whole buffers.
    length: u64,
    mode: LongLines,
    in_string: bool,
    after_backslash: bool,
    string_bytes: usize,
}

impl LongLine {
    fn new(mode: LongLines) -> Self {
        Self {
            kept: Vec::new(),
            cut: 0,
            too_long: mode == LongLines::Skip,
            length: 0,
            mode,
            in_string: false,
            after_backslash: false,
            string_bytes: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.mode == LongLines::CutStrings && !self.too_long {
            bytes.iter().for_each(|b| self.scan(*b));
            self.too_long = self.kept.len() > LINE_BYTES_MAX;
        } else {
            let room = HEAD_BYTES.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if self.too_long {
            self.kept.truncate(HEAD_BYTES);
        }
    }

    /// Keeps a byte unless it lies deep inside a JSON string.
    fn scan(&mut self, byte: u8) {
        if !self.in_string {
            self.in_string = byte == b'"';
            self.string_bytes = 0;
            self.kept.push(byte);
            return;
        }
        let ends = byte == b'"' && !self.after_backslash;
        self.after_backslash = byte == b'\\' && !self.after_backslash;
        if ends {
            self.in_string = false;
            self.close_cut();
            self.kept.push(byte);
            return;
        }
        self.string_bytes += 1;
        if self.string_bytes <= STRING_BYTES_MAX {
            self.kept.push(byte);
        } else {
            self.cut += 1;
        }
    }

    /// A cut string must not end inside an escape sequence or a surrogate pair.
    fn close_cut(&mut self) {
        const ESCAPE: usize = r"\u0000".len();
        if self.string_bytes <= STRING_BYTES_MAX {
            return;
        }
        let string = self.kept.len() - STRING_BYTES_MAX;
        let mut end = self.kept.len();
        // The first of a run of backslashes begins a sequence, so cutting before it is safe.
        if let Some(at) = self.kept[end - ESCAPE..].iter().position(|b| *b == b'\\') {
            end = self.run_start(end - ESCAPE + at, string);
        }
        if end >= string + ESCAPE
            && let [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B', ..] =
                self.kept[end - ESCAPE..end]
        {
            end = self.run_start(end - ESCAPE, string);
        }
        self.cut += (self.kept.len() - end) as u64;
        self.kept.truncate(end);
    }

    fn run_start(&self, at: usize, string: usize) -> usize {
        let run = self.kept[string..at].iter().rev().take_while(|b| **b == b'\\').count();
        at - run
    }
}

/// Position of the first line feed, eight bytes at a time (Mycroft's zero-byte test).
fn newline(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let x = u64::from_le_bytes(*word) ^ (ONES * b'\n' as u64);
        let zero = x.wrapping_sub(ONES) & !x & HIGH;
        if zero != 0 {
            return Some(i * 8 + zero.trailing_zeros() as usize / 8);
        }
    }
    let at = tail.iter().position(|b| *b == b'\n')?;
    Some(words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// Hands out at most `step` bytes at a time.
    struct Dripping(Cursor<Vec<u8>>, usize);

    impl Read for Dripping {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = buf.len().min(self.1);
            self.0.read(&mut buf[..len])
        }
    }

    fn all(bytes: &[u8], step: usize, mode: LongLines) -> Vec<(Vec<u8>, u64, bool)> {
        let mut lines = Lines::new(Dripping(Cursor::new(bytes.to_vec()), step), mode);
        let mut out = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            out.push((line.text.to_vec(), line.cut, line.too_long));
        }
        out.extend(lines.rest().map(|l| (l.text.to_vec(), l.cut, l.too_long)));
        assert_eq!(lines.delivered(), bytes.len() as u64);
        out
    }

    proptest! {
        #[test]
        fn short_lines_come_out_as_split_does(text in "[ab\\n]{0,60}", step in 1_usize..9) {
            let mut expected: Vec<Vec<u8>> =
                text.split('\n').map(|l| l.as_bytes().to_vec()).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let lines = all(text.as_bytes(), step, LongLines::Skip);
            let lines: Vec<_> = lines.into_iter().map(|l| l.0).collect();
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn a_cut_json_line_still_parses(
            unit in r#"a|\\\\|\\"|\\n|\\u00e9|\\ud83d\\ude00|é"#,
            shift in 0_usize..14,
        ) {
            let body = "x".repeat(shift) + &unit.repeat(LINE_BYTES_MAX / unit.len() + 1);
            let text = format!("{{\"ts\":1,\"body\":\"{body}\",\"service\":\"api\"}}\nnext\n");
            let lines = all(text.as_bytes(), 8191, LongLines::CutStrings);
            prop_assert_eq!(lines.len(), 2);
            let (line, cut, too_long) = &lines[0];
            prop_assert!(!too_long && *cut > 0 && line.len() < LINE_BYTES_MAX);
            prop_assert_eq!(line.len() as u64 + cut + 6, text.len() as u64);
            let json = super::super::escape::json(line);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&value["service"], "api");
        }
    }

    #[test]
    fn a_huge_line_is_given_up_without_being_held() {
        let mut text = vec![b'x'; 8 << 20];
        text.extend_from_slice(b"\nok\n");
        for mode in [LongLines::Skip, LongLines::CutStrings] {
            let lines = all(&text, usize::MAX, mode);
            assert_eq!(lines[0], (vec![b'x'; HEAD_BYTES], 0, true));
            assert_eq!(lines[1], (b"ok".to_vec(), 0, false));
        }
    }

    #[test]
    fn a_line_without_end_waits_for_more_input() {
        let mut lines = Lines::new(io::empty().chain(&b"par"[..]), LongLines::Skip);
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!(lines.delivered(), 0);
        assert_eq!(lines.rest().unwrap().text, b"par");
    }

    #[test]
    fn carriage_returns_belong_to_the_line_end() {
        let lines = all(b"a\r\nb\n", 1, LongLines::Skip);
        assert_eq!((&lines[0].0[..], &lines[1].0[..]), (&b"a"[..], &b"b"[..]));
    }
}
